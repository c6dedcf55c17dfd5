package breaker

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A Breaker guards one endpoint. Its methods may be called from any number of goroutines.
type Breaker struct {
	// current is the period the breaker is in. It is replaced under gobreaker's lock.
	current atomic.Pointer[period]
	// first is the first closed period, for most breakers the only one. It and its window
	// lie here so that the data path finds them next to what it has just read.
	first  period
	window tally

	// clock and origin make the time of a Report without one.
	clock  func() time.Time // nil is time.Now
	origin time.Time

	// What decides about opening.
	threshold   uint32 // 0 is never
	reason      atomic.Uint32
	rate        float64 // 0 is never
	minRequests uint64
	// failedAt is when a closed period's last failure was, give or take one that was
	// reported at the same time.
	failedAt atomic.Int64
	mayTrip  func(Reason) bool

	// What decides for how long.
	open      time.Duration
	openMax   time.Duration
	span      time.Duration // of the window
	mayDouble func() bool
	random    func() uint64
	// held is how long the last ejection was, before jitter; 0 if there was none. It is
	// used in gobreaker's callbacks only, so gobreaker's lock guards it.
	held time.Duration

	onChange func(from, to State)
	machine  *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// What gobreaker is told. nil is a success.
var (
	errFailed  = errors.New("breaker: attempt failed")
	errIgnored = errors.New("breaker: attempt ignored")
)

// New returns a closed Breaker.
func New(s Settings) *Breaker {
	s = s.filled()
	b := &Breaker{
		clock:       s.Clock,
		origin:      s.Origin,
		threshold:   uint32(s.ConsecutiveFailures),
		rate:        s.SuccessRate,
		minRequests: uint64(s.MinRequests),
		mayTrip:     s.MayTrip,
		open:        s.Open,
		openMax:     s.OpenMax,
		span:        s.Window,
		mayDouble:   s.MayDouble,
		random:      s.Random,
		onChange:    s.OnChange,
	}
	b.machine = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		// Readiness is decided by readyAt; gobreaker's own timeout only has to have
		// passed by then.
		Timeout:       time.Nanosecond,
		ReadyToTrip:   b.readyToTrip,
		OnStateChange: b.onStateChange,
		IsSuccessful:  b.isSuccessful,
		IsExcluded:    func(err error) bool { return err == errIgnored },
	})
	now := b.now()
	if b.origin.IsZero() {
		b.origin = now
	}
	b.first.since = now
	b.first.window = &b.window
	b.window.init(b.span)
	b.current.Store(&b.first)
	return b
}

// Allow asks for one attempt. If it returns true, the Permit's Report or ReportAt must be
// called exactly once. While the breaker is closed it takes no lock and does not allocate;
// it never blocks.
func (b *Breaker) Allow() (Permit, bool) {
	p := b.current.Load()
	if State(p.state.Load()) == Closed {
		return Permit{breaker: b, period: p}, true
	}
	return b.probe(p)
}

// State returns the state of the breaker. An open breaker whose time has come stays Open
// until an attempt asks for it.
func (b *Breaker) State() State {
	return State(b.current.Load().state.Load())
}

// ReadyAt returns when an open breaker lets, or a half-open one has let, its first probe
// through. It is the zero time while the breaker is closed.
func (b *Breaker) ReadyAt() time.Time {
	return b.current.Load().readyAt
}

// Reason returns what led to the last opening of the closed breaker. It means nothing
// before the first one.
func (b *Breaker) Reason() Reason { return Reason(b.reason.Load()) }

// Counts returns how many attempts have succeeded or failed in the window that ends at the
// given time since Settings.Origin, and how many of them have failed. An open breaker still
// has those that opened it, and its failed probes; when it closes it begins with none.
func (b *Breaker) Counts(at time.Duration) (attempts, failures uint64) {
	return b.current.Load().window.counts(at)
}

func (b *Breaker) now() time.Time {
	if b.clock == nil {
		return time.Now()
	}
	return b.clock()
}

// since returns the time since the caller's origin.
func (b *Breaker) since() time.Duration {
	if b.clock == nil {
		return time.Since(b.origin)
	}
	return b.clock().Sub(b.origin)
}
