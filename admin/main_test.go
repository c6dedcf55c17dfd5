package admin

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain fails the package when a goroutine is left that runs its code, or net/http for it.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leftover(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftover waits for goroutines that are on their way out, and shows one that stays.
func leftover() string {
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		var left string
		for i, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			if i > 0 && (bytes.Contains(g, []byte("sidecar/admin")) || bytes.Contains(g, []byte("net/http."))) {
				left = string(g)
			}
		}
		if left == "" || time.Now().After(deadline) {
			return left
		}
	}
}
