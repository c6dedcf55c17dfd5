package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// A witness is an origin that reads the head of a request, sends what is in answer, reads on,
// and tells how its connection ended.
type witness struct {
	*server
	heads chan struct{}
	ends  chan error
}

func serveWitness(t *testing.T, answer string) *witness {
	t.Helper()
	o := &witness{heads: make(chan struct{}, 1), ends: make(chan error, 1)}
	o.server = serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		o.heads <- struct{}{}
		io.WriteString(c, answer)
		_, err := io.Copy(io.Discard, r)
		o.ends <- err
	})
	return o
}

// Nobody waits for an answer any more, and the origin need not go on working on it.
func TestAClientThatGoesAwayTakesItsRequestWithIt(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: e2e\r\n\r\n"
	half := "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50_000)
	begun := "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 5_000)
	for name, test := range map[string]struct{ request, answer string }{
		"in mid-request":         {half, ""},
		"in a chunk":             {"POST / HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nab", ""},
		"waiting for the answer": {get, ""},
		"in mid-response":        {get, begun},
		"in mid-both":            {half, begun},
	} {
		for _, reset := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reset %v", name, reset), func(t *testing.T) {
				t.Parallel()
				goAway(t, test.request, test.answer, reset)
			})
		}
	}
}

func goAway(t *testing.T, request, answer string, reset bool) {
	o := serveWitness(t, answer)
	s := start(t, static("orders", "", o.address))
	w := connect(t, s.address("orders"))
	if _, err := io.WriteString(w, request); err != nil {
		t.Fatal(err)
	}
	<-o.heads
	if answer != "" {
		if _, err := w.r.Peek(1); err != nil {
			t.Fatal(err)
		}
	}
	if reset {
		w.Conn.(*net.TCPConn).SetLinger(0)
	}
	w.Close()
	took := within(t, soon, "the origin's connection is closed", func() bool { return len(o.ends) == 1 })
	t.Logf("the origin's connection ends after %v: %v", took, <-o.ends)
	within(t, patience, "nothing is left of it", func() bool {
		m := metrics(t, s)
		return sum(m, "sidecar_loop_connections") == 0 && sum(m, "sidecar_loop_tasks") == 0 && s.endpoint("orders", o.address).InFlight == 0
	})
	if n := s.endpoint("orders", o.address).Counters.Failures(); n > 0 {
		t.Errorf("what the client did is held against the endpoint: %d failures", n)
	}
}

// One who ends his side has said that there is no more to come, and waits for the answer.
func TestAClientThatEndsItsSideGetsItsAnswer(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	s := start(t, static("orders", "", o.address))
	w := connect(t, s.address("orders"))
	body := "0123456789"
	io.WriteString(w, "POST /wait HTTP/1.1\r\nHost: e2e\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
	if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-o.halves
	close(o.hold)
	if a, err := w.receive(); err != nil || a.status != http.StatusOK || a.body != half {
		t.Errorf("%+v, %v", a, err)
	}
}
