package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/upstream"
)

// A cast is endpoints for a picker to choose from, at a time that a test sets.
type cast struct {
	t       *testing.T
	now     time.Time
	service *upstream.Service
	picker  upstream.Picker
	all     []*upstream.Endpoint
}

// newCast makes n endpoints and the picker of a policy that may want to know the clock.
func newCast(t *testing.T, n int, made func(c *cast) upstream.Policy) *cast {
	t.Helper()
	c := &cast{t: t, now: origin}
	chance := rand.NewPCG(1, 1)
	w := &world{scenario: &scenario{}}
	for i := range n {
		w.instances = append(w.instances, &instance{index: i})
	}
	policy := made(c)
	c.service = upstream.New(upstream.Options{Name: "cast", Policy: policy, Random: chance.Uint64, Clock: func() time.Time { return c.now }})
	c.service.Feed(discovery.Update{Instances: w.listing(n)})
	c.service.Step()
	snap := c.service.Snapshot()
	c.picker, c.all = snap.Picker, snap.Endpoints
	return c
}

// shares picks many times and counts.
func (c *cast) shares() []int {
	counts := make([]int, len(c.all))
	for range 100 * len(c.all) {
		counts[indexOf(c.picker.Pick(upstream.PickKey{}, nil))]++
	}
	return counts
}

// wantOut has all but some of the endpoints picked, and these not at all.
func (c *cast) wantOut(when string, out ...int) {
	c.t.Helper()
	for i, n := range c.shares() {
		isOut := false
		for _, o := range out {
			isOut = isOut || o == i
		}
		if isOut != (n == 0) {
			c.t.Errorf("%s: endpoint %d was picked %d times; only %v should be out", when, i, n, out)
		}
	}
}

func TestTheModelOfEnvoyEjects(t *testing.T) {
	t.Parallel()
	outlying := func(n int) (*cast, *outliers) {
		var p *outliers
		c := newCast(t, n, func(c *cast) upstream.Policy {
			p = newOutliers(func() time.Time { return c.now })
			p.limit, p.share, p.base, p.most = 5, 0.1, 30*time.Second, 300*time.Second
			return p.policy
		})
		return c, p
	}
	fail := func(c *cast, p *outliers, i, times int) {
		for range times {
			p.told(c.all[i], upstream.ServerError, time.Millisecond)
		}
	}
	c, p := outlying(10)
	fail(c, p, 3, 4)
	c.wantOut("after four failures")
	fail(c, p, 3, 1)
	c.wantOut("after five", 3)
	fail(c, p, 4, 5)
	c.wantOut("a second one, with room for one in ten", 3)
	c.now = c.now.Add(30 * time.Second)
	c.wantOut("after 30 s")
	fail(c, p, 3, 5)
	c.now = c.now.Add(59 * time.Second)
	c.wantOut("59 s after its second ejection", 3)
	c.now = c.now.Add(time.Second)
	c.wantOut("a minute after it")

	c, p = outlying(9)
	fail(c, p, 3, 50)
	c.wantOut("of nine")
}

func TestTheModelOfNginxMindsConnectionsOnly(t *testing.T) {
	t.Parallel()
	var p *outliers
	c := newCast(t, 3, func(c *cast) upstream.Policy {
		p = newOutliers(func() time.Time { return c.now })
		p.limit, p.share, p.base, p.most, p.connections = 1, 1, 10*time.Second, 10*time.Second, true
		return p.policy
	})
	p.told(c.all[0], upstream.ServerError, time.Millisecond)
	c.wantOut("after an error")
	p.told(c.all[0], upstream.ConnectFailed, time.Millisecond)
	c.wantOut("after a refused connection", 0)
	for _, e := range c.all {
		p.told(e, upstream.Reset, time.Millisecond)
	}
	c.wantOut("when all are out, all are tried")
	c.now = c.now.Add(10 * time.Second)
	c.wantOut("after 10 s")
}

// hold takes leases until one endpoint has some.
func (c *cast) hold(i, n int) {
	c.t.Helper()
	var others []*upstream.Endpoint
	for j, e := range c.all {
		if j != i {
			others = append(others, e)
		}
	}
	for range n {
		if _, err := c.service.Acquire(upstream.PickKey{}, others...); err != nil {
			c.t.Fatal(err)
		}
	}
}

func TestTextbookChoices(t *testing.T) {
	t.Parallel()
	c := newCast(t, 4, func(*cast) upstream.Policy { return newTurns().policy })
	c.hold(0, 3)
	for i, n := range c.shares() {
		if n != 100 {
			t.Errorf("round robin: endpoint %d was picked %d times of 400", i, n)
		}
	}
	for name, policy := range map[string]upstream.Policy{"least connections": fewest, "two choices": twoChoices} {
		c = newCast(t, 4, func(*cast) upstream.Policy { return policy })
		c.hold(0, 3)
		c.wantOut(name, 0)
	}
	c = newCast(t, 4, func(*cast) upstream.Policy { return randomly })
	c.hold(0, 3)
	c.wantOut("random")
	if e := c.picker.Pick(upstream.PickKey{}, c.all); e != nil {
		t.Errorf("%s was picked although all are avoided", e.ID())
	}
}

func TestPeakEWMATakesErrorsForAnswers(t *testing.T) {
	t.Parallel()
	p := newEWMA()
	c := newCast(t, 2, func(*cast) upstream.Policy { return p.policy })
	p.told(c.all[0], upstream.Success, 10*time.Millisecond)
	p.told(c.all[1], upstream.ServerError, time.Millisecond)
	c.wantOut("one that fails faster than the other answers", 0)
	p.told(c.all[1], upstream.Success, 50*time.Millisecond)
	c.wantOut("after a peak", 1)
	c.now = c.now.Add(10 * time.Second)
	p.told(c.all[0], upstream.Success, 10*time.Millisecond)
	c.wantOut("when the peak has decayed to a third", 1)
	c.now = c.now.Add(10 * time.Second)
	p.told(c.all[0], upstream.Success, 10*time.Millisecond)
	c.wantOut("when it has decayed to less", 0)
}
