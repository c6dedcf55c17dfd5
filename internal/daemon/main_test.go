package daemon

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

const patience = 30 * time.Second

// TestMain fails the package when a goroutine or a descriptor is left.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftover(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftover waits for goroutines that are on their way out, and shows one that stays. Those of
// tests are none.
func leftover() string {
	buf := make([]byte, 1<<20)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		var left string
		for i, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			ours := bytes.Contains(g, []byte("sidecar/")) || bytes.Contains(g, []byte("net/http."))
			if i > 0 && ours && !bytes.Contains(g, []byte("testing.")) {
				left = string(g)
			}
		}
		if left == "" || time.Now().After(deadline) {
			return left
		}
	}
}

// descriptors are those that this process has open, with what they are.
func descriptors(t *testing.T) []string {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, entry := range list {
		// The descriptor of the folder itself is closed by now.
		if to, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			open = append(open, entry.Name()+": "+to)
		}
	}
	return open
}

// wantNothingLeft runs f as a test of its own, and fails unless all goroutines and descriptors
// that appear meanwhile are gone afterwards, those of its cleanups included.
func wantNothingLeft(t *testing.T, f func(*testing.T)) {
	t.Helper()
	// What the runtime opens for itself when the first socket is used stays.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	before := descriptors(t)
	t.Run("", f)
	if left := leftover(); left != "" {
		t.Errorf("a goroutine is left:\n%s", left)
	}
	if after := descriptors(t); len(after) > len(before) {
		t.Errorf("open before: %q\nand after: %q", before, after)
	}
}
