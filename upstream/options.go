package upstream

import (
	"time"

	"go.uber.org/zap"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/healthcheck"
	"sidecar/limiter"
)

// Candidates are what a Policy makes a Picker of.
type Candidates struct {
	// Endpoints may be picked: at least one, sorted by ID. The slice may be kept but not
	// changed.
	Endpoints []*Endpoint
	// Listed is the whole of the source's last set, or all the fallback instances, sorted
	// by ID: what there would be if all were usable. It may be kept but not changed.
	Listed []*Endpoint
	// InFlight is how many leases the service has; not nil if Options.CountInFlight is set.
	InFlight func() int64
	// Now reads the clock that latencies are kept on, and Random gives 64 random bits.
	// Both may be called by any number of goroutines.
	Now    func() Moment
	Random func() uint64
}

// A Policy makes a Picker for the candidates of a new snapshot. It is called on the
// service's goroutine. Weights are read at that moment: a changed weight makes a new
// snapshot.
type Policy func(Candidates) Picker

// A Picker chooses one of the endpoints it was made for.
//
// Pick returns an endpoint that is not one of avoid, or nil if there is none. avoid is
// short, and may hold endpoints the picker does not know. Pick is called from any number of
// goroutines at once; it takes no lock, does not allocate and does not keep avoid.
type Picker interface {
	Pick(key PickKey, avoid []*Endpoint) *Endpoint
}

// A PickKey is what a request brings to the choice of its endpoint.
type PickKey struct {
	// Hash is for policies that send equal hashes to the same endpoint; zero if the
	// request has nothing to be known by.
	Hash uint64
	// Repeatable tells that the request may be sent again if this attempt fails. It is
	// such requests that probe an endpoint whose ejection is over, as long as there are any.
	Repeatable bool
}

// Limits bound what is under way at once. 0 is no limit.
type Limits struct {
	InFlight    int // leases
	Pending     int // connections that are being made
	Connections int // connections, idle ones and those that are being made included
}

// Options say what a Service is made of. Source and Policy must be set; everything else
// may be left at zero.
type Options struct {
	// Name is the service's name, for logs, errors and status.
	Name string
	// Source is watched for as long as the service runs.
	Source discovery.Source
	// Policy makes the picker of each snapshot.
	Policy Policy
	// CountInFlight has the leases of the whole service counted for the policy. They are
	// counted in one place, which costs some nanoseconds when many threads do it.
	CountInFlight bool

	// Breaker says when an endpoint is ejected and for how long. Its callbacks, clock and
	// source of random numbers are the service's own.
	Breaker breaker.Settings
	// MaxEjected is the share of the endpoints, from 0 to 1, that breakers may keep out
	// at once: at least one if it is more than 0, and never all. 0 ejects nothing.
	MaxEjected float64
	// Panic is the share of usable endpoints, from 0 to 1, below which those that are down
	// by their health checks are used as well. 0 leaves that to when none is usable.
	Panic float64
	// SlowStart is how long an endpoint that comes back, or joins others, takes to reach
	// its full share. 0 gives it at once.
	SlowStart time.Duration

	// Endpoint limits each endpoint, and Limits the service as a whole.
	Endpoint, Limits Limits
	// Adaptive learns a limit of leases from latencies; nil for none. It belongs to the
	// service from now on.
	Adaptive *limiter.Gradient

	// Fallback is used while no endpoint of the source is usable.
	Fallback []discovery.Instance

	// Before is the service whose place this one takes; nil: there is none. Instances that both have
	// begin with what is known of them: latencies, failures, and that they are down if this one checks
	// health as well. It is forgotten with the first set.
	Before *Service
	// Drained are the IDs of instances that are drained from the beginning: see SetDrained.
	Drained []string

	// Budget limits retries.
	Budget BudgetOptions
	// HealthCheck is nil for none.
	HealthCheck *HealthCheck
	// Log may be nil.
	Log *zap.Logger

	// Clock tells the time; nil is time.Now. Random gives 64 random bits; nil is that of
	// math/rand/v2. They are for simulations, which call Feed and Step instead of Run.
	Clock  func() time.Time
	Random func() uint64
}

// A HealthCheck is run against each endpoint, on a goroutine of its own.
type HealthCheck struct {
	Prober   healthcheck.Prober
	Settings healthcheck.Settings
	// KeepDropped lets an endpoint that the source has dropped serve on for as long as it
	// passes this check.
	KeepDropped bool
}

// BudgetOptions limit the retries of a service. The zero value allows none.
type BudgetOptions struct {
	// Ratio is how many retries each request allows for; 0.2 is one in five requests.
	Ratio float64
	// MinPerSecond is how many retries per second are allowed in any case.
	MinPerSecond int
	// Window is how far back requests and retries count, 10 s if it is not positive.
	Window time.Duration
}
