// Package leaktest fails the tests of a package that leave a goroutine behind.
package leaktest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// patience is how long goroutines that are on their way out may take.
const patience = 5 * time.Second

// Run runs the tests and returns the exit status, for a TestMain. It is 1 also when there are
// more goroutines afterwards than before; their stacks are on standard error then.
func Run(m *testing.M) int {
	before := runtime.NumGoroutine()
	code := m.Run()
	// Who coordinates the fuzzing of others leaves the goroutine that waits for an interrupt.
	if fuzzing := flag.Lookup("test.fuzz"); fuzzing != nil && fuzzing.Value.String() != "" {
		return code
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before && code == 0 {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		fmt.Fprintf(os.Stderr, "%d goroutines before the tests, %d after:\n%s\n", before, n, stacks)
		code = 1
	}
	return code
}
