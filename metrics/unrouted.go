package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// An UnroutedReason says why a connection to a socket that services share was for none of them.
type UnroutedReason uint8

// The reasons.
const (
	UnroutedUnknownName UnroutedReason = iota // a name that is nobody's
	UnroutedNoName                            // TLS, and no name
	UnroutedNotTLS                            // another protocol
	UnroutedMalformed                         // a broken ClientHello or PROXY header
	UnroutedTimeout                           // no ClientHello in time
	UnroutedClosed                            // the client left before
	UnroutedReasons                           // how many there are
)

func (r UnroutedReason) String() string {
	return [...]string{"unknown-name", "no-name", "not-tls", "malformed", "timeout", "closed", "other"}[min(r, UnroutedReasons)]
}

// An Unrouted counts the connections to a shared socket that were for none of its services. Its
// methods may be called from any goroutine.
type Unrouted struct {
	counts [UnroutedReasons]atomic.Uint64
}

// Count counts one.
func (u *Unrouted) Count(r UnroutedReason) { u.counts[min(r, UnroutedReasons-1)].Add(1) }

type unroutedFamily struct {
	family[string, *Unrouted]
	unrouted *prometheus.Desc
}

func newUnroutedFamily() *unroutedFamily {
	return &unroutedFamily{unrouted: desc("listener", "unrouted_total",
		"Connections to a socket shared by sni that were for none of its services, by reason.", "listen", "reason")}
}

// Describe is prometheus.Collector's.
func (f *unroutedFamily) Describe(ch chan<- *prometheus.Desc) { describe(ch, f.unrouted) }

// Collect is prometheus.Collector's.
func (f *unroutedFamily) Collect(ch chan<- prometheus.Metric) {
	for listen, u := range f.all() {
		for r := range UnroutedReasons {
			counter(ch, f.unrouted, u.counts[r].Load(), label(listen), r.String())
		}
	}
}

// Unrouted returns the handle for the socket at an address, as it stands in the configuration.
// Asked for again it is the same handle.
func (r *Registry) Unrouted(listen string) *Unrouted {
	return r.unrouted.handle(listen, func() *Unrouted { return new(Unrouted) })
}

// ForgetSocket drops the series of an address that services share no longer.
func (r *Registry) ForgetSocket(listen string) {
	r.unrouted.forget(func(k string) bool { return k == listen })
}
