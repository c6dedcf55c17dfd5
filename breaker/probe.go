package breaker

import (
	"errors"

	"github.com/sony/gobreaker/v2"
)

// probe takes the slot of an open period, if it is free and its time has come.
func (b *Breaker) probe(p *period) (Permit, bool) {
	if p.taken.Load() || (b.now().Before(p.readyAt) && !p.reset.Load()) || !p.taken.CompareAndSwap(false, true) {
		return Permit{}, false
	}
	report, err := enter(b.machine.Allow)
	if err != nil {
		p.taken.Store(false)
		return Permit{}, false
	}
	if b.current.Load() != p {
		// Reset has ended p, and gobreaker has counted this one as an attempt of what
		// came then.
		report(errIgnored)
		return b.Allow()
	}
	if p.state.CompareAndSwap(uint32(Open), uint32(HalfOpen)) {
		b.changed(Open, HalfOpen)
	}
	p.report.Store(&report)
	if p.reset.Load() {
		report(nil)
		return b.Allow()
	}
	return Permit{breaker: b, period: p}, true
}

// Reset closes the breaker, if it is not closed: something other than an attempt, such as a
// health check, has found that the endpoint works. What attempts from before report is not
// counted. An opening soon after is still a relapse. Reset must not be called from the
// functions in Settings.
//
// If an attempt is just becoming the probe, it is that attempt's Allow that closes the
// breaker, in a moment.
func (b *Breaker) Reset() {
	for {
		p := b.current.Load()
		if State(p.state.Load()) == Closed {
			return
		}
		b.end(p)
		if b.current.Load() == p {
			return
		}
		// p has ended, but maybe with its probe's failure, which began the next period.
	}
}

// end closes the breaker if it is still in the open period p, or has whoever holds p's slot
// do it.
func (b *Breaker) end(p *period) {
	p.reset.Store(true)
	if !p.taken.CompareAndSwap(false, true) {
		// gobreaker binds a report to the half-open state and not to a request, so the
		// last probe's serves for this one as well. If there is none yet, whoever holds
		// the slot has still to look at p.reset.
		p.tell(nil)
		return
	}
	report, err := enter(b.machine.Allow)
	switch {
	case err != nil:
		p.taken.Store(false)
	case b.current.Load() != p:
		report(errIgnored) // as in probe
	default:
		report(nil)
	}
}

// maxReadings is how often enter asks. Two readings of a clock with a resolution of a
// nanosecond can be equal, hundreds of them in a row only if the clock stands still.
const maxReadings = 1000

// enter takes gobreaker's one slot of the half-open state. gobreaker's timeout of a
// nanosecond has passed once its clock shows two more than at the opening. That is so long
// before readyAt, unless time is virtual and both come at the same real moment: then enter
// asks again until that moment has passed.
func enter(allow func() (func(error), error)) (report func(error), err error) {
	for range maxReadings {
		report, err = allow()
		if !errors.Is(err, gobreaker.ErrOpenState) {
			break
		}
	}
	return report, err
}
