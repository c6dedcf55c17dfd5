package http

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What most tests say and hear.
var (
	get  = lines("GET / HTTP/1.1", "Host: a")
	ok   = lines("HTTP/1.1 200 OK", "Content-Length: 2") + "hi"
	post = lines("POST / HTTP/1.1", "Host: a", "Content-Length: 5") + "hello"
)

// A peer is one end of a connection to the proxy: a client, or an origin's side of one that
// the proxy has made.
type peer struct {
	t    testing.TB
	conn *net.TCPConn
}

// dial makes a client.
func (r *rig) dial() *peer {
	r.t.Helper()
	c, err := net.Dial("tcp", r.listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return newPeer(r.t, c)
}

func newPeer(t testing.TB, c net.Conn) *peer {
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return &peer{t: t, conn: c.(*net.TCPConn)}
}

func (p *peer) say(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, s); err != nil {
		p.t.Fatalf("say %s: %v", brief(s), err)
	}
}

// pour says s without waiting, for what does not fit into the socket.
func (p *peer) pour(s string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(p.conn, s)
		done <- err
	}()
	return done
}

// drip says s byte by byte.
func (p *peer) drip(s string) {
	p.t.Helper()
	for i := range len(s) {
		p.say(s[i : i+1])
	}
}

// hear wants s and looks at nothing behind it.
func (p *peer) hear(s string) {
	p.t.Helper()
	b := make([]byte, len(s))
	n, err := io.ReadFull(p.conn, b)
	if got := string(b[:n]); got != s {
		i := 0
		for i < n && got[i] == s[i] {
			i++
		}
		p.t.Fatalf("heard %s, want %s; the first difference is at %d (%v)", brief(got), brief(s), i, err)
	}
}

// head hears up to an empty line.
func (p *peer) head() string {
	p.t.Helper()
	var head []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); {
		if _, err := io.ReadFull(p.conn, b); err != nil {
			p.t.Fatalf("head: %v behind %q", err, head)
		}
		head = append(head, b...)
	}
	return string(head)
}

// end wants the end, and nothing before it.
func (p *peer) end() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.conn); err != nil || len(rest) > 0 {
		p.t.Fatalf("heard %s and %v, want the end", brief(string(rest)), err)
	}
}

// gone wants the connection to end, in whatever way.
func (p *peer) gone() {
	p.t.Helper()
	if _, err := io.Copy(io.Discard, p.conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		p.t.Fatalf("heard %v, want the end", err)
	}
}

// broken wants a reset; it returns what came before.
func (p *peer) broken() string {
	p.t.Helper()
	before, err := io.ReadAll(p.conn)
	if !errors.Is(err, syscall.ECONNRESET) {
		p.t.Fatalf("heard %v behind %s, want a reset", err, brief(string(before)))
	}
	return string(before)
}

func (p *peer) close()      { p.conn.Close() }
func (p *peer) closeWrite() { p.conn.CloseWrite() }

// reset goes away at once.
func (p *peer) reset() {
	p.conn.SetLinger(0)
	p.conn.Close()
}

// trade has a request answered.
func trade(client, server *peer) {
	client.t.Helper()
	client.say(get)
	server.hear(get)
	server.say(ok)
	client.hear(ok)
}

// wantOwn wants an answer of the sidecar itself.
func (p *peer) wantOwn(status int, cause string) (head, body string) {
	p.t.Helper()
	head = p.head()
	if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", status)) || !strings.Contains(head, "\r\nSidecar-Error: "+cause+"\r\n") {
		p.t.Fatalf("heard %q, want %d %s", head, status, cause)
	}
	var n int
	_, rest, _ := strings.Cut(head, "\r\nContent-Length: ")
	fmt.Sscan(rest, &n)
	b := make([]byte, n)
	if _, err := io.ReadFull(p.conn, b); err != nil {
		p.t.Fatal(err)
	}
	return head, string(b)
}

func brief(s string) string {
	if len(s) > 300 {
		return fmt.Sprintf("%q… (%d bytes)", s[:300], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// An origin is a server behind the proxy, each of whose connections is given to the test.
type origin struct {
	t     testing.TB
	addr  string
	conns chan net.Conn
}

func newOrigin(t testing.TB) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, addr: ln.Addr().String(), conns: make(chan net.Conn, 1000)}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.conns <- c
		}
	})
	t.Cleanup(func() {
		ln.Close()
		accepting.Wait()
		for len(o.conns) > 0 {
			(<-o.conns).Close()
		}
	})
	return o
}

// accept takes the next connection that the proxy makes.
func (o *origin) accept() *peer {
	o.t.Helper()
	giveUp := time.NewTimer(patience)
	defer giveUp.Stop()
	select {
	case c := <-o.conns:
		return newPeer(o.t, c)
	case <-giveUp.C:
		o.t.Fatal("no connection came")
		return nil
	}
}

// untouched wants that no further connection has come. Whoever asks has heard an answer
// that came later than it would have.
func (o *origin) untouched() {
	o.t.Helper()
	if n := len(o.conns); n > 0 {
		o.t.Errorf("%d more connections came", n)
	}
}
