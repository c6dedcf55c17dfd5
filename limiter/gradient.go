package limiter

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// A window's word holds the sum of its latencies in the lower bits, in units of 1024 ns,
	// and their number above. By Little's law the sum is at most the requests in flight
	// times the window: MaxLimit × longestWindow is a quarter of what fits.
	sumBits  = 42
	sumMask  = 1<<sumBits - 1
	unitBits = 10
	halfUnit = 1 << (unitBits - 1)

	// longestSample is what a latency counts for at most.
	longestSample = time.Minute
	// outlier is how many times the long-term latency a sample counts for at most.
	outlier = 8

	// closing stands in end while a thread is about to close the window.
	closing = math.MaxInt64
)

// line keeps what is written often off the cache lines of what is read often.
type line [64]byte

// A Gradient limits how many requests of a service are in flight, and learns that limit
// from their latency. Its methods may be called from any number of goroutines; they take
// no lock, do not allocate and do not wait for each other.
type Gradient struct {
	// Read by every request, written once a window.
	limit atomic.Int64
	end   atomic.Int64 // the present window lasts until then at least, or closing
	need  atomic.Int64 // the samples that it needs
	clip  atomic.Int64 // what a sample counts for at most, in ns
	since atomic.Int64 // what began before then is no sample

	_ line

	// Written by every request.
	inFlight atomic.Int64
	samples  atomic.Uint64 // of the present window, see sumBits
	peak     atomic.Int64  // most in flight, as seen by those that were counted out
	dropped  atomic.Int64  // by Drop, in the present window

	_ line

	shed atomic.Uint64

	_ line

	// What Status says besides; written by whoever closes a window.
	long, short, gradient atomic.Uint64 // bits of a float64
	dipping               atomic.Bool

	// control belongs to the thread that has set end to closing.
	control control
}

// New returns a Gradient with nothing in flight and nothing learnt.
func New(o Options) *Gradient {
	o = o.withDefaults()
	g := &Gradient{control: newControl(o)}
	g.limit.Store(int64(o.Initial))
	g.end.Store(int64(o.Window))
	g.need.Store(int64(o.Samples))
	g.clip.Store(int64(longestSample))
	g.since.Store(int64(always))
	g.gradient.Store(math.Float64bits(1))
	return g
}

// Allow counts a request in and returns true, or refuses it if as many as the limit are in
// flight already. If it returns true, Done or Drop must be called exactly once.
func (g *Gradient) Allow() bool {
	limit := g.limit.Load()
	for {
		n := g.inFlight.Load()
		if n >= limit {
			g.shed.Add(1)
			return false
		}
		if g.inFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Done counts a request out. at is the time since an origin that is the same for all calls;
// between threads it may be a little out of order. latency is how long the service took to
// the first byte of its answer. With valid false, or a latency that is not positive, the
// request says nothing about the service: its client went away, or it never got there.
// A failure that came fast is such a request too.
func (g *Gradient) Done(at, latency time.Duration, valid bool) {
	n := g.inFlight.Add(-1) + 1
	if !valid || latency <= 0 {
		return
	}
	g.rise(n)
	if int64(at-latency) < g.since.Load() {
		return
	}
	latency = max(min(latency, time.Duration(g.clip.Load())), 1<<unitBits) // a unit at least: a mean of 0 divides by itself
	word := g.samples.Add(1<<sumBits | uint64(latency+halfUnit)>>unitBits)
	g.closeIfOver(at, word)
}

// Drop counts a request out that is a sign of overload itself: it ran into its timeout, or
// the service refused it for having too much to do. at is as for Done.
func (g *Gradient) Drop(at time.Duration) {
	g.rise(g.inFlight.Add(-1) + 1)
	g.dropped.Add(1)
	g.closeIfOver(at, g.samples.Load())
}

// rise notes that n were in flight.
func (g *Gradient) rise(n int64) {
	for {
		peak := g.peak.Load()
		if n <= peak || g.peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

// closeIfOver closes the window if it has lasted long enough and has its samples, unless
// another thread is doing so.
func (g *Gradient) closeIfOver(at time.Duration, word uint64) {
	end := g.end.Load()
	if int64(at) < end || int64(word>>sumBits)+g.dropped.Load() < g.need.Load() {
		return
	}
	if !g.end.CompareAndSwap(end, closing) {
		return
	}
	// Samples that come in while the sums are taken go to either window. Only count and
	// sum have to belong together, and they are one word.
	word = g.samples.Swap(0)
	w := window{
		at:      at,
		samples: float64(word >> sumBits),
		dropped: float64(g.dropped.Swap(0)),
		peak:    float64(g.peak.Swap(0)),
	}
	if w.samples > 0 {
		w.mean = float64(word&sumMask) * (1 << unitBits) / w.samples
	}
	c := &g.control
	c.close(w)
	g.limit.Store(int64(c.inForce()))
	g.need.Store(int64(c.need()))
	g.clip.Store(int64(c.clip()))
	g.since.Store(int64(c.since()))
	g.long.Store(math.Float64bits(c.long))
	g.short.Store(math.Float64bits(c.short))
	g.gradient.Store(math.Float64bits(c.gradient))
	g.dipping.Store(c.dip.step != noDip)
	g.end.Store(int64(at + c.length()))
}

// Limit returns how many may be in flight now.
func (g *Gradient) Limit() int { return int(g.limit.Load()) }

// InFlight returns how many requests have been counted in and not out. It is above Limit
// for a while after the limit has fallen.
func (g *Gradient) InFlight() int { return int(g.inFlight.Load()) }

// Shed returns how many requests Allow has refused since the start.
func (g *Gradient) Shed() uint64 { return g.shed.Load() }

// Status is a Gradient at one moment.
type Status struct {
	Limit    int    `json:"limit"`
	InFlight int    `json:"in_flight"`
	Shed     uint64 `json:"shed"` // since the start
	// LongTermSeconds is the latency that the service is believed to have without a queue,
	// and ShortTermSeconds the mean latency in the last window; 0 if nothing is known yet.
	LongTermSeconds  float64 `json:"long_term_latency_seconds"`
	ShortTermSeconds float64 `json:"short_term_latency_seconds"`
	// Gradient is the factor that the limit was last changed by, from 0.5 to 1.
	Gradient float64 `json:"gradient"`
	// Probing is set while the limit is lowered to measure LongTerm.
	Probing bool `json:"probing"`
}

// Status returns the present state. Its parts may be of two windows that follow each other.
func (g *Gradient) Status() Status {
	return Status{
		Limit:            g.Limit(),
		InFlight:         g.InFlight(),
		Shed:             g.Shed(),
		LongTermSeconds:  math.Float64frombits(g.long.Load()) / 1e9,
		ShortTermSeconds: math.Float64frombits(g.short.Load()) / 1e9,
		Gradient:         math.Float64frombits(g.gradient.Load()),
		Probing:          g.dipping.Load(),
	}
}
