package consul

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the package when goroutines are left after its tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftGoroutines(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left after the tests:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of all goroutines but this one, or "" as soon as there are
// none: those of closed connections take a moment to end.
func leftGoroutines() string {
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(10 * time.Second); ; {
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		if len(stacks) == 1 {
			return ""
		}
		if time.Now().After(deadline) {
			return strings.Join(stacks[1:], "\n\n")
		}
		<-time.After(10 * time.Millisecond)
	}
}
