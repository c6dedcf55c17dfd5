//go:build !race

package h2

import (
	"runtime"
	"testing"

	"sidecar/internal/eventloop"
)

func TestRequestsAllocateNothing(t *testing.T) {
	tt := newTester(t)
	k, end := benchPair(tt)
	defer end()
	request, in := []byte(benchRequest), make([]byte, 512)
	const calls = 5000
	call := func(n int) {
		tt.run(func(*eventloop.Task) {
			for range n {
				if err := benchCall(k, request, in); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	call(1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call(calls)
	runtime.ReadMemStats(&after)
	if n := float64(after.Mallocs-before.Mallocs) / calls; n > 0.1 {
		t.Errorf("%.2f allocations per request", n)
	}
}
