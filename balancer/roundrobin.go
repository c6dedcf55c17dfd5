package balancer

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"

	"sidecar/upstream"
)

// minTurns is the number of turns that a table may have however few endpoints there are;
// otherwise it may have four for each.
const minTurns = 4096

// RoundRobin returns the policy that takes the endpoints in turn. In each round an endpoint
// comes as often as its weight says, and spread evenly over the round, as with nginx's
// smooth weighted round robin. That algorithm changes a number of each endpoint at each
// pick, which needs a lock; here a round is laid out beforehand and a pick is one atomic
// addition. Where the weights would make a round longer than four turns per endpoint (and
// than 4096 turns), they are rounded to fit.
func RoundRobin() upstream.Policy {
	return func(c upstream.Candidates) upstream.Picker {
		p := &roundRobin{round: layOut(c.Endpoints)}
		// Each snapshot begins somewhere else. If snapshots changed often, the first
		// endpoints would get more than their share.
		p.turn.Store(uint64(below(len(p.round), c.Random())))
		return p
	}
}

type roundRobin struct {
	round []*upstream.Endpoint
	_     [64]byte // the counter changes at each pick, the slice never
	turn  atomic.Uint64
}

func (p *roundRobin) Pick(_ upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	for range p.round {
		e := p.round[p.turn.Add(1)%uint64(len(p.round))]
		if !contains(avoid, e) {
			return e
		}
	}
	// Other threads may have had just the turns of those that would do.
	for _, e := range p.round {
		if !contains(avoid, e) {
			return e
		}
	}
	return nil
}

// layOut returns a round. The k-th turn of an endpoint of weight w stands at (k+phase)/w of
// the round; the phases, multiples of the golden ratio, keep endpoints of equal weight
// apart.
func layOut(endpoints []*upstream.Endpoint) []*upstream.Endpoint {
	if sameWeights(endpoints) {
		return endpoints
	}
	type turn struct {
		at       float64
		endpoint *upstream.Endpoint
	}
	var turns []turn
	for i, w := range roundWeights(endpoints) {
		_, phase := math.Modf(float64(i) * math.Phi)
		for k := range w {
			turns = append(turns, turn{(float64(k) + phase) / float64(w), endpoints[i]})
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	round := make([]*upstream.Endpoint, len(turns))
	for i := range turns {
		round[i] = turns[i].endpoint
	}
	return round
}

// roundWeights returns the turns of each endpoint in a round: its weight without common
// factors, or rounded if the round would be too long.
func roundWeights(endpoints []*upstream.Endpoint) []int {
	weights := make([]int, len(endpoints))
	common, sum := 0, 0
	for i, e := range endpoints {
		weights[i] = e.Weight()
		common = gcd(weights[i], common)
		sum += weights[i]
	}
	longest := max(minTurns, 4*len(endpoints))
	for i, w := range weights {
		if sum/common <= longest {
			weights[i] = w / common
		} else {
			weights[i] = max(1, int(math.Round(float64(w)/float64(sum)*float64(longest))))
		}
	}
	return weights
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
