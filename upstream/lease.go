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
	case Canceled:
		return "canceled"
	default:
		return "unknown"
	}
}

// Failure tells whether the outcome speaks against the endpoint.
func (o Outcome) Failure() bool { return o != Success && o < Canceled }

// verdict is the outcome as the breaker counts it.
func (o Outcome) verdict() breaker.Outcome {
	switch {
	case o == Success:
		return breaker.Success
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
	// was not measured. With Canceled it is how long the client had waited.
	Latency time.Duration
}

// A Lease is the right to use an endpoint once. Its holder reports the outcome as soon as
// it is known, and releases the lease when the last byte has moved. Both are apart because
// a session may live for hours, and a breaker that waits for a probe cannot.
//
// A Lease is a value, to spare an allocation, and belongs to one goroutine at a time. It
// must not be copied once Report or Release has been called.
type Lease struct {
	endpoint *Endpoint
	permit   breaker.Permit
	reported bool
	released bool
}

// Endpoint is what the lease is on; nil for the zero Lease.
func (l *Lease) Endpoint() *Endpoint { return l.endpoint }

// Report tells the outcome to the endpoint's breaker, latency and counters. The first call
// counts, further ones do nothing. It takes no lock of this project's and, for a success,
// does not allocate.
func (l *Lease) Report(r Result) {
	if l.reported || l.endpoint == nil {
		return
	}
	l.reported = true
	if r.Outcome > Canceled {
		r.Outcome = Canceled
	}
	e := l.endpoint
	e.outcomes[r.Outcome].Add(1)
	if r.Outcome.Failure() {
		// Before the breaker, which may open now and be asked why.
		e.lastError.Store(uint32(r.Outcome))
	}
	e.observe(r, l.permit.Probe())
	l.permit.Report(r.Outcome.verdict())
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
}

// observe takes a result into the latency.
func (e *Endpoint) observe(r Result, probe bool) {
	switch {
	case r.Outcome.Failure():
		e.latency.observe(Now(), max(r.Latency, Penalty))
	case r.Outcome == Success && probe:
		// It comes back with a clean record. With the penalties of its failures still on
		// it, no picker that looks at latencies would choose it for a minute.
		if r.Latency > 0 {
			e.latency.set(Now(), r.Latency)
		} else {
			e.latency.forget()
		}
	case r.Latency <= 0:
	case r.Outcome == Canceled:
		// It would have taken at least as long: that can only raise the average.
		now := Now()
		if ns, measured := e.latency.read(now); measured && float64(r.Latency) > ns {
			e.latency.observe(now, r.Latency)
		}
	default:
		e.latency.observe(Now(), r.Latency)
	}
}
