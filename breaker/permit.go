package breaker

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

// Report tells the breaker the outcome, as soon as it is known: a probe keeps all others
// out until then. It must be called exactly once, from any goroutine. What is reported
// after the breaker has changed its state since Allow is not counted.
func (p Permit) Report(o Outcome) {
	switch {
	case p.breaker == nil:
	case p.Probe():
		p.reportProbe(o)
	default:
		p.reportClosed(o)
	}
}

func (p Permit) reportClosed(o Outcome) {
	switch o {
	case Success:
		// After no failure a success changes nothing. One that meets a failure just
		// being counted has come before it.
		if p.period.failures.Load() == 0 {
			return
		}
		p.period.report(nil)
	case Failure:
		// gobreaker drops a late report as well; this spares its lock.
		if p.breaker.current.Load() != p.period {
			return
		}
		p.breaker.fail(p.period)
	}
}

func (p Permit) reportProbe(o Outcome) {
	switch o {
	case Success:
		p.period.report(nil)
	case Failure:
		p.period.report(errFailed)
	default:
		p.period.report(errIgnored)
		p.period.taken.Store(false)
	}
}
