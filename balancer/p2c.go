package balancer

import "sidecar/upstream"

const (
	// minLatency keeps a latency that has decayed to nothing from hiding the load.
	minLatency = 1000 // ns
	// noise is the factor up to which the latencies of two idle endpoints count as equal.
	noise = 2
)

// P2C returns the policy that draws two different endpoints and takes the one with the
// lower cost,
//
//	latency × (in flight + 1) / weight
//
// with the latency of Endpoint.LatencyAt: a peak-sensitive average, raised by the price of
// failures, so that an endpoint that fails fast does not look like the best. That two draws
// are exponentially better than one, and hardly worse than looking at all, is Mitzenmacher's
// power of two choices; cost and average are those of Finagle's and linkerd's peak EWMA.
//
// The first draw is in proportion to the weights, and it wins where the cost has nothing
// to say:
//
//   - Of two idle endpoints whose latencies are within a factor of two, the difference is
//     noise. Going by the cost, an idle service would send everything to one endpoint, and
//     with unequal weights to the heaviest. One that fails more than now and then costs
//     more than twice as much, and is not among them.
//   - An endpoint that has not been measured gets one request at once to measure it by,
//     and a second one only by its cost with the latency upstream.FirstGuess. Without that
//     a new endpoint of a fast service would be left out for a minute.
func P2C() upstream.Policy {
	return func(c upstream.Candidates) upstream.Picker {
		return &p2c{newLottery(c.Endpoints, c.Random), c.Now}
	}
}

type p2c struct {
	*lottery
	now func() upstream.Moment
}

func (p *p2c) Pick(_ upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	if len(avoid) > 0 {
		first := p.drawOther(avoid, nil)
		if first == nil {
			return nil
		}
		if second := p.drawOther(avoid, first); second != nil {
			return cheaper(p.now(), first, second)
		}
		return first
	}
	if len(p.endpoints) == 1 {
		return p.endpoints[0]
	}
	first, second := p.drawPair()
	return cheaper(p.now(), first, second)
}

// cheaper returns the endpoint with the lower cost; first if they are as good as equal.
func cheaper(now upstream.Moment, first, second *upstream.Endpoint) *upstream.Endpoint {
	load1, load2 := first.InFlight(), second.InFlight()
	latency1, measured1 := first.LatencyAt(now)
	latency2, measured2 := second.LatencyAt(now)
	switch {
	case load1 == 0 && !measured1:
		return first
	case load2 == 0 && !measured2:
		return second
	}
	latency1, latency2 = max(latency1, minLatency), max(latency2, minLatency)
	if load1 == 0 && load2 == 0 && latency1 <= noise*latency2 && latency2 <= noise*latency1 {
		return first
	}
	// Multiplied out, which spares the divisions.
	cost1 := latency1 * float64(load1+1) * float64(second.Weight())
	cost2 := latency2 * float64(load2+1) * float64(first.Weight())
	if cost1 <= cost2 {
		return first
	}
	return second
}
