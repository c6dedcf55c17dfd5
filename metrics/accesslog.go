package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// An AccessLogSample is what the access log has done up to the moment of a scrape.
type AccessLogSample struct {
	Lines       uint64 // written
	Dropped     uint64 // not written
	WriteErrors uint64 // writes that failed
}

// ObserveAccessLog registers who tells the counts of the access log, as ObserveEndpoints
// does. Without it there are no series of it.
func (r *Registry) ObserveAccessLog(each func(emit func(AccessLogSample))) {
	r.accessLog.each.Store(&each)
}

type accessLogFamily struct {
	each                   atomic.Pointer[func(func(AccessLogSample))]
	lines, dropped, errors *prometheus.Desc
}

func newAccessLogFamily() *accessLogFamily {
	const sub = "access_log"
	return &accessLogFamily{
		lines:   desc(sub, "lines_total", "Lines of the access log that were written."),
		dropped: desc(sub, "dropped_total", "Lines of the access log that were not written: more came than could be, or the output failed."),
		errors:  desc(sub, "write_errors_total", "Writes of the access log that failed."),
	}
}

// Describe is prometheus.Collector's.
func (f *accessLogFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.lines, f.dropped, f.errors)
}

// Collect is prometheus.Collector's.
func (f *accessLogFamily) Collect(ch chan<- prometheus.Metric) {
	var sum AccessLogSample
	found := false
	gather(&f.each, func(s AccessLogSample) {
		found = true
		sum.Lines += s.Lines
		sum.Dropped += s.Dropped
		sum.WriteErrors += s.WriteErrors
	})
	if found {
		counter(ch, f.lines, sum.Lines)
		counter(ch, f.dropped, sum.Dropped)
		counter(ch, f.errors, sum.WriteErrors)
	}
}
