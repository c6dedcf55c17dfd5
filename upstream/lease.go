package upstream

import (
	"time"

	"sidecar/breaker"
)

// An Outcome is what became of an attempt on an endpoint.
type Outcome uint8

// The outcomes. All but Success and Canceled are failures of the endpoint.
const (
	// Success: it answered, or for TCP, it accepted the connection.
	Success Outcome = iota
	// ConnectFailed: there was no connection, so nothing has been sent.
	ConnectFailed
	// Reset: the connection broke.
	Reset
	// TimedOut: it did not answer in time.
	TimedOut
	// ServerError: it answered that it failed; for HTTP any 5xx.
	ServerError
	// Overloaded: it asked to be left alone, by 429 with Retry-After. That speaks against
	// sending it more for now, but is no failure that its breaker counts.
	Overloaded
	// Canceled: the client went away. That is neither success nor failure.
	Canceled

	numOutcomes
)

// String returns the outcome in words, as they stand in logs, metrics and reasons.
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case ConnectFailed:
		return "connect failed"
	case Reset:
		return "connection reset"
	case TimedOut:
		return "timed out"
	case ServerError:
		return "server error"
	case Overloaded:
		return "overloaded"
	case Canceled:
		return "canceled"
	default:
		return "unknown"
	}
}

// Failure tells whether the outcome speaks against the endpoint.
func (o Outcome) Failure() bool { return o != Success && o < Canceled }

// answered tells whether the endpoint has said something.
func (o Outcome) answered() bool { return o == Success || o == ServerError || o == Overloaded }

// verdict is the outcome as the breaker counts it.
func (o Outcome) verdict() breaker.Outcome {
	switch {
	case o == Success:
		return breaker.Success
	case o == Overloaded:
		return breaker.Ignored
	case o.Failure():
		return breaker.Failure
	default:
		return breaker.Ignored
	}
}

// A Result is what a Lease reports.
type Result struct {
	Outcome Outcome
	// Latency is the time to the first byte for HTTP, to the connection for TCP; 0 if it
	// was not measured. With Canceled and TimedOut it is how long was waited.
	Latency time.Duration
	// At is the time as Service.Elapsed tells it, from who knows it already; 0 has the clock
	// read, and Break reads it in any case.
	At time.Duration
	// RetryAfter is for how long the endpoint has asked to be left alone, 0 if it has not.
	// No more than a minute of it is honoured.
	RetryAfter time.Duration
	// Status, of HTTP, and Err are what people are told of a failure. Both may be empty.
	Status int
	Err    error
}

// A Lease is the right to use an endpoint once. Its holder reports the outcome as soon as
// it is known, and releases the lease when the last byte has moved. Both are apart because
// a session may live for hours, and a breaker that waits for a probe cannot.
//
// A Lease is a value, to spare an allocation, and belongs to one goroutine at a time. It
// must not be copied once Report or Release has been called.
type Lease struct {
	endpoint *Endpoint
	service  *Service
	permit   breaker.Permit
	// What was reported, and when.
	at       time.Duration
	latency  time.Duration // for the gate
	outcome  Outcome
	reported bool
	released bool
}

// Endpoint is what the lease is on; nil for the zero Lease.
func (l *Lease) Endpoint() *Endpoint { return l.endpoint }

// Probe tells whether the attempt decides about an endpoint that has been ejected.
func (l *Lease) Probe() bool { return l.permit.Probe() }

// Report tells the outcome to the endpoint's breaker, latency and counters. The first call
// counts, further ones do nothing. It takes no lock of this project's and, for a success,
// does not allocate.
func (l *Lease) Report(r Result) {
	if l.reported || l.endpoint == nil {
		return
	}
	l.reported = true
	if r.Outcome >= numOutcomes {
		r.Outcome = Canceled
	}
	l.outcome, l.latency = r.Outcome, r.sample()
	e := l.endpoint
	if l.at = r.At; l.at == 0 {
		l.at = l.service.clock.elapsed()
	}
	e.outcomes[r.Outcome].Add(1)
	if r.Outcome.Failure() {
		// Before the breaker, which may open now and be asked why.
		e.errors.add(l.service.clock.now(), r)
	}
	if r.Outcome == ConnectFailed {
		l.service.doubts()
	}
	e.observe(r, momentOf(l.at), l.permit.Probe())
	if r.Outcome.answered() {
		e.hears(momentOf(l.at))
	}
	l.permit.ReportAt(r.Outcome.verdict(), l.at)
}

// sample is the latency for a limit that is learned: that of answers. What ran into a timeout,
// or was sent away, says without one that there is too much to do, and that is a negative
// number here; other failures say nothing.
func (r *Result) sample() time.Duration {
	switch {
	case r.Outcome == Success:
		return r.Latency
	case r.Outcome == TimedOut, r.Outcome == Overloaded, r.Outcome == ServerError && r.RetryAfter > 0:
		return -1
	default:
		return 0
	}
}

// Break tells that the endpoint failed after a success had been reported: what it promised
// at the beginning of its answer it has not kept. For the breaker and for the counters of
// outcomes it is one more attempt, that failed. The first call counts, further ones do
// nothing, and neither does one before Report, after Release, or after another report than a
// success.
func (l *Lease) Break(r Result) {
	if !l.reported || l.released || l.outcome != Success || !r.Outcome.Failure() {
		return
	}
	l.outcome, l.latency = r.Outcome, r.sample()
	e := l.endpoint
	at := l.service.clock.elapsed()
	e.outcomes[r.Outcome].Add(1)
	e.errors.add(l.service.clock.now(), r)
	e.fail(momentOf(at), 0)
	// The permit has been used up; another one says whether the breaker still listens. A
	// probe is not taken for it, since that would be one that nobody has waited for.
	if e.breaker.State() != breaker.Closed {
		return
	}
	if permit, ok := e.breaker.Allow(); ok {
		if permit.Probe() {
			permit.ReportAt(breaker.Ignored, at)
		} else {
			permit.ReportAt(r.Outcome.verdict(), at)
		}
	}
}

// Release gives the endpoint back. The first call counts, further ones do nothing. Without
// a Report before, the outcome is Canceled.
func (l *Lease) Release() {
	if l.released || l.endpoint == nil {
		return
	}
	l.released = true
	l.Report(Result{Outcome: Canceled})
	l.endpoint.inFlight.Add(-1)
	if gate := l.service.gate; gate != nil {
		// The time is that of the report: the latency ended there, and not with the body.
		gate.leave(l.at, l.latency)
	}
}

// observe takes a result into the latency and the share of failures. The latency is that of
// answers: a failure has its own price, and how long it took says little of what an answer
// would have taken.
func (e *Endpoint) observe(r Result, now Moment, probe bool) {
	if r.RetryAfter > 0 && e.hold.pause(now, r.RetryAfter) {
		e.service.trips.push(&trip{endpoint: e, at: e.service.clock.now(), paused: min(r.RetryAfter, maxPause), status: r.Status})
	}
	switch {
	case r.Outcome.Failure():
		e.fail(now, r.Latency)
	case r.Outcome == Success && probe:
		// It comes back with a clean record. With what its failures cost still on it, no
		// picker that looks at latencies would choose it for long.
		e.failing.forget()
		if r.Latency > 0 && r.Latency <= FirstGuess {
			e.latency.set(now, r.Latency)
		} else {
			e.latency.forget() // it may have waited for a process to go on
		}
	case r.Outcome == Success:
		// The first answer after failures may have waited for a process to go on, or for
		// packets to pass again.
		late := r.Latency > FirstGuess && e.failing.read(now) >= failingFrom
		e.failing.succeed(now)
		if r.Latency > 0 && !late {
			e.latency.observe(now, r.Latency)
		}
	case r.Latency > 0:
		// Canceled: it would have taken at least as long. That can only raise the average.
		if ns, measured := e.latency.read(now); measured && float64(r.Latency) > ns {
			e.latency.observe(now, r.Latency)
		}
	}
}
