package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A RegistrationSample is the state of one announcement of a local service at the moment of a
// scrape.
type RegistrationSample struct {
	Service  string
	ID       string
	Registry string // consul or etcd

	Registered    bool
	Passing       bool      // its health check
	Failing       bool      // the registry did not take the last call
	LastSuccess   time.Time // of telling the registry; zero: never
	Registrations uint64
	Renewals      uint64
}

type registrationFamily struct {
	each                                      atomic.Pointer[func(func(RegistrationSample))]
	registered, passing, failing, lastSuccess *prometheus.Desc
	registrationsTotal, renewalsTotal         *prometheus.Desc
}

func newRegistrationFamily() *registrationFamily {
	const sub = "registration"
	by := []string{"service", "id", "registry"}
	return &registrationFamily{
		registered:         desc(sub, "registered", "1 while the registry knows of the local service, as far as was heard.", by...),
		passing:            desc(sub, "passing", "1 while the local service passes its health check.", by...),
		lastSuccess:        desc(sub, "last_success_timestamp_seconds", "When the registry last took a call.", by...),
		registrationsTotal: desc(sub, "registrations_total", "How often the local service was registered: more than once when the registry forgot it.", by...),
		renewalsTotal:      desc(sub, "renewals_total", "How often the registration was renewed.", by...),
		failing:            desc(sub, "failing", "1 while the registry does not take what it is told.", by...),
	}
}

// Describe is prometheus.Collector's.
func (f *registrationFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.registered, f.passing, f.lastSuccess, f.registrationsTotal, f.renewalsTotal, f.failing)
}

// Collect is prometheus.Collector's.
func (f *registrationFamily) Collect(ch chan<- prometheus.Metric) {
	type key struct{ service, id, registry string }
	all := map[key]RegistrationSample{}
	gather(&f.each, func(s RegistrationSample) { all[key{label(s.Service), label(s.ID), label(s.Registry)}] = s })
	for k, s := range all {
		by := []string{k.service, k.id, k.registry}
		gauge(ch, f.registered, truth(s.Registered), by...)
		gauge(ch, f.passing, truth(s.Passing), by...)
		gauge(ch, f.failing, truth(s.Failing), by...)
		if !s.LastSuccess.IsZero() {
			gauge(ch, f.lastSuccess, seconds(s.LastSuccess), by...)
		}
		counter(ch, f.registrationsTotal, s.Registrations, by...)
		counter(ch, f.renewalsTotal, s.Renewals, by...)
	}
}
