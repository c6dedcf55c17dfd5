package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestScarcityShows(t *testing.T) {
	r := New(Options{})
	const paused, lost = "sidecar_listener_accept_paused", "sidecar_log_lines_lost_total{}"
	if _, there := scrape(t, r)[lost]; there {
		t.Error("lines are counted, and nobody counts them")
	}
	r.ObserveLog(func() uint64 { return 7 })
	r.ObservePauses(func(emit func(PauseSample)) {
		emit(PauseSample{"orders", "http", 2})
		emit(PauseSample{"orders", "http", 1}) // at another address
		emit(PauseSample{"mail", "tcp", 0})
	})
	if problems, err := testutil.GatherAndLint(r.Gatherer()); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	got := scrape(t, r)
	got.want(t, lost, 7)
	got.want(t, paused+`{protocol="http",service="orders"}`, 3)
	got.want(t, paused+`{protocol="tcp",service="mail"}`, 0)
}
