// The prices. VERSION=v2 is a sale: a tenth less.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

var cents = map[string]int{"moby": 1200, "emma": 900, "dune": 1500}

func main() {
	version := os.Getenv("VERSION")
	http.HandleFunc("/price/", func(w http.ResponseWriter, r *http.Request) {
		price, known := cents[strings.TrimPrefix(r.URL.Path, "/price/")]
		if !known {
			http.NotFound(w, r)
			return
		}
		if version == "v2" {
			price = price * 9 / 10
		}
		w.Header().Set("version", version)
		fmt.Fprintf(w, "%d.%02d\n", price/100, price%100)
	})
	log.Printf("prices %s listen on port 8080", version)
	log.Fatal(http.ListenAndServe(":8080", nil))
}
