package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sidecar/metrics"
	"sidecar/tracing"
)

// tracingGrace is how long what is left of spans may take to reach the collector.
const tracingGrace = 2 * time.Second

// tracingPatience is for how long spans may fail to reach the collector before the operator is told.
const tracingPatience = time.Minute

// A tracers is those that are open, of which a reload may have several for a while, and what the
// others have counted: counters do not go back.
type tracers struct {
	mu       sync.Mutex
	open     []*tracing.Tracer
	past     tracing.Counts
	instance string // of the process, from the first one on
}

// openTracer makes the tracer that the configuration asks for, or takes that of before.
func (b *builder) openTracer(st *state) error {
	c := b.config.Tracing
	switch {
	case c.Endpoint == "":
		return nil
	case c == b.before.config.Tracing:
		st.tracer = b.before.tracer
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "" // it is left out then
	}
	loops := b.group.Loops()
	b.tracers.mu.Lock()
	defer b.tracers.mu.Unlock()
	t, err := tracing.New(tracing.Options{
		Endpoint: c.Endpoint, Sample: c.Sample, Service: c.Service, Version: b.options.Version, Host: host, Instance: b.tracers.instance,
		Loops: len(loops), Post: func(loop int, fn func()) bool { return loops[loop].Post(fn) }, Log: b.log,
	})
	if err != nil {
		return err
	}
	st.tracer = t
	b.tracers.open, b.tracers.instance = append(b.tracers.open, t), t.Instance()
	b.made = append(b.made, func() { b.closeTracer(t) })
	b.metrics.ObserveTracing(b.tracers.sample)
	return nil
}

// closeTracer has what is left sent, and keeps the counts. Of nil, or again, it does nothing.
func (d *Daemon) closeTracer(t *tracing.Tracer) {
	ctx, cancel := context.WithTimeout(context.Background(), tracingGrace)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		d.log.Warn("the collector did not take the last spans in time; they are dropped", zap.Error(err))
	}
	all := &d.tracers
	all.mu.Lock()
	defer all.mu.Unlock()
	if i := slices.Index(all.open, t); i >= 0 {
		all.open = slices.Delete(all.open, i, i+1)
		all.past = sum(all.past, t.Counts())
	}
}

func sum(a, b tracing.Counts) tracing.Counts {
	return tracing.Counts{Exported: a.Exported + b.Exported, Dropped: a.Dropped + b.Dropped, Failed: a.Failed + b.Failed}
}

// sample tells a scrape what has become of all spans.
func (t *tracers) sample(emit func(metrics.TracingSample)) {
	t.mu.Lock()
	all := t.past
	for _, one := range t.open {
		all = sum(all, one.Counts())
	}
	t.mu.Unlock()
	emit(metrics.TracingSample{Exported: all.Exported, Dropped: all.Dropped, Failed: all.Failed})
}

// tracingNotice is what the operator should know when spans do not reach the collector for long.
func (st *state) tracingNotice(now time.Time) (lines []string) {
	t := st.tracer.Trouble()
	if t == nil || now.Sub(t.Since) < tracingPatience {
		return nil
	}
	return []string{fmt.Sprintf("traces have not reached %s for %v: %v; start the collector, or set tracing.endpoint right",
		st.config.Tracing.Endpoint, now.Sub(t.Since).Round(time.Second), t.Err)}
}
