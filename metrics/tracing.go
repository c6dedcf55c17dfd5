package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// A TracingSample is what has become of spans up to the moment of a scrape.
type TracingSample struct {
	Exported uint64 // the collector has taken them
	Dropped  uint64 // not sent: there were too many
	Failed   uint64 // the collector has refused them, or was gone for too long
}

// ObserveTracing registers who tells the counts of spans, as ObserveEndpoints does. Several
// samples are added up; without any there are no series.
func (r *Registry) ObserveTracing(each func(emit func(TracingSample))) { r.tracing.each.Store(&each) }

type tracingFamily struct {
	each  atomic.Pointer[func(func(TracingSample))]
	spans *prometheus.Desc
}

func newTracingFamily() *tracingFamily {
	return &tracingFamily{
		spans: desc("tracing", "spans_total", "Spans of sampled requests by what has become of them: exported, dropped because too many waited, or failed at the collector.", "result"),
	}
}

// Describe is prometheus.Collector's.
func (f *tracingFamily) Describe(ch chan<- *prometheus.Desc) { describe(ch, f.spans) }

// Collect is prometheus.Collector's.
func (f *tracingFamily) Collect(ch chan<- prometheus.Metric) {
	var sum TracingSample
	found := false
	gather(&f.each, func(s TracingSample) {
		found = true
		sum.Exported += s.Exported
		sum.Dropped += s.Dropped
		sum.Failed += s.Failed
	})
	if found {
		counter(ch, f.spans, sum.Exported, "exported")
		counter(ch, f.spans, sum.Dropped, "dropped")
		counter(ch, f.spans, sum.Failed, "failed")
	}
}
