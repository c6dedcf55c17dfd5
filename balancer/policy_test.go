package balancer

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/upstream"
)

// What holds for every policy.

func TestIdleEndpointsShareByWeight(t *testing.T) {
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			c := newCast(t, 1, 1, 1)
			c.wantShares(c.shares(c.picker(policy()), 30000), 0.02, 1./3, 1./3, 1./3)
			c = newCast(t, 1, 2, 5)
			c.wantShares(c.shares(c.picker(policy()), 40000), 0.02, 1./8, 2./8, 5./8)
			c = newCast(t, 2, 1)
			c.wantShares(c.shares(c.picker(policy()), 30000), 0.02, 2./3, 1./3)
		})
	}
}

// With as much in flight as the service's capacity wants, all of the same speed, what each
// endpoint gets is in proportion to its weight.
func TestLoadedEndpointsShareByWeight(t *testing.T) {
	for name, policy := range policies {
		for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}, {4, 1}, {10, 1, 1, 1, 1, 1, 1}} {
			t.Run(name, func(t *testing.T) {
				c := newCast(t, weights...)
				for i := range weights {
					c.measure(i, 10*time.Millisecond)
				}
				// A closed loop: whenever the oldest request ends, the next begins.
				p := c.picker(policy())
				var running []upstream.Lease
				got := make([]float64, len(weights))
				sum := 0
				for _, w := range weights {
					sum += w
				}
				const requests = 8000
				for range requests {
					e := p.Pick(upstream.PickKey{}, nil)
					got[c.index[e]] += 1. / requests
					running = append(running, c.lease(c.index[e]))
					if len(running) > 20*sum {
						running[0].Report(upstream.Result{Latency: 10 * time.Millisecond})
						running[0].Release()
						running = running[1:]
					}
				}
				for i := range running {
					running[i].Release()
				}
				var want []float64
				for _, w := range weights {
					want = append(want, float64(w)/float64(sum))
				}
				c.wantShares(got, 0.03, want...)
			})
		}
	}
}

func TestAvoidedEndpointsAreNotPicked(t *testing.T) {
	for name, policy := range policies {
		for _, n := range []int{1, 2, 3, 16, 17, 100} {
			t.Run(name, func(t *testing.T) {
				c := newCast(t, ones(n)...)
				p := c.picker(policy())
				random := rand.New(rand.NewPCG(3, 4))
				for range 200 {
					avoid := random.Perm(n)[:random.IntN(n)]
					e := p.Pick(upstream.PickKey{}, c.these(avoid...))
					if e == nil || contains(c.these(avoid...), e) {
						t.Fatalf("%d endpoints without %v: picked %v", n, avoid, e)
					}
				}
				if e := p.Pick(upstream.PickKey{}, c.endpoints); e != nil {
					t.Errorf("all %d are to be avoided, but picked %v", n, e.ID())
				}
			})
		}
	}
}

func TestTheRestShareWhatTheAvoidedOneLeaves(t *testing.T) {
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			c := newCast(t, 1, 1, 1, 1)
			c.wantShares(c.shares(c.picker(policy()), 30000, 1), 0.02, 1./3, 0, 1./3, 1./3)
		})
	}
}

func TestEveryEndpointIsPicked(t *testing.T) {
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			weights := ones(100)
			weights[7] = 1000
			c := newCast(t, weights...)
			for i, share := range c.shares(c.picker(policy()), 60000) {
				if share == 0 {
					t.Errorf("endpoint %d is never picked", i)
				}
			}
		})
	}
}

func TestNoAllocation(t *testing.T) {
	for name, policy := range policies {
		for _, n := range []int{1, 3, 100} {
			t.Run(name, func(t *testing.T) {
				c := newCast(t, ones(n)...)
				p := c.picker(policy())
				avoid := c.endpoints[:1]
				if n := testing.AllocsPerRun(100, func() {
					p.Pick(upstream.PickKey{}, nil)
					p.Pick(upstream.PickKey{}, avoid)
				}); n != 0 {
					t.Errorf("%v allocations", n)
				}
			})
		}
	}
}

// With the same seed everything happens again.
func TestTrialsAreDeterministic(t *testing.T) {
	for _, m := range measured {
		run := func() []float64 {
			set := instances(1, 2, 3, 1)
			set[0].Zone, set[1].Zone = "a", "a"
			s := server{takes: 20 * time.Millisecond, fails: .1, slots: 3}
			return newTrial(t, 5, m.policy(), set, s, s, s, s).send(3000, 500)
		}
		if first, second := run(), run(); !slices.Equal(first, second) {
			t.Errorf("%s: shares %v, then %v", m.name, first, second)
		}
	}
}

// Instances leave with requests in flight and come back, at random.
func TestNothingIsInFlightAfterChurn(t *testing.T) {
	for _, m := range measured {
		t.Run(m.name, func(t *testing.T) {
			set := instances(1, 2, 3, 1, 2, 3)
			for i := range set {
				set[i].Zone = string(rune('a' + i/2))
			}
			s := server{takes: 50 * time.Millisecond, fails: .02}
			tr := newTrial(t, 1, m.policy(), set, s, s, s, s, s, s)
			for range 200 {
				var some []discovery.Instance
				for _, in := range set {
					if tr.random.IntN(3) > 0 {
						some = append(some, in)
					}
				}
				if len(some) > 0 {
					tr.report(some)
				}
				tr.send(20, 1000)
			}
			tr.end()
			if len(tr.met) < 100 {
				t.Errorf("only %d endpoints have come and gone", len(tr.met))
			}
		})
	}
}

func TestManyGoroutinesPick(t *testing.T) {
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			// The random numbers of a cast are for one goroutine.
			s := upstream.New(upstream.Options{Name: "test", Policy: policy(), CountInFlight: true})
			s.Feed(discovery.Update{Instances: instances(1, 2, 3)})
			s.Step()
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for i := range 500 {
						l, err := s.Acquire(upstream.PickKey{Hash: uint64(i)})
						if err != nil {
							t.Error(err)
							return
						}
						l.Report(upstream.Result{Latency: time.Millisecond})
						l.Release()
					}
				})
			}
			wg.Wait()
			var attempts uint64
			for _, e := range s.Snapshot().Usable {
				if n := e.InFlight(); n != 0 {
					t.Errorf("%s has %d in flight", e.ID(), n)
				}
				attempts += e.Counters().Attempts
			}
			if attempts != 4000 {
				t.Errorf("%d attempts, want 4000", attempts)
			}
		})
	}
}
