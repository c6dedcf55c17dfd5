package e2e

import (
	"flag"
	"net"
	"sync"
	"testing"
)

// full makes some tests take the sizes that the requirements name instead of smaller ones.
var full = flag.Bool("e2e.full", false, "100,000 requests against an origin that closes connections, bodies of 4 GiB, 1,000 slow readers")

// sized is the size for a normal run, or that of the requirements.
func sized(normal, required int) int {
	if *full {
		return required
	}
	return normal
}

// A server is a TCP server inside this process, whose connections a function plays.
type server struct {
	address string
	mu      sync.Mutex
	conns   map[net.Conn]bool
}

// serve starts a server. A connection is closed when play returns; at the end of the test all
// are, and it is waited for play.
func serve(t *testing.T, play func(net.Conn)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: ln.Addr().String(), conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = true
			s.mu.Unlock()
			all.Go(func() {
				defer s.forget(c)
				play(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		all.Wait()
	})
	return s
}

func (s *server) forget(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// open is how many connections it has.
func (s *server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
