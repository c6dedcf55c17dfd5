package breaker

import (
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/sony/gobreaker/v2"
)

// fail tells gobreaker of a failure in the closed period p.
func (b *Breaker) fail(p *period, at time.Duration) {
	if b.threshold == 0 && b.rate == 0 {
		return
	}
	p.once.Do(func() {
		// Nothing but a failure ends a closed period, and none has come before this one:
		// gobreaker is still in the generation that p stands for.
		if report, err := b.machine.Allow(); err == nil {
			p.report.Store(&report)
		}
	})
	b.failedAt.Store(int64(at))
	p.tell(errFailed)
}

// readyToTrip is called by gobreaker, under its lock, after each failure while closed.
func (b *Breaker) readyToTrip(counts gobreaker.Counts) bool {
	p := b.current.Load()
	if b.threshold > 0 {
		p.failures.Store(counts.ConsecutiveFailures)
	}
	reason := InARow
	if b.threshold == 0 || counts.ConsecutiveFailures < b.threshold {
		if !b.rateTooLow(p) {
			return false
		}
		reason = ByRate
	}
	if b.mayTrip != nil && !b.mayTrip(reason) {
		return false
	}
	b.reason.Store(uint32(reason))
	return true
}

// rateTooLow tells whether too few of the attempts in the window have succeeded.
func (b *Breaker) rateTooLow(p *period) bool {
	if b.rate == 0 {
		return false
	}
	attempts, failures := p.window.counts(time.Duration(b.failedAt.Load()))
	// The quotient and not the product: 7/100 is the same float64 as 0.07, but 0.07 × 100
	// is more than 7.
	return attempts >= b.minRequests && float64(attempts-failures)/float64(attempts) < b.rate
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
	was := b.current.Load()
	switch {
	case to == gobreaker.StateClosed:
		p := &period{since: b.now(), window: new(tally)}
		p.window.init(b.span)
		b.current.Store(p)
		// Open if it is Reset that closes it.
		b.changed(State(was.state.Load()), Closed)
	case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
		relapse := b.held > 0 && b.now().Sub(was.since) < b.held
		b.eject(Closed, relapse)
	case to == gobreaker.StateOpen:
		b.eject(HalfOpen, true)
	}
}

// eject begins an open period, twice as long as the last one if that did not help.
func (b *Breaker) eject(from State, again bool) {
	if again && b.mayDouble != nil && !b.mayDouble() {
		again = false
	}
	switch {
	case !again:
		b.held = b.open
	case b.held > b.openMax/2:
		b.held = b.openMax
	default:
		b.held *= 2
	}
	now := b.now()
	p := &period{since: now, readyAt: now.Add(b.jittered(b.held)), window: b.current.Load().window}
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
func (b *Breaker) jittered(d time.Duration) time.Duration {
	var random uint64
	if b.random == nil {
		random = rand.Uint64()
	} else {
		random = b.random()
	}
	less, _ := bits.Mul64(random, uint64(d/4)+1)
	return d - time.Duration(less)
}
