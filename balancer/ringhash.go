package balancer

import (
	"math"

	"sidecar/upstream"
)

// maxWalk is how many points a search looks at. After so many, those that would do are so
// rare that looking at each endpoint is cheaper.
const maxWalk = 1024

// RingHash returns the policy that sends equal keys to the same endpoint. It looks for the
// endpoint of PickKey.Hash on a ring of all that the source lists, and from there clockwise
// for the first that may be picked and is not overloaded. So what happens to an endpoint
// moves its own keys and no others: if it is ejected or leaves, its keys are spread over
// the others, and when it comes back, they come back too.
//
// No endpoint has more in flight than
//
//	balance × in flight of the service, this request included × weight / sum of weights
//
// rounded up, so that a key that everybody asks for does not overload one endpoint. That is
// consistent hashing with bounded loads of Mirrokni, Thorup and Zadimoghaddam (2016); the
// weights are those of the endpoints that may be picked. It needs Options.CountInFlight;
// without it, or with a balance of 0, there is no bound. A balance below 1 is taken as 1.
// Where all are at their bounds, the bound does not count.
//
// A request without a key, its hash 0, goes to any endpoint in proportion to the weights.
//
// The policy keeps the ring from one snapshot to the next, and makes another one only for
// other IDs or weights. It must not be given to two services.
func RingHash(balance float64) upstream.Policy {
	if balance > 0 {
		balance = max(balance, 1)
	}
	var last *ring
	return func(c upstream.Candidates) upstream.Picker {
		listed := listedOf(&c)
		if last == nil || !last.isOf(listed) {
			last = newRing(listed)
		}
		p := &ringHash{
			lottery:  newLottery(c.Endpoints, c.Random),
			ring:     last,
			owners:   make([]*upstream.Endpoint, len(listed)),
			inFlight: c.InFlight,
		}
		usable := c.Endpoints
		for i, e := range listed {
			if len(usable) > 0 && e == usable[0] {
				p.owners[i], usable = e, usable[1:]
			}
		}
		if balance > 0 && c.InFlight != nil {
			p.portion = balance / float64(weightOf(c.Endpoints))
		}
		return p
	}
}

// listedOf returns the source's last set. For endpoints that are not in it, as fallback
// instances are not, it returns the endpoints themselves.
func listedOf(c *upstream.Candidates) []*upstream.Endpoint {
	rest := c.Endpoints
	for _, e := range c.Listed {
		if len(rest) > 0 && e == rest[0] {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		return c.Endpoints
	}
	return c.Listed
}

func weightOf(endpoints []*upstream.Endpoint) int {
	sum := 0
	for _, e := range endpoints {
		sum += e.Weight()
	}
	return sum
}

type ringHash struct {
	*lottery // of those that may be picked
	ring     *ring
	owners   []*upstream.Endpoint // of the ring; nil where it may not be picked
	inFlight func() int64
	portion  float64 // of what is in flight a weight of 1 may have; 0: there is no bound
}

func (p *ringHash) Pick(key upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	if key.Hash == 0 {
		if len(avoid) == 0 {
			return p.draw()
		}
		return p.drawOther(avoid, nil)
	}
	bound := p.bound()
	var full *upstream.Endpoint // the first that would have done but for the bound
	i := p.ring.find(key.Hash)
	for range min(len(p.ring.points), maxWalk) {
		e := p.owners[p.ring.owner(i)]
		if i++; i == len(p.ring.points) {
			i = 0
		}
		if e == nil || e == full || contains(avoid, e) {
			continue
		}
		if hasRoom(e, bound) {
			return e
		}
		if full == nil {
			full = e
		}
	}
	return p.scan(key.Hash, avoid, bound, full)
}

// bound returns how much a weight of 1 may have in flight.
func (p *ringHash) bound() float64 {
	if p.portion == 0 {
		return math.Inf(1)
	}
	// The service has counted this request already; one that has not is as good as 1.
	return p.portion * float64(max(p.inFlight(), 1))
}

// hasRoom tells whether the endpoint is below its bound. Rounding the bound up would make
// no difference to a whole number.
func hasRoom(e *upstream.Endpoint, bound float64) bool {
	const margin = 1e-9 // for bounds that are not exact in binary
	return float64(e.InFlight())+margin < bound*float64(e.Weight())
}

// scan looks at each endpoint, from one on that the hash names.
func (p *ringHash) scan(hash uint64, avoid []*upstream.Endpoint, bound float64, full *upstream.Endpoint) *upstream.Endpoint {
	start := below(len(p.endpoints), hash)
	for i := range p.endpoints {
		e := p.endpoints[(start+i)%len(p.endpoints)]
		if contains(avoid, e) {
			continue
		}
		if hasRoom(e, bound) {
			return e
		}
		if full == nil {
			full = e
		}
	}
	return full
}
