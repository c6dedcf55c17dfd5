package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A footprint is what a sidecar holds while nothing is asked of it.
type footprint struct {
	descriptors int
	connections float64
	tasks       float64
	goroutines  float64
	heap        float64 // bytes that are in use, after a collection
	resident    float64
}

func (f footprint) String() string {
	return fmt.Sprintf("%d descriptors, %v connections, %v tasks, %v goroutines, %.1f MiB of heap in use, %.1f MiB resident",
		f.descriptors, f.connections, f.tasks, f.goroutines, f.heap/(1<<20), f.resident/(1<<20))
}

// descriptors are those that a process has open.
func (p *process) descriptors() int {
	p.t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(list)
}

// rest is the footprint when nothing is under way.
func rest(t *testing.T, s *sidecar) footprint {
	t.Helper()
	return collected(t, s, "nothing is under way", func(f footprint) bool { return f.connections == 0 && f.tasks == 0 })
}

// collected waits for what is looked for, and for two collections of garbage, which the scrapes
// themselves bring about. Of what was seen after the first it returns the least: what else is
// in use is garbage of the scrapes.
func collected(t *testing.T, s *sidecar, what string, ok func(footprint) bool) footprint {
	t.Helper()
	var f footprint
	collections, first := 0, 0.0
	last := 0.0
	within(t, 4*patience, what+", and garbage has been collected", func() bool {
		m := metrics(t, s)
		now := footprint{
			descriptors: s.descriptors(),
			connections: sum(m, "sidecar_loop_connections"), tasks: sum(m, "sidecar_loop_tasks"), goroutines: sum(m, "go_goroutines"),
			heap: sum(m, "go_memstats_heap_alloc_bytes"), resident: sum(m, "process_resident_memory_bytes"),
		}
		if !ok(now) {
			return false
		}
		at := sum(m, "go_memstats_last_gc_time_seconds")
		switch {
		case first == 0:
			first, last, f = at, at, now
			return false
		case at != last:
			collections, last = collections+1, at
			if collections == 1 {
				f = now
			}
		}
		f.heap, f.descriptors, f.goroutines = min(f.heap, now.heap), min(f.descriptors, now.descriptors), min(f.goroutines, now.goroutines)
		f.resident = now.resident
		return collections >= 2
	})
	return f
}

// churners is how many clients make connections at the same time.
const churners = 16

// churn makes n requests, ten on each connection, which ends in one of the ways that
// connections end.
func churn(t *testing.T, address string, n int) {
	t.Helper()
	const perConnection = 10
	var left atomic.Int64
	left.Store(int64(n / perConnection))
	var all sync.WaitGroup
	for range churners {
		all.Go(func() {
			for {
				kind := left.Add(-1)
				if kind < 0 || t.Failed() {
					return
				}
				if err := oneConnection(address, perConnection, int(kind)%5); err != nil {
					t.Errorf("a connection of kind %d: %v", kind%5, err)
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func oneConnection(address string, n, kind int) error {
	w, err := dial(address)
	if err != nil {
		return err
	}
	defer w.Close()
	for i := range n {
		a, err := w.get("/")
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("request %d: %+v %w", i, a, err)
		}
	}
	switch kind {
	case 1: // reset
		return w.Conn.(*net.TCPConn).SetLinger(0)
	case 2: // in the middle of a request
		_, err = w.Write([]byte("GET / HTTP/1.1\r\nHo"))
	case 3: // with an answer under way, to be reset
		if err = w.send("/"); err == nil {
			err = w.Conn.(*net.TCPConn).SetLinger(0)
		}
	case 4: // half closed, and the answer read
		if err = w.send("/"); err == nil {
			err = w.Conn.(*net.TCPConn).CloseWrite()
		}
		if err == nil {
			_, err = w.receive()
		}
	}
	return err
}

func TestChurnLeavesNothingBehind(t *testing.T) {
	// Not in parallel: it is the longest by far when asked for a million.
	o := serveOrigin(t, "orders-1")
	s := start(t, static("orders", `timeout.upstream_idle = "100ms"`, o.address))
	address := s.address("orders")
	churn(t, address, 5_000) // what is kept for reuse is there from here on
	before := rest(t, s)
	t.Logf("before: %v", before)

	begin := time.Now()
	churn(t, address, *requests)
	t.Logf("%d requests over %d connections in %v", *requests, *requests/10, time.Since(begin).Round(time.Millisecond))
	after := rest(t, s)
	t.Logf("after:  %v", after)

	if after.descriptors > before.descriptors {
		t.Errorf("%d descriptors, %d before", after.descriptors, before.descriptors)
	}
	// A loop keeps the coroutines of its tasks: as many as there once were at the same time,
	// which is a few more or less each time.
	if after.goroutines > before.goroutines+churners {
		t.Errorf("%v goroutines, %v before", after.goroutines, before.goroutines)
	}
	// 400 bytes for each connection, and with a million requests 20.
	if grown := after.heap - before.heap; grown > 2<<20 {
		t.Errorf("%.0f KiB more in use than before", grown/1024)
	}
	if n := sum(metrics(t, s), "sidecar_loop_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
	if e := s.endpoint("orders", o.address); e.InFlight != 0 {
		t.Errorf("%d requests in flight on the endpoint", e.InFlight)
	}
}
