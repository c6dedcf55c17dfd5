package balancer

import (
	"math"
	"slices"
	"testing"
	"time"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/upstream"
)

// The keys of one that is out are spread over the others, and come
// back with it.
func TestRingHashSpreadsTheKeysOfAnEjectedEndpoint(t *testing.T) {
	all := keys(30000)
	for _, n := range []int{3, 10, 100} {
		for _, kind := range idKinds {
			c := newCastOf(t, named(ids(kind, n)...), Random())
			policy := RingHash(1.25)
			before := owners(c.picker(policy), all)
			gone := c.endpoints[n/2].ID()
			c.without(n / 2)
			after := owners(c.picker(policy), all)
			wantMoved(t, before, after, gone, 1.2/float64(n))
			heirs := make(map[string]bool)
			for i := range before {
				if before[i] == gone {
					heirs[after[i]] = true
				}
			}
			if len(heirs) < min(n-1, 20) {
				t.Errorf("%d %s: its keys went to %d others", n, kind, len(heirs))
			}
			c.without()
			if !slices.Equal(before, owners(c.picker(policy), all)) {
				t.Errorf("%d %s: it is back, and some keys are not", n, kind)
			}
		}
	}
}

// The same with a service that ejects one and takes it back.
func TestRingHashThroughAnEjection(t *testing.T) {
	clock := newClock()
	s := upstream.New(upstream.Options{
		Name:       "test",
		Policy:     RingHash(1.25),
		Breaker:    breaker.Settings{ConsecutiveFailures: 3},
		MaxEjected: 0.5,
		Clock:      func() time.Time { return clock.now },
	})
	s.Feed(discovery.Update{Instances: instances(1, 1, 1, 1)})
	s.Step()
	all := keys(5000)
	before := owners(s.Snapshot().Picker, all)
	answer := func(n int, o upstream.Outcome) {
		for range n {
			l, err := s.Acquire(upstream.PickKey{Hash: all[0], Repeatable: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Endpoint().ID(); got != before[0] {
				t.Fatalf("picked %s, want %s", got, before[0])
			}
			l.Report(upstream.Result{Outcome: o})
			l.Release()
		}
		s.Step()
	}
	answer(3, upstream.Reset)
	wantMoved(t, before, owners(s.Snapshot().Picker, all), before[0], 1.2/4)
	clock.pass(2 * time.Second)
	s.Step()
	answer(1, upstream.Success)
	if !slices.Equal(before, owners(s.Snapshot().Picker, all)) {
		t.Error("it is back, and some keys are not")
	}
}

func TestRingHashGoesOnToTheNext(t *testing.T) {
	c := newCast(t, ones(5)...)
	p := c.picker(RingHash(0))
	for _, k := range keys(100) {
		var tried []*upstream.Endpoint
		for range 5 {
			e := p.Pick(upstream.PickKey{Hash: k}, tried)
			if e == nil || contains(tried, e) {
				t.Fatalf("after %d others: %v", len(tried), e)
			}
			tried = append(tried, e)
		}
		if e := p.Pick(upstream.PickKey{Hash: k}, tried); e != nil {
			t.Fatalf("all have been tried, but picked %s", e.ID())
		}
		// Whoever comes second does so again when the first is not usable.
		c.without(c.index[tried[0]])
		if e := c.picker(RingHash(0)).Pick(upstream.PickKey{Hash: k}, nil); e != tried[1] {
			t.Fatalf("picked %s, want %s", e.ID(), tried[1].ID())
		}
		c.without()
	}
}

// Everybody asks for the same key.
func TestRingHashBoundsTheLoadOfAHotKey(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}, ones(20)} {
		for _, balance := range []float64{1, 1.25, 2} {
			c := newCastOf(t, instances(weights...), RingHash(balance))
			sum := float64(weightOf(c.endpoints))
			key := upstream.PickKey{Hash: Hash([]byte("hot"))}
			owner := c.made.Listed[newRing(c.endpoints).owner(newRing(c.endpoints).find(key.Hash))]
			var leases []upstream.Lease
			for n := 1; n <= 500; n++ {
				l, err := c.service.Acquire(key)
				if err != nil {
					t.Fatal(err)
				}
				leases = append(leases, l)
				e := l.Endpoint()
				if most := math.Ceil(balance * float64(n) * float64(e.Weight()) / sum); float64(e.InFlight()) > most {
					t.Fatalf("balance %v: of %d in flight %s has %d, want at most %v", balance, n, e.ID(), e.InFlight(), most)
				}
			}
			if got, want := float64(owner.InFlight()), math.Ceil(balance*500*float64(owner.Weight())/sum); got < min(want, 500)-1 {
				t.Errorf("balance %v: the owner has %v of 500, want %v", balance, got, want)
			}
			for i := range leases {
				leases[i].Release()
			}
			if e := c.service.Snapshot().Picker.Pick(key, nil); e != owner {
				t.Errorf("when it is over the key goes to %s, not to %s", e.ID(), owner.ID())
			}
		}
	}
}

func TestRingHashWithoutBound(t *testing.T) {
	for _, balance := range []float64{0, -1, math.NaN()} {
		c := newCastOf(t, instances(1, 1, 1), RingHash(balance))
		for range 50 {
			l, err := c.service.Acquire(upstream.PickKey{Hash: 7})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release()
		}
		if e := c.service.Snapshot().Picker.Pick(upstream.PickKey{Hash: 7}, nil); e.InFlight() != 50 {
			t.Errorf("balance %v: the hot one has %d", balance, e.InFlight())
		}
	}
	c := newCast(t, 1, 1, 1)
	c.made.InFlight = nil
	defer c.load(0, 10)()
	before := owners(c.picker(RingHash(0)), keys(100))
	if !slices.Equal(before, owners(c.picker(RingHash(1.25)), keys(100))) {
		t.Error("a bound without a count")
	}
}

// If leases of endpoints that are gone count as well, or do not yet, the first one does.
func TestRingHashWhenAllAreFull(t *testing.T) {
	c := newCast(t, 1, 1, 1)
	c.made.InFlight = func() int64 { return 1 }
	want := owners(c.picker(RingHash(0)), keys(100))
	for i := range 3 {
		defer c.load(i, 5+i)()
	}
	if got := owners(c.picker(RingHash(1.25)), keys(100)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, k := range keys(20) {
		if e := c.picker(RingHash(1.25)).Pick(upstream.PickKey{Hash: k}, c.endpoints[:2]); e != c.endpoints[2] {
			t.Errorf("picked %v", e)
		}
	}
}

// Requests without a key are shared by weight, and those with one of few are found too.
func TestRingHashFindsTheFew(t *testing.T) {
	c := newCast(t, ones(2000)...)
	var out []int
	for i := range 2000 {
		if i != 77 && i != 1500 {
			out = append(out, i)
		}
	}
	c.without(out...)
	p := c.picker(RingHash(1.25))
	seen := make(map[string]int)
	for _, id := range owners(p, keys(1000)) {
		seen[id]++
	}
	if len(seen) != 2 || seen["000077"] < 350 || seen["001500"] < 350 {
		t.Errorf("keys by endpoint: %v", seen)
	}
	if !slices.Equal(owners(p, keys(1000)), owners(p, keys(1000))) {
		t.Error("a key goes now here, now there")
	}
	for _, k := range keys(100) {
		if e := p.Pick(upstream.PickKey{Hash: k}, c.endpoints[:1]); e != c.endpoints[1] {
			t.Fatalf("picked %v", e)
		}
	}
}

// Fallback instances are not listed; they have a ring of their own.
func TestRingHashOfFallbackInstances(t *testing.T) {
	c := newCastOf(t, named("x", "y", "z"), Random())
	want := owners(c.picker(RingHash(1.25)), keys(100))
	c.made.Listed = newCastOf(t, named("a", "b"), Random()).endpoints
	if got := owners(c.picker(RingHash(1.25)), keys(100)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	c.made.Listed = nil
	if got := owners(c.picker(RingHash(1.25)), keys(100)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
