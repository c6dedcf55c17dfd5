package limiter

import (
	"math"
	"time"
)

const (
	// deeper is the factor of each step of a dip.
	deeper = 0.8
	// helped is the share of the latency before that a step must bring it below, to have
	// shown a queue: without noise it would be deeper.
	helped = 0.9
	// trust is how many times the latency that was last known for sure dips may raise the
	// long-term one to, unless the limit was stuck. More would follow other proxies' queues
	// further; less would starve a service that became four times slower, for which a limit
	// may just not get stuck.
	trust = 2.5
	// rising is how many times the latency of the window before shows that it still rises.
	rising = 1.1
	// dipSamples is how many times as many samples as usual a step is measured by: its
	// result stands until the next dip.
	dipSamples = 2
	// rest is how many times as long as a dip took the next one stays away at least.
	rest = 20
)

// A step is where a dip is.
type step uint8

const (
	noDip step = iota
	settling
	measuring
)

// A dip is the search for the latency without a queue, while the limit is in full use.
type dip struct {
	step  step
	limit float64 // in force during the step
	found float64 // lowest latency so far, the long-term one at first, in ns

	stuck   bool          // begun because the lowest gradient did not help
	began   time.Duration // its first step
	stepped time.Duration // when limit was put into force
	rested  time.Duration // no dip before then
	next    time.Duration // none that is not because of being stuck before then
}

// dipDue reports whether a window is to be followed by a dip. before is the latency in the
// one before it.
func (c *control) dipDue(w window, before float64) bool {
	switch {
	case c.options.Probe < 0 || !c.full || w.samples == 0:
		return false
	case w.mean > rising*before:
		return false // a queue that is still forming does not show what a step does
	case w.dropShare() >= tooMany:
		return false // what is wrong is known, and few answers are left to measure
	}
	if c.low >= stuck {
		return w.at >= c.dip.rested
	}
	// At the lowest gradient the limit is on its way down, or about to be stuck.
	return w.at >= c.dip.next && c.gradient > lowest
}

// beginDip lowers the limit by the queue there seems to be, and one step more.
func (c *control) beginDip(at time.Duration) {
	c.dip.began = at
	c.dip.stuck = c.low >= stuck
	c.dip.found = c.long
	from := c.limit * min(c.long/c.short, 1)
	if c.dip.stuck {
		// The limit has come down a long way and the latency has not followed: how long the
		// queue is cannot be said from long.
		c.dip.found = c.short
		from = c.limit / 2
	}
	c.low = 0
	c.descend(at, from)
}

// descend puts into force a limit a step below the given one.
func (c *control) descend(at time.Duration, from float64) {
	c.dip.step = settling
	c.dip.stepped = at
	c.dip.limit = c.within(from * deeper)
}

// measured ends a step of a dip, and the dip if going deeper would not tell more.
func (c *control) measured(w window) {
	if w.samples == 0 || w.dropShare() >= tooMany {
		c.endDip(w.at, c.options.Probe)
		c.adjust(w)
		return
	}
	bottom := c.dip.limit <= float64(c.options.Min)
	if w.mean < helped*c.dip.found {
		c.dip.found = w.mean
		if !bottom {
			c.descend(w.at, c.dip.limit)
			return
		}
	}
	// The last step did not help, so it and the one before are two measures of the same; or
	// the service itself has become slower, and half of that is believed.
	if c.conclude(w.mean) {
		// The limit stood on a latency that had a queue in it. Take it to where it will settle
		// instead of letting it come down in many windows, and look again soon.
		capacity := c.dip.limit
		if !bottom {
			capacity /= deeper
		}
		c.limit = c.within(min(c.limit, c.options.Tolerance*capacity+math.Sqrt(capacity)))
		c.endDip(w.at, 0)
		return
	}
	c.endDip(w.at, c.options.Probe)
}

// conclude takes over the latency that a dip has found, as far as it can be trusted, and
// reports whether the one before was much too high.
func (c *control) conclude(mean float64) (fell bool) {
	before, found := c.long, (c.dip.found+mean)/2
	if c.dip.stuck {
		c.known = found
	}
	c.long = min(found, trust*c.known)
	c.known = min(c.known, c.long)
	return c.long < helped*before
}

// endDip puts the limit into force again. The next dip comes after about the given pause.
func (c *control) endDip(at, pause time.Duration) {
	c.dip.step = noDip
	c.dip.rested = at + rest*(at-c.dip.began)
	// Up to a quarter more or less.
	jitter := 0.75 + 0.5*float64(c.options.Random()>>11)/(1<<53)
	c.dip.next = max(at+time.Duration(float64(pause)*jitter), c.dip.rested)
}
