// The shop: a page of the books, put together of what four other services say.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"
)

type book struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Price   string  `json:"price"`
	Stock   string  `json:"stock"`
	Reviews *string `json:"reviews"`
}

var client = &http.Client{Timeout: 5 * time.Second}

// The headers that make one trace of a request and of all that it leads to, and by which the mesh routes testers.
var passed = []string{"x-request-id", "traceparent", "tracestate", "tester"}

func main() {
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	http.HandleFunc("/books", books)
	log.Println("the shop listens on port 8080")
	log.Fatal(http.ListenAndServe(":8080", nil))
}

func books(w http.ResponseWriter, r *http.Request) {
	listed, err := ask(r, "http://catalog:8080/books")
	if err != nil {
		http.Error(w, fmt.Sprintf("catalog: %v", err), http.StatusBadGateway)
		return
	}
	found := []book{}
	for _, line := range strings.Split(strings.TrimSpace(listed), "\n") {
		id, title, _ := strings.Cut(line, "\t")
		found = append(found, describe(r, id, title))
	}
	w.Header().Set("content-type", "application/json")
	json.NewEncoder(w).Encode(found)
}

func describe(r *http.Request, id, title string) book {
	made := book{ID: id, Title: title}
	made.Price = or(ask(r, "http://prices:8080/price/"+id))
	made.Stock = or(count(id))
	// A book is sold without its reviews, too.
	if text, err := ask(r, "http://reviews:8080/cgi-bin/reviews/"+id); err == nil {
		made.Reviews = &text
	}
	return made
}

func or(text string, err error) string {
	if err != nil {
		return fmt.Sprintf("unknown (%v)", err)
	}
	return text
}

func ask(r *http.Request, url string) (string, error) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	for _, name := range passed {
		if value := r.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d", response.StatusCode)
	}
	return strings.TrimSpace(string(body)), err
}

// The stock's protocol: a line with a book's id, a line with a number.
func count(id string) (string, error) {
	connection, err := net.DialTimeout("tcp", "stock:7000", time.Second)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintln(connection, id)
	line, err := bufio.NewReader(connection).ReadString('\n')
	return strings.TrimSpace(line), err
}
