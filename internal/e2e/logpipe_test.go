package e2e

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whoever reads the log may stop without going away: a pager, a collector that hangs, a terminal that
// is held. Its pipe is full soon, and whoever writes to it waits.
func TestALogThatNobodyReadsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const small = 4096
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, w.Fd(), syscall.F_SETPIPE_SZ, small); e != 0 {
		t.Fatal(e)
	}
	cmd, address := prepare(t, static("orders", "retry.attempts = 0", deadAddress(t)))
	cmd.Stderr = w
	s := startCommand(t, cmd, address)
	w.Close()
	s.waitReady()

	// Each request is a line, of which a second's first hundred are written: the pipe has room for ten.
	const requests = 500
	path := "/" + strings.Repeat("x", 1000)
	for i := range requests {
		if a := get(t, s.address("orders"), path); a.status != http.StatusBadGateway {
			t.Fatalf("request %d: %+v", i, a)
		}
	}
	began := time.Now()
	s.checked = true
	s.signal(syscall.SIGTERM)
	if end := s.wait(); end.ExitCode() != 0 {
		t.Errorf("it ended with %v", end)
	}
	t.Logf("it ended after %v", time.Since(began).Round(time.Millisecond))
	text, err := io.ReadAll(r)
	if err != nil || len(text) > small || !strings.Contains(string(text), "sidecar runs") {
		t.Errorf("%d bytes of the log were in the pipe: %v", len(text), err)
	}
}
