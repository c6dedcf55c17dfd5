// Package metrics says what is counted, as Prometheus collectors.
//
// A Registry holds everything; it wraps a prometheus.Registry of its own. There are two
// ways in:
//
//   - What happens on the data path is counted by handles: Registry.Listener, HTTP and TCP
//     find or make the handle of a service, at configuration time. Each handle has one
//     shard per event loop, and what a shard holds are bare atomics: counting takes no
//     lock, allocates nothing, and two loops never write to the same cache line. A scrape
//     adds the shards up.
//
//   - What somebody else already knows (services, endpoints, sources, loops) is asked for at
//     each scrape, through a callback: ObserveServices, ObserveEndpoints, ObserveSources,
//     ObserveLoops, ObserveAccessLog, ObserveRegistrations, ObserveCertificates. Nothing is kept of it, so the series of an endpoint
//     that is gone vanish by themselves.
//
// A proxy uses it like this:
//
//	handle := registry.HTTP("orders")     // when the configuration is applied
//	shard := handle.Shard(loop)           // once per loop
//
//	shard.Started.Add(1)                  // for each request
//	shard.FirstByte.Observe(sinceStart)
//	shard.Finish(status, sinceStart)
//
// Labels come from bounded sets: names of services, classes of status codes, values of
// Cause and RetryReason. Nothing that a client sends becomes a label.
package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace is the prefix of every name; process_ and go_ series keep their own.
const namespace = "sidecar"

// Options says what a Registry has to know.
type Options struct {
	// Loops is the number of event loops, and so of shards in a handle; below 1 means 1.
	Loops int
	// Version and Revision name the build in sidecar_build_info.
	Version  string
	Revision string
}

// A Registry holds what is counted. All its methods may be called from any goroutine, at
// any time, also while it is scraped.
type Registry struct {
	prom      *prometheus.Registry
	loops     int
	listeners *listenerFamily
	http      *httpFamily
	tcp       *tcpFamily
	services  *serviceFamily
	endpoints *endpointFamily
	sources   *sourceFamily
	turns     *loopFamily
	accessLog *accessLogFamily

	registrations *registrationFamily
	unrouted      *unroutedFamily

	// Reloads counts reloads of the configuration.
	Reloads      *Reloads
	certificates *certificateFamily
	tracing      *tracingFamily
	scarcity     *scarcityFamily
}

// New makes a Registry that counts nothing of a service yet; it has the series of the build,
// the process and the Go runtime.
func New(o Options) *Registry {
	r := &Registry{
		prom:      prometheus.NewRegistry(),
		loops:     max(1, o.Loops),
		listeners: newListenerFamily(),
		http:      newHTTPFamily(),
		tcp:       newTCPFamily(),
		services:  newServiceFamily(),
		endpoints: newEndpointFamily(),
		sources:   newSourceFamily(),
		turns:     newLoopFamily(),
		accessLog: newAccessLogFamily(),

		registrations: newRegistrationFamily(),
		unrouted:      newUnroutedFamily(),
		Reloads:       newReloads(),
		certificates:  newCertificateFamily(),
		tracing:       newTracingFamily(),
		scarcity:      newScarcityFamily(),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        namespace + "_build_info",
		Help:        "Always 1; the labels name the build.",
		ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "goversion": runtime.Version()},
	})
	build.Set(1)
	// Names cannot clash: they are all written down in this package, and a test scrapes
	// them together. MustRegister's panic is therefore one of the programmer's.
	r.prom.MustRegister(
		build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		r.listeners, r.http, r.tcp, r.services, r.endpoints, r.sources, r.turns, r.accessLog, r.registrations, r.unrouted, r.Reloads, r.certificates, r.tracing, r.scarcity,
	)
	return r
}

// Listener returns the handle that counts the connections accepted for a service by a
// protocol ("http", "tcp"). Asked for again it is the same handle, so counts outlive a reload.
func (r *Registry) Listener(service, protocol string) *Listener {
	return r.listeners.handle(listenerKey{service, protocol}, func() *Listener {
		return newListener(r.loops)
	})
}

// HTTP returns the handle that counts the HTTP requests of a service. Asked for again it is
// the same handle, so counts outlive a reload.
func (r *Registry) HTTP(service string) *HTTP {
	return r.http.handle(service, func() *HTTP { return newHTTP(r.loops) })
}

// TCP returns the handle that counts the TCP sessions of a service. Asked for again it is
// the same handle, so counts outlive a reload.
func (r *Registry) TCP(service string) *TCP {
	return r.tcp.handle(service, func() *TCP { return newTCP(r.loops) })
}

// Forget drops the series of a service that is no longer configured. Who still holds one of
// its handles may go on counting; nobody will see it.
func (r *Registry) Forget(service string) {
	r.listeners.forget(func(k listenerKey) bool { return k.service == service })
	r.http.forget(func(k string) bool { return k == service })
	r.tcp.forget(func(k string) bool { return k == service })
}

// ObserveServices registers who tells the state of all services, as ObserveEndpoints does.
func (r *Registry) ObserveServices(each func(emit func(ServiceSample))) {
	r.services.each.Store(&each)
}

// ObserveEndpoints registers who tells the state of all endpoints. each is called at every
// scrape, on the scraper's goroutine and by several of them at once when scrapes overlap; it
// calls emit once per endpoint before it returns, and does not block. A later call replaces
// an earlier one.
func (r *Registry) ObserveEndpoints(each func(emit func(EndpointSample))) {
	r.endpoints.each.Store(&each)
}

// ObserveSources registers who tells the state of all sources, as ObserveEndpoints does.
func (r *Registry) ObserveSources(each func(emit func(SourceSample))) {
	r.sources.each.Store(&each)
}

// ObserveLoops registers who tells the counters of all event loops, as ObserveEndpoints does.
func (r *Registry) ObserveLoops(each func(emit func(LoopSample))) {
	r.turns.each.Store(&each)
}

// ObserveRegistrations registers who tells the state of all announcements of local services, as
// ObserveEndpoints does.
func (r *Registry) ObserveRegistrations(each func(emit func(RegistrationSample))) {
	r.registrations.each.Store(&each)
}

// Gatherer gives everything that is counted, for whoever wants values instead of text.
func (r *Registry) Gatherer() prometheus.Gatherer { return r.prom }

// Handler answers a scrape, in the format and compression that the scraper asks for.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.prom, promhttp.HandlerOpts{
		// One bad series must not hide the others from whoever is looking for a fault.
		ErrorHandling: promhttp.ContinueOnError,
		// A scraper is a machine on a timer: more than a few at once is a mistake, and each
		// costs memory.
		MaxRequestsInFlight: 4,
	})
}
