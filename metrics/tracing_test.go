package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestSpansAreCountedByWhatBecameOfThem(t *testing.T) {
	r := New(Options{})
	for series := range scrape(t, r) {
		if strings.HasPrefix(series, "sidecar_tracing_") {
			t.Errorf("%s without tracing", series)
		}
	}
	r.ObserveTracing(func(emit func(TracingSample)) {
		emit(TracingSample{Exported: 5, Dropped: 1, Failed: 2})
		emit(TracingSample{Exported: 10})
	})
	problems, err := testutil.GatherAndLint(r.Gatherer())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	got := scrape(t, r)
	got.want(t, `sidecar_tracing_spans_total{result="exported"}`, 15)
	got.want(t, `sidecar_tracing_spans_total{result="dropped"}`, 1)
	got.want(t, `sidecar_tracing_spans_total{result="failed"}`, 2)
}
