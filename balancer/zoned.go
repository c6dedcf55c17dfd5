package balancer

import (
	"slices"

	"sidecar/upstream"
)

const (
	// handicap is by how much an endpoint of another zone must cost less than one of the
	// own zone, to be preferred.
	handicap = 16
	// unseen is how much of the own endpoint's latency another zone's is taken for at
	// least. Where nobody goes latencies decay to nothing.
	unseen = 1. / 4
	// hopeless is the share of failures from which on an endpoint of the own zone need
	// not be loaded for the request to go elsewhere.
	hopeless = 0.5
)

// Zoned returns the policy that keeps requests in the zone own while that has the capacity,
// and spills the rest over to the other zones. Within a zone inner decides.
//
// Weights count as capacity, and every zone is assumed to have equal demand: with W the
// weight of all that the source lists and Z the number of their zones, each needs W/Z. If
// the usable endpoints of the own zone weigh as much, all requests stay; if they weigh U,
// the share U/(W/Z) stays. The rest goes to the other zones in proportion to what they can
// spare, their usable weight less W/Z; or to their usable weight if none can spare any. This
// holds for any number of endpoints and zones. Endpoints without a zone are one of their own.
//
// A request that would stay goes elsewhere all the same
//
//   - when the own zone has nothing but endpoints to avoid,
//   - when its endpoint is overloaded: one of another zone, chosen in the same way, has less
//     than a sixteenth of its cost, which is that of P2C whatever inner is. The other's
//     latency counts as at least a quarter of its own. So with equal latencies it takes 16
//     times as much in flight, and if the own ones are slow, 4 times; latencies that have
//     decayed because nobody goes there draw no traffic from an endpoint that is idle,
//   - when its endpoint mostly fails and the other does not.
//
// If own is empty, or no listed endpoint is in it, inner decides about all.
func Zoned(own string, inner upstream.Policy) upstream.Policy {
	return func(c upstream.Candidates) upstream.Picker {
		zones, need := zonesOf(&c)
		home := zones[own]
		if own == "" || home == nil || len(zones) == 1 {
			return inner(c)
		}
		p := &zoned{now: c.Now, random: c.Random, stays: uint64(min(home.usable/need, 1) * always)}
		if len(home.endpoints) > 0 {
			p.own = home.picker(c, inner)
		}
		p.addOthers(c, inner, zones, own, need)
		return p
	}
}

// A zone is the endpoints of one zone while a picker is made.
type zone struct {
	endpoints []*upstream.Endpoint // that may be picked
	usable    float64              // their weight
}

func (z *zone) picker(c upstream.Candidates, inner upstream.Policy) upstream.Picker {
	c.Endpoints = z.endpoints
	return inner(c)
}

// zonesOf sorts the candidates by their zones, and returns what the callers of each need.
func zonesOf(c *upstream.Candidates) (zones map[string]*zone, need float64) {
	zones = make(map[string]*zone)
	for _, e := range listedOf(c) {
		if zones[e.Zone()] == nil {
			zones[e.Zone()] = new(zone)
		}
		need += float64(e.Weight())
	}
	need /= float64(len(zones))
	for _, e := range c.Endpoints {
		z := zones[e.Zone()]
		z.endpoints = append(z.endpoints, e)
		z.usable += float64(e.Weight())
	}
	return zones, need
}

// always is the share of 1, in the 32 bits of a random number.
const always = 1 << 32

type zoned struct {
	own    upstream.Picker // nil if none of its endpoints may be picked
	stays  uint64          // share of requests that do, of always
	others []other
	// heaviest is the greatest weight among the others' endpoints.
	heaviest float64
	now      func() upstream.Moment
	random   func() uint64
}

// An other is another zone that has endpoints that may be picked.
type other struct {
	picker upstream.Picker
	until  uint64 // sum of the shares of this zone and those before it, of always
}

// addOthers adds the other zones with their shares of what is spilled, by name.
func (p *zoned) addOthers(c upstream.Candidates, inner upstream.Policy, zones map[string]*zone, own string, need float64) {
	var names []string
	var spare, usable float64
	for name, z := range zones {
		if name != own && len(z.endpoints) > 0 {
			names = append(names, name)
			spare += max(z.usable-need, 0)
			usable += z.usable
		}
	}
	slices.Sort(names)
	var sum float64
	for _, name := range names {
		z := zones[name]
		if spare > 0 {
			sum += max(z.usable-need, 0) / spare
		} else {
			sum += z.usable / usable
		}
		for _, e := range z.endpoints {
			p.heaviest = max(p.heaviest, float64(e.Weight()))
		}
		p.others = append(p.others, other{z.picker(c, inner), uint64(sum * always)})
	}
	if n := len(p.others); n > 0 {
		p.others[n-1].until = always // whatever the sums were rounded to
	}
}

func (p *zoned) Pick(key upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	if p.own == nil || p.stays < always && p.random()>>32 >= p.stays {
		if e := p.pickOther(key, avoid); e != nil || p.own == nil {
			return e
		}
		return p.own.Pick(key, avoid)
	}
	e := p.own.Pick(key, avoid)
	switch {
	case e == nil:
		return p.pickOther(key, avoid)
	case len(p.others) == 0 || !p.doubtful(e):
		return e
	}
	if o := p.pickOther(key, avoid); o != nil && p.prefers(o, e) {
		return o
	}
	return e
}

// doubtful tells whether an endpoint of another zone could be preferred to e.
func (p *zoned) doubtful(e *upstream.Endpoint) bool {
	n := e.InFlight()
	return n > 0 && handicap*unseen*float64(e.Weight()) < float64(n+1)*p.heaviest ||
		e.FailureShare() >= hopeless
}

// pickOther picks in one of the other zones, by their shares of what is spilled; in any of
// them if that has nothing but endpoints to avoid.
func (p *zoned) pickOther(key upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	if len(p.others) == 0 {
		return nil
	}
	first, r := 0, p.random()>>32
	for r >= p.others[first].until {
		first++
	}
	for i := range p.others {
		if e := p.others[(first+i)%len(p.others)].picker.Pick(key, avoid); e != nil {
			return e
		}
	}
	return nil
}

// prefers decides for o, of another zone, against e of the own one.
func (p *zoned) prefers(o, e *upstream.Endpoint) bool {
	now := p.now()
	if fails := e.FailureShare(); fails >= hopeless && o.FailureShare() < fails/2 {
		return true
	}
	far, known1 := o.LatencyAt(now)
	near, known2 := e.LatencyAt(now)
	if !known1 || !known2 {
		far, near = 1, 1
	}
	far, near = max(far, minLatency), max(near, minLatency)
	far = max(far, near*unseen)
	return handicap*far*float64(o.InFlight()+1)*float64(e.Weight()) < near*float64(e.InFlight()+1)*float64(o.Weight())
}
