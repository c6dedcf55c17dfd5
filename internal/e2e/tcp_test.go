package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

// serveStream starts a TCP server whose connections echo what they get, and say at the end
// how much it was: a client that has ended its side gets the sum nevertheless.
func serveStream(t *testing.T) *server {
	t.Helper()
	return serve(t, func(c net.Conn) {
		if n, err := io.Copy(c, c); err == nil {
			fmt.Fprintf(c, "\n%d bytes", n)
		}
	})
}

// exchange sends a text over a session and returns as many bytes as come back.
func (w *wire) exchange(t *testing.T, text string) string {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(w.r, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantReset waits for the end of a session, which has to be a reset.
func wantReset(t *testing.T, w *wire) {
	t.Helper()
	if _, err := w.r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the session ended with %v, want a reset", err)
	}
}

// wantRefused begins a session that has to be reset, which may happen before the client has
// noticed that it was accepted.
func wantRefused(t *testing.T, address string) {
	t.Helper()
	w, err := dial(address)
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	wantReset(t, w)
}

func TestBytesPassBothWaysAndSoDoTheEndsOfStreams(t *testing.T) {
	t.Parallel()
	echo := serveStream(t)
	s := start(t, static("queue", `protocol = "tcp"`, echo.address))
	w := connect(t, s.address("queue"))
	if got := w.exchange(t, "hello"); got != "hello" {
		t.Fatalf("%q came back", got)
	}

	// Bulk, in pieces of all sizes; then the client ends its side, and still gets the rest.
	const size = 8 << 20
	random := rand.New(rand.NewPCG(1, 2))
	sent, got := sha256.New(), sha256.New()
	var sending sync.WaitGroup
	sending.Go(func() {
		for left := size; left > 0; {
			piece := make([]byte, min(left, 1+random.IntN(200_000)))
			for i := range piece {
				piece[i] = byte(random.Uint32())
			}
			sent.Write(piece)
			if _, err := w.Write(piece); err != nil {
				t.Errorf("after all but %d bytes: %v", left, err)
				return
			}
			left -= len(piece)
		}
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	n, err := io.CopyN(got, w.r, size)
	if err != nil {
		t.Fatalf("after %d bytes: %v", n, err)
	}
	rest, err := io.ReadAll(w.r)
	sending.Wait()
	if want := fmt.Sprintf("\n%d bytes", size+len("hello")); err != nil || string(rest) != want {
		t.Errorf("behind the end of the client's stream came %q, %v, want %q", rest, err, want)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("other bytes came back than were sent")
	}
	within(t, patience, "the session is over at the endpoint too", func() bool { return echo.open() == 0 })
}

// An endpoint may be the first to end its stream, and read on.
func TestAnEndpointThatEndsItsStreamFirstStillReads(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	read := make(chan string, 1)
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "banner")
		c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		read <- fmt.Sprintf("%s %v", b, err)
	})
	s := start(t, static("queue", `protocol = "tcp"`, ln.Addr().String()))
	w := connect(t, s.address("queue"))
	if b, err := io.ReadAll(w.r); err != nil || string(b) != "banner" {
		t.Fatalf("%q, %v", b, err)
	}
	io.WriteString(w, "afterwards")
	w.Close()
	if got := <-read; got != "afterwards <nil>" {
		t.Errorf("the endpoint read %q", got)
	}
}

func deadOverTCP(t *testing.T, agent *consultest.Agent) {
	alive := serveStream(t)
	agent.Register(consultest.Service{ID: "mixed-1", Name: "mixed", Port: portOf(deadAddress(t))})
	agent.Register(consultest.Service{ID: "mixed-2", Name: "mixed", Port: portOf(alive.address)})
	s := start(t, "[[service]]\nname = \"mixed\"\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbalancer.policy = \"round_robin\"\n", consulAt(agent))
	s.waitReady()
	s.waitTotal("mixed", 2)
	for range 20 {
		w := connect(t, s.address("mixed"))
		if got := w.exchange(t, "hello"); got != "hello" {
			t.Fatalf("%q came back", got)
		}
	}
	var failures uint64
	for _, e := range s.service("mixed").Endpoints {
		failures += e.Counters.Failures()
	}
	if failures == 0 {
		t.Error("the dead instance was never tried, which proves nothing")
	}
}

func leavingOverTCP(t *testing.T, agent *consultest.Agent) {
	echo := serveStream(t)
	agent.Register(consultest.Service{Name: "leaving", Port: portOf(echo.address)})
	// Three listeners in front of the same instance.
	s := start(t, `
[defaults.discovery]
service = "leaving"
[[service]]
name = "kept"
listen = "127.0.0.1:0"
protocol = "tcp"
[[service]]
name = "cut"
listen = "127.0.0.1:0"
protocol = "tcp"
on_down = "close"
`, consulAt(agent))
	s.waitReady()
	kept, cut := connect(t, s.address("kept")), connect(t, s.address("cut"))
	kept.exchange(t, "a")
	cut.exchange(t, "b")

	begin := time.Now()
	agent.Deregister("leaving")
	wantReset(t, cut)
	t.Logf("a session is cut %v after its instance has left", time.Since(begin).Round(time.Millisecond))
	s.waitTotal("kept", 0)
	if got := kept.exchange(t, "still here"); got != "still here" {
		t.Errorf("the session to be kept echoes %q", got)
	}
	for _, e := range s.service("kept").Endpoints {
		if e.State != "retired" || e.InFlight != 1 {
			t.Errorf("the endpoint that left is %s with %d in flight, want retired with 1", e.State, e.InFlight)
		}
	}
	// There is no way for new ones.
	wantRefused(t, s.address("kept"))
	kept.Close()
	within(t, patience, "the retired endpoint is forgotten", func() bool { return len(s.service("kept").Endpoints) == 0 })
}

func TestOneOriginBehindBothProtocols(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "both")
	s := start(t, static("web", "", o.address)+static("raw", `protocol = "tcp"`, o.address))
	for _, service := range []string{"web", "raw"} {
		if a := get(t, s.address(service), "/"); a.status != http.StatusOK || a.origin() != o.name {
			t.Errorf("%s: %+v", service, a)
		}
	}
}
