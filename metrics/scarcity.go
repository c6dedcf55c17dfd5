package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// A PauseSample is how the accepting for a service stands at the moment of a scrape.
type PauseSample struct {
	Service, Protocol string
	Loops             int // that leave a queue of clients alone just now
}

// scarcityFamily is what tells that the process lacks something.
type scarcityFamily struct {
	each         atomic.Pointer[func(func(PauseSample))]
	lines        atomic.Pointer[func() uint64]
	paused, lost *prometheus.Desc
}

func newScarcityFamily() *scarcityFamily {
	return &scarcityFamily{
		paused: desc("listener", "accept_paused", "Event loops that leave the service's queue of clients alone just now, because descriptors or memory have run out.", "service", "protocol"),
		lost:   desc("log", "lines_lost_total", "Lines of the log that could not be written: nobody read it, or its disk was too slow."),
	}
}

// ObservePauses registers who tells which services do not accept just now, as ObserveEndpoints does.
func (r *Registry) ObservePauses(each func(emit func(PauseSample))) { r.scarcity.each.Store(&each) }

// ObserveLog registers who tells how many lines of the log are lost so far. Without it there is no
// series of it.
func (r *Registry) ObserveLog(lost func() uint64) { r.scarcity.lines.Store(&lost) }

// Describe is prometheus.Collector's.
func (f *scarcityFamily) Describe(ch chan<- *prometheus.Desc) { describe(ch, f.paused, f.lost) }

// Collect is prometheus.Collector's.
func (f *scarcityFamily) Collect(ch chan<- prometheus.Metric) {
	paused := map[listenerKey]int{}
	gather(&f.each, func(s PauseSample) { paused[listenerKey{label(s.Service), s.Protocol}] += s.Loops })
	for k, loops := range paused {
		gauge(ch, f.paused, float64(loops), k.service, k.protocol)
	}
	if lost := f.lines.Load(); lost != nil {
		counter(ch, f.lost, (*lost)())
	}
}
