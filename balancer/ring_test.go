package balancer

import (
	"fmt"
	"slices"
	"testing"

	"sidecar/discovery"
	"sidecar/upstream"
)

// named makes an instance of each ID, of weight 1.
func named(ids ...string) []discovery.Instance {
	set := instances(ones(len(ids))...)
	for i, id := range ids {
		set[i].ID = id
	}
	slices.SortFunc(set, func(a, b discovery.Instance) int { return compareIDs(a.ID, b.ID) })
	return set
}

func compareIDs(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// idKinds are ways in which registries name instances; %d is a number.
var idKinds = []string{"web-%d", "10.0.0.%d:8080", "node%03d/orders-8080", "%d", "3f2a9c4e-0000-4000-8000-%012x"}

func ids(kind string, n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf(kind, i))
	}
	return ids
}

// keys are the hashes of n fixed keys.
func keys(n int) []uint64 {
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = Hash([]byte(fmt.Sprintf("client-%d", i)))
	}
	return keys
}

// owners returns the ID that each key goes to while nothing is in flight.
func owners(p upstream.Picker, keys []uint64) []string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, p.Pick(upstream.PickKey{Hash: k}, nil).ID())
	}
	return ids
}

// The ring is the same in every process and version: a client that goes to another sidecar,
// or through an upgraded one, stays with its instance.
func TestRingIsAlwaysTheSame(t *testing.T) {
	c := newCastOf(t, named("alpha", "beta", "gamma"), Random())
	if got := fmt.Sprintf("%016x", Hash([]byte("client-0"))); got != goldenHash {
		t.Errorf("hash %s, want %s", got, goldenHash)
	}
	r := newRing(c.endpoints)
	var got []string
	for i := range 4 {
		got = append(got, fmt.Sprintf("%016x %s", r.hash(i), r.ids[r.owner(i)]))
	}
	if !slices.Equal(got, goldenPoints) {
		t.Errorf("points %q, want %q", got, goldenPoints)
	}
	if got := owners(c.picker(RingHash(0)), keys(12)); !slices.Equal(got, goldenOwners) {
		t.Errorf("owners %q, want %q", got, goldenOwners)
	}
}

var (
	goldenHash   = "55a2d17afb51e105"
	goldenPoints = []string{"0007b17d80000000 gamma", "000ed3c140000000 alpha", "0011fd7940000000 alpha", "0025396e80000000 gamma"}
	goldenOwners = []string{"alpha", "alpha", "beta", "gamma", "gamma", "beta", "beta", "beta", "alpha", "gamma", "beta", "beta"}
)

func TestHash(t *testing.T) {
	for _, s := range []string{"", "a", "client-0", "10.0.0.1"} {
		if Hash([]byte(s)) == 0 {
			t.Errorf("%q: %d", s, Hash([]byte(s)))
		}
	}
}

func TestRingIsInOrder(t *testing.T) {
	for _, weights := range [][]int{{1}, {1, 1}, {5, 1, 3}, ones(300), {1 << 20, 1, 1 << 10}, {3000}, ones(9000)} {
		c := newCast(t, weights...)
		r := newRing(c.endpoints)
		hashes := make([]uint64, len(r.points))
		for i := range hashes {
			hashes[i] = r.hash(i)
		}
		if !slices.IsSorted(hashes) {
			t.Fatalf("%d weights: not sorted", len(weights))
		}
		if got := r.arcBits + 32 - r.ownerBits; got < precision {
			t.Errorf("%d weights: %d bits of a hash", len(weights), got)
		}
		if n := len(r.points); n > max(maxPoints, leastPoints*len(weights))+len(weights) || n < leastPoints/2*len(weights) {
			t.Errorf("%d weights: %d points", len(weights), n)
		}
		count := make([]int, len(weights))
		for i := range r.points {
			count[r.owner(i)]++
		}
		sum := weightOf(c.endpoints)
		for i, w := range weights {
			want := float64(w) / float64(sum) * float64(len(r.points))
			if n := float64(count[i]); n < 1 || n > want+1 || n < want-1 {
				t.Errorf("weight %d has %v points of %d", w, n, len(r.points))
			}
		}
		// A hash belongs to the first point from it on, and the last ones to the first.
		for _, k := range append(keys(1000), 0, 1, 1<<63, 1<<64-1) {
			want, _ := slices.BinarySearch(hashes, k&^(1<<(64-precision)-1))
			if got := r.find(k); got != want%len(r.points) {
				t.Fatalf("%x: point %d, want %d", k, got, want)
			}
		}
	}
}

// hash puts the hash of a point together again, as far as the ring knows it.
func (r *ring) hash(i int) uint64 {
	arc, _ := slices.BinarySearch(r.arcs, int32(i+1))
	return uint64(arc-1)<<(64-r.arcBits) | uint64(r.points[i]&^(1<<r.ownerBits-1))<<32>>r.arcBits
}

func TestRingSharesByWeight(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}, {1, 9}, {100, 200, 300}, {1, 1, 1, 1, 20}} {
		c := newCast(t, weights...)
		shares := make([]float64, len(weights))
		for _, id := range owners(c.picker(RingHash(0)), keys(50000)) {
			var i int
			_, _ = fmt.Sscan(id, &i)
			shares[i] += 1. / 50000
		}
		for i, w := range weights {
			want := float64(w) / float64(weightOf(c.endpoints))
			if shares[i] < want/1.2 || shares[i] > want*1.2 {
				t.Errorf("weight %d of %v has a share of %.4f", w, weights, shares[i])
			}
		}
	}
}

// Of up to 100 equal endpoints none has more than 1.2 times its share, however they are
// called; so no more keys move when one leaves, and only its own.
func TestRingMovesOnlyTheKeysOfTheOneThatLeaves(t *testing.T) {
	all := keys(30000)
	for _, n := range []int{3, 10, 100} {
		for _, kind := range idKinds {
			t.Run(fmt.Sprintf("%d %s", n, kind), func(t *testing.T) {
				set := named(ids(kind, n)...)
				c := newCastOf(t, set, RingHash(1.25))
				before := owners(c.service.Snapshot().Picker, all)
				for _, leaves := range []int{0, n / 2, n - 1} {
					gone := set[leaves].ID
					c.report(slices.Delete(slices.Clone(set), leaves, leaves+1))
					wantMoved(t, before, owners(c.service.Snapshot().Picker, all), gone, 1.2/float64(n))
					c.report(set)
					if !slices.Equal(before, owners(c.service.Snapshot().Picker, all)) {
						t.Errorf("%s is back, and some keys are not", gone)
					}
				}
			})
		}
	}
}

func wantMoved(t *testing.T, before, after []string, gone string, most float64) {
	t.Helper()
	moved := 0
	for i := range before {
		switch {
		case before[i] == gone:
			moved++
			if after[i] == gone {
				t.Fatalf("a key still goes to %s", gone)
			}
		case before[i] != after[i]:
			t.Fatalf("a key of %s moved to %s when %s left", before[i], after[i], gone)
		}
	}
	if share := float64(moved) / float64(len(before)); share > most {
		t.Errorf("%s had %.4f of the keys, want at most %.4f", gone, share, most)
	}
}

// With weights, too, only the keys of the one that leaves move.
func TestRingWithWeightsMovesOnlyTheKeysOfTheOneThatLeaves(t *testing.T) {
	all := keys(10000)
	for _, weights := range [][]int{{1, 2, 3}, {2, 2, 1}, {100, 100, 100, 50}, {7, 1, 1, 30}} {
		set := instances(weights...)
		c := newCastOf(t, set, RingHash(1.25))
		before := owners(c.service.Snapshot().Picker, all)
		for i := range set {
			c.report(slices.Delete(slices.Clone(set), i, i+1))
			wantMoved(t, before, owners(c.service.Snapshot().Picker, all), set[i].ID,
				1.2*float64(weights[i])/float64(weightOf(c.made.Listed)+weights[i]))
		}
	}
}

func TestRingIsKeptWhileTheSetIs(t *testing.T) {
	set := instances(1, 1, 1)
	c := newCastOf(t, set, Random())
	policy := RingHash(1.25)
	first := c.picker(policy).(*ringHash).ring
	c.without(1)
	if c.picker(policy).(*ringHash).ring != first {
		t.Error("another ring for an endpoint that is only ejected")
	}
	set[1].Meta = map[string]string{"version": "2"}
	c.report(set)
	if c.picker(policy).(*ringHash).ring != first {
		t.Error("another ring for the same set")
	}
	set[1].Weight = 2
	c.report(set)
	second := c.picker(policy).(*ringHash).ring
	if second == first {
		t.Error("the same ring for another weight")
	}
	set[1].ID = "x"
	c.report(set)
	if c.picker(policy).(*ringHash).ring == second {
		t.Error("the same ring for another ID")
	}
}
