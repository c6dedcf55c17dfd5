package balancer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/upstream"
)

// A cast is a set of endpoints for a picker to choose from. They are those of a real
// service in virtual time, whose own policy takes the endpoint that the key names: that is
// how a test puts load and latency on the one it wants.
type cast struct {
	t         testing.TB
	service   *upstream.Service
	endpoints []*upstream.Endpoint
	index     map[*upstream.Endpoint]int
	clock     *clock
	random    *rand.Rand
	made      upstream.Candidates // of the newest snapshot
}

// A clock stands still unless it is moved, in whole ticks of the latencies' clock: where
// in a tick the process began does not matter then.
type clock struct{ now, origin time.Time }

// tick is a Moment.
const tick = 1 << 18

func newClock() *clock {
	now := time.Now()
	return &clock{now, now}
}

// set moves the clock to d after its beginning.
func (c *clock) set(d time.Duration) { c.now = c.origin.Add(d &^ (tick - 1)) }

// pass moves the clock on.
func (c *clock) pass(d time.Duration) { c.set(c.now.Sub(c.origin) + d) }

type byKey []*upstream.Endpoint

func (p byKey) Pick(key upstream.PickKey, _ []*upstream.Endpoint) *upstream.Endpoint {
	return p[key.Hash]
}

// instances makes one instance for each weight.
func instances(weights ...int) []discovery.Instance {
	var set []discovery.Instance
	for i, w := range weights {
		set = append(set, discovery.Instance{
			ID:      fmt.Sprintf("%06d", i),
			Address: fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255),
			Weight:  w,
		})
	}
	return set
}

func newCast(t testing.TB, weights ...int) *cast {
	t.Helper()
	return newCastOf(t, instances(weights...), func(c upstream.Candidates) upstream.Picker { return byKey(c.Endpoints) })
}

// newCastOf makes a cast of a set, for whose snapshots the policy makes the pickers.
func newCastOf(t testing.TB, set []discovery.Instance, policy upstream.Policy) *cast {
	t.Helper()
	c := &cast{t: t, clock: newClock(), random: rand.New(rand.NewPCG(1, 2))}
	c.service = upstream.New(upstream.Options{
		Name:          "test",
		CountInFlight: true,
		Policy: func(made upstream.Candidates) upstream.Picker {
			c.made = made
			return policy(made)
		},
		Clock:  func() time.Time { return c.clock.now },
		Random: c.random.Uint64,
	})
	c.report(set)
	return c
}

// report has the source report a set.
func (c *cast) report(set []discovery.Instance) {
	c.service.Feed(discovery.Update{Instances: slices.Clone(set), At: c.clock.now})
	c.service.Step()
	c.endpoints = c.service.Snapshot().Usable
	c.index = make(map[*upstream.Endpoint]int)
	for i, e := range c.endpoints {
		c.index[e] = i
	}
}

// lease puts one more in flight on endpoint i.
func (c *cast) lease(i int) upstream.Lease {
	c.t.Helper()
	l, err := c.service.Acquire(upstream.PickKey{Hash: uint64(i)})
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

// measure has endpoint i report a latency.
func (c *cast) measure(i int, d time.Duration) {
	c.t.Helper()
	l := c.lease(i)
	l.Report(upstream.Result{Latency: d})
	l.Release()
}

// load puts n in flight on endpoint i and returns what takes them off again.
func (c *cast) load(i, n int) func() {
	leases := make([]upstream.Lease, n)
	for j := range leases {
		leases[j] = c.lease(i)
	}
	return func() {
		for j := range leases {
			leases[j].Release()
		}
	}
}

// picker makes a picker of the policy.
func (c *cast) picker(p upstream.Policy) upstream.Picker { return p(c.made) }

// shares picks n times and returns which share of them each endpoint got.
func (c *cast) shares(p upstream.Picker, n int, avoid ...int) []float64 {
	c.t.Helper()
	shares := make([]float64, len(c.endpoints))
	for range n {
		e := p.Pick(upstream.PickKey{}, c.these(avoid...))
		if e == nil {
			c.t.Fatal("picked nothing")
		}
		shares[c.index[e]]++
	}
	for i := range shares {
		shares[i] /= float64(n)
	}
	return shares
}

func (c *cast) these(indexes ...int) []*upstream.Endpoint {
	var endpoints []*upstream.Endpoint
	for _, i := range indexes {
		endpoints = append(endpoints, c.endpoints[i])
	}
	return endpoints
}

// wantShares compares shares within the tolerance.
func (c *cast) wantShares(got []float64, tolerance float64, want ...float64) {
	c.t.Helper()
	for i := range want {
		if d := got[i] - want[i]; d > tolerance || d < -tolerance {
			c.t.Fatalf("shares %.3f, want %.3f, give or take %v", got, want, tolerance)
		}
	}
}

// policies is all of them.
var policies = map[string]func() upstream.Policy{
	"p2c":         P2C,
	"least_conn":  LeastConn,
	"round_robin": RoundRobin,
	"random":      Random,
	"ring_hash":   func() upstream.Policy { return RingHash(1.25) },
}

// ones returns n weights of 1.
func ones(n int) []int {
	weights := make([]int, n)
	for i := range weights {
		weights[i] = 1
	}
	return weights
}

// without takes endpoints, by their place among the listed, from those that are usable.
func (c *cast) without(indexes ...int) {
	var usable []*upstream.Endpoint
	for i, e := range c.made.Listed {
		if !slices.Contains(indexes, i) {
			usable = append(usable, e)
		}
	}
	c.made.Endpoints, c.endpoints = usable, usable
	c.index = make(map[*upstream.Endpoint]int)
	for i, e := range usable {
		c.index[e] = i
	}
}
