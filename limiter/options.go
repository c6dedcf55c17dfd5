package limiter

import (
	"math"
	"math/rand/v2"
	"time"
)

// What is used where Options leave it at zero.
const (
	DefaultInitial   = 20
	DefaultMin       = 2
	DefaultMax       = 1000
	DefaultTolerance = 1.5
	DefaultWindow    = 100 * time.Millisecond
	DefaultSamples   = 25
	DefaultProbe     = 10 * time.Second
)

// MaxLimit is the highest limit there can be. It bounds what a window has to add up.
const MaxLimit = 100_000

// maxSamples is the largest useful Options.Samples.
const maxSamples = 10_000

// Options say how a Gradient learns.
type Options struct {
	// Initial is the limit to begin with, DefaultInitial if it is not positive; it is
	// brought between Min and Max.
	Initial int
	// Min is the least limit, DefaultMin if it is not positive.
	Min int
	// Max is the highest limit, DefaultMax if it is not positive, never less than Min and
	// at most MaxLimit.
	Max int

	// Tolerance is how many times the latency without a queue is still good, from 1 up;
	// DefaultTolerance if it is less or not a number. More of it rides out more noise, and
	// lets a longer queue form under overload: about Tolerance - 1 times the latency.
	Tolerance float64

	// Window is the least time between two changes of the limit, DefaultWindow if it is
	// not positive. A window lasts at least twice as long as a request did in the one
	// before, or until it has its samples.
	Window time.Duration
	// Samples is how many requests a window needs to say anything, DefaultSamples if it
	// is not positive, at most 10,000.
	Samples int

	// Probe is about how often the latency without a queue is measured while the limit is
	// in full use, DefaultProbe if it is 0. If it is negative it is never measured, and
	// only unused limits teach that latency.
	Probe time.Duration

	// Random gives 64 random bits for the time between probes; nil is that of
	// math/rand/v2. It is for simulations.
	Random func() uint64
}

// withDefaults returns o with all that is missing or out of range set right.
func (o Options) withDefaults() Options {
	if o.Min <= 0 {
		o.Min = DefaultMin
	}
	o.Min = min(o.Min, MaxLimit)
	if o.Max <= 0 {
		o.Max = DefaultMax
	}
	o.Max = min(max(o.Max, o.Min), MaxLimit)
	if o.Initial <= 0 {
		o.Initial = DefaultInitial
	}
	o.Initial = min(max(o.Initial, o.Min), o.Max)
	if math.IsNaN(o.Tolerance) || math.IsInf(o.Tolerance, 0) || o.Tolerance < 1 {
		o.Tolerance = DefaultTolerance
	}
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	if o.Samples <= 0 {
		o.Samples = DefaultSamples
	}
	o.Samples = min(o.Samples, maxSamples)
	if o.Probe == 0 {
		o.Probe = DefaultProbe
	}
	if o.Random == nil {
		o.Random = rand.Uint64
	}
	return o
}
