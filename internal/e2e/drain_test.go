package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// begin makes the first half of an answer arrive, and leaves the rest of it under way.
func begin(t *testing.T, s *sidecar, o *origin) *wire {
	t.Helper()
	w := connect(t, s.address("orders"))
	if err := w.send("/half"); err != nil {
		t.Fatal(err)
	}
	<-o.halves
	if _, err := w.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	return w
}

func waitDraining(t *testing.T, s *sidecar) {
	t.Helper()
	within(t, patience, "it drains", func() bool { return strings.Contains(s.err.String(), "draining: nothing more is accepted") })
}

func TestSIGTERMLetsWhatIsRunningEnd(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	tcp := serveStream(t)
	s := start(t, static("orders", "", o.address)+static("queue", `protocol = "tcp"`, tcp.address))
	address := s.address("orders")
	idle, fresh := connect(t, address), connect(t, address)
	if a, err := idle.get("/"); err != nil || a.status != http.StatusOK {
		t.Fatalf("%+v, %v", a, err)
	}
	responding := begin(t, s, o)
	waiting := connect(t, address)
	if err := waiting.send("/wait"); err != nil {
		t.Fatal(err)
	}
	<-o.halves
	session := connect(t, s.address("queue"))
	if got := session.exchange(t, "ping"); got != "ping" {
		t.Fatalf("the session echoes %q", got)
	}
	queue := s.address("queue")

	s.signal(syscall.SIGTERM)
	waitDraining(t, s)
	for name, w := range map[string]*wire{"idle": idle, "unused": fresh} {
		if _, err := w.r.ReadByte(); err != io.EOF {
			t.Errorf("the %s connection ended with %v, want EOF", name, err)
		}
	}
	for _, a := range []string{address, queue} {
		if c, err := net.Dial("tcp", a); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a connection to %s is accepted during the drain (%v)", a, err)
			if err == nil {
				c.Close()
			}
		}
	}
	if r, err := s.Ready(t.Context()); err != nil || r.Ready || !strings.Contains(strings.Join(r.Missing, ""), "draining") {
		t.Errorf("readyz during the drain: %+v, %v", r, err)
	}
	if !s.document().Draining {
		t.Error("the status does not say that it drains")
	}
	if s.ended() {
		t.Fatal("it has ended with requests under way")
	}

	close(o.hold)
	a, err := responding.receive()
	responding.Close() // as clients do behind the last answer; it is waited for them
	if err != nil || a.status != http.StatusOK || a.body != half+half {
		t.Errorf("the answer that had begun: %+v, %v", a, err)
	}
	a, err = waiting.receive()
	waiting.Close()
	if err != nil || a.status != http.StatusOK || a.body != half || !a.close {
		t.Errorf("the answer that had not begun: %+v, %v", a, err)
	}
	if got := session.exchange(t, "still here"); got != "still here" {
		t.Errorf("the session echoes %q", got)
	}
	session.Close()
	if end := s.wait(); end.ExitCode() != 0 {
		t.Errorf("it ended with %v", end)
	}
	if log := s.err.String(); !strings.Contains(log, "drained: nothing was cut") {
		t.Errorf("the log does not say that nothing was cut")
	}
}

// What takes longer than runtime.drain is cut, as the operator has decided: that is not a
// failure of the process, so that its exit status is 0; the log says that it happened.
func TestARequestThatTakesLongerThanTheDrainIsCut(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	tcp := serveStream(t)
	s := start(t, static("orders", "", o.address)+static("queue", `protocol = "tcp"`, tcp.address), "SIDECAR_RUNTIME_DRAIN=50ms")
	w := begin(t, s, o)
	session := connect(t, s.address("queue"))
	session.exchange(t, "ping")
	s.signal(syscall.SIGTERM)
	if a, err := w.receive(); err == nil {
		t.Errorf("half an answer looks like a whole one: %+v", a)
	}
	wantReset(t, session)
	if end := s.wait(); end.ExitCode() != 0 {
		t.Errorf("it ended with %v", end)
	}
	if !strings.Contains(s.err.String(), "what was still running has been cut") {
		t.Errorf("the log does not say that something was cut")
	}
}

// Whoever reads the log may go away at any time: that ends a pipeline, and no daemon.
func TestItServesOnWhenNobodyReadsItsLog(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	cmd, address := prepare(t, static("orders", "", o.address)+static("dead", "", deadAddress(t)))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = write
	s := startCommand(t, cmd, address)
	write.Close()
	read.Close()
	for range 3 {
		if a := get(t, s.address("dead"), "/"); a.status != http.StatusBadGateway { // of which the log tells
			t.Errorf("%+v", a)
		}
	}
	if a := get(t, s.address("orders"), "/"); a.status != http.StatusOK {
		t.Errorf("%+v", a)
	}
}

func TestASecondSIGTERMEndsItAtOnce(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		o := serveOrigin(t, "orders-1")
		s := start(t, static("orders", "", o.address))
		s.checked = true
		begin(t, s, o)
		s.signal(sig)
		waitDraining(t, s)
		// Another, should this one come before the first has been taken note of everywhere.
		within(t, patience, "it has ended", func() bool {
			_ = s.cmd.Process.Signal(sig) // it may have ended already
			return s.ended()
		})
		status := s.wait().Sys().(syscall.WaitStatus)
		if !status.Signaled() || status.Signal() != sig {
			t.Errorf("the second %v ended it with status %v, want death by the signal", sig, status)
		}
	}
}
