package e2e

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
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

// A load asks without a pause, or at a pace, over keep-alive connections, and counts.
type load struct {
	address string
	every   time.Duration // from one request of a client to its next, at least
	bounded bool          // there are no more requests than left
	fresh   bool          // each request has a connection of its own
	left    atomic.Int64
	stopped chan struct{}
	clients sync.WaitGroup

	mu       sync.Mutex
	answers  int
	by       map[string]int // origin: answers
	failures []string
	samples  samples
}

// startLoad lets clients loose on a listener until stop, or the end of the test.
func startLoad(t *testing.T, address string, clients int) *load {
	return startPaced(t, address, clients, 0)
}

// startPaced is startLoad with clients that ask at a pace: one that has been answered asks
// again when every has passed since it asked last.
func startPaced(t *testing.T, address string, clients int, every time.Duration) *load {
	l := &load{address: address, every: every}
	l.start(t, clients)
	return l
}

// ask makes n requests, over as many connections as there are clients, and returns what has
// become of them.
func ask(t *testing.T, address string, clients, n int) samples {
	return (&load{address: address, bounded: true}).ask(t, clients, n)
}

// askAfresh is ask with a connection for each request.
func askAfresh(t *testing.T, address string, clients, n int) samples {
	return (&load{address: address, bounded: true, fresh: true}).ask(t, clients, n)
}

func (l *load) ask(t *testing.T, clients, n int) samples {
	l.left.Store(int64(n))
	l.start(t, clients)
	l.clients.Wait()
	return l.samples
}

func (l *load) start(t *testing.T, clients int) {
	l.stopped, l.by = make(chan struct{}), map[string]int{}
	for range clients {
		l.clients.Go(l.client)
	}
	t.Cleanup(func() { l.stop() })
}

// next waits until a client that asked last at before may ask again; it may not if it is false.
func (l *load) next(before time.Time) bool {
	if l.bounded && l.left.Add(-1) < 0 {
		return false
	}
	if wait := l.every - time.Since(before); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.stopped:
		}
	}
	select {
	case <-l.stopped:
		return false
	default:
		return true
	}
}

func (l *load) client() {
	var w *wire
	defer func() {
		if w != nil {
			w.Close()
		}
	}()
	for begin := time.Now().Add(-rand.N(l.every + 1)); l.next(begin); {
		begin = time.Now()
		if w == nil {
			var err error
			if w, err = dial(l.address); err != nil {
				l.count(answer{}, err, begin)
				return
			}
		}
		a, err := w.get("/")
		l.count(a, err, begin)
		if err != nil || a.close || l.fresh {
			w.Close()
			w = nil
		}
	}
}

func (l *load) count(a answer, err error, begin time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, sample{begin, time.Since(begin), a.status, a.origin(), a.header.Get("Sidecar-Error")})
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

// asked is how many answers there were, good or not.
func (l *load) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.samples)
}

// sofar is what has become of the requests until now.
func (l *load) sofar() samples {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.samples)
}
