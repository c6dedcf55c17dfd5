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

// HashString is Hash of a string.
func HashString(s string) uint64 { return max(xxhash.Sum64String(s), 1) }

const (
	// pointsPerWeight is how many points a weight of 1 has, as long as there is room.
	pointsPerWeight = 1024
	// maxPoints is how many points a ring may have, unless that would be fewer than
	// leastPoints for each endpoint.
	maxPoints   = 1 << 20
	leastPoints = 128

	// pointsPerValue is how many points there are for each value of first, as a power of 2.
	pointsPerValue = 3

	// A point is one word, the upper bits of its hash above and whose it is below.
	ownerBits = 24
	ownerMask = 1<<ownerBits - 1
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
	points  []uint64 // sorted
	// first says for each value of a hash's upper bits which point is the first that is
	// not below it. There are so few values, one for 4 to 8 points, that the table stays
	// in the cache: to look at a few points more is cheaper than to wait for memory.
	first []int32
	shift int // what leaves these bits of a hash
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

// scatter returns the points in no order.
func (r *ring) scatter() []uint64 {
	total := 0
	for _, w := range r.weights {
		total += w
	}
	perWeight, room := float64(pointsPerWeight), float64(max(maxPoints, leastPoints*len(r.ids)))
	for perWeight*float64(total) > room {
		perWeight /= 2
	}
	points := make([]uint64, 0, int(perWeight*float64(total))+len(r.ids))
	var name []byte
	for i, id := range r.ids {
		name = slices.Grow(append(name[:0], id...), 4)
		for k := range max(1, int(math.Round(float64(r.weights[i])*perWeight))) {
			hash := xxhash.Sum64(binary.LittleEndian.AppendUint32(name, uint32(k)))
			points = append(points, hash&^ownerMask|uint64(i))
		}
	}
	return points
}

// arrange sorts points into the ring. Their hashes are spread evenly, so that once they
// are divided by their upper bits hardly anything is left to sort.
func (r *ring) arrange(points []uint64) {
	r.shift = 64 - max(bits.Len(uint(len(points)))-pointsPerValue, 0)
	r.first = make([]int32, 1<<(64-r.shift))
	for _, p := range points {
		r.first[p>>r.shift]++
	}
	var before int32
	for b, n := range r.first {
		before += n
		r.first[b] = before
	}
	r.points = make([]uint64, len(points))
	for _, p := range points {
		b := p >> r.shift
		r.first[b]--
		r.points[r.first[b]] = p
	}
	for b, from := range r.first {
		to := len(points)
		if b+1 < len(r.first) {
			to = int(r.first[b+1])
		}
		slices.Sort(r.points[from:to])
	}
}

// find returns the index of the point that a hash belongs to.
func (r *ring) find(hash uint64) int {
	at := hash &^ ownerMask
	i := int(r.first[at>>r.shift])
	for i < len(r.points) && r.points[i] < at {
		i++
	}
	if i == len(r.points) {
		return 0
	}
	return i
}

// owner returns whose point i is.
func (r *ring) owner(i int) int { return int(r.points[i] & ownerMask) }
