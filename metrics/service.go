package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A ServiceSample is the state of one service at the moment of a scrape.
type ServiceSample struct {
	Service string

	Total, Usable int  // endpoints that the source reports, and those that may be picked
	FailOpen      bool // endpoints are used that ought not to be
	Fallback      bool // … because nothing else is left, the fallback instances
	Ejected       int64
	MaxEjected    int64 // how many may be ejected at once

	BudgetLeft     float64 // retries that would be allowed now
	Retries        uint64  // in the budget's window
	RetriesRefused uint64  // since the start

	Connections int64 // to all endpoints, open or being made
	Pending     int64 // of those, being made

	// SetKnown tells that there is a set of instances, SetStored that it is the one on disk, and
	// SetAge how long ago it was last confirmed.
	SetKnown, SetStored bool
	SetAge              time.Duration

	// Adaptive is the learned limit of requests in flight, nil without one.
	Adaptive *AdaptiveSample
}

// An AdaptiveSample is the learned limit of a service.
type AdaptiveSample struct {
	Limit, InFlight int
	Shed            uint64 // requests refused since the start
}

type serviceFamily struct {
	each                                  atomic.Pointer[func(func(ServiceSample))]
	total, usable, failOpen, fallback     *prometheus.Desc
	ejected, maxEjected                   *prometheus.Desc
	budgetLeft, retries, refused          *prometheus.Desc
	connections, pending                  *prometheus.Desc
	adaptiveLimit, adaptiveInFlight, shed *prometheus.Desc
	setStored, setAge                     *prometheus.Desc
}

func newServiceFamily() *serviceFamily {
	const sub, by = "service", "service"
	return &serviceFamily{
		total:            desc(sub, "endpoints", "Endpoints that the source reports.", by),
		usable:           desc(sub, "endpoints_usable", "Endpoints that may be picked; those of the fallback while they are used.", by),
		failOpen:         desc(sub, "fail_open", "1 while endpoints are used that ought not to be, because too few others are left.", by),
		fallback:         desc(sub, "fallback", "1 while the fallback instances are used.", by),
		ejected:          desc(sub, "endpoints_ejected", "Endpoints that are out by their breakers, those that wait for a probe included.", by),
		maxEjected:       desc(sub, "endpoints_ejected_max", "How many endpoints may be out by their breakers at once.", by),
		budgetLeft:       desc(sub, "retry_budget_left", "Retries that the budget would allow now.", by),
		retries:          desc(sub, "retry_budget_used", "Retries that the budget has allowed lately, in its window.", by),
		refused:          desc(sub, "retry_budget_refused_total", "Retries that the budget did not allow.", by),
		connections:      desc(sub, "connections", "Connections to endpoints that are open or being made, idle ones included.", by),
		pending:          desc(sub, "connections_pending", "Connections to endpoints that are being made.", by),
		adaptiveLimit:    desc(sub, "adaptive_limit", "Requests that may be in flight, as learned from latencies.", by),
		adaptiveInFlight: desc(sub, "adaptive_in_flight", "Requests in flight that count towards the learned limit.", by),
		shed:             desc(sub, "shed_total", "Requests refused because the learned limit was reached.", by),
		setStored:        desc(sub, "set_stored", "1 while the set of instances is the one on disk, since no source has answered after the start.", by),
		setAge:           desc(sub, "set_age_seconds", "How long ago the set of instances was last confirmed by a source; none for a set out of the configuration.", by),
	}
}

// Describe is prometheus.Collector's.
func (f *serviceFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.total, f.usable, f.failOpen, f.fallback, f.ejected, f.maxEjected, f.budgetLeft, f.retries, f.refused,
		f.connections, f.pending, f.adaptiveLimit, f.adaptiveInFlight, f.shed, f.setStored, f.setAge)
}

// Collect is prometheus.Collector's.
func (f *serviceFamily) Collect(ch chan<- prometheus.Metric) {
	all := map[string]ServiceSample{} // of two with one name, the last word counts
	gather(&f.each, func(s ServiceSample) { all[label(s.Service)] = s })
	for service, s := range all {
		gauge(ch, f.total, float64(s.Total), service)
		gauge(ch, f.usable, float64(s.Usable), service)
		gauge(ch, f.failOpen, truth(s.FailOpen), service)
		gauge(ch, f.setStored, truth(s.SetStored), service)
		if s.SetKnown {
			gauge(ch, f.setAge, s.SetAge.Seconds(), service)
		}
		gauge(ch, f.fallback, truth(s.Fallback), service)
		gauge(ch, f.ejected, float64(s.Ejected), service)
		gauge(ch, f.maxEjected, float64(s.MaxEjected), service)
		gauge(ch, f.budgetLeft, s.BudgetLeft, service)
		gauge(ch, f.retries, float64(s.Retries), service)
		counter(ch, f.refused, s.RetriesRefused, service)
		gauge(ch, f.connections, float64(s.Connections), service)
		gauge(ch, f.pending, float64(s.Pending), service)
		if a := s.Adaptive; a != nil {
			gauge(ch, f.adaptiveLimit, float64(a.Limit), service)
			gauge(ch, f.adaptiveInFlight, float64(a.InFlight), service)
			counter(ch, f.shed, a.Shed, service)
		}
	}
}
