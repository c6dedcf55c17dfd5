package e2e

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A hasty origin closes connections that were in use before: at any moment within 50 ms of a
// response, and some when a request has arrived. What it has not answered it has not executed.
type hasty struct {
	*server
	left    atomic.Int64 // connections closed while nothing had arrived, as far as it could see
	refused atomic.Int64 // … and with a request that had

	mu       sync.Mutex
	executed map[string]int // what was asked for: how often
}

func serveHasty(t *testing.T) *hasty {
	t.Helper()
	h := &hasty{executed: map[string]int{}}
	h.server = serve(t, h.play)
	return h
}

func (h *hasty) play(c net.Conn) {
	r := bufio.NewReader(c)
	for first := true; ; first = false {
		refuse := !first && rand.IntN(20) == 0
		if !first && !h.await(c, r) {
			return
		}
		if refuse && rand.IntN(2) == 0 {
			h.refused.Add(1)
			return // with what has arrived unread, if it is more than one read's worth
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if refuse {
			h.refused.Add(1)
			return
		}
		h.mu.Lock()
		h.executed[req.URL.Path]++
		h.mu.Unlock()
		text := receipt(req.Method, req.URL.Path, body)
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text); err != nil {
			return
		}
	}
}

// await waits for the next request for as long as this connection is kept.
func (h *hasty) await(c net.Conn, r *bufio.Reader) bool {
	keep := rand.N(50 * time.Millisecond)
	if rand.IntN(2) == 0 {
		keep /= 50 // so that many end just when they are used again
	}
	if c.SetReadDeadline(time.Now().Add(keep)) != nil {
		return false
	}
	if _, err := r.Peek(1); err != nil {
		h.left.Add(1)
		return false
	}
	return c.SetReadDeadline(time.Time{}) == nil
}

// receipt is what a request is answered with: it proves which one was executed, and that its
// body was whole.
func receipt(method, path string, body []byte) string {
	return fmt.Sprintf("%s %s %d %08x", method, path, len(body), crc32.ChecksumIEEE(body))
}

// An order is a request that can be told from all others.
type order struct {
	method, path string
	key          bool // with Idempotency-Key
	chunked      bool
	body         []byte
}

func (o order) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: e2e\r\n", o.method, o.path)
	if o.key {
		fmt.Fprintf(&b, "Idempotency-Key: \"%s\"\r\n", o.path[1:])
	}
	switch {
	case o.chunked && len(o.body) > 0:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(o.body), o.body)
	case o.method == http.MethodPost:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(o.body), o.body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

// largestReplayed is the largest body that is kept for another attempt.
const largestReplayed = 64 << 10

// newOrder is the nth one; bodies are of all sizes up to the largest.
func newOrder(n int, method string, key bool) order {
	o := order{method: method, path: fmt.Sprintf("/%d", n), key: key}
	if method != http.MethodPost {
		return o
	}
	size := [...]int{0, 10, 300, 2_000, 15_000, 20_000, largestReplayed - 1000, largestReplayed}[rand.IntN(8)]
	o.chunked = size < largestReplayed && rand.IntN(4) == 0
	o.body = make([]byte, size)
	fill(o.body, int64(n)<<20)
	return o
}

// orderAll sends n orders over 16 connections, and hands each answer to check, which may be
// called by several goroutines at the same time.
func orderAll(t *testing.T, address string, n int, next func(n int) order, check func(order, answer)) {
	t.Helper()
	var sent atomic.Int64
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			var w *wire
			for i := int(sent.Add(1)); i <= n && !t.Failed(); i = int(sent.Add(1)) {
				var err error
				if w == nil {
					if w, err = dial(address); err != nil {
						t.Error(err)
						return
					}
					defer w.Close()
				}
				w.SetDeadline(time.Now().Add(2 * patience))
				o := next(i)
				_, err = io.WriteString(w, o.String())
				var a answer
				if err == nil {
					a, err = w.receive()
				}
				if err != nil {
					t.Errorf("%s %s: %v", o.method, o.path, err)
					return
				}
				check(o, a)
				if a.close {
					w.Close()
					w = nil
				}
			}
		})
	}
	clients.Wait()
}

// report says what happened, and makes sure that something did.
func (h *hasty) report(t *testing.T, s *sidecar) {
	t.Helper()
	t.Logf("the origin closed %d idle connections, and %d under a request; %v were opened, %v reused", h.left.Load(), h.refused.Load(),
		sum(metrics(t, s), "sidecar_http_upstream_connections_opened_total"), sum(metrics(t, s), "sidecar_http_upstream_connections_reused_total"))
	if h.left.Load() == 0 || h.refused.Load() == 0 {
		t.Error("no connection was closed under a request, which proves nothing")
	}
	if e := s.endpoint("orders", h.address); e.Counters.Failures() > 0 {
		t.Errorf("what any server may do is held against the endpoint: %+v", e.Counters)
	}
}

func TestRequestsThatMayBeRepeatedOutliveIdleConnections(t *testing.T) {
	t.Parallel()
	h := serveHasty(t)
	s := start(t, static("orders", "", h.address))
	n := sized(5_000, 100_000)
	begin := time.Now()
	orderAll(t, s.address("orders"), n, func(n int) order {
		if n%2 == 0 {
			return newOrder(n, http.MethodGet, false)
		}
		return newOrder(n, http.MethodPost, true)
	}, func(o order, a answer) {
		if want := receipt(o.method, o.path, o.body); a.status != http.StatusOK || a.body != want {
			t.Errorf("%s %s with %d bytes (chunked: %v): %+v, want %s", o.method, o.path, len(o.body), o.chunked, a, want)
		}
	})
	t.Logf("%d requests in %v", n, time.Since(begin).Round(time.Millisecond))
	h.report(t, s)
}

func TestAPlainPOSTIsExecutedOnceOrItsFailureIsTold(t *testing.T) {
	t.Parallel()
	h := serveHasty(t)
	s := start(t, static("orders", "", h.address))
	n := sized(5_000, 100_000)
	var mu sync.Mutex
	told := map[string]bool{}
	orderAll(t, s.address("orders"), n, func(n int) order { return newOrder(n, http.MethodPost, false) }, func(o order, a answer) {
		want := receipt(o.method, o.path, o.body)
		switch {
		case a.status == http.StatusOK && a.body == want:
		case a.status == http.StatusBadGateway && a.header.Get("Sidecar-Error") == "idle-race":
			mu.Lock()
			told[o.path] = true
			mu.Unlock()
		default:
			t.Errorf("%s with %d bytes: %+v, want %s or an idle-race", o.path, len(o.body), a, want)
		}
	})
	executed := 0
	for path, times := range h.executed {
		executed++
		if times > 1 {
			t.Errorf("%s was executed %d times", path, times)
		}
		if told[path] {
			t.Errorf("%s was executed, and said to have failed", path)
		}
	}
	t.Logf("of %d, %d were executed and %d told to have failed", n, executed, len(told))
	if executed+len(told) != n {
		t.Errorf("%d executed and %d told, want %d in all", executed, len(told), n)
	}
	if len(told) == 0 {
		t.Error("none failed, which proves nothing")
	}
	h.report(t, s)
}
