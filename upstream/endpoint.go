package upstream

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"sidecar/breaker"
	"sidecar/discovery"
)

// maxWeight keeps sums and products of weights far from overflow.
const maxWeight = 1 << 20

// An Endpoint is the live state of an instance. Its methods may be called from any number
// of goroutines; they read atomics and never block.
type Endpoint struct {
	// What an attempt that succeeds reads and writes comes first: with thousands of
	// endpoints, each cache line is a miss.
	inFlight atomic.Int64
	latency  peakEWMA
	attempts atomic.Uint64
	breaker  *breaker.Breaker
	limit    int64 // leases at once; 0: none
	weight   atomic.Int32
	retired  atomic.Bool
	down     atomic.Bool
	ejecting atomic.Bool // holds one of the slots
	outcomes [numOutcomes]atomic.Uint64

	lastError        atomic.Uint32 // the last Outcome that was a failure
	slots            *slots
	trips            *tripLog
	ejections        atomic.Uint64
	ejectionsRefused atomic.Uint64

	id       string
	address  string
	addrPort netip.AddrPort
	instance atomic.Pointer[discovery.Instance]

	// Written by the service's goroutine, read by Status.
	standing atomic.Pointer[standing]
	history  history

	// Owned by the service's goroutine.
	cancelCheck context.CancelFunc // ends the health check; nil without one
	checked     bool               // the health check has given a verdict
	healthWhy   string             // the last verdict's reason
	breakerWhy  string             // why it was ejected, or came back

	// Up to whole cache lines, so that what comes first really shares one.
	_ [40]byte
}

// ID names the instance within its service.
func (e *Endpoint) ID() string { return e.id }

// Address is what is dialled: "ip:port", "[ip6]:port", "host:port" or "unix:/path".
func (e *Endpoint) Address() string { return e.address }

// AddrPort is the address as a value, or the zero AddrPort if it holds no literal IP.
func (e *Endpoint) AddrPort() netip.AddrPort { return e.addrPort }

// Instance is what the source last said of it. It must not be changed.
func (e *Endpoint) Instance() *discovery.Instance { return e.instance.Load() }

// Weight is its share of traffic relative to the others, 1 or more. It may change.
func (e *Endpoint) Weight() int { return int(e.weight.Load()) }

// Zone is where it runs, or empty.
func (e *Endpoint) Zone() string { return e.instance.Load().Zone }

// InFlight is how many leases on it have not been released.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

// Latency is the peak-sensitive moving average of what leases reported, decayed to now; a
// failure counts as Penalty. Until something has been reported it is FirstGuess.
func (e *Endpoint) Latency() time.Duration {
	ns, _ := e.latency.read(Now())
	return time.Duration(ns)
}

// LatencyAt is Latency for pickers, in nanoseconds at a Moment that may serve for several
// endpoints. measured is false while it is a guess.
func (e *Endpoint) LatencyAt(now Moment) (ns float64, measured bool) {
	return e.latency.read(now)
}

// Retired tells that the instance has left the service. That is for good: if it comes back
// it is another Endpoint.
func (e *Endpoint) Retired() bool { return e.retired.Load() }

// Down tells that its health check has marked it down. Without a health check, and before
// its first verdict, an endpoint is not down.
func (e *Endpoint) Down() bool { return e.down.Load() }

// BreakerState is the state of its circuit breaker.
func (e *Endpoint) BreakerState() breaker.State { return e.breaker.State() }

// Counters are totals since the endpoint was made.
type Counters struct {
	Attempts        uint64 `json:"attempts"` // leases handed out
	Successes       uint64 `json:"successes"`
	ConnectFailures uint64 `json:"connect_failures"`
	Resets          uint64 `json:"resets"`
	Timeouts        uint64 `json:"timeouts"`
	ServerErrors    uint64 `json:"server_errors"`
	Canceled        uint64 `json:"canceled"`
	Ejections       uint64 `json:"ejections"` // by its breaker, failed probes not counted
	// EjectionsRefused counts failures that would have ejected it, had not as many been
	// out already as MaxEjected allows.
	EjectionsRefused uint64 `json:"ejections_refused"`
}

// Failures is the sum of all kinds of failure.
func (c Counters) Failures() uint64 {
	return c.ConnectFailures + c.Resets + c.Timeouts + c.ServerErrors
}

// Counters reads the totals, each by itself: the sums of one reading need not add up.
func (e *Endpoint) Counters() Counters {
	return Counters{
		Attempts:         e.attempts.Load(),
		Successes:        e.outcomes[Success].Load(),
		ConnectFailures:  e.outcomes[ConnectFailed].Load(),
		Resets:           e.outcomes[Reset].Load(),
		Timeouts:         e.outcomes[TimedOut].Load(),
		ServerErrors:     e.outcomes[ServerError].Load(),
		Canceled:         e.outcomes[Canceled].Load(),
		Ejections:        e.ejections.Load(),
		EjectionsRefused: e.ejectionsRefused.Load(),
	}
}

// describe takes over what the source says of the instance, and tells whether the weight
// is another one.
func (e *Endpoint) describe(in discovery.Instance) bool {
	e.instance.Store(&in)
	weight := int32(min(max(in.Weight, 1), maxWeight))
	return e.weight.Swap(weight) != weight
}
