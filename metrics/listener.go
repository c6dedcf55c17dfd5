package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// A Listener counts the connections that were accepted for a service.
type Listener struct {
	shards []ListenerShard
}

func newListener(loops int) *Listener { return &Listener{make([]ListenerShard, loops)} }

// Shard returns the counters of an event loop. Any index is good: who is not on a loop uses
// 0. Ask once and keep it.
func (l *Listener) Shard(loop int) *ListenerShard { return &l.shards[uint(loop)%uint(len(l.shards))] }

// A ListenerShard is what one loop has accepted. Its fields may be used by any goroutine; a
// connection may be counted as closed by another loop than the one that accepted it.
type ListenerShard struct {
	Accepted atomic.Uint64 // connections accepted
	Closed   atomic.Uint64 // of those, how many have ended; counted after Accepted
	Errors   atomic.Uint64 // accept failed: descriptors or memory ran out
	Refused  atomic.Uint64 // TLS handshakes of clients that failed
	_        [apart]byte
}

type listenerKey struct{ service, protocol string }

type listenerFamily struct {
	family[listenerKey, *Listener]
	accepted, active, errors, refused *prometheus.Desc
}

func newListenerFamily() *listenerFamily {
	const sub = "listener"
	return &listenerFamily{
		accepted: desc(sub, "connections_accepted_total", "Connections accepted from clients.", "service", "protocol"),
		active:   desc(sub, "connections_active", "Connections of clients that are open.", "service", "protocol"),
		refused:  desc(sub, "tls_failures_total", "TLS handshakes of clients that failed; the log names the causes.", "service", "protocol"),
		errors:   desc(sub, "accept_errors_total", "Failures to accept a connection.", "service", "protocol"),
	}
}

// Describe is prometheus.Collector's.
func (f *listenerFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.accepted, f.active, f.errors, f.refused)
}

// Collect is prometheus.Collector's.
func (f *listenerFamily) Collect(ch chan<- prometheus.Metric) {
	for k, l := range f.all() {
		accepted, closed, errors, refused := l.total()
		service := label(k.service)
		counter(ch, f.accepted, accepted, service, k.protocol)
		gauge(ch, f.active, difference(accepted, closed), service, k.protocol)
		counter(ch, f.errors, errors, service, k.protocol)
		counter(ch, f.refused, refused, service, k.protocol)
	}
}

// total adds the shards up.
func (l *Listener) total() (accepted, closed, errors, refused uint64) {
	// All ends are read before all beginnings: every end that is seen has its beginning
	// seen too, and the difference is never negative.
	for i := range l.shards {
		closed += l.shards[i].Closed.Load()
	}
	for i := range l.shards {
		accepted += l.shards[i].Accepted.Load()
		errors += l.shards[i].Errors.Load()
		refused += l.shards[i].Refused.Load()
	}
	return accepted, closed, errors, refused
}

// Active returns how many of the connections accepted are open, over all loops.
func (l *Listener) Active() int64 {
	var closed, accepted uint64
	for i := range l.shards {
		closed += l.shards[i].Closed.Load()
	}
	for i := range l.shards {
		accepted += l.shards[i].Accepted.Load()
	}
	return int64(accepted - closed)
}
