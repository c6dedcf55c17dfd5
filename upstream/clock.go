package upstream

import (
	"math/rand/v2"
	"time"
)

// A clock is the time and the chance of a service: the system's, unless a simulation has
// its own.
type clock struct {
	wall   func() time.Time // nil: the system's
	origin time.Time        // where elapsed counts from, if wall is set
	random func() uint64
}

func newClock(wall func() time.Time, random func() uint64) clock {
	if random == nil {
		random = rand.Uint64
	}
	c := clock{wall: wall, origin: epoch, random: random}
	if wall != nil {
		// Not epoch: a simulation may begin before it, and is to run alike each time.
		c.origin = wall()
	}
	return c
}

// elapsed is the time since origin, for the data path.
func (c *clock) elapsed() time.Duration {
	if c.wall == nil {
		return time.Since(epoch)
	}
	return c.wall().Sub(c.origin)
}

// moment is elapsed as latencies keep it.
func (c *clock) moment() Moment { return momentOf(c.elapsed()) }

// now is the time for people.
func (c *clock) now() time.Time {
	if c.wall == nil {
		return time.Now()
	}
	return c.wall()
}

// chance is a number from 0 to 1, 1 excluded.
func (c *clock) chance() float64 { return float64(c.random()>>11) / (1 << 53) }
