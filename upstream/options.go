package upstream

import (
	"time"

	"go.uber.org/zap"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/healthcheck"
)

// A Policy makes a Picker for the usable endpoints of a new snapshot. It is called on the
// service's goroutine, with at least one endpoint, sorted by ID; it may keep the slice but
// not change it. Weights are read at that moment: a changed weight makes a new snapshot.
type Policy func(usable []*Endpoint) Picker

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
	// Hash is for policies that send equal hashes to the same endpoint; zero otherwise.
	Hash uint64
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

	// Breaker says when an endpoint is ejected and for how long. Only
	// ConsecutiveFailures, Open and OpenMax are used.
	Breaker breaker.Settings
	// MaxEjected is the share of the endpoints, from 0 to 1, that breakers may keep out
	// at once: at least one if it is more than 0, and never all. 0 ejects nothing.
	MaxEjected float64
	// MaxInFlight is how many leases an endpoint may have at once. 0 is no limit.
	MaxInFlight int

	// Budget limits retries.
	Budget BudgetOptions
	// HealthCheck is nil for none.
	HealthCheck *HealthCheck
	// Log may be nil.
	Log *zap.Logger
}

// A HealthCheck is run against each endpoint, on a goroutine of its own.
type HealthCheck struct {
	Prober   healthcheck.Prober
	Settings healthcheck.Settings
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
