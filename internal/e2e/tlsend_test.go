package e2e

import (
	"bufio"
	"crypto/tls"
	bin "encoding/binary" // binary is that of the sidecar
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// recordAlert is the type of the records that carry alerts, of which close_notify is one. TLS 1.2 does
// not hide it.
const recordAlert = 21

// A tap looks at the records that a client gets. It is for one goroutine.
type tap struct {
	net.Conn
	head  []byte // of the record that comes, as far as it is there
	left  int    // of its content
	types []byte
}

// Read is net.Conn's.
func (p *tap) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	for seen := b[:n]; len(seen) > 0; {
		if p.left > 0 {
			skip := min(p.left, len(seen))
			p.left, seen = p.left-skip, seen[skip:]
			continue
		}
		p.head, seen = append(p.head, seen[0]), seen[1:]
		if len(p.head) == 5 {
			p.types = append(p.types, p.head[0])
			p.left, p.head = int(bin.BigEndian.Uint16(p.head[3:])), nil
		}
	}
	return n, err
}

// last is the type of the last record, 0 if there was none.
func (p *tap) last() byte {
	if len(p.types) == 0 {
		return 0
	}
	return p.types[len(p.types)-1]
}

// tapped makes a connection with TLS whose records can be looked at.
func tapped(t *testing.T, address string, c *tls.Config) (*tls.Conn, *tap) {
	t.Helper()
	p := &tap{Conn: connect(t, address).Conn}
	conn := tls.Client(p, c)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn, p
}

// wantEndInOrder waits for the end of a connection of HTTP/1.1, which has to be announced.
func wantEndInOrder(t *testing.T, what string, conn io.Reader, p *tap) {
	t.Helper()
	if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
		t.Errorf("%s: %q, %v, want the end", what, b, err)
	}
	if got := p.last(); got != recordAlert {
		t.Errorf("%s: the last record is of type %d, want that of close_notify", what, got)
	}
}

// wantGoAway plays a client of HTTP/2 without requests, and waits until the connection ends: by a
// GOAWAY, and close_notify.
func wantGoAway(t *testing.T, conn *tls.Conn, p *tap) {
	t.Helper()
	f, away := http2.NewFramer(conn, conn), false
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			if !errors.Is(err, io.EOF) || !away || p.last() != recordAlert {
				t.Errorf("HTTP/2: %v, after GOAWAY: %v, and a last record of type %d", err, away, p.last())
			}
			return
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			away = true
			if g.ErrCode != http2.ErrCodeNo {
				t.Errorf("HTTP/2: GOAWAY for %v", g.ErrCode)
			}
		} else if g, ok := frame.(*http2.PingFrame); ok && !g.IsAck() {
			if err := f.WritePing(true, g.Data); err != nil {
				t.Errorf("HTTP/2: %v", err)
			}
		}
	}
}

// idleH2 begins HTTP/2.
func idleH2(t *testing.T, address string, c *tls.Config) (*tls.Conn, *tap) {
	t.Helper()
	c = c.Clone()
	c.NextProtos = []string{"h2"}
	conn, p := tapped(t, address, c)
	io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettingsAck(); err != nil {
		t.Fatal(err)
	}
	return conn, p
}

func TestIdleConnectionsWithTLSEnd(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	o := serveOrigin(t, "orders-1")
	s := serving(t, static("orders", "http.client_idle = \"1s\"\n"+ending("", ca.issue("orders.test")), o.address))
	c := ca.client("orders.test")
	c.MaxVersion = tls.VersionTLS12
	used, usedTap := tapped(t, s.address("orders"), c)
	w := &wire{used, bufio.NewReader(used)}
	if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
		t.Fatalf("%+v, %v", a, err)
	}
	begin := time.Now()
	unused, unusedTap := tapped(t, s.address("orders"), c)
	two, twoTap := idleH2(t, s.address("orders"), c)
	wantEndInOrder(t, "one that was used", w.r, usedTap)
	t.Logf("it has ended after %v", time.Since(begin).Round(time.Millisecond))
	wantEndInOrder(t, "one that was not", unused, unusedTap)
	wantGoAway(t, two, twoTap)
	within(t, soon, "no connection is left", func() bool { return sum(metrics(t, s), "sidecar_listener_connections_active") == 0 })
}

func TestSIGTERMLetsRequestsByTLSEnd(t *testing.T) {
	t.Parallel()
	const streams = 8
	ca := newAuthority(t, "servers")
	o := serveOrigin(t, "orders-1")
	echo := serveStream(t)
	cert := ca.issue("orders.test")
	s := serving(t, static("orders", ending("", cert), o.address)+static("queue", "protocol = \"tcp\"\n"+ending("", cert), echo.address))
	address, c := s.address("orders"), ca.client("orders.test")
	plain := c.Clone()
	plain.MaxVersion = tls.VersionTLS12
	unused, unusedTap := tapped(t, address, plain)
	two, twoTap := idleH2(t, address, plain)
	silent := connect(t, address)
	halfway := connect(t, address)
	io.WriteString(halfway, "\x16\x03\x01\x02\x00\x01")
	session := connectTLS(t, s.address("queue"), c)
	session.exchange(t, "ping")

	type outcome struct {
		path string
		answer
		err error
	}
	outcomes := make(chan outcome, streams+2)
	var asking sync.WaitGroup
	defer asking.Wait()
	ask := func(path string, get func(string) (answer, error)) {
		asking.Go(func() {
			a, err := get(path)
			outcomes <- outcome{path, a, err}
		})
		<-o.halves
	}
	responding, waiting := connectTLS(t, address, c), connectTLS(t, address, c)
	ask("/half", responding.get)
	ask("/wait", waiting.get)
	trunk := connectH2(t, address, c)
	for i := range streams {
		ask([]string{"/half", "/wait"}[i%2], trunk.get)
	}

	s.signal(syscall.SIGTERM)
	waitDraining(t, s)
	wantEndInOrder(t, "an idle one", unused, unusedTap)
	wantGoAway(t, two, twoTap)
	if b, err := io.ReadAll(silent.r); err != nil || len(b) > 0 {
		t.Errorf("one that has not begun: %q, %v", b, err)
	}
	halfway.Close()
	if c, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection is accepted during the drain (%v)", err)
		if err == nil {
			c.Close()
		}
	}
	if s.ended() {
		t.Fatal("it has ended with requests under way")
	}
	close(o.hold)
	for range streams + 2 {
		got := <-outcomes
		want := half
		if got.path == "/half" {
			want += half
		}
		if got.err != nil || got.status != http.StatusOK || got.body != want {
			t.Errorf("%s: %+v, %v", got.path, got.answer, got.err)
		}
	}
	for _, w := range []*wire{responding, waiting} {
		w.Close() // as clients do behind the last answer
	}
	if _, err := trunk.get("/"); err == nil {
		t.Error("a request is taken behind GOAWAY")
	}
	trunk.Close()
	if got := session.exchange(t, "still here"); got != "still here" {
		t.Errorf("the session echoes %q", got)
	}
	session.Close()
	if end := s.wait(); end.ExitCode() != 0 {
		t.Errorf("it ended with %v", end)
	}
	if log := s.err.String(); !strings.Contains(log, "drained: nothing was cut") {
		t.Error("the log does not say that nothing was cut")
	}
	if n := o.gone.Load(); n != 0 {
		t.Errorf("%d requests were given up", n)
	}
}
