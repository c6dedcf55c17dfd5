package daemon

import (
	"fmt"
	"os"
	"strings"
	"time"

	"sidecar/admin"
	"sidecar/breaker"
	"sidecar/config"
	"sidecar/discovery"
	"sidecar/metrics"
	"sidecar/upstream"
)

// missing says what keeps the sidecar from being ready, a line for each.
func (d *Daemon) missing() []string {
	if d.draining.Load() {
		return []string{"draining: nothing more is accepted"}
	}
	var lines []string
	for _, s := range d.state.Load().services {
		select {
		case <-s.upstream.Known():
			continue
		default:
		}
		why := "its source has not answered yet"
		if st := s.upstream.Status().Source; st.LastError != "" {
			why = st.LastError
		}
		lines = append(lines, s.config.Name+": "+why)
	}
	return lines
}

// Status is the present state; it may be called from any goroutine while the daemon runs.
func (d *Daemon) Status() admin.Document {
	doc := admin.Document{Started: d.started, PID: os.Getpid(), Draining: d.draining.Load()}
	for _, l := range d.group.Loops() {
		st := l.Stats()
		doc.Loops = append(doc.Loops, admin.Loop{Index: l.Index(), Tasks: st.Tasks, Connections: st.Sockets, Turns: st.Turns, Panics: st.Panics})
	}
	st := d.state.Load()
	for _, k := range st.sockets {
		for _, s := range k.services {
			for _, w := range k.port.waiting() {
				doc.Listeners = append(doc.Listeners, admin.Listener{
					Address: w.Addr().String(), Service: s.config.Name, Protocol: s.config.Protocol, SNI: s.config.SNI,
					Error: "it waits until the instances of its services are known",
				})
			}
			for _, ln := range k.port.open() {
				doc.Listeners = append(doc.Listeners, admin.Listener{
					Address: ln.Addr().String(), Service: s.config.Name, Protocol: s.config.Protocol, SNI: s.config.SNI,
					Active: s.counts.Active(), Accepted: ln.Accepted(), Error: pausing(ln),
				})
			}
		}
	}
	for _, s := range st.services {
		doc.Services = append(doc.Services, s.status())
	}
	for _, a := range st.announced {
		doc.Registrations = append(doc.Registrations, a.registrar.Status())
	}
	if f := d.failed.Load(); f != nil && f.err != nil {
		doc.Warnings = append(doc.Warnings, "the last reload failed, what ran before runs on: "+f.err.Error())
	}
	doc.Notices = d.notices()
	return doc
}

// notices are what the operator should know that is of no service in particular, or that cannot wait.
func (d *Daemon) notices() []string {
	var lines []string
	if consul := d.state.Load().registries.consul; consul != nil {
		if line := consul.Crowded(); line != "" {
			lines = append(lines, line)
		}
	}
	if d.store != nil {
		if st := d.store.Status(); st.Failing > 0 {
			lines = append(lines, fmt.Sprintf("the last good sets of %d services cannot be kept on disk: %s", st.Failing, st.LastError))
		}
	}
	for _, change := range d.compare(d.config, d.state.Load().config).Restart {
		lines = append(lines, "takes effect with the next start: "+change)
	}
	now := time.Now()
	for _, s := range d.state.Load().services {
		lines = append(lines, s.tlsNotices(now)...)
	}
	return append(lines, d.state.Load().tracingNotice(now)...)
}

func (s *service) status() admin.Service {
	one := admin.Service{Policy: s.config.Balancer.Policy, SourceKind: strings.Join(s.config.Discovery.Sources, ", "), Status: s.upstream.Status()}
	for _, r := range s.records {
		one.Sources = append(one.Sources, r.Status())
	}
	one.TLS = s.tlsStatus(time.Now())
	return one
}

func sourceSample(service string, st discovery.Status) metrics.SourceSample {
	if !st.Watching || st.Kind == config.SourceStatic {
		st.LastSuccess = time.Time{} // an age would look like a failure
	}
	return metrics.SourceSample{Service: service, Source: st.Kind, Known: st.Known, Failing: st.Failing,
		LastSuccess: st.LastSuccess, LastError: st.LastErrorAt, Age: time.Duration(st.AgeSeconds * float64(time.Second)), Index: st.Index,
		Answers: st.Answers, Updates: st.Updates, Errors: st.Errors, Instances: st.Instances, Problems: len(st.Problems), States: st.States}
}

// service is the present state of one service.
func (d *Daemon) service(name string) (admin.Service, bool) {
	if s := d.state.Load().service(name); s != nil {
		return s.status(), true
	}
	return admin.Service{}, false
}

// observe lets metrics ask for what others know.
func (d *Daemon) observe() {
	d.observeCertificates()
	d.observeReserve()
	d.metrics.ObserveLoops(func(emit func(metrics.LoopSample)) {
		for _, l := range d.group.Loops() {
			st := l.Stats()
			emit(loopSample(l.Index(), &st))
		}
	})
	d.metrics.ObserveSources(func(emit func(metrics.SourceSample)) {
		for _, s := range d.state.Load().services {
			for _, r := range s.records {
				emit(sourceSample(s.config.Name, r.Status()))
			}
		}
	})
	d.metrics.ObserveRegistrations(func(emit func(metrics.RegistrationSample)) {
		for _, a := range d.state.Load().announced {
			st := a.registrar.Status()
			emit(metrics.RegistrationSample{Service: st.Name, ID: st.ID, Registry: st.Registry, Registered: st.Registered,
				Passing: st.Passing, Failing: st.Failing, LastSuccess: st.LastSuccess, Registrations: st.Registrations, Renewals: st.Renewals})
		}
	})
	d.metrics.ObserveServices(func(emit func(metrics.ServiceSample)) {
		for _, s := range d.state.Load().services {
			st := s.upstream.Status()
			sample := serviceSample(&st)
			sample.SetKnown = sample.SetKnown && !configured(s.config)
			emit(sample)
		}
	})
	d.metrics.ObserveEndpoints(func(emit func(metrics.EndpointSample)) {
		for _, s := range d.state.Load().services {
			snapshot := s.upstream.Snapshot()
			usable := make(map[*upstream.Endpoint]bool, len(snapshot.Usable))
			for _, e := range snapshot.Usable {
				usable[e] = true
			}
			for _, e := range snapshot.Endpoints {
				emit(endpointSample(s.config.Name, e, usable[e]))
			}
		}
	})
}

func endpointSample(service string, e *upstream.Endpoint, usable bool) metrics.EndpointSample {
	c := e.Counters()
	return metrics.EndpointSample{
		Service: service, Address: e.Address(), Zone: e.Zone(), Usable: usable, Breaker: breakerState(e.BreakerState()),
		InFlight: e.InFlight(), Latency: e.Latency(), FailureShare: e.FailureShare(), Connections: e.Connections(),
		Attempts: c.Attempts, ConnectFailures: c.ConnectFailures, Resets: c.Resets, Timeouts: c.Timeouts,
		ServerErrors: c.ServerErrors, Overloaded: c.Overloaded,
		Ejections: c.Ejections, EjectionsByRate: c.EjectionsByRate, EjectionsRefused: c.EjectionsRefused,
	}
}

func serviceSample(st *upstream.Status) metrics.ServiceSample {
	sample := metrics.ServiceSample{
		Service: st.Service, Total: st.Total, Usable: st.Usable, FailOpen: st.FailOpen != "", Fallback: st.Fallback,
		Ejected: st.Ejected, MaxEjected: st.MaxEjected,
		BudgetLeft: st.Budget.Left, Retries: st.Budget.Retries, RetriesRefused: st.Budget.Refused,
		Connections: st.Connections, Pending: st.Pending,
		SetKnown: st.Source.Known, SetStored: st.Source.Stored, SetAge: time.Duration(st.Source.AgeSeconds * float64(time.Second)),
	}
	if a := st.Adaptive; a != nil {
		sample.Adaptive = &metrics.AdaptiveSample{Limit: a.Limit, InFlight: a.InFlight, Shed: a.Shed}
	}
	return sample
}

func breakerState(s breaker.State) metrics.BreakerState {
	switch s {
	case breaker.Open:
		return metrics.BreakerOpen
	case breaker.HalfOpen:
		return metrics.BreakerHalfOpen
	}
	return metrics.BreakerClosed
}
