package breaker

import "time"

// A Permit is the right to one attempt. It is a value, because a closure for each attempt
// would be an allocation for each attempt. The zero Permit reports to nobody.
type Permit struct {
	breaker *Breaker
	period  *period
}

// Probe tells whether the attempt is the one that decides about a breaker that had opened.
func (p Permit) Probe() bool {
	return p.period != nil && State(p.period.state.Load()) != Closed
}

// Report is ReportAt at the present time of Settings.Clock. Reading it costs several times
// as much as the report itself: a caller that knows the time passes it on.
func (p Permit) Report(o Outcome) {
	if p.breaker != nil {
		p.ReportAt(o, p.breaker.since())
	}
}

// ReportAt tells the breaker the outcome, as soon as it is known: a probe keeps all others
// out until then. The time is that of the report, since Settings.Origin; it decides where
// in the window the outcome counts. Threads may disagree on it by a tenth of the window.
//
// ReportAt or Report must be called exactly once, from any goroutine. What is reported
// after the breaker has changed its state since Allow is not counted.
func (p Permit) ReportAt(o Outcome, at time.Duration) {
	// gobreaker drops a late report as well; this keeps it out of the window, and spares
	// gobreaker's lock.
	if p.breaker == nil || p.breaker.current.Load() != p.period {
		return
	}
	switch o {
	case Success:
		p.period.window.successes.Add(at)
	case Failure:
		p.period.window.failures.Add(at)
	}
	if p.Probe() {
		p.reportProbe(o)
	} else {
		p.reportClosed(o, at)
	}
}

func (p Permit) reportClosed(o Outcome, at time.Duration) {
	switch o {
	case Success:
		// After no failure a success changes nothing. One that meets a failure just
		// being counted has come before it.
		if p.period.failures.Load() != 0 {
			p.period.tell(nil)
		}
	case Failure:
		p.breaker.fail(p.period, at)
	}
}

func (p Permit) reportProbe(o Outcome) {
	switch o {
	case Success:
		p.period.tell(nil)
	case Failure:
		p.period.tell(errFailed)
	default:
		p.period.tell(errIgnored)
		p.period.taken.Store(false)
	}
}
