package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A switcher is an origin that echoes what it gets on a connection that was upgraded, and
// says at the end how much that was.
type switcher struct {
	*server
	refuse   atomic.Bool
	accepted atomic.Int64
}

func serveSwitcher(t *testing.T) *switcher {
	t.Helper()
	o := &switcher{}
	o.server = serve(t, o.play)
	return o
}

func (o *switcher) play(c net.Conn) {
	o.accepted.Add(1)
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		upgrade := strings.EqualFold(req.Header.Get("Connection"), "upgrade") && req.Header.Get("Upgrade") == "echo"
		switch {
		case upgrade && o.refuse.Load():
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		case upgrade:
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			if n, err := io.Copy(c, r); err == nil {
				fmt.Fprintf(c, "\n%d bytes", n)
			}
			return
		default:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
		}
	}
}

const askForEcho = "GET /ws HTTP/1.1\r\nHost: e2e\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// upgrade makes a tunnel of a connection; what is in early is sent together with the request.
func upgrade(t *testing.T, address, early string) *wire {
	t.Helper()
	w := connect(t, address)
	if _, err := io.WriteString(w, askForEcho+early); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "echo" || !strings.EqualFold(resp.Header.Get("Connection"), "upgrade") {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		t.Fatalf("%s %v %q", resp.Status, resp.Header, b)
	}
	return w
}

// tunnels are how many there are now, and how many there were.
func (s *sidecar) tunnels() (open, total float64) {
	s.t.Helper()
	m := metrics(s.t, s)
	return sum(m, "sidecar_http_tunnels_open"), sum(m, "sidecar_http_tunnels_total")
}

func TestAnUpgradedConnectionIsATunnel(t *testing.T) {
	t.Parallel()
	o := serveSwitcher(t)
	s := start(t, static("orders", `http.client_idle = "1s"`, o.address))
	w := upgrade(t, s.address("orders"), "early")
	early := make([]byte, len("early"))
	if _, err := io.ReadFull(w.r, early); err != nil || string(early) != "early" {
		t.Fatalf("what came with the request is echoed as %q, %v", early, err)
	}
	if got := w.exchange(t, "hello"); got != "hello" {
		t.Fatalf("%q came back", got)
	}
	if open, total := s.tunnels(); open != 1 || total != 1 {
		t.Errorf("%v tunnels are open, of %v, want 1 of 1", open, total)
	}

	// Bulk, both ways at once; then the client ends its side, and still gets the rest.
	size := int64(sized(16<<20, 1<<30))
	var sending sync.WaitGroup
	sending.Go(func() {
		if n, err := io.CopyBuffer(struct{ io.Writer }{w.Conn}, &source{n: size}, make([]byte, 100_000)); err != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	n, err := drain(io.LimitReader(w.r, size))
	sending.Wait()
	if err != nil || n != size {
		t.Fatalf("%d bytes came back: %v", n, err)
	}
	rest, err := io.ReadAll(w.r)
	if want := fmt.Sprintf("\n%d bytes", size+int64(len("earlyhello"))); err != nil || string(rest) != want {
		t.Errorf("behind the end of the client's side came %q, %v, want %q", rest, err, want)
	}
	within(t, patience, "the tunnel is over at the origin too, and counted", func() bool {
		open, total := s.tunnels()
		return o.open() == 0 && open == 0 && total == 1
	})
}

// A tunnel has a time of its own: that of idle connections does not count for it.
func TestATunnelOutlivesTheTimesOfHTTP(t *testing.T) {
	t.Parallel()
	o := serveSwitcher(t)
	s := start(t, static("orders", "timeout.upstream_idle = \"300ms\"\ntimeout.request = \"300ms\"\nhttp.client_idle = \"300ms\"\nhttp.head_timeout = \"300ms\"", o.address))
	w := upgrade(t, s.address("orders"), "")
	for range 2 { // each waits for longer than all of these times
		idle := connect(t, s.address("orders"))
		if a, err := idle.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
		if _, err := idle.r.ReadByte(); err != io.EOF {
			t.Fatalf("an idle connection ended with %v", err)
		}
		within(t, patience, "the idle connection to the origin is given up", func() bool { return o.open() == 1 })
	}
	if got := w.exchange(t, "still here"); got != "still here" {
		t.Errorf("%q came back", got)
	}
}

func TestATunnelInWhichNothingMovesIsEnded(t *testing.T) {
	t.Parallel()
	o := serveSwitcher(t)
	s := start(t, static("orders", `timeout.idle = "1s"`, o.address))
	w := upgrade(t, s.address("orders"), "")
	w.exchange(t, "hello")
	if b, err := w.r.ReadByte(); err == nil {
		t.Errorf("it ended with the byte %#x", b)
	}
	within(t, patience, "the tunnel is over at the origin too, and counted", func() bool {
		open, total := s.tunnels()
		return o.open() == 0 && open == 0 && total == 1
	})
}

func TestARefusedUpgradeLeavesBothConnectionsUsable(t *testing.T) {
	t.Parallel()
	o := serveSwitcher(t)
	o.refuse.Store(true)
	s := start(t, static("orders", "", o.address), "SIDECAR_RUNTIME_LOOPS=1")
	w := connect(t, s.address("orders"))
	for range 3 {
		io.WriteString(w, askForEcho)
		if a, err := w.receive(); err != nil || a.status != http.StatusForbidden || a.body != "no" || a.close {
			t.Fatalf("%+v, %v", a, err)
		}
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK || a.body != "yes" || a.close {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	if n := o.accepted.Load(); n != 1 {
		t.Errorf("the origin has got %d connections, want one that is used again", n)
	}
	if open, total := s.tunnels(); open != 0 || total != 0 {
		t.Errorf("%v tunnels are open, of %v", open, total)
	}
	// And it may be granted later, on the same connection.
	o.refuse.Store(false)
	io.WriteString(w, askForEcho)
	if resp, err := http.ReadResponse(w.r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", resp, err)
	}
	if got := w.exchange(t, "hello"); got != "hello" {
		t.Errorf("%q came back", got)
	}
}
