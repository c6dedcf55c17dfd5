package secure

import (
	"crypto/tls"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"sidecar/internal/eventloop"
)

// patience bounds what must come true but is not said when; no test passes because of it.
const patience = 30 * time.Second

// A tester runs one loop, and checks at the end that nothing is left on it.
type tester struct {
	testing.TB
	loop *eventloop.Loop
	ca   *authority
}

func newTester(t testing.TB) *tester {
	t.Helper()
	g, err := eventloop.NewGroup(eventloop.Options{Loops: 1, OnPanic: func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }})
	if err != nil {
		t.Fatal(err)
	}
	tt := &tester{TB: t, loop: g.Loops()[0], ca: newAuthority(t, "ours")}
	t.Cleanup(func() {
		if !t.Failed() {
			tt.until("the loop is quiet", func() bool { s := tt.loop.Stats(); return s.Conns == 0 && s.Tasks == 0 })
		}
		g.Close()
	})
	return tt
}

// on runs fn on the loop, outside of any task.
func (t *tester) on(fn func()) {
	t.Helper()
	done := make(chan struct{})
	if !t.loop.Post(func() { defer close(done); fn() }) {
		t.Fatal("the loop has ended")
	}
	<-done
}

// start starts a task and returns a channel that closes at its end.
func (t *tester) start(fn func(*eventloop.Task)) <-chan struct{} {
	done := make(chan struct{})
	t.loop.Post(func() { t.loop.Go(eventloop.RunFunc(func(task *eventloop.Task) { defer close(done); fn(task) })) })
	return done
}

// run runs a task to its end.
func (t *tester) run(fn func(*eventloop.Task)) {
	t.Helper()
	select {
	case <-t.start(fn):
	case <-time.NewTimer(patience).C:
		buf := make([]byte, 1<<20)
		t.Fatalf("a task does not end\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// until asks on the loop, turn after turn, until cond is true there.
func (t *tester) until(what string, cond func() bool) {
	t.Helper()
	ok := false
	for giveUp := time.Now().Add(patience); !ok; t.on(func() { ok = cond() }) {
		if time.Now().After(giveUp) {
			t.Fatal("still not so: " + what)
		}
	}
}

type acceptFunc func(c *eventloop.Conn)

func (f acceptFunc) Accepted(c *eventloop.Conn) { f(c) }

// serve opens a TLS listener; fn is called in the task of each connection when its handshake has
// ended, well or not.
func (t *tester) serve(cfg *tls.Config, fn func(task *eventloop.Task, s *Conn, err error)) string {
	t.Helper()
	ln, err := t.loop.Group().Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *eventloop.Conn) {
		t.loop.Go(eventloop.RunFunc(func(task *eventloop.Task) {
			s := Server(c, cfg)
			defer s.Upper().Close()
			fn(task, s, s.Handshake(task, patience))
		}))
	}), eventloop.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ln.Close)
	return ln.Addr().String()
}

// dial connects to a server and waits for the end of the handshake. The caller closes Upper.
func (t *tester) dial(task *eventloop.Task, address string, cfg *tls.Config) (*Conn, error) {
	raw, err := t.loop.StartDial(netip.MustParseAddrPort(address))
	if err != nil {
		return nil, err
	}
	c := Client(raw, cfg)
	for {
		made, err := c.Upper().Established()
		if made || err != nil {
			return c, err
		}
		if err := task.Wait(-1, eventloop.Interest{Conn: c.Upper(), Events: eventloop.Writable}); err != nil {
			return c, err
		}
	}
}

// peer listens with crypto/tls, and hands fn each connection on a goroutine of its own.
func (t *tester) peer(fn func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fn(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// server and client are configurations that get on with each other.
func (t *tester) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{t.ca.issue(wish{names: []string{"a.example"}})}}
}

func (t *tester) client() *tls.Config {
	return &tls.Config{RootCAs: t.ca.pool(), ServerName: "a.example"}
}

// at limits a configuration to one version.
func at(version uint16, cfg *tls.Config) *tls.Config {
	cfg.MinVersion, cfg.MaxVersion = version, version
	return cfg
}

// echo sends back what it reads until the end, and then its own end.
func echo(c *eventloop.Conn) error {
	b := c.Loop().Buffer()
	defer c.Loop().Release(b)
	for {
		n, err := c.Read(b)
		if n > 0 {
			if _, err := c.Write(b[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			c.CloseWrite()
			return err
		}
	}
}
