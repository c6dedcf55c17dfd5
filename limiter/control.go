package limiter

import (
	"math"
	"time"
)

const (
	// smoothing is the share of the next limit that a window puts into force.
	smoothing = 0.2
	// lowest is the least gradient: one window, which may be wrong, cannot do more.
	lowest = 0.5
	// farAbove is how many times the short-term latency the long-term one may be before it
	// falls by letGo per window.
	farAbove = 2
	letGo    = 0.9
	// longTerm is the time constant of the long-term latency.
	longTerm = 30 * time.Second
	// steady is how many samples a window needs to weigh half in the long-term latency.
	steady = 100
	// tooMany is the share of dropped requests from which on nothing is added.
	tooMany = 0.1
	// stuck is how many more windows with the lowest gradient than without make a dip due.
	stuck = 20
	// longestWindow bounds a window that need not wait for samples, unless Options.Window
	// is longer.
	longestWindow = 10 * time.Second
	// always is before everything.
	always = time.Duration(math.MinInt64)
)

// A window is what was seen in one.
type window struct {
	at      time.Duration // its end
	samples float64
	mean    float64 // of the samples' latencies, in ns
	dropped float64
	peak    float64 // most in flight
}

// dropShare is the share of the requests that were dropped.
func (w window) dropShare() float64 {
	if w.dropped == 0 {
		return 0
	}
	return w.dropped / (w.dropped + w.samples)
}

// control is the algorithm, without its clock and its threads.
type control struct {
	options Options

	limit    float64
	long     float64 // ns without a queue, 0 before the first window
	known    float64 // long when it was last known for sure, see trust
	short    float64 // ns in the last window
	gradient float64
	from     time.Duration // where the present window began

	full bool // the last window used the whole limit
	low  int  // windows in a row with the lowest gradient
	dip  dip
}

func newControl(o Options) control {
	return control{options: o, limit: float64(o.Initial), gradient: 1}
}

// close takes in what a window has shown.
func (c *control) close(w window) {
	before := c.short
	if w.samples > 0 {
		c.short = w.mean
	}
	switch c.dip.step {
	case settling:
		// Most of what was let in under the limit before has left.
		c.dip.step = measuring
	case measuring:
		c.measured(w)
	default:
		c.adjust(w)
		if c.dipDue(w, before) {
			c.beginDip(w.at)
		}
	}
	c.from = w.at
}

// adjust moves the limit by one window.
func (c *control) adjust(w window) {
	used := w.peak >= c.limit/2
	c.full = w.peak >= math.Floor(c.limit)
	c.learn(w, used)
	c.gradient = c.gradientOf(w)
	if !used {
		c.low = 0
		return
	}
	allowance := math.Sqrt(c.limit)
	if w.dropShare() >= tooMany {
		allowance = 0
	}
	next := c.limit*c.gradient + allowance
	c.limit = c.within(c.limit + smoothing*(next-c.limit))

	if c.gradient > lowest {
		c.low = max(c.low-1, 0)
	} else {
		c.low++
	}
}

// learn moves the long-term latency towards that of the window.
func (c *control) learn(w window, used bool) {
	switch {
	case w.samples == 0:
		return
	case c.long == 0:
		c.long, c.known = w.mean, w.mean
		return
	case c.long > farAbove*w.mean:
		c.long *= letGo
	}
	if used && w.mean > c.long {
		return // it may be the queue
	}
	weight := 1 - math.Exp(-float64(w.at-c.from)/float64(longTerm))
	weight = min(max(weight, 0), w.samples/(w.samples+steady))
	c.long += weight * (w.mean - c.long)
	if !used || c.long < c.known {
		c.known = c.long
	}
}

// gradientOf returns the factor by which the window asks to change the limit.
func (c *control) gradientOf(w window) float64 {
	gradient := 1.0
	if w.samples > 0 {
		gradient = min(c.options.Tolerance*c.long/w.mean, 1)
	}
	return max(gradient*(1-w.dropShare()), lowest)
}

// within returns the limit brought between Min and Max.
func (c *control) within(limit float64) float64 {
	return min(max(limit, float64(c.options.Min)), float64(c.options.Max))
}

// inForce returns the limit for the next window.
func (c *control) inForce() float64 {
	if c.dip.step != noDip {
		return c.dip.limit
	}
	return c.limit
}

// need returns how many samples the next window needs.
func (c *control) need() int {
	switch c.dip.step {
	case settling:
		return 1
	case measuring:
		return dipSamples * c.options.Samples
	default:
		return c.options.Samples
	}
}

// clip returns what a sample counts for at most in the next window, in ns.
func (c *control) clip() float64 {
	if c.long == 0 {
		return float64(longestSample)
	}
	// A unit at least, so that every sample counts for something.
	return min(max(outlier*c.long, 1<<unitBits), float64(longestSample))
}

// since returns when the samples of the next window may have begun.
func (c *control) since() time.Duration {
	if c.dip.step == measuring {
		return c.dip.stepped
	}
	return always
}

// length returns how long the next window lasts at least.
func (c *control) length() time.Duration {
	return max(c.options.Window, min(time.Duration(2*c.short), longestWindow))
}
