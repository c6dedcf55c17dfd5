package admin

import (
	"testing"
	"time"

	"sidecar/limiter"
	"sidecar/upstream"
)

func TestExplainAServiceWhoseEndpointsAreAllDown(t *testing.T) {
	e := three()
	e.FailOpen = "all endpoints are down by their health checks, so they are used all the same"
	e.Verdict = "fails open: " + e.FailOpen + "; requests go to 3 of 3 endpoints"
	e.Source.Failing, e.Source.LastError, e.Source.LastErrorAt = true, "Get http://127.0.0.1:8500/v1/health/service/orders: connection\nrefused", ago(1500*time.Millisecond)
	e.Budget = upstream.BudgetStatus{Ratio: 0.2, Requests: 600, Retries: 219, Left: 1, Refused: 1017}
	for i := range e.Endpoints {
		s := &e.Endpoints[i]
		s.State, s.Since, s.Why, s.Used = upstream.StateDown, ago(3*time.Second), "connection refused", true
		s.Verdict = "down: connection refused (used all the same, for the service fails open)"
		s.Failures = 200
		s.Errors = []upstream.ErrorNote{{What: "connect failed: connection refused", Count: 200, First: ago(4 * time.Second), Last: noon}}
		s.History = append(s.History, upstream.Decision{At: ago(3*time.Second - time.Duration(i)*time.Millisecond), What: "down", Why: "connection refused"})
	}
	e.History = []upstream.Decision{
		{At: ago(2997 * time.Millisecond), What: "fail-open", Why: e.FailOpen},
		{At: ago(1500 * time.Millisecond), What: "source failed", Why: e.Source.LastError},
	}
	wantText(t, e, `
orders: fails open: all endpoints are down by their health checks, so they are used all the same; requests go to 3 of 3 endpoints

  as of         2026-05-04 12:00:00.000 UTC
  policy        p2c
  source        consul answered 2s ago, index 1234
  source fails  Get http://127.0.0.1:8500/v1/health/service/orders: connection�refused, 1.5s ago
  endpoints     3 of 3 usable; 0 ejected, 1 may be at once
  fail-open     all endpoints are down by their health checks, so they are used all the same
  retries       219 for 600 requests lately; the budget has 1 left, and has refused 1017 since the start
  connections   6

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT  ADDRESS        STATE  FOR  SHARE  TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS
  orders-1  10.0.0.1:8080  down   3s   33.3%  200    200     1.2ms    1          2
      down: connection refused (used all the same, for the service fails open)
      200× connect failed: connection refused, last 0s ago
  orders-2  10.0.0.2:8080  down   3s   33.3%  200    200     1.2ms    1          2
      down: connection refused (used all the same, for the service fails open)
      200× connect failed: connection refused, last 0s ago
  orders-3  10.0.0.3:8080  down   3s   33.3%  200    200     1.2ms    1          2
      down: connection refused (used all the same, for the service fails open)
      200× connect failed: connection refused, last 0s ago

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT  DECISION       WHY
  11:00:00.000  orders-1  discovered     the source reports it
  11:00:00.000  orders-2  discovered     the source reports it
  11:00:00.000  orders-3  discovered     the source reports it
  11:59:57.000  orders-1  down           connection refused
  11:59:57.001  orders-2  down           connection refused
  11:59:57.002  orders-3  down           connection refused
  11:59:57.003  -         fail-open      all endpoints are down by their health checks, so they are used all the same
  11:59:58.500  -         source failed  Get http://127.0.0.1:8500/v1/health/service/orders: connection�refused
`)
}

func TestExplainAServiceThatIsNotDiscovered(t *testing.T) {
	e := &Explanation{At: noon, Service: Service{Policy: "p2c", SourceKind: "consul", Status: upstream.Status{
		Service: "mail", Cause: "not-discovered", Unavailable: "service mail: its instances are not known yet: connection refused",
		Verdict: "unavailable: service mail: its instances are not known yet: connection refused",
		Source:  upstream.SourceStatus{Failing: true, LastError: "connection refused", LastErrorAt: ago(time.Second), Errors: 4},
		History: []upstream.Decision{{At: ago(25 * time.Hour), What: "source failed", Why: "connection refused"}},
	}}}
	wantText(t, e, `
mail: unavailable: service mail: its instances are not known yet: connection refused

  as of         2026-05-04 12:00:00.000 UTC
  policy        p2c
  source        consul has not answered yet
  source fails  connection refused, 1s ago
  endpoints     0 of 0 usable; 0 ejected, 0 may be at once
  cause         not-discovered (what clients are told in the header Sidecar-Error)
  retries       0 for 0 requests lately; the budget has 0 left, and has refused 0 since the start
  connections   0

decisions, newest last; failed is how many of the latest attempts had

  TIME                 DECISION       WHY
  2026-05-03 11:00:00  source failed  connection refused
`)
}

func TestExplainALearnedLimit(t *testing.T) {
	e := three()
	e.Verdict = "3 of 3 endpoints take their share of the traffic; overloaded: 7 requests were refused in the last 10s, the learned limit is 40 in flight"
	e.Adaptive = &limiter.Status{Limit: 40, InFlight: 40, Shed: 1234, LongTermSeconds: 0.0051, ShortTermSeconds: 0.0204, Gradient: 0.5, Probing: true}
	e.Pending = 2
	e.Endpoints = e.Endpoints[:1]
	wantText(t, e, `
orders: 3 of 3 endpoints take their share of the traffic; overloaded: 7 requests were refused in the last 10s, the learned limit is 40 in flight

  as of          2026-05-04 12:00:00.000 UTC
  policy         p2c
  source         consul answered 2s ago, index 1234
  endpoints      3 of 3 usable; 0 ejected, 1 may be at once
  retries        0 for 600 requests lately; the budget has 220 left, and has refused 0 since the start
  learned limit  40 of 40 in flight; 1234 shed since the start; answers took 20.4ms lately, 5.1ms without a queue; lowered for now, to measure that
  connections    6, 2 of them being made

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT  ADDRESS        STATE   FOR   SHARE  TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS
  orders-1  10.0.0.1:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT  DECISION    WHY
  11:00:00.000  orders-1  discovered  the source reports it
`)
}

func TestExplainAFallbackInUse(t *testing.T) {
	e := three()
	e.FailOpen = "no endpoint is usable, so the fallback instances are used"
	e.Total, e.Usable, e.Fallback, e.MaxEjected = 1, 1, true, 0
	e.Verdict = "fails open: " + e.FailOpen + "; none of 1 endpoints, 1 fallback instances"
	e.Endpoints = e.Endpoints[1:]
	down, spare := &e.Endpoints[0], &e.Endpoints[1]
	down.State, down.Why, down.Verdict, down.Since, down.Measured, down.Attempts, down.Share = upstream.StateDown, "timed out after 1s", "down: timed out after 1s", ago(time.Minute), false, 0, 0
	spare.ID, spare.State, spare.Verdict, spare.Share, spare.Used = "fallback-1", upstream.StateSpare, "a fallback instance, in use", 1, true
	spare.History, down.History = nil, append(down.History, upstream.Decision{At: ago(time.Minute), What: "down", Why: down.Why})
	e.History = []upstream.Decision{
		{At: ago(time.Hour), Endpoint: "orders-2", What: "discovered", Why: "the source reports it"}, // in the endpoint's history too
		{At: ago(10 * time.Minute), Endpoint: "orders-1", What: "retired", Why: "the source reports it no longer"},
		{At: ago(time.Minute), What: "fail-open", Why: e.FailOpen},
	}
	wantText(t, e, `
orders: fails open: no endpoint is usable, so the fallback instances are used; none of 1 endpoints, 1 fallback instances

  as of        2026-05-04 12:00:00.000 UTC
  policy       p2c
  source       consul answered 2s ago, index 1234
  endpoints    0 of 1 usable; 0 ejected, 0 may be at once
  fail-open    no endpoint is usable, so the fallback instances are used
  fallback     1 instance, in use
  retries      0 for 600 requests lately; the budget has 220 left, and has refused 0 since the start
  connections  6

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT    ADDRESS        STATE  FOR   SHARE   TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS
  orders-2    10.0.0.2:8080  down   1m0s  0.0%    0      0       -        1          2
      down: timed out after 1s
  fallback-1  10.0.0.3:8080  spare  1h0m  100.0%  200    0       1.2ms    1          2
      a fallback instance, in use

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT  DECISION    WHY
  11:00:00.000  orders-2  discovered  the source reports it
  11:50:00.000  orders-1  retired     the source reports it no longer
  11:59:00.000  orders-2  down        timed out after 1s
  11:59:00.000  -         fail-open   no endpoint is usable, so the fallback instances are used
`)
}
