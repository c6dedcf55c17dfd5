package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Reloads counts reloads of the configuration. Its methods may be called from any goroutine.
type Reloads struct {
	succeeded, failed atomic.Uint64
	at                atomic.Int64 // when the last succeeded, in seconds since 1970
	well              atomic.Bool  // the last succeeded, or there was none

	total, last, state *prometheus.Desc
}

func newReloads() *Reloads {
	r := &Reloads{
		total: desc("config", "reloads_total", "Reloads of the configuration, by result.", "result"),
		last:  desc("config", "last_applied_timestamp_seconds", "When the configuration that runs was applied."),
		state: desc("config", "last_reload_successful", "1, or 0 if the last reload failed and what ran before runs on."),
	}
	r.at.Store(time.Now().Unix())
	r.well.Store(true)
	return r
}

// Count counts a reload.
func (r *Reloads) Count(succeeded bool) {
	r.well.Store(succeeded)
	if succeeded {
		r.at.Store(time.Now().Unix())
		r.succeeded.Add(1)
		return
	}
	r.failed.Add(1)
}

// Describe is prometheus.Collector's.
func (r *Reloads) Describe(ch chan<- *prometheus.Desc) { describe(ch, r.total, r.last, r.state) }

// Collect is prometheus.Collector's.
func (r *Reloads) Collect(ch chan<- prometheus.Metric) {
	counter(ch, r.total, r.succeeded.Load(), "success")
	counter(ch, r.total, r.failed.Load(), "failure")
	gauge(ch, r.last, float64(r.at.Load()))
	gauge(ch, r.state, truth(r.well.Load()))
}
