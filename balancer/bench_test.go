package balancer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/upstream"
)

// measured is the policies as the daemon uses them.
var measured = []struct {
	name   string
	policy func() upstream.Policy
}{
	{"p2c", P2C},
	{"least_conn", LeastConn},
	{"round_robin", RoundRobin},
	{"random", Random},
	{"ring_hash", func() upstream.Policy { return RingHash(1.25) }},
	{"zoned_p2c", func() upstream.Policy { return Zoned("a", P2C()) }},
}

// once is a source that reports one set.
type once []discovery.Instance

func (s once) Watch(ctx context.Context, report func(discovery.Update)) {
	report(discovery.Update{Instances: s, At: time.Now()})
	<-ctx.Done()
}

// running returns a service that runs, with breakers as they are by default. Its n
// endpoints are in three zones.
func running(tb testing.TB, n int, policy upstream.Policy, count bool) *upstream.Service {
	set := instances(ones(n)...)
	for i := range set {
		set[i].Zone = string(rune('a' + i%3))
	}
	s := upstream.New(upstream.Options{
		Name:          "test",
		Source:        once(set),
		Policy:        policy,
		CountInFlight: count,
		Breaker:       breaker.Settings{ConsecutiveFailures: 5, SuccessRate: 0.8},
		MaxEjected:    0.5,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-ended
	})
	<-s.Known()
	return s
}

// BenchmarkPick is a request's whole way through a service: the pick, the breaker, the
// counts and the latency.
func BenchmarkPick(b *testing.B) {
	for _, m := range measured {
		for _, n := range []int{3, 100, 10000} {
			b.Run(fmt.Sprintf("%s/%d", m.name, n), func(b *testing.B) {
				s := running(b, n, m.policy(), m.name == "ring_hash")
				key, random := upstream.PickKey{Hash: 1}, rand.New(rand.NewPCG(1, 2))
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					key.Hash = random.Uint64()
					l, err := s.Acquire(key)
					if err != nil {
						b.Fatal(err)
					}
					l.Report(upstream.Result{Latency: time.Millisecond})
					l.Release()
				}
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// cpuTime is what the process has used so far. On a busy machine it says more than the
// time on the clock.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkPolicy is what a new snapshot of 10,000 endpoints costs: of the same set, and
// for ring_hash also of another one, which makes another ring.
func BenchmarkPolicy(b *testing.B) {
	weights := ones(10000)
	for i := range weights {
		weights[i] += i % 100
	}
	c := newCast(b, weights...)
	for _, m := range measured {
		b.Run(m.name, func(b *testing.B) {
			policy := m.policy()
			b.ReportAllocs()
			for b.Loop() {
				c.picker(policy)
			}
		})
	}
	b.Run("ring", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			newRing(c.endpoints)
		}
	})
}

// What the benchmarks report, as a test.
func TestAcquireDoesNotAllocate(t *testing.T) {
	for _, m := range measured {
		for _, n := range []int{3, 100, 10000} {
			s := running(t, n, m.policy(), m.name == "ring_hash")
			key := upstream.PickKey{}
			for range 2 {
				if got := testing.AllocsPerRun(200, func() {
					l, err := s.Acquire(key)
					if err != nil {
						t.Fatal(err)
					}
					l.Report(upstream.Result{Latency: time.Millisecond})
					l.Release()
				}); got != 0 {
					t.Errorf("%s of %d with key %d: %v allocations", m.name, n, key.Hash, got)
				}
				key.Hash = Hash([]byte("client"))
			}
		}
	}
}
