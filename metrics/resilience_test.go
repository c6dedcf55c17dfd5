package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestHedgesAndFallbackAnswersAddUp(t *testing.T) {
	r := New(Options{Loops: 2})
	for loop := range 2 {
		h := r.HTTP("orders").Shard(loop)
		h.Hedges.Add(5)
		h.HedgesWon.Add(2)
		h.HedgesDenied.Add(3)
		h.FallbackAnswers.Add(7)
		h.Retry(RetryStalled)
		h.Error(CauseShed)
		h.Error(CauseStalled)
	}
	got := scrape(t, r)
	got.want(t, `sidecar_http_hedges_total{service="orders"}`, 10)
	got.want(t, `sidecar_http_hedges_won_total{service="orders"}`, 4)
	got.want(t, `sidecar_http_hedges_denied_total{service="orders"}`, 6)
	got.want(t, `sidecar_http_fallback_answers_total{service="orders"}`, 14)
	got.want(t, `sidecar_http_retries_total{reason="stalled",service="orders"}`, 2)
	got.want(t, `sidecar_http_errors_total{cause="shed",service="orders"}`, 2)
	got.want(t, `sidecar_http_errors_total{cause="stalled",service="orders"}`, 2)
}

func TestAnEndpointHasASeriesForEachOfItsValues(t *testing.T) {
	r := New(Options{})
	r.ObserveEndpoints(func(emit func(EndpointSample)) {
		emit(EndpointSample{
			Service: "s", Address: "a:1", Zone: "z", Usable: true, Breaker: BreakerHalfOpen, InFlight: 2, Latency: 250 * time.Millisecond,
			FailureShare: 0.25, Connections: 4,
			Attempts: 100, ConnectFailures: 1, Resets: 2, Timeouts: 3, ServerErrors: 5, Overloaded: 6,
			Ejections: 9, EjectionsByRate: 2, EjectionsRefused: 8,
		})
	})
	got := scrape(t, r)
	for name, want := range map[string]float64{
		"usable": 1, "breaker_state": 1, "in_flight": 2, "latency_seconds": 0.25, "failure_share": 0.25, "connections": 4,
		"attempts_total": 100, "ejections_refused_total": 8,
	} {
		got.want(t, "sidecar_endpoint_"+name+`{endpoint="a:1",service="s",zone="z"}`, want)
	}
	for kind, want := range map[string]float64{"connect": 1, "reset": 2, "timeout": 3, "server_error": 5, "overloaded": 6} {
		got.want(t, `sidecar_endpoint_failures_total{endpoint="a:1",kind="`+kind+`",service="s",zone="z"}`, want)
	}
	for reason, want := range map[string]float64{"consecutive": 7, "rate": 2} {
		got.want(t, `sidecar_endpoint_ejections_total{endpoint="a:1",reason="`+reason+`",service="s",zone="z"}`, want)
	}
}

func TestTwoInstancesOfOneAddressAreOneSeries(t *testing.T) {
	r := New(Options{})
	r.ObserveEndpoints(func(emit func(EndpointSample)) {
		emit(EndpointSample{Service: "s", Address: "a:1", FailureShare: 0.5, Connections: 1, Overloaded: 2, Ejections: 3, EjectionsByRate: 1, EjectionsRefused: 4})
		emit(EndpointSample{Service: "s", Address: "a:1", FailureShare: 0.25, Connections: 10, Overloaded: 20, Ejections: 30, EjectionsByRate: 10, EjectionsRefused: 40})
	})
	got := scrape(t, r)
	got.want(t, `sidecar_endpoint_failure_share{endpoint="a:1",service="s",zone=""}`, 0.5)
	got.want(t, `sidecar_endpoint_connections{endpoint="a:1",service="s",zone=""}`, 11)
	got.want(t, `sidecar_endpoint_failures_total{endpoint="a:1",kind="overloaded",service="s",zone=""}`, 22)
	got.want(t, `sidecar_endpoint_ejections_total{endpoint="a:1",reason="consecutive",service="s",zone=""}`, 22)
	got.want(t, `sidecar_endpoint_ejections_total{endpoint="a:1",reason="rate",service="s",zone=""}`, 11)
	got.want(t, `sidecar_endpoint_ejections_refused_total{endpoint="a:1",service="s",zone=""}`, 44)
}

// An ejection that happens while the counts are read must not make a counter of 2^64.
func TestAPartThatIsNewerThanItsSumIsNoUnderflow(t *testing.T) {
	s := EndpointSample{Ejections: 1, EjectionsByRate: 2}
	if n := s.consecutive(); n != 0 {
		t.Errorf("%d ejections for failures in a row, want 0", n)
	}
}

func serviceSamples(samples ...ServiceSample) *Registry {
	r := New(Options{})
	r.ObserveServices(func(emit func(ServiceSample)) {
		for _, s := range samples {
			emit(s)
		}
	})
	return r
}

func TestAServiceHasASeriesForEachOfItsValues(t *testing.T) {
	r := serviceSamples(
		ServiceSample{
			Service: "orders", Total: 10, Usable: 4, FailOpen: true, Ejected: 3, MaxEjected: 5,
			BudgetLeft: 2.5, Retries: 6, RetriesRefused: 7, Connections: 20, Pending: 8,
			Adaptive: &AdaptiveSample{Limit: 30, InFlight: 29, Shed: 11},
		},
		ServiceSample{Service: "mail", Fallback: true},
	)
	got := scrape(t, r)
	for name, want := range map[string]float64{
		"endpoints": 10, "endpoints_usable": 4, "fail_open": 1, "fallback": 0, "endpoints_ejected": 3, "endpoints_ejected_max": 5,
		"retry_budget_left": 2.5, "retry_budget_used": 6, "retry_budget_refused_total": 7, "connections": 20, "connections_pending": 8,
		"adaptive_limit": 30, "adaptive_in_flight": 29, "shed_total": 11,
	} {
		got.want(t, "sidecar_service_"+name+`{service="orders"}`, want)
	}
	got.want(t, `sidecar_service_fallback{service="mail"}`, 1)
	got.want(t, `sidecar_service_fail_open{service="mail"}`, 0)
	for _, name := range []string{"adaptive_limit", "adaptive_in_flight", "shed_total"} {
		if _, ok := got["sidecar_service_"+name+`{service="mail"}`]; ok {
			t.Errorf("mail learns no limit and has %s", name)
		}
	}
	problems, err := testutil.GatherAndLint(r.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestTwoServicesOfOneNameDoNotSpoilAScrape(t *testing.T) {
	scrape(t, serviceSamples(ServiceSample{Service: "s", Total: 1}, ServiceSample{Service: "s", Total: 2})).
		want(t, `sidecar_service_endpoints{service="s"}`, 2)
}
