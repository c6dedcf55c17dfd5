package balancer

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"

	"sidecar/upstream"
)

// Hash returns what a PickKey is to hold for a request that is known by b: xxHash64 of it,
// and never 0. Equal bytes have equal hashes in every process and version.
func Hash(b []byte) uint64 { return max(xxhash.Sum64(b), 1) }

const (
	// pointsPerWeight is how many points a weight of 1 has, as long as there is room.
	pointsPerWeight = 1024
	// maxPoints is how many points a ring may have, unless that would be fewer than
	// leastPoints for each endpoint.
	maxPoints   = 1 << 20
	leastPoints = 128

	// precision is how many bits of a hash the ring tells apart.
	precision = 34
)

// A ring is a consistent hash of endpoints after Karger: each owns as many points on a
// circle as its weight says, and a key belongs to the first point from its hash on. Once
// made it is not changed.
//
// Where the points of an endpoint lie depends on its ID alone, and how many there are on its
// weight alone, as long as the sum of all weights is at most 1024. Beyond that the number
// for a weight of 1 is halved at 1024, 2048 and so on: a set that grows or shrinks past one
// of these moves more keys than it would have to.
type ring struct {
	ids     []string
	weights []int

	// The circle is cut into arcs, one for 4 to 8 points. An arc is named by the upper bits
	// of the hashes in it; arcs says which point is the first of each, and at its end how
	// many points there are. A point is the next bits of its hash above and its owner below.
	// They are in order. So few bytes for a point, and so few arcs, for a search in a large
	// ring takes as long as it waits for memory.
	points    []uint32
	arcs      []int32
	arcBits   int
	ownerBits int
}

// newRing makes the ring of endpoints that are sorted by ID.
func newRing(endpoints []*upstream.Endpoint) *ring {
	r := &ring{ids: make([]string, len(endpoints)), weights: make([]int, len(endpoints))}
	for i, e := range endpoints {
		r.ids[i], r.weights[i] = e.ID(), e.Weight()
	}
	r.arrange(r.scatter())
	return r
}

// isOf tells whether newRing would make the same ring of the endpoints.
func (r *ring) isOf(endpoints []*upstream.Endpoint) bool {
	if len(endpoints) != len(r.ids) {
		return false
	}
	for i, e := range endpoints {
		if e.ID() != r.ids[i] || e.Weight() != r.weights[i] {
			return false
		}
	}
	return true
}

// A spot is a point before it is in its place.
type spot struct {
	hash  uint64
	owner uint32
}

// scatter returns the points in no order.
func (r *ring) scatter() []spot {
	total := 0
	for _, w := range r.weights {
		total += w
	}
	perWeight, room := float64(pointsPerWeight), float64(max(maxPoints, leastPoints*len(r.ids)))
	for perWeight*float64(total) > room {
		perWeight /= 2
	}
	spots := make([]spot, 0, int(perWeight*float64(total))+len(r.ids))
	var name []byte
	for i, id := range r.ids {
		name = slices.Grow(append(name[:0], id...), 4)
		for k := range max(1, int(math.Round(float64(r.weights[i])*perWeight))) {
			hash := xxhash.Sum64(binary.LittleEndian.AppendUint32(name, uint32(k)))
			spots = append(spots, spot{hash, uint32(i)})
		}
	}
	return spots
}

// arrange puts the spots into order, first by their arcs and then within each arc.
func (r *ring) arrange(spots []spot) {
	r.ownerBits = bits.Len(uint(len(r.ids) - 1))
	r.arcBits = max(bits.Len(uint(len(spots)))-3, 1)
	r.arcs = make([]int32, 1<<r.arcBits+1)
	for _, s := range spots {
		r.arcs[r.arc(s.hash)]++
	}
	var before int32
	for a, n := range r.arcs {
		before += n
		r.arcs[a] = before
	}
	r.points = make([]uint32, len(spots))
	for _, s := range spots {
		a := r.arc(s.hash)
		r.arcs[a]--
		r.points[r.arcs[a]] = r.within(s.hash) | s.owner
	}
	for a := range len(r.arcs) - 1 {
		slices.Sort(r.points[r.arcs[a]:r.arcs[a+1]])
	}
}

// arc returns the arc that a hash is in.
func (r *ring) arc(hash uint64) int { return int(hash >> (64 - r.arcBits)) }

// within returns the least point that a hash can be within its arc.
func (r *ring) within(hash uint64) uint32 {
	hash &^= 1<<(64-precision) - 1
	return uint32(hash<<r.arcBits>>32) &^ (1<<r.ownerBits - 1)
}

// find returns the index of the point that a hash belongs to.
func (r *ring) find(hash uint64) int {
	arc, at := r.arc(hash), r.within(hash)
	first, end := int(r.arcs[arc]), int(r.arcs[arc+1])
	// Points are spread evenly, so that it is near where it would be if they were exactly.
	i := first + int(uint64(end-first)*uint64(at)>>32)
	for i > first && r.points[i-1] >= at {
		i--
	}
	for i < end && r.points[i] < at {
		i++
	}
	if i == len(r.points) {
		return 0
	}
	return i
}

// owner returns whose point i is.
func (r *ring) owner(i int) int { return int(r.points[i] & (1<<r.ownerBits - 1)) }
