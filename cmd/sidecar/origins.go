package main

import (
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// How the demo's origins misbehave.
const (
	demoDelay     = 50 * time.Millisecond
	demoFailEvery = 10
)

// demoOrigins are the servers of the demo, inside this process.
type demoOrigins struct {
	servers []*demoOrigin
}

type demoOrigin struct {
	what    string
	address string
	server  *http.Server
	served  atomic.Uint64
}

// startOrigins starts the three on ports that the system chooses.
func startOrigins() (*demoOrigins, error) {
	o := &demoOrigins{}
	for _, kind := range []struct {
		what  string
		serve func(n uint64) int
	}{
		{"works", func(uint64) int { return http.StatusOK }},
		{fmt.Sprintf("is slow: %v per request", demoDelay), func(uint64) int {
			<-time.After(demoDelay)
			return http.StatusOK
		}},
		{fmt.Sprintf("fails every %dth request", demoFailEvery), func(n uint64) int {
			if n%demoFailEvery == 0 {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		}},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			o.close()
			return nil, fmt.Errorf("start a server for the demo: %w", err)
		}
		s := &demoOrigin{what: kind.what, address: ln.Addr().String()}
		s.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := s.served.Add(1)
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(kind.serve(n))
			fmt.Fprintf(w, "%s answers %s %s, its request number %d; it %s\n", s.address, r.Method, r.URL.Path, n, s.what)
		})}
		o.servers = append(o.servers, s)
		go s.server.Serve(ln)
	}
	return o, nil
}

func (o *demoOrigins) addresses() []string {
	var list []string
	for _, s := range o.servers {
		list = append(list, s.address)
	}
	return list
}

// what says how the server at an address behaves.
func (o *demoOrigins) what(address string) string {
	for _, s := range o.servers {
		if s.address == address {
			return s.what
		}
	}
	return ""
}

func (o *demoOrigins) close() {
	for _, s := range o.servers {
		s.server.Close()
	}
}
