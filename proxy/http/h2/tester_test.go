package h2

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"sidecar/internal/eventloop"
)

// patience bounds what must come true but is not said when; no test passes because of it.
const patience = 30 * time.Second

// A tester has a loop for one test, and checks at the end that nothing is left on it.
type tester struct {
	testing.TB
	g    *eventloop.Group
	l    *eventloop.Loop
	opts Options
	all  Counters
	prep func(*conn) // may change what a connection starts with

	mu      sync.Mutex
	servers []*Server
	errs    chan error // of servers' connections that have ended
}

func newTester(t testing.TB) *tester {
	t.Helper()
	tt := &tester{TB: t, errs: make(chan error, 64)}
	g, err := eventloop.NewGroup(eventloop.Options{Loops: 1, OnPanic: func(v any, stack []byte) {
		t.Errorf("panic: %v\n%s", v, stack)
	}})
	if err != nil {
		t.Fatal(err)
	}
	tt.g, tt.l = g, g.Loops()[0]
	tt.opts.Counters = &tt.all
	t.Cleanup(func() {
		g.Close()
		if s := tt.l.Stats(); s.Conns != 0 || s.Tasks != 0 {
			t.Errorf("after Close: %+v", s)
		}
	})
	return tt
}

// on runs fn on the loop, outside of any task, and waits for it.
func (t *tester) on(fn func()) {
	t.Helper()
	done := make(chan struct{})
	if !t.l.Post(func() { defer close(done); fn() }) {
		t.Fatal("the loop has ended")
	}
	<-done
}

// start starts a task and returns a channel that closes at its end.
func (t *tester) start(fn func(*eventloop.Task)) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	t.on(func() { t.l.Go(eventloop.RunFunc(func(task *eventloop.Task) { defer close(done); fn(task) })) })
	return done
}

func (t *tester) run(fn func(*eventloop.Task)) {
	t.Helper()
	<-t.start(fn)
}

// until asks on the loop, turn after turn, until cond is true there.
func (t *tester) until(what string, cond func() bool) {
	t.Helper()
	for giveUp := time.Now().Add(patience); ; runtime.Gosched() {
		ok := false
		t.on(func() { ok = cond() })
		if ok {
			return
		}
		if time.Now().After(giveUp) {
			buf := make([]byte, 1<<20)
			t.Fatalf("still not so: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// quiet waits until nothing is open on the loop.
func (t *tester) quiet() {
	t.Helper()
	t.until("the loop is quiet", func() bool { s := t.l.Stats(); return s.Conns == 0 && s.Tasks == 0 })
}

type acceptFunc func(c *eventloop.Conn)

func (f acceptFunc) Accepted(c *eventloop.Conn) { f(c) }

// serve listens, and answers each stream by handle in a task of its own.
func (t *tester) serve(handle func(*eventloop.Task, *eventloop.Conn)) string {
	t.Helper()
	ln, err := t.g.Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *eventloop.Conn) {
		s := NewServer(c, &t.opts, func(stream *eventloop.Conn) {
			t.l.Go(eventloop.RunFunc(func(task *eventloop.Task) {
				defer stream.Close()
				handle(task, stream)
			}))
		})
		if t.prep != nil {
			t.prep(s.c)
		}
		t.mu.Lock()
		t.servers = append(t.servers, s)
		t.mu.Unlock()
		t.l.Go(eventloop.RunFunc(func(task *eventloop.Task) {
			err := s.Serve(task, nil)
			select {
			case t.errs <- err:
			default:
			}
		}))
	}), eventloop.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ln.Close)
	return ln.Addr().String()
}

// connections is how many connections have been accepted.
func (t *tester) connections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.servers)
}

func (t *tester) server(i int) *Server {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.servers[i]
}

// handler is a handler of net/http as one of streams. It answers as soon as it writes.
func handler(h http.HandlerFunc) func(*eventloop.Task, *eventloop.Conn) {
	return func(_ *eventloop.Task, c *eventloop.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		w := &writer{conn: c, header: http.Header{}, req: req}
		h(w, req)
		w.finish()
	}
}

// A writer writes a response as text of HTTP/1.1, chunked unless it has a length.
type writer struct {
	conn    net.Conn
	header  http.Header
	req     *http.Request
	chunked bool
	begun   bool
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.begun {
		return
	}
	w.begun = true
	h := w.header.Clone()
	for k := range h {
		if len(k) > len(http.TrailerPrefix) && k[:len(http.TrailerPrefix)] == http.TrailerPrefix {
			delete(h, k)
		}
	}
	w.chunked = h.Get("Content-Length") == "" && status >= 200 && status != 204 && status != 304 && w.req.Method != "HEAD"
	if w.chunked {
		h.Set("Transfer-Encoding", "chunked")
	}
	b := []byte("HTTP/1.1 " + http.StatusText(status))
	b = append(b[:9], []byte(itoa(status)+" "+http.StatusText(status)+"\r\n")...)
	w.conn.Write(b)
	h.Write(w.conn)
	io.WriteString(w.conn, "\r\n")
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(200)
	if !w.chunked {
		return w.conn.Write(p)
	}
	const hex = "0123456789abcdef"
	for rest := p; len(rest) > 0; {
		n := min(len(rest), 0xffff)
		size := []byte{hex[n>>12], hex[n>>8&15], hex[n>>4&15], hex[n&15], '\r', '\n'}
		for _, part := range [][]byte{size, rest[:n], []byte("\r\n")} {
			if _, err := w.conn.Write(part); err != nil {
				return 0, err
			}
		}
		rest = rest[n:]
	}
	return len(p), nil
}

func (w *writer) finish() {
	w.WriteHeader(200)
	if w.chunked {
		io.WriteString(w.conn, "0\r\n")
		for k, v := range w.header {
			if len(k) > len(http.TrailerPrefix) && k[:len(http.TrailerPrefix)] == http.TrailerPrefix {
				io.WriteString(w.conn, k[len(http.TrailerPrefix):]+": "+v[0]+"\r\n")
			}
		}
		io.WriteString(w.conn, "\r\n")
	}
}

// unencrypted is HTTP/2 and nothing else, without TLS.
func unencrypted() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// transport is a client of net/http.
func (t *tester) transport() *http.Transport {
	tr := &http.Transport{Protocols: unencrypted()}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// peer is a server of net/http that allows so many streams, 0: as many as it likes.
func (t *tester) peer(streams int, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: unencrypted(), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams}}
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(ln) })
	t.Cleanup(func() {
		s.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// client connects to a server of whatever kind.
func (t *tester) client(addr string) *Client {
	t.Helper()
	var k *Client
	t.run(func(*eventloop.Task) {
		c, err := t.l.DialAddress(addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		k = NewClient(c, &t.opts)
		if t.prep != nil {
			t.prep(k.c)
		}
	})
	if k == nil {
		t.FailNow()
	}
	return k
}

// roundTrip sends a request on a new stream of k and reads the response to its end. It is for
// use in a task.
func roundTrip(k *Client, req *http.Request) (*http.Response, string, error) {
	c, err := k.Open()
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	if err := req.Write(c); err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
