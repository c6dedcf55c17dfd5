package breaker

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// An Outcome is what became of an attempt.
type Outcome uint8

// The outcomes.
const (
	// Success ends a row of failures, and closes a half-open breaker.
	Success Outcome = iota
	// Failure counts towards opening, and opens a half-open breaker again.
	Failure
	// Ignored says nothing about the endpoint: the attempt was given up for a reason of
	// its own, such as a client that went away. It gives the probe's slot back.
	Ignored
)

// String returns "success", "failure" or "ignored".
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Ignored:
		return "ignored"
	default:
		return "unknown"
	}
}

// A State is the position of a breaker.
type State uint8

// The states.
const (
	// Closed lets every attempt through.
	Closed State = iota
	// Open lets none through until ReadyAt, and the first one after that.
	Open
	// HalfOpen lets one attempt at a time through, until one of them decides.
	HalfOpen
)

// String returns "closed", "open" or "half-open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	default:
		return "unknown"
	}
}

// The open times used where Settings leave them at zero.
const (
	DefaultOpen    = time.Second
	DefaultOpenMax = time.Minute
)

// Settings say when a Breaker opens and for how long.
type Settings struct {
	// ConsecutiveFailures is how many failures in a row open the breaker. With 0 or less
	// it never opens.
	ConsecutiveFailures int

	// Open is how long the first ejection lasts, DefaultOpen if it is not positive. Each
	// failed probe doubles it, up to OpenMax; so does a relapse, which is opening again
	// before the breaker has been closed for as long as it had been open. The time
	// really kept is up to a quarter shorter, at random.
	Open time.Duration
	// OpenMax is the longest ejection, DefaultOpenMax if it is not positive, and never
	// less than Open.
	OpenMax time.Duration

	// MayTrip is asked before a closed breaker opens; nil always agrees. After a refusal
	// it is asked again at each further failure in the row. It is called with gobreaker's
	// lock held: it must not block, nor call the breaker.
	MayTrip func() bool

	// OnChange, if not nil, is told of each change of state, in order. It may be called
	// with gobreaker's lock held: it may only store or signal. State and ReadyAt may be
	// called from it and say what has just become true.
	OnChange func(from, to State)
}

// A Breaker guards one endpoint. Its methods may be called from any number of goroutines.
type Breaker struct {
	// current is the period the breaker is in. It is replaced under gobreaker's lock.
	current   atomic.Pointer[period]
	threshold uint32
	// first is the first closed period, for most breakers the only one. It lies here so
	// that the data path finds it in the cache line it has just read.
	first period

	open     time.Duration
	openMax  time.Duration
	mayTrip  func() bool
	onChange func(from, to State)

	machine *gobreaker.TwoStepCircuitBreaker[struct{}]

	// held is how long the last ejection was, before jitter; 0 if there was none. It is
	// used in gobreaker's callbacks only, so gobreaker's lock guards it.
	held time.Duration
}

// A period is one stay of the breaker in closed, or in open and then half-open.
type period struct {
	// state is Closed for good, or Open and later HalfOpen.
	state atomic.Uint32
	// failures mirrors gobreaker's count of consecutive failures in a closed period. It
	// is written under gobreaker's lock.
	failures atomic.Uint32

	since time.Time

	// report tells gobreaker an outcome of this period; gobreaker drops what it is told
	// after the period has ended. In a closed period it is one function for all attempts
	// (gobreaker binds it to its generation, not to a request), made by the first failure.
	// In an open one it is the present probe's and belongs to the holder of the slot.
	report func(error)
	once   sync.Once

	// readyAt is when an open period lets its first probe through.
	readyAt time.Time
	// taken is set while the probe's slot is taken, and for good once a probe decided.
	taken atomic.Bool
}

// What gobreaker is told. nil is a success.
var (
	errFailed  = errors.New("breaker: attempt failed")
	errIgnored = errors.New("breaker: attempt ignored")
)

// New returns a closed Breaker.
func New(s Settings) *Breaker {
	b := &Breaker{
		threshold: uint32(max(s.ConsecutiveFailures, 0)),
		open:      s.Open,
		openMax:   s.OpenMax,
		mayTrip:   s.MayTrip,
		onChange:  s.OnChange,
	}
	if b.open <= 0 {
		b.open = DefaultOpen
	}
	if b.openMax <= 0 {
		b.openMax = DefaultOpenMax
	}
	b.openMax = max(b.openMax, b.open)
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
	b.first.since = time.Now()
	b.current.Store(&b.first)
	return b
}

// Allow asks for one attempt. If it returns true, the Permit's Report must be called
// exactly once. While the breaker is closed it takes no lock and does not allocate; it
// never blocks.
func (b *Breaker) Allow() (Permit, bool) {
	if b.threshold == 0 {
		return Permit{}, true
	}
	p := b.current.Load()
	if State(p.state.Load()) == Closed {
		return Permit{breaker: b, period: p}, true
	}
	return b.probe(p)
}

// probe takes the slot of an open period, if it is free and its time has come.
func (b *Breaker) probe(p *period) (Permit, bool) {
	// A p that is no longer current has its slot taken for good, so it cannot be probed.
	if p.taken.Load() || time.Now().Before(p.readyAt) || !p.taken.CompareAndSwap(false, true) {
		return Permit{}, false
	}
	report, err := b.machine.Allow()
	if err != nil {
		p.taken.Store(false)
		return Permit{}, false
	}
	p.report = report
	if p.state.CompareAndSwap(uint32(Open), uint32(HalfOpen)) {
		b.changed(Open, HalfOpen)
	}
	return Permit{breaker: b, period: p}, true
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

// fail tells gobreaker of a failure in the closed period p.
func (b *Breaker) fail(p *period) {
	p.once.Do(func() {
		// Nothing but a failure ends a closed period, and none has come before this one:
		// gobreaker is still in the generation that p stands for.
		p.report, _ = b.machine.Allow()
	})
	if p.report != nil {
		p.report(errFailed)
	}
}

// readyToTrip is called by gobreaker, under its lock, after each failure while closed.
func (b *Breaker) readyToTrip(counts gobreaker.Counts) bool {
	b.current.Load().failures.Store(counts.ConsecutiveFailures)
	return counts.ConsecutiveFailures >= b.threshold && (b.mayTrip == nil || b.mayTrip())
}

// isSuccessful is called by gobreaker, under its lock, for each outcome it is about to
// count; that makes it the place where the mirror follows a success.
func (b *Breaker) isSuccessful(err error) bool {
	if err != nil {
		return false
	}
	b.current.Load().failures.Store(0)
	return true
}

// onStateChange is called by gobreaker under its lock. That gobreaker turned half-open is
// passed over: it does so whenever it is asked anything after its timeout. Here a breaker
// is half-open from its first probe.
func (b *Breaker) onStateChange(_ string, from, to gobreaker.State) {
	switch {
	case to == gobreaker.StateClosed:
		b.current.Store(&period{since: time.Now()})
		b.changed(HalfOpen, Closed)
	case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
		relapse := b.held > 0 && time.Since(b.current.Load().since) < b.held
		b.eject(Closed, relapse)
	case to == gobreaker.StateOpen:
		b.eject(HalfOpen, true)
	}
}

// eject begins an open period, twice as long as the last one if that did not help.
func (b *Breaker) eject(from State, again bool) {
	switch {
	case !again:
		b.held = b.open
	case b.held > b.openMax/2:
		b.held = b.openMax
	default:
		b.held *= 2
	}
	now := time.Now()
	p := &period{since: now, readyAt: now.Add(jittered(b.held))}
	p.state.Store(uint32(Open))
	b.current.Store(p)
	b.changed(from, Open)
}

func (b *Breaker) changed(from, to State) {
	if b.onChange != nil {
		b.onChange(from, to)
	}
}

// jittered returns a duration between three quarters of d and d.
func jittered(d time.Duration) time.Duration {
	if spread := int64(d / 4); spread > 0 {
		return d - time.Duration(rand.Int64N(spread+1))
	}
	return d
}
