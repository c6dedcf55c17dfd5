package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	_ "sidecar/internal/daemon" // the binary is built from it: with another one, results are not taken from go's cache
)

// requests is how many requests TestChurnLeavesNothingBehind makes.
var requests = flag.Int("e2e.requests", 50_000, "requests of the churn test, ten per connection")

// scratch is the folder of this test process. It holds the binary, and the sockets and files
// of the sidecars: its path is short, as that of a unix socket has to be, and others than its
// owner may look into it.
var scratch string

func binary() string { return filepath.Join(scratch, "sidecar") }

// TestMain builds the sidecar, runs the tests, and fails when a goroutine of theirs is left.
// Started again by one of the tests this binary is an origin instead.
func TestMain(m *testing.M) {
	if address, ok := os.LookupEnv(originVariable); ok {
		os.Exit(originMain(address))
	}
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if scratch, err = os.MkdirTemp("", "e2e-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		return 1, err
	}
	args := []string{"build", "-o", binary()}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "sidecar/cmd/sidecar")...)
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the sidecar: %w\n%s", err, out)
	}
	code = m.Run()
	if left := leftover(); code == 0 && left != "" {
		return 1, fmt.Errorf("goroutines are left:\n%s", left)
	}
	return code, nil
}

// leftover waits for goroutines that are on their way out, and shows one that stays.
func leftover() string {
	buf := make([]byte, 1<<20)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		var left string
		for i, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			if i > 0 && (bytes.Contains(g, []byte("sidecar/")) || bytes.Contains(g, []byte("net/http."))) {
				left = string(g)
			}
		}
		if left == "" || time.Now().After(deadline) {
			return left
		}
	}
}
