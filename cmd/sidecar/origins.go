package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
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
	running sync.WaitGroup
}

type demoOrigin struct {
	what    string
	address string
	server  *http.Server
	served  atomic.Uint64
}

// A temper is how an origin behaves: it says the status of its nth answer.
type temper struct {
	what   string
	answer func(r *http.Request, n uint64) int
}

var tempers = [...]temper{
	{"works", func(*http.Request, uint64) int { return http.StatusOK }},
	{fmt.Sprintf("is slow: %v per request", demoDelay), func(r *http.Request, _ uint64) int {
		timer := time.NewTimer(demoDelay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done(): // nobody waits for the answer any more
		}
		return http.StatusOK
	}},
	{fmt.Sprintf("fails every %dth request", demoFailEvery), func(_ *http.Request, n uint64) int {
		if n%demoFailEvery == 0 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	}},
}

// startOrigins starts one of each temper, on ports that the system chooses.
func startOrigins() (*demoOrigins, error) {
	o := &demoOrigins{}
	for _, t := range tempers {
		ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			o.close()
			return nil, fmt.Errorf("start a server for the demo: %w", err)
		}
		s := &demoOrigin{what: t.what, address: ln.Addr().String()}
		s.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: s.handler(t)}
		o.servers = append(o.servers, s)
		o.running.Go(func() {
			_ = s.server.Serve(ln) // until close; nothing else ends it
		})
	}
	return o, nil
}

func (s *demoOrigin) handler(t temper) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := s.served.Add(1)
		status := t.answer(r, n)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprintf(w, "%s answers %s %s, its request number %d; it %s\n", s.address, r.Method, r.URL.Path, n, s.what)
	}
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
	o.running.Wait()
}
