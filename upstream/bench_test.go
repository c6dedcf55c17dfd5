package upstream

import (
	"fmt"
	"testing"
	"time"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/limiter"
)

// many returns a service with n endpoints that needs no goroutine.
func many(n int, change func(*Options)) *Service {
	o := Options{
		Name:       "orders",
		Policy:     jumping,
		Breaker:    breaker.Settings{ConsecutiveFailures: 5, SuccessRate: .8},
		MaxEjected: .5,
		SlowStart:  10 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	s := New(o)
	var set []discovery.Instance
	for i := range n {
		set = append(set, discovery.Instance{ID: fmt.Sprintf("i%05d", i), Address: "10.0.0.1:80", Weight: 1})
	}
	s.Feed(discovery.Update{Instances: set})
	s.Step()
	return s
}

// jumping is a policy that costs next to nothing and goes all over the endpoints.
func jumping(c Candidates) Picker { return &jumpingPicker{endpoints: c.Endpoints} }

type jumpingPicker struct {
	endpoints []*Endpoint
	next      uint64
}

func (p *jumpingPicker) Pick(_ PickKey, avoid []*Endpoint) *Endpoint {
	for range p.endpoints {
		p.next = p.next*6364136223846793005 + 1442695040888963407
		if e := p.endpoints[(p.next>>33)%uint64(len(p.endpoints))]; len(avoid) == 0 || !contains(avoid, e) {
			return e
		}
	}
	return nil
}

func BenchmarkRequest(b *testing.B) {
	gated := func(o *Options) { o.Limits.InFlight = 1000 }
	adaptive := func(o *Options) { o.Adaptive = limiter.New(limiter.Options{}) }
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{{"plain", nil}, {"counted", gated}, {"adaptive", adaptive}} {
		for _, n := range []int{3, 100, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				s := many(n, c.change)
				b.ReportAllocs()
				for b.Loop() {
					l, err := s.Acquire(PickKey{})
					if err != nil {
						b.Fatal(err)
					}
					l.Report(Result{Outcome: Success, Latency: time.Millisecond})
					l.Release()
				}
			})
		}
	}
}
