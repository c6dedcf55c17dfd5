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
	failing  failureShare
	hold     hold
	attempts atomic.Uint64
	breaker  *breaker.Breaker
	weight   atomic.Int32
	heard    atomic.Uint32 // the Moment of its last answer, 0: none yet
	outcomes [numOutcomes]atomic.Uint64

	service          *Service
	retired          atomic.Bool
	down             atomic.Bool
	drained          atomic.Bool // by the operator
	ejecting         atomic.Bool // holds one of the slots
	spare            bool        // a fallback instance
	connections      connections
	errors           errorNotes
	ejections        [2]atomic.Uint64 // by breaker.Reason
	ejectionsRefused atomic.Uint64
	cleared          atomic.Uint32 // a closer: who else than a probe has closed the breaker, or is about to
	tripped          counts        // of the window when it last opened; guarded by gobreaker's lock

	id       string
	address  string
	addrPort netip.AddrPort
	instance atomic.Pointer[discovery.Instance]

	// Written by the service's goroutine, read by Status.
	standing atomic.Pointer[standing]
	history  history
	temper   atomic.Uint32 // a temper: how it compares with the others

	// Owned by the service's goroutine.
	cancelCheck context.CancelFunc // ends the health check; nil without one
	checked     bool               // the health check has given a verdict
	dropped     bool               // the source reports it no longer, its check keeps it
	compared    uint64             // the outcomes when it was last compared with the others
	healthWhy   string             // the last verdict's reason
	breakerWhy  string             // why it was ejected, or came back
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

// Latency is the peak-sensitive moving average of what answers took, decayed to now. Until
// something has been reported it is FirstGuess.
func (e *Endpoint) Latency() time.Duration {
	ns, _ := e.latency.read(e.service.clock.moment())
	return time.Duration(ns)
}

// LatencyAt is what a picker goes by, in nanoseconds at a Moment that may serve for several
// endpoints: Latency, raised by what the endpoint's failures cost. measured is false while
// nothing is known of it.
func (e *Endpoint) LatencyAt(now Moment) (ns float64, measured bool) {
	ns, measured = e.latency.read(now)
	if share := e.failing.read(now); share > 0 {
		return price(ns, share), true
	}
	return ns, measured
}

// FailureShare is how much its failures are held against it by pickers, from 0 to 0.95: little
// after one, much after one that followed others, forgotten within seconds when there are no
// more. It is no rate.
func (e *Endpoint) FailureShare() float64 { return e.failing.read(e.service.clock.moment()) }

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
	Overloaded      uint64 `json:"overloaded"`
	Canceled        uint64 `json:"canceled"`
	Ejections       uint64 `json:"ejections"` // by its breaker, failed probes not counted
	// EjectionsByRate is how many of them were for its success rate.
	EjectionsByRate uint64 `json:"ejections_by_rate"`
	// EjectionsRefused counts failures that would have ejected it, had not as many been
	// out already as MaxEjected allows, or had the others not failed as much.
	EjectionsRefused uint64 `json:"ejections_refused"`
}

// Failures is the sum of all kinds of failure.
func (c Counters) Failures() uint64 {
	return c.ConnectFailures + c.Resets + c.Timeouts + c.ServerErrors + c.Overloaded
}

// Counters reads the totals, each by itself: the sums of one reading need not add up.
func (e *Endpoint) Counters() Counters {
	byRate := e.ejections[breaker.ByRate].Load()
	return Counters{
		Attempts:         e.attempts.Load(),
		Successes:        e.outcomes[Success].Load(),
		ConnectFailures:  e.outcomes[ConnectFailed].Load(),
		Resets:           e.outcomes[Reset].Load(),
		Timeouts:         e.outcomes[TimedOut].Load(),
		ServerErrors:     e.outcomes[ServerError].Load(),
		Overloaded:       e.outcomes[Overloaded].Load(),
		Canceled:         e.outcomes[Canceled].Load(),
		Ejections:        e.ejections[breaker.InARow].Load() + byRate,
		EjectionsByRate:  byRate,
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
