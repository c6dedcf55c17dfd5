package balancer

import (
	"testing"
	"time"

	"sidecar/upstream"
)

func TestP2CLeavesTheSlowEndpoint(t *testing.T) {
	c := newCast(t, 1, 1, 1)
	c.measure(0, time.Millisecond)
	c.measure(1, time.Millisecond)
	c.measure(2, 100*time.Millisecond)
	c.wantShares(c.shares(c.picker(P2C()), 10000), 0.03, .5, .5, 0)
}

func TestP2CSendsLittleToTheLoadedEndpoint(t *testing.T) {
	c := newCast(t, 1, 1, 1)
	for i := range 3 {
		c.measure(i, time.Millisecond)
	}
	done := c.load(2, 10)
	c.wantShares(c.shares(c.picker(P2C()), 10000), 0.03, .5, .5, 0)
	done()
	c.wantShares(c.shares(c.picker(P2C()), 10000), 0.03, 1./3, 1./3, 1./3)
}

func TestP2CWeighsLatencyAgainstLoad(t *testing.T) {
	c := newCast(t, 1, 1)
	c.measure(0, 10*time.Millisecond)
	c.measure(1, time.Millisecond)
	p := c.picker(P2C())
	done := c.load(1, 8) // 9 × 1 ms is less than 10 ms
	c.wantShares(c.shares(p, 100), 0, 0, 1)
	also := c.load(1, 2) // 11 × 1 ms is more
	c.wantShares(c.shares(p, 100), 0, 1, 0)
	also()
	done()
}

func TestP2CDividesByWeight(t *testing.T) {
	c := newCast(t, 1, 4)
	c.measure(0, time.Millisecond)
	c.measure(1, time.Millisecond)
	p := c.picker(P2C())
	defer c.load(0, 1)() // 1 ms × 2
	done := c.load(1, 6) // 1 ms × 7/4
	c.wantShares(c.shares(p, 100), 0, 0, 1)
	more := c.load(1, 2) // 1 ms × 9/4
	c.wantShares(c.shares(p, 100), 0, 1, 0)
	more()
	done()
}

func TestP2CTakesFailuresForSlow(t *testing.T) {
	c := newCast(t, 1, 1)
	c.measure(0, 50*time.Millisecond)
	c.measure(1, 50*time.Millisecond)
	p := c.picker(P2C())
	fail := func() {
		l := c.lease(1)
		l.Report(upstream.Result{Outcome: upstream.ServerError, Latency: time.Microsecond})
		l.Release()
	}
	fail()
	c.wantShares(c.shares(p, 10000), 0.03, .5, .5)
	for range 4 {
		fail()
	}
	c.wantShares(c.shares(p, 100), 0, 1, 0)
}

func TestP2CTriesAnUnmeasuredEndpointOnceAtATime(t *testing.T) {
	c := newCast(t, 1, 1)
	c.measure(0, 100*time.Microsecond)
	p := c.picker(P2C())
	c.wantShares(c.shares(p, 100), 0, 0, 1)
	measuring := c.lease(1)
	c.wantShares(c.shares(p, 100), 0, 1, 0)
	measuring.Report(upstream.Result{Latency: 100 * time.Microsecond})
	measuring.Release()
	c.wantShares(c.shares(p, 10000), 0.03, .5, .5)
}

func TestP2CComesBackToAnEndpointThatWasSlow(t *testing.T) {
	c := newCast(t, 1, 1)
	c.measure(0, 10*time.Millisecond)
	c.measure(1, 40*time.Millisecond)
	p := c.picker(P2C())
	c.wantShares(c.shares(p, 100), 0, 1, 0)
	c.clock.pass(20 * time.Second) // 40 ms has decayed to 5.4 ms
	c.measure(0, 10*time.Millisecond)
	if share := c.shares(p, 1000)[1]; share < .4 {
		t.Errorf("its share is %.3f", share)
	}
}

func TestP2CLoadCountsWhenLatencyHasDecayedToNothing(t *testing.T) {
	c := newCast(t, 1, 1)
	c.measure(0, time.Millisecond)
	c.measure(1, time.Millisecond)
	c.clock.pass(24 * time.Hour)
	done := c.load(0, 3)
	c.wantShares(c.shares(c.picker(P2C()), 100), 0, 0, 1)
	done()
}

// Between idle endpoints a small difference decides nothing, not even with weights.
func TestP2CTakesSmallDifferencesForNoise(t *testing.T) {
	c := newCast(t, 1, 1, 2)
	c.measure(0, 10*time.Millisecond)
	c.measure(1, 15*time.Millisecond)
	c.measure(2, 19*time.Millisecond)
	c.wantShares(c.shares(c.picker(P2C()), 20000), 0.02, .25, .25, .5)
	c = newCast(t, 1, 1)
	c.measure(0, 10*time.Millisecond)
	c.measure(1, 21*time.Millisecond)
	c.wantShares(c.shares(c.picker(P2C()), 100), 0, 1, 0)
}
