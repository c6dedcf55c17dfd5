package main

import (
	"math"
	"time"

	"sidecar/config"
	"sidecar/upstream"
)

// textbookPresets are the policies as textbooks have them: no ejection, and failures cost
// nothing. Timeouts and retries, with their budget, are the sidecar's, so that they differ
// in nothing but the choice.
func textbookPresets(c *config.Service) []*preset {
	book := func(name, about string, policy func(s *sidecar) upstream.Policy) *preset {
		return &preset{name: name, about: about, retry: retriesOf(&c.Retry), make: func(s *sidecar, o *upstream.Options) {
			o.Budget = upstream.BudgetOptions{Ratio: c.Retry.Budget, MinPerSecond: c.Retry.BudgetMin}
			o.Policy = policy(s)
		}}
	}
	return []*preset{
		book("round robin", "one after the other", func(*sidecar) upstream.Policy { return newTurns().policy }),
		book("random", "any", func(*sidecar) upstream.Policy { return randomly }),
		book("least connections", "the fewest in flight, ties at random", func(*sidecar) upstream.Policy { return fewest }),
		book("two choices", "of two at random, the one with fewer in flight", func(*sidecar) upstream.Policy { return twoChoices }),
		book("peak EWMA", "of two at random, the one with the lower latency × (in flight + 1); errors are answers like others", func(s *sidecar) upstream.Policy {
			p := newEWMA()
			s.watcher = p
			return p.policy
		}),
	}
}

// A choice is a Picker made of a function.
type choice func(avoid []*upstream.Endpoint) *upstream.Endpoint

// Pick is the function.
func (c choice) Pick(_ upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	return c(avoid)
}

func contains(endpoints []*upstream.Endpoint, e *upstream.Endpoint) bool {
	for _, other := range endpoints {
		if other == e {
			return true
		}
	}
	return false
}

func below(n int, random uint64) int { return int((random >> 32) * uint64(n) >> 32) }

// turns are those of round robin. Each sidecar begins somewhere else, and goes on from where
// it was when the set changes.
type turns struct {
	turn  int
	begun bool
}

func newTurns() *turns { return new(turns) }

func (t *turns) policy(c upstream.Candidates) upstream.Picker {
	if !t.begun {
		t.turn, t.begun = below(len(c.Endpoints), c.Random()), true
	}
	return choice(func(avoid []*upstream.Endpoint) *upstream.Endpoint {
		for range c.Endpoints {
			t.turn++
			if e := c.Endpoints[t.turn%len(c.Endpoints)]; !contains(avoid, e) {
				return e
			}
		}
		return nil
	})
}

// draw returns an endpoint at random that is neither avoided nor besides, or nil.
func draw(c *upstream.Candidates, avoid []*upstream.Endpoint, besides *upstream.Endpoint) *upstream.Endpoint {
	start := below(len(c.Endpoints), c.Random())
	if len(avoid) == 0 && besides == nil {
		return c.Endpoints[start]
	}
	for range 8 {
		if e := c.Endpoints[start]; e != besides && !contains(avoid, e) {
			return e
		}
		start = below(len(c.Endpoints), c.Random())
	}
	for i := range c.Endpoints {
		e := c.Endpoints[(start+i)%len(c.Endpoints)]
		if e != besides && !contains(avoid, e) {
			return e
		}
	}
	return nil
}

func randomly(c upstream.Candidates) upstream.Picker {
	return choice(func(avoid []*upstream.Endpoint) *upstream.Endpoint { return draw(&c, avoid, nil) })
}

func fewest(c upstream.Candidates) upstream.Picker {
	return choice(func(avoid []*upstream.Endpoint) *upstream.Endpoint {
		var best *upstream.Endpoint
		least, ties := int64(math.MaxInt64), 0
		for _, e := range c.Endpoints {
			if contains(avoid, e) {
				continue
			}
			switch n := e.InFlight(); {
			case n < least:
				best, least, ties = e, n, 1
			case n == least:
				ties++
				if below(ties, c.Random()) == 0 {
					best = e
				}
			}
		}
		return best
	})
}

// better draws two and takes the one that costs less, the first of equals.
func better(c upstream.Candidates, price func(*upstream.Endpoint) float64) upstream.Picker {
	return choice(func(avoid []*upstream.Endpoint) *upstream.Endpoint {
		first := draw(&c, avoid, nil)
		if first == nil {
			return nil
		}
		if second := draw(&c, avoid, first); second != nil && price(second) < price(first) {
			return second
		}
		return first
	})
}

func twoChoices(c upstream.Candidates) upstream.Picker {
	return better(c, func(e *upstream.Endpoint) float64 { return float64(e.InFlight()) })
}

// ewmaDecay is the time constant of the average.
const ewmaDecay = 10 * time.Second

// An ewma is the peak EWMA as Finagle has it: the time of every answer counts, whatever the
// answer is; the average jumps up to a sample above it and decays with time, read or not;
// an endpoint that is not known yet gets one request at a time.
type ewma struct {
	now   func() upstream.Moment
	costs map[*upstream.Endpoint]*cost
}

func newEWMA() *ewma { return &ewma{costs: make(map[*upstream.Endpoint]*cost)} }

type cost struct {
	ns float64
	at upstream.Moment
}

func (p *ewma) policy(c upstream.Candidates) upstream.Picker {
	p.now = c.Now
	return better(c, p.price)
}

func (p *ewma) price(e *upstream.Endpoint) float64 {
	pending := float64(e.InFlight())
	k := p.costs[e]
	switch {
	case k == nil && pending > 0:
		return math.MaxFloat32 + pending
	case k == nil:
		return 0
	}
	return k.ns * math.Exp(-p.since(k.at)) * (pending + 1)
}

// since is the time since then, in units of ewmaDecay. A Moment counts steps of 2^18 ns.
func (p *ewma) since(at upstream.Moment) float64 {
	return float64(p.now()-at) * (1 << 18) / float64(ewmaDecay)
}

// told takes in what an attempt took, of whatever outcome.
func (p *ewma) told(e *upstream.Endpoint, _ upstream.Outcome, took time.Duration) {
	k := p.costs[e]
	if k == nil {
		k = &cost{}
		p.costs[e] = k
	}
	sample := float64(took)
	if sample < k.ns {
		w := math.Exp(-p.since(k.at))
		sample = k.ns*w + sample*(1-w)
	}
	k.ns, k.at = sample, p.now()
}
