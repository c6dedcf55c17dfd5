package balancer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/upstream"
)

// A cast is a set of endpoints for a picker to choose from. They are those of a real
// service, whose own policy takes the endpoint that the key names: that is how a test puts
// load and latency on the one it wants.
type cast struct {
	t         testing.TB
	service   *upstream.Service
	endpoints []*upstream.Endpoint
	index     map[*upstream.Endpoint]int
}

type byKey []*upstream.Endpoint

func (p byKey) Pick(key upstream.PickKey, _ []*upstream.Endpoint) *upstream.Endpoint {
	return p[key.Hash]
}

// once is a source that reports one set.
type once []discovery.Instance

func (s once) Watch(ctx context.Context, report func(discovery.Update)) {
	report(discovery.Update{Instances: s, At: time.Now()})
	<-ctx.Done()
}

func newCast(t testing.TB, weights ...int) *cast {
	t.Helper()
	var source once
	for i, w := range weights {
		source = append(source, discovery.Instance{
			ID:      fmt.Sprintf("%06d", i),
			Address: fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255),
			Weight:  w,
		})
	}
	return newCastOf(t, source, func(usable []*upstream.Endpoint) upstream.Picker { return byKey(usable) })
}

func newCastOf(t testing.TB, source discovery.Source, policy upstream.Policy) *cast {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &cast{t: t, service: upstream.New(upstream.Options{Name: "test", Source: source, Policy: policy})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.service.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	<-c.service.Known()
	c.endpoints = c.service.Snapshot().Usable
	c.index = make(map[*upstream.Endpoint]int)
	for i, e := range c.endpoints {
		c.index[e] = i
	}
	return c
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

// picker makes a picker of the policy; its random numbers begin with a fixed seed.
func (c *cast) picker(p upstream.Policy) upstream.Picker {
	picker := p(c.endpoints)
	random := rand.New(rand.NewPCG(1, 2)).Uint64
	switch picker := picker.(type) {
	case p2c:
		picker.lottery.random = random
	case leastConn:
		picker.lottery.random = random
	case randomPicker:
		picker.lottery.random = random
	}
	return picker
}

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
}

// ones returns n weights of 1.
func ones(n int) []int {
	weights := make([]int, n)
	for i := range weights {
		weights[i] = 1
	}
	return weights
}
