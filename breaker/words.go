package breaker

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

// A Reason is what made a closed breaker open.
type Reason uint8

// The reasons.
const (
	// InARow: ConsecutiveFailures attempts have failed one after the other.
	InARow Reason = iota
	// ByRate: less than SuccessRate of the attempts in the window have succeeded.
	ByRate
)

// String returns "failures in a row" or "success rate".
func (r Reason) String() string {
	switch r {
	case InARow:
		return "failures in a row"
	case ByRate:
		return "success rate"
	default:
		return "unknown"
	}
}
