package balancer

import "sidecar/upstream"

// maxScan is how many endpoints LeastConn looks at one by one. Above it, two draws are
// hardly worse and much cheaper.
const maxScan = 16

// LeastConn returns the policy that takes the endpoint with the least
//
//	(in flight + 1) / weight
//
// except that idle endpoints come before all others whatever their weight, as in HAProxy's
// leastconn: with next to no traffic, everything would go to the heaviest otherwise. Ties
// are broken at random, in proportion to the weights. Up to 16 endpoints are all looked at;
// of more, two different ones are drawn, in proportion to the weights, and compared.
func LeastConn() upstream.Policy {
	return func(c upstream.Candidates) upstream.Picker {
		return leastConn{newLottery(c.Endpoints, c.Random)}
	}
}

type leastConn struct{ *lottery }

func (p leastConn) Pick(_ upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	if len(p.endpoints) <= maxScan {
		return p.scan(avoid)
	}
	if len(avoid) == 0 {
		first, second := p.drawPair()
		return lessLoaded(first, second)
	}
	first := p.drawOther(avoid, nil)
	if first == nil {
		return nil
	}
	if second := p.drawOther(avoid, first); second != nil {
		return lessLoaded(first, second)
	}
	return first
}

func lessLoaded(first, second *upstream.Endpoint) *upstream.Endpoint {
	if compare(loadOf(second), loadOf(first)) < 0 {
		return second
	}
	return first
}

// scan looks at all endpoints. Of equals it keeps each with the probability of its share in
// the weights seen so far, which leaves every one with its share of all.
func (p leastConn) scan(avoid []*upstream.Endpoint) *upstream.Endpoint {
	var (
		best   *upstream.Endpoint
		least  load
		weight uint64 // of all the best ones so far
		r      = p.random()
	)
	for _, e := range p.endpoints {
		if contains(avoid, e) {
			continue
		}
		l := loadOf(e)
		c := int64(-1)
		if best != nil {
			c = compare(l, least)
		}
		switch {
		case c < 0:
			best, least, weight = e, l, uint64(l.weight)
		case c == 0:
			weight += uint64(l.weight)
			// One number from the source is enough; these are made from it.
			r = r*6364136223846793005 + 1442695040888963407
			if (r>>32)*weight>>32 < uint64(l.weight) {
				best, least = e, l
			}
		}
	}
	return best
}

// A load is what LeastConn compares, read once.
type load struct{ inFlight, weight int64 }

func loadOf(e *upstream.Endpoint) load {
	return load{max(e.InFlight(), 0), int64(e.Weight())}
}

// compare returns a negative number if a is less loaded than b, 0 if equally.
func compare(a, b load) int64 {
	switch {
	case a.inFlight == 0 && b.inFlight == 0:
		return 0
	case a.inFlight == 0:
		return -1
	case b.inFlight == 0:
		return 1
	default:
		return (a.inFlight+1)*b.weight - (b.inFlight+1)*a.weight
	}
}
