package daemon

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// until waits for something to be so.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v: %s", patience, what)
		}
	}
}

// runPatient is a daemon to be reloaded which waits for sources as long as it takes.
func runPatient(t *testing.T, text string) *reloading {
	t.Helper()
	r := runReloading(t, text)
	r.options.Warming = patience // no reload runs yet, and nobody else reads it
	return r
}

// A speaker is an endpoint that answers each request with its word, and counts them.
type speaker struct {
	address  string
	requests atomic.Int64
}

func says(t *testing.T, word string) *speaker {
	t.Helper()
	s := new(speaker)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.requests.Add(1)
		io.WriteString(w, word)
	}))
	t.Cleanup(server.Close)
	s.address = server.Listener.Addr().String()
	return s
}

// A caller is a client with one connection, which it keeps.
type caller struct {
	net.Conn
	r *bufio.Reader
}

// call connects to a unix socket that a service listens at.
func call(t *testing.T, path string) *caller {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &caller{c, bufio.NewReader(c)}
}

// get makes a request.
func (c *caller) get() (code int, body string, err error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// want makes a request, and fails unless the answer is a word. Since then the connection may drain.
func (c *caller) want(t *testing.T, word string, since time.Time) {
	t.Helper()
	if code, body, err := c.get(); !slow(since, err) && (err != nil || code != http.StatusOK || body != word) {
		t.Errorf("got %d %q, %v; want %q", code, body, err, word)
	}
}

// fetch makes a request on a connection of its own.
func fetch(path string) (code int, body string, err error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, "", err
	}
	return (&caller{c, bufio.NewReader(c)}).get()
}

// grace is how long a drain of proxy/http waits for what a connection asks that has not asked yet.
const grace = time.Second

// slow tells whether a connection was closed because this client has taken its time, on a machine that
// is busy.
func slow(began time.Time, err error) bool {
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && time.Since(began) >= grace
}

// want fails unless a request to a unix socket is answered with a word.
func want(t *testing.T, path, word string) {
	t.Helper()
	began := time.Now()
	code, body, err := fetch(path)
	for ; slow(began, err); code, body, err = fetch(path) {
		began = time.Now()
	}
	if err != nil || code != http.StatusOK || body != word {
		t.Errorf("got %d %q, %v; want %q", code, body, err, word)
	}
}
