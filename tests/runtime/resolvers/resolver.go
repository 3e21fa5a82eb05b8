// Asks Go's own resolver: `resolver KIND:NAME...`, one line for each question (see test_agent_resolvers.py).
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

func ask(kind, name string) ([]string, error) {
	resolver := &net.Resolver{PreferGo: true}
	switch kind {
	case "PTR":
		return resolver.LookupAddr(context.Background(), name)
	case "SRV":
		_, found, err := resolver.LookupSRV(context.Background(), "", "", name)
		var targets []string
		for _, each := range found {
			targets = append(targets, fmt.Sprintf("%s:%d", strings.TrimSuffix(each.Target, "."), each.Port))
		}
		return targets, err
	}
	network := map[string]string{"A": "ip4", "AAAA": "ip6", "any": "ip"}[kind]
	found, err := resolver.LookupIP(context.Background(), network, name)
	var addresses []string
	for _, each := range found {
		addresses = append(addresses, each.String())
	}
	return addresses, err
}

func main() {
	for _, question := range os.Args[1:] {
		kind, name, _ := strings.Cut(question, ":")
		began := time.Now()
		answer, err := ask(kind, name)
		var failure *net.DNSError
		if errors.As(err, &failure) {
			answer = []string{"!" + failure.Err}
			if failure.IsNotFound {
				answer = []string{"!NXDOMAIN"}
			}
		}
		for i := range answer {
			answer[i] = strings.TrimSuffix(answer[i], ".")
		}
		fmt.Printf("%s\t%s\t%d\n", question, strings.Join(answer, ","), time.Since(began).Milliseconds())
	}
}
