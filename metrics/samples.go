package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A BreakerState is the value of sidecar_endpoint_breaker_state, in rising order of trouble.
type BreakerState uint8

// The states there are.
const (
	BreakerClosed   BreakerState = 0 // attempts are let through
	BreakerHalfOpen BreakerState = 1 // one attempt is let through, to see
	BreakerOpen     BreakerState = 2 // none is
)

// An EndpointSample is the state of one endpoint at the moment of a scrape. Counts are
// since the endpoint came into being.
type EndpointSample struct {
	Service string
	Address string
	Zone    string // or empty

	Usable   bool          // it may be picked
	Breaker  BreakerState  //
	InFlight int64         // leases
	Latency  time.Duration // peak-EWMA of answers
	// FailureShare is how much its failures are held against it, from 0 to 0.95; not a rate.
	FailureShare float64
	Connections  int64 // open or being made

	Attempts         uint64
	ConnectFailures  uint64
	Resets           uint64
	Timeouts         uint64
	ServerErrors     uint64 // answers of 5xx
	Overloaded       uint64 // answers that asked for a pause
	Ejections        uint64 // how often its breaker opened
	EjectionsByRate  uint64 // of those, how often for its success rate
	EjectionsRefused uint64 // how often it stayed closed, though it had failed enough
}

// merge adds the sample of another instance that has the same address: two series of the
// same labels would spoil the whole scrape.
func (s *EndpointSample) merge(o EndpointSample) {
	s.Usable = s.Usable || o.Usable
	s.Breaker = max(s.Breaker, o.Breaker)
	s.InFlight += o.InFlight
	s.Latency = max(s.Latency, o.Latency)
	s.FailureShare = max(s.FailureShare, o.FailureShare)
	s.Connections += o.Connections
	s.Attempts += o.Attempts
	s.ConnectFailures += o.ConnectFailures
	s.Resets += o.Resets
	s.Timeouts += o.Timeouts
	s.ServerErrors += o.ServerErrors
	s.Overloaded += o.Overloaded
	s.Ejections += o.Ejections
	s.EjectionsByRate += o.EjectionsByRate
	s.EjectionsRefused += o.EjectionsRefused
}

// consecutive is how many of the ejections were for failures in a row. The counts are read one
// after the other, and a sum may be older than its part.
func (s *EndpointSample) consecutive() uint64 {
	return s.Ejections - min(s.EjectionsByRate, s.Ejections)
}

// untouched tells whether nothing was ever asked of the endpoint. It has one series only: of
// thousands of endpoints that are known, most sidecars use a few.
func (s *EndpointSample) untouched() bool {
	return s.Attempts == 0 && s.InFlight == 0 && s.Connections == 0 && s.Breaker == BreakerClosed
}

type endpointFamily struct {
	each                                            atomic.Pointer[func(func(EndpointSample))]
	usable, breaker, inFlight, latency              *prometheus.Desc
	failureShare, connections                       *prometheus.Desc
	attempts, failures, ejections, refusedEjections *prometheus.Desc
}

func newEndpointFamily() *endpointFamily {
	const sub = "endpoint"
	by := []string{"service", "endpoint", "zone"}
	return &endpointFamily{
		usable:           desc(sub, "usable", "1 if the endpoint may be picked, 0 if it is down, ejected or drained.", by...),
		breaker:          desc(sub, "breaker_state", "0: closed, 1: half-open, 2: open.", by...),
		inFlight:         desc(sub, "in_flight", "Requests and sessions on the endpoint.", by...),
		latency:          desc(sub, "latency_seconds", "Latency of answers: a moving average that rises at once.", by...),
		failureShare:     desc(sub, "failure_share", "How much its failures are held against the endpoint by the balancer, from 0 to 0.95, forgotten within seconds; not a rate.", by...),
		connections:      desc(sub, "connections", "Connections to the endpoint that are open or being made, idle ones included.", by...),
		attempts:         desc(sub, "attempts_total", "Requests and sessions tried on the endpoint.", by...),
		failures:         desc(sub, "failures_total", "Attempts that failed, by kind.", append(by, "kind")...),
		ejections:        desc(sub, "ejections_total", "How often the endpoint's breaker opened, by reason: consecutive failures, or success rate.", append(by, "reason")...),
		refusedEjections: desc(sub, "ejections_refused_total", "Failures that would have ejected the endpoint, had not too many been out already or the others failed as much.", by...),
	}
}

// Describe is prometheus.Collector's.
func (f *endpointFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.usable, f.breaker, f.inFlight, f.latency, f.failureShare, f.connections,
		f.attempts, f.failures, f.ejections, f.refusedEjections)
}

// Collect is prometheus.Collector's.
func (f *endpointFamily) Collect(ch chan<- prometheus.Metric) {
	type key struct{ service, address, zone string }
	all := map[key]*EndpointSample{}
	gather(&f.each, func(s EndpointSample) {
		k := key{label(s.Service), label(s.Address), label(s.Zone)}
		if twin, ok := all[k]; ok {
			twin.merge(s)
			return
		}
		all[k] = &s
	})
	for k, s := range all {
		by := []string{k.service, k.address, k.zone}
		gauge(ch, f.usable, truth(s.Usable), by...)
		if s.untouched() {
			continue
		}
		gauge(ch, f.breaker, float64(s.Breaker), by...)
		gauge(ch, f.inFlight, float64(s.InFlight), by...)
		gauge(ch, f.latency, s.Latency.Seconds(), by...)
		gauge(ch, f.failureShare, s.FailureShare, by...)
		gauge(ch, f.connections, float64(s.Connections), by...)
		counter(ch, f.attempts, s.Attempts, by...)
		counter(ch, f.failures, s.ConnectFailures, append(by, "connect")...)
		counter(ch, f.failures, s.Resets, append(by, "reset")...)
		counter(ch, f.failures, s.Timeouts, append(by, "timeout")...)
		counter(ch, f.failures, s.ServerErrors, append(by, "server_error")...)
		counter(ch, f.failures, s.Overloaded, append(by, "overloaded")...)
		counter(ch, f.ejections, s.consecutive(), append(by, "consecutive")...)
		counter(ch, f.ejections, s.EjectionsByRate, append(by, "rate")...)
		counter(ch, f.refusedEjections, s.EjectionsRefused, by...)
	}
}

// gather calls the callback that is registered, if one is.
func gather[S any](each *atomic.Pointer[func(func(S))], emit func(S)) {
	if f := each.Load(); f != nil && *f != nil {
		(*f)(emit)
	}
}

// seconds is a moment in seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
