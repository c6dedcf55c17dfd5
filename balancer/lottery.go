package balancer

import "sidecar/upstream"

// A lottery draws endpoints at random in proportion to their weights, in constant time, by
// Walker's alias method with tables built after Vose. Once made it is not changed.
type lottery struct {
	endpoints []*upstream.Endpoint
	// A number picks a column; the column is its own endpoint's below its threshold, and
	// its alias's from there on. Both are nil if all weights are equal.
	threshold []uint32
	alias     []int32
	random    func() uint64
}

func newLottery(endpoints []*upstream.Endpoint, random func() uint64) *lottery {
	l := &lottery{endpoints: endpoints, random: random}
	if !sameWeights(endpoints) {
		l.fillColumns()
	}
	return l
}

func sameWeights(endpoints []*upstream.Endpoint) bool {
	for _, e := range endpoints {
		if e.Weight() != endpoints[0].Weight() {
			return false
		}
	}
	return true
}

// fillColumns builds the tables: each column is as high as the mean weight, and a column
// that its own endpoint does not fill is filled up by one that has too much.
func (l *lottery) fillColumns() {
	n := len(l.endpoints)
	l.threshold = make([]uint32, n)
	l.alias = make([]int32, n)
	// Scaled by n, every height is a whole number, and the mean is the sum of weights.
	height := make([]uint64, n)
	var mean uint64
	for i, e := range l.endpoints {
		height[i] = uint64(e.Weight()) * uint64(n)
		mean += uint64(e.Weight())
	}
	var low, high []int32
	for i := range height {
		if height[i] < mean {
			low = append(low, int32(i))
		} else {
			high = append(high, int32(i))
		}
	}
	for len(low) > 0 && len(high) > 0 {
		short, tall := low[len(low)-1], high[len(high)-1]
		low = low[:len(low)-1]
		l.threshold[short] = uint32(float64(height[short]) / float64(mean) * (1 << 32))
		l.alias[short] = tall
		height[tall] -= mean - height[short]
		if height[tall] < mean {
			high = high[:len(high)-1]
			low = append(low, tall)
		}
	}
	// Those left are exactly full, and an alias to itself says so.
	for _, i := range append(low, high...) {
		l.alias[i] = i
	}
}

// below returns a number from 0 to n-1, made of the upper half of r.
func below(n int, r uint64) int { return int((r >> 32) * uint64(n) >> 32) }

func (l *lottery) column(r uint64) int {
	i := below(len(l.endpoints), r)
	if l.threshold == nil || uint32(r) < l.threshold[i] {
		return i
	}
	return int(l.alias[i])
}

// draw returns one endpoint.
func (l *lottery) draw() *upstream.Endpoint { return l.endpoints[l.column(l.random())] }

// maxDraws is how often an endpoint that will not do is drawn again before the search
// becomes a scan.
const maxDraws = 4

// drawPair returns two different endpoints. There are at least two. How often one is the
// first of them is in proportion to its weight.
func (l *lottery) drawPair() (first, second *upstream.Endpoint) {
	r := l.random()
	n := len(l.endpoints)
	if l.threshold == nil {
		i, j := below(n, r), below(n-1, r<<32)
		if j >= i {
			j++
		}
		return l.endpoints[i], l.endpoints[j]
	}
	i := l.column(r)
	for range maxDraws {
		if j := l.column(l.random()); j != i {
			return l.endpoints[i], l.endpoints[j]
		}
	}
	j := below(n-1, l.random())
	if j >= i {
		j++
	}
	return l.endpoints[i], l.endpoints[j]
}

// drawOther returns an endpoint that is neither one of avoid nor besides, or nil if there
// is none.
func (l *lottery) drawOther(avoid []*upstream.Endpoint, besides *upstream.Endpoint) *upstream.Endpoint {
	for range maxDraws {
		if e := l.draw(); e != besides && !contains(avoid, e) {
			return e
		}
	}
	start := below(len(l.endpoints), l.random())
	for i := range l.endpoints {
		e := l.endpoints[(start+i)%len(l.endpoints)]
		if e != besides && !contains(avoid, e) {
			return e
		}
	}
	return nil
}

func contains(endpoints []*upstream.Endpoint, e *upstream.Endpoint) bool {
	for _, other := range endpoints {
		if other == e {
			return true
		}
	}
	return false
}
