package balancer

import "testing"

func TestLeastConnTakesTheLeastLoaded(t *testing.T) {
	c := newCast(t, 1, 1, 1, 1)
	p := c.picker(LeastConn())
	defer c.load(0, 5)()
	defer c.load(1, 3)()
	defer c.load(2, 3)()
	defer c.load(3, 4)()
	c.wantShares(c.shares(p, 10000), 0.02, 0, .5, .5, 0)
	c.wantShares(c.shares(p, 100, 1, 2), 0, 0, 0, 0, 1)
}

func TestLeastConnDividesByWeight(t *testing.T) {
	c := newCast(t, 1, 4)
	p := c.picker(LeastConn())
	defer c.load(0, 1)() // (1+1)/1 = 2
	defer c.load(1, 6)() // (6+1)/4 = 1.75
	c.wantShares(c.shares(p, 100), 0, 0, 1)
	more := c.load(1, 1) // (7+1)/4 = 2, a tie
	c.wantShares(c.shares(p, 10000), 0.02, .2, .8)
	more()
	defer c.load(1, 2)() // (8+1)/4 = 2.25
	c.wantShares(c.shares(p, 100), 0, 1, 0)
}

func TestLeastConnPrefersTheIdle(t *testing.T) {
	c := newCast(t, 100, 1)
	defer c.load(0, 1)()
	c.wantShares(c.shares(c.picker(LeastConn()), 100), 0, 0, 1)
}

func TestLeastConnDrawsTwoAboveSixteen(t *testing.T) {
	c := newCast(t, ones(20)...)
	defer c.load(0, 5)()
	for i := 1; i < 19; i++ {
		defer c.load(i, 1)()
	}
	shares := c.shares(c.picker(LeastConn()), 20000)
	if shares[0] != 0 {
		t.Errorf("the most loaded of all wins against any other, with a share of %.3f", shares[0])
	}
	// The only idle one wins whenever it is drawn: two draws of twenty.
	if shares[19] < .09 || shares[19] > .11 {
		t.Errorf("the idle one has a share of %.3f, want 0.1", shares[19])
	}
}
