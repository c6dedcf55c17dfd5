package breaker

import (
	"math"
	"time"
)

// What is used where Settings leave it at zero.
const (
	DefaultOpen        = time.Second
	DefaultOpenMax     = time.Minute
	DefaultMinRequests = 5
	DefaultWindow      = 10 * time.Second
)

// Settings say when a Breaker opens and for how long.
type Settings struct {
	// ConsecutiveFailures is how many failures in a row open the breaker. With 0 or less
	// a row of failures does not.
	ConsecutiveFailures int

	// SuccessRate opens the breaker when less than this share of the attempts of the last
	// Window has succeeded, from 0 to 1; 0 leaves the rate alone. It is looked at when an
	// attempt fails. Fewer than MinRequests attempts say nothing.
	SuccessRate float64
	// MinRequests is DefaultMinRequests if it is not positive.
	MinRequests int
	// Window is DefaultWindow if it is not positive. It moves in tenths.
	Window time.Duration

	// Open is how long the first ejection lasts, DefaultOpen if it is not positive. Each
	// failed probe doubles it, up to OpenMax; so does a relapse, which is opening again
	// before the breaker has been closed for as long as it had been open. The time
	// really kept is up to a quarter shorter, at random.
	Open time.Duration
	// OpenMax is the longest ejection, DefaultOpenMax if it is not positive, and never
	// less than Open.
	OpenMax time.Duration

	// MayTrip is asked before a closed breaker opens, with what leads to it: InARow if
	// both hold. nil always agrees. After a refusal it is asked again at each further
	// failure that would open it. It is called with gobreaker's lock held: it must not
	// block, nor call Allow or Reset or report to the breaker; Counts may be called.
	MayTrip func(Reason) bool

	// MayDouble is asked after each failed probe and at each relapse, when the ejection
	// is to last twice as long as the one before, or OpenMax again; a refusal makes it as
	// long as the first. nil always agrees. It is called like MayTrip.
	MayDouble func() bool

	// Clock tells the time; nil is time.Now. It is for simulations. It must not be set
	// where time.Now stands still, as it does in a testing/synctest bubble between two
	// sleeps: gobreaker lets no probe through unless the real clock has moved on since
	// the breaker opened, be it by two nanoseconds.
	Clock func() time.Time
	// Origin is where the caller's durations count from, those that it passes to ReportAt
	// and Counts. The zero time stands for the moment of New; a caller that uses these
	// methods sets it.
	Origin time.Time
	// Random gives 64 random bits for the jitter; nil is that of math/rand/v2.
	Random func() uint64

	// OnChange, if not nil, is told of each change of state, in order. It may be called
	// with gobreaker's lock held: it may only store or signal. State, ReadyAt, Reason and
	// Counts may be called from it and say what has just become true.
	OnChange func(from, to State)
}

// filled returns the settings with the defaults in their places and all numbers in range.
func (s Settings) filled() Settings {
	s.ConsecutiveFailures = min(max(s.ConsecutiveFailures, 0), math.MaxInt32)
	if !(s.SuccessRate > 0) { // NaN as well
		s.SuccessRate = 0
	}
	if s.MinRequests <= 0 {
		s.MinRequests = DefaultMinRequests
	}
	if s.Window <= 0 {
		s.Window = DefaultWindow
	}
	if s.Open <= 0 {
		s.Open = DefaultOpen
	}
	if s.OpenMax <= 0 {
		s.OpenMax = DefaultOpenMax
	}
	s.OpenMax = max(s.OpenMax, s.Open)
	return s
}
