package e2e

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A wire is a client's connection. It does nothing by itself: unlike http.Client it never
// sends a request again when a connection breaks, so that nothing that a user would see is
// hidden.
type wire struct {
	net.Conn
	r *bufio.Reader
}

// dial connects to a listener of a sidecar.
func dial(address string) (*wire, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return nil, err
	}
	return &wire{c, bufio.NewReader(c)}, nil
}

// connect is dial for the length of a test.
func connect(t *testing.T, address string) *wire {
	t.Helper()
	w, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// An answer is a response that has come whole.
type answer struct {
	status int
	header http.Header
	body   string
	close  bool // the connection ends behind it
}

func (a answer) origin() string { return a.header.Get(originHeader) }

func (w *wire) send(path string) error {
	_, err := io.WriteString(w, "GET "+path+" HTTP/1.1\r\nHost: e2e\r\n\r\n")
	return err
}

// receive reads an answer, and passes over interim ones, as any client has to.
func (w *wire) receive() (answer, error) {
	resp, err := http.ReadResponse(w.r, nil)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(w.r, nil)
	}
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), resp.Close}, err
}

func (w *wire) get(path string) (answer, error) {
	if err := w.send(path); err != nil {
		return answer{}, err
	}
	return w.receive()
}

// get makes one request on a connection of its own.
func get(t *testing.T, address, path string) answer {
	t.Helper()
	w, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	a, err := w.get(path)
	if err != nil {
		t.Fatalf("GET %s from %s: %v", path, address, err)
	}
	return a
}

// A load asks without a pause, over keep-alive connections, and counts.
type load struct {
	address string
	stopped chan struct{}
	clients sync.WaitGroup

	mu       sync.Mutex
	answers  int
	by       map[string]int // origin: answers
	failures []string
}

// startLoad lets clients loose on a listener until stop, or the end of the test.
func startLoad(t *testing.T, address string, clients int) *load {
	l := &load{address: address, stopped: make(chan struct{}), by: map[string]int{}}
	for range clients {
		l.clients.Go(l.client)
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *load) client() {
	var w *wire
	defer func() {
		if w != nil {
			w.Close()
		}
	}()
	for {
		select {
		case <-l.stopped:
			return
		default:
		}
		if w == nil {
			var err error
			if w, err = dial(l.address); err != nil {
				l.count(answer{}, err)
				return
			}
		}
		a, err := w.get("/")
		l.count(a, err)
		if err != nil || a.close {
			w.Close()
			w = nil
		}
	}
}

func (l *load) count(a answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.failures = append(l.failures, err.Error())
	case a.status != http.StatusOK:
		l.failures = append(l.failures, fmt.Sprintf("%d: %s", a.status, a.body))
	default:
		l.answers++
		l.by[a.origin()]++
	}
}

// total is how many good answers there were.
func (l *load) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers
}

// from is how many of them came from an origin.
func (l *load) from(origin string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[origin]
}

// more waits for n further answers.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	want := l.total() + n
	within(t, 2*patience, fmt.Sprintf("%d further answers", n), func() bool { return l.total() >= want })
}

// stop ends it; the second time it does nothing.
func (l *load) stop() {
	l.mu.Lock()
	select {
	case <-l.stopped:
	default:
		close(l.stopped)
	}
	l.mu.Unlock()
	l.clients.Wait()
}

// end stops it and fails the test if a single request failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	t.Logf("%d answers: %v", l.answers, maps.Clone(l.by))
	if n := len(l.failures); n > 0 {
		t.Errorf("%d of %d requests failed, such as:\n%q", n, n+l.answers, l.failures[:min(n, 5)])
	}
}
