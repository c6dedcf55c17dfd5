package balancer

import (
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/upstream"
)

// inZones makes one instance for each zone that is named, of weight 1.
func inZones(zones ...string) []discovery.Instance {
	set := instances(ones(len(zones))...)
	for i, z := range zones {
		set[i].Zone = z
	}
	return set
}

// zoneShares picks n times and returns which share of them each zone got.
func (c *cast) zoneShares(p upstream.Picker, n int, avoid ...int) map[string]float64 {
	c.t.Helper()
	shares := make(map[string]float64)
	for i, share := range c.shares(p, n, avoid...) {
		shares[c.endpoints[i].Zone()] += share
	}
	return shares
}

func (c *cast) wantZones(got map[string]float64, want map[string]float64) {
	c.t.Helper()
	for zone, share := range want {
		if d := got[zone] - share; d > .015 || d < -.015 {
			c.t.Errorf("shares of the zones %v, want %v", got, want)
			return
		}
	}
}

func TestZonesSpillWhatTheOwnOneHasNoCapacityFor(t *testing.T) {
	type shares map[string]float64
	for _, test := range []struct {
		name    string
		set     []discovery.Instance
		without []int // which endpoints are not usable
		own     string
		want    shares
	}{
		{"equal zones", inZones("a", "a", "a", "b", "b", "b"), nil, "a", shares{"a": 1}},
		{"one of three is down", inZones("a", "a", "a", "b", "b", "b"), []int{1}, "a", shares{"a": 2. / 3, "b": 1. / 3}},
		{"the others' loss is not ours", inZones("a", "a", "a", "b", "b", "b"), []int{3, 4}, "a", shares{"a": 1}},
		{"the smaller of two", inZones("a", "b", "b", "b"), nil, "a", shares{"a": .5, "b": .5}},
		{"the larger of two", inZones("a", "b", "b", "b"), nil, "b", shares{"b": 1}},
		{"only one can spare", inZones("a", "b", "b", "c", "c", "c"), nil, "a", shares{"a": .5, "b": 0, "c": .5}},
		// Need is 4; c has 2 to spare and d 4.
		{"two can spare", inZones("a", "b", "b", "b", "b", "c", "c", "c", "c", "c", "c", "d", "d", "d", "d", "d", "d", "d", "d", "a")[:19], nil, "a",
			shares{"a": 4. / 19, "b": 0, "c": 15. / 19 * 1.25 / 4.5, "d": 15. / 19 * 3.25 / 4.5}},
		{"one host in each", inZones("a", "b", "c"), nil, "c", shares{"c": 1}},
		{"one host in each, its own is lost", inZones("a", "b", "c"), []int{2}, "c", shares{"a": .5, "b": .5}},
		{"the own zone is lost", inZones("a", "b", "b", "c"), []int{0}, "a", shares{"b": 1}},
		{"the own zone is lost, none can spare", inZones("a", "a", "a", "a", "b", "b", "c"), []int{0, 1, 2, 3}, "a", shares{"b": 2. / 3, "c": 1. / 3}},
		{"an unknown zone", inZones("a", "b"), nil, "x", shares{"a": .5, "b": .5}},
		{"no zone", inZones("", "", "b"), nil, "", shares{"": 2. / 3, "b": 1. / 3}},
		{"some have no zone", inZones("", "a"), nil, "a", shares{"a": 1}},
		{"only one zone", inZones("a", "a"), nil, "a", shares{"a": 1}},
	} {
		for name, inner := range policies {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				c := newCastOf(t, test.set, Random())
				c.without(test.without...)
				c.wantZones(c.zoneShares(c.picker(Zoned(test.own, inner())), 30000), test.want)
			})
		}
	}
}

func TestZonesCountWeights(t *testing.T) {
	set := inZones("a", "a", "b", "c")
	set[0].Weight, set[1].Weight, set[2].Weight, set[3].Weight = 1, 2, 8, 4
	c := newCastOf(t, set, Random())
	// Each needs 5; a has 3 of them, and b 3 to spare.
	c.wantShares(c.shares(c.picker(Zoned("a", Random())), 30000), .015, .2, .4, .4, 0)
}

func TestZonesAvoid(t *testing.T) {
	for name, inner := range policies {
		t.Run(name, func(t *testing.T) {
			c := newCastOf(t, inZones("a", "a", "b", "b"), Random())
			p := c.picker(Zoned("a", inner()))
			c.wantShares(c.shares(p, 1000, 0), 0, 0, 1, 0, 0)
			c.wantShares(c.shares(p, 10000, 0, 1), .03, 0, 0, .5, .5)
			c.wantShares(c.shares(p, 1000, 0, 1, 2), 0, 0, 0, 0, 1)
			c.wantShares(c.shares(p, 1000, 0, 2, 3), 0, 0, 1, 0, 0)
			if e := p.Pick(upstream.PickKey{}, c.endpoints); e != nil {
				t.Errorf("all are to be avoided, but picked %s", e.ID())
			}
			// What would be spilled stays if there is nowhere to spill it to.
			c.without(0)
			p = c.picker(Zoned("a", inner()))
			for range 100 {
				if e := p.Pick(upstream.PickKey{}, c.made.Listed[2:]); e != c.endpoints[0] {
					t.Fatalf("picked %v", e)
				}
			}
		})
	}
}

// Instances that the source does not list are sorted by their own zones.
func TestZonesOfFallbackInstances(t *testing.T) {
	c := newCastOf(t, inZones("a", "b"), Random())
	c.made.Listed = newCastOf(t, inZones("x", "y"), Random()).endpoints
	c.wantZones(c.zoneShares(c.picker(Zoned("b", P2C())), 1000), map[string]float64{"b": 1})
}

func TestZonesSpillFromAnOverloadedEndpoint(t *testing.T) {
	c := newCastOf(t, inZones("a", "b"), func(c upstream.Candidates) upstream.Picker { return byKey(c.Endpoints) })
	for i := range 2 {
		c.measure(i, 10*time.Millisecond)
	}
	p := c.picker(Zoned("a", LeastConn()))
	busy := c.load(0, 15)
	c.wantShares(c.shares(p, 100), 0, 1, 0) // 10 ms × 16 is not more than 16 × 10 ms × 1
	more := c.load(0, 1)
	c.wantShares(c.shares(p, 100), 0, 0, 1)
	there := c.load(1, 1)
	c.wantShares(c.shares(p, 100), 0, 1, 0)
	there()
	more()
	busy()

	c.measure(0, 100*time.Millisecond)
	busy = c.load(0, 3)
	c.wantShares(c.shares(p, 100), 0, 1, 0) // 100 ms × 4 is not more than 16 × 25 ms
	more = c.load(0, 1)
	c.wantShares(c.shares(p, 100), 0, 0, 1)
	more()
	busy()
}

func (tr *trial) local(shares []float64) (local float64) {
	for i, e := range tr.service.Snapshot().Endpoints {
		if e.Zone() == "a" {
			local += shares[i]
		}
	}
	return local
}

// With many requests in flight, and latencies of the other zone that decay because nobody
// goes there, requests stay.
func TestZonesKeepWhatTheyCanCarry(t *testing.T) {
	for name, inner := range policies {
		for _, rate := range []float64{50, 2000} {
			t.Run(name, func(t *testing.T) {
				s := server{takes: 10 * time.Millisecond}
				tr := newTrial(t, 1, Zoned("a", inner()), inZones("a", "a", "a", "b", "b", "b"), s, s, s, s, s, s)
				tr.sendFor(20*time.Second, rate)
				if local := tr.local(tr.sendFor(20*time.Second, rate)); local < .99 {
					t.Errorf("%v per second: %.4f stay", rate, local)
				}
				tr.end()
			})
		}
	}
}

// The more endpoints there are elsewhere, the more latencies decay.
func TestZonesAreNotTemptedByManyOthers(t *testing.T) {
	set := instances(ones(63)...)
	servers := make([]server, len(set))
	for i := range set {
		set[i].Zone = string(rune('a' + i/21))
		servers[i].takes = 10 * time.Millisecond
	}
	// Each of the own zone has seven in flight, and the others have none.
	tr := newTrial(t, 1, Zoned("a", P2C()), set, servers...)
	tr.sendFor(20*time.Second, 15000)
	if local := tr.local(tr.sendFor(20*time.Second, 15000)); local < .99 {
		t.Errorf("%.4f stay", local)
	}
	tr.end()
}

// Two endpoints can answer 200 requests per second. What comes beyond that goes to the
// other zone, no more than a little before it would have to wait long, and stays again when
// there is less.
func TestZonesSpillWhenOverloadedAndComeBack(t *testing.T) {
	for name, inner := range policies {
		t.Run(name, func(t *testing.T) {
			near, far := server{takes: 10 * time.Millisecond, slots: 1}, server{takes: 12 * time.Millisecond}
			tr := newTrial(t, 1, Zoned("a", inner()), inZones("a", "a", "b", "b"), near, near, far, far)
			tr.sendFor(5*time.Second, 300)
			for range 5 {
				local := tr.local(tr.sendFor(10*time.Second, 300))
				if local < .45 || local > .7 {
					t.Errorf("of 300 per second %.3f stay", local)
				}
				if mean := tr.latency / 3000; mean > 150*time.Millisecond {
					t.Errorf("they take %v", mean)
				}
			}
			tr.sendFor(5*time.Second, 80)
			if local := tr.local(tr.sendFor(20*time.Second, 80)); local < .97 {
				t.Errorf("of 80 per second %.3f stay", local)
			}
			tr.end()
		})
	}
}

// The only one of the own zone hangs, or fails at once: the others help until it is well.
func TestZonesSpillFromTheOneThatIsLost(t *testing.T) {
	for name, inner := range policies {
		t.Run(name, func(t *testing.T) {
			s := server{takes: 10 * time.Millisecond}
			tr := newTrial(t, 1, Zoned("a", inner()), inZones("a", "b", "c"), s, s, s)
			tr.sendFor(5*time.Second, 200)
			tr.servers[0].takes = 20 * time.Second
			if local := tr.sendFor(10*time.Second, 200)[0]; local > .1 {
				t.Errorf("while it hangs it gets %.4f", local)
			}
			tr.servers[0].takes = 10 * time.Millisecond
			tr.end()

			tr = newTrial(t, 1, Zoned("a", inner()), inZones("a", "b", "c"), s, s, s)
			tr.sendFor(5*time.Second, 200)
			tr.servers[0].fails = 1
			if local := tr.sendFor(10*time.Second, 200)[0]; local > .02 {
				t.Errorf("while it fails it gets %.4f", local)
			}
			tr.servers[0].fails = 0
			tr.sendFor(10*time.Second, 200)
			if local := tr.sendFor(10*time.Second, 200)[0]; local < .97 {
				t.Errorf("when it is well again it gets %.4f", local)
			}
			tr.end()
		})
	}
}
