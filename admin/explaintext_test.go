package admin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sidecar/upstream"
)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// three is a service whose three endpoints are all in good standing.
func three() *Explanation {
	e := &Explanation{At: noon, Service: Service{Policy: "p2c", SourceKind: "consul", Status: upstream.Status{
		Service: "orders", Total: 3, Usable: 3, MaxEjected: 1, Connections: 6,
		Verdict: "3 of 3 endpoints take their share of the traffic",
		Source:  upstream.SourceStatus{Known: true, Index: 1234, LastSuccess: ago(2 * time.Second)},
		Budget:  upstream.BudgetStatus{Ratio: 0.2, Requests: 600, Left: 220},
	}}}
	for i, id := range []string{"orders-1", "orders-2", "orders-3"} {
		e.Endpoints = append(e.Endpoints, upstream.EndpointStatus{
			ID: id, Address: fmt.Sprintf("10.0.0.%d:8080", i+1), Weight: 1, State: upstream.StateUsable, Since: ago(time.Hour),
			Verdict: fine, Breaker: "closed", LatencySeconds: 0.0012, Measured: true, Attempts: 200, Share: 1. / 3, InFlight: 1, Connections: 2, Ramp: 1,
			History: []upstream.Decision{{At: ago(time.Hour), What: "discovered", Why: "the source reports it"}},
		})
	}
	return e
}

// wantText compares what people are shown.
func wantText(t *testing.T, e *Explanation, want string) {
	t.Helper()
	var out strings.Builder
	if err := WriteExplanation(&out, e); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != want[1:] {
		t.Errorf("got\n%s\nwant\n%s", got, want[1:])
	}
}

func TestExplainAHealthyService(t *testing.T) {
	wantText(t, three(), `
orders: 3 of 3 endpoints take their share of the traffic

  as of        2026-05-04 12:00:00.000 UTC
  policy       p2c
  source       consul answered 2s ago, index 1234
  endpoints    3 of 3 usable; 0 ejected, 1 may be at once
  retries      0 for 600 requests lately; the budget has 220 left, and has refused 0 since the start
  connections  6

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT  ADDRESS        STATE   FOR   SHARE  TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS
  orders-1  10.0.0.1:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2
  orders-2  10.0.0.2:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2
  orders-3  10.0.0.3:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT  DECISION    WHY
  11:00:00.000  orders-1  discovered  the source reports it
  11:00:00.000  orders-2  discovered  the source reports it
  11:00:00.000  orders-3  discovered  the source reports it
`)
}

func TestExplainAnEndpointThatFailsInARow(t *testing.T) {
	e := three()
	e.Usable, e.Ejected, e.Verdict = 2, 1, "2 of 3 endpoints take their share of the traffic; 1 ejected, 1 may be"
	s := &e.Endpoints[1]
	s.State, s.Since, s.ReadyAt, s.Breaker = upstream.StateEjected, ago(400*time.Millisecond), noon.Add(500*time.Millisecond), "open"
	s.Why = "5 failures in a row, the last: status 500; out for 900ms"
	s.Verdict = "ejected for another 500ms: " + s.Why
	s.Attempts, s.Failures, s.Share = 12, 7, 0.029
	s.Errors = []upstream.ErrorNote{
		{What: "status 500", Count: 6, First: ago(2 * time.Second), Last: ago(400 * time.Millisecond)},
		{What: "connect failed: connection refused", Count: 1, First: ago(5 * time.Minute), Last: ago(5 * time.Minute)},
	}
	s.History = append(s.History, upstream.Decision{At: ago(400 * time.Millisecond), What: "ejected", Why: s.Why, Until: s.ReadyAt, Attempts: 12, Failures: 7, LastError: "status 500"})
	wantText(t, e, `
orders: 2 of 3 endpoints take their share of the traffic; 1 ejected, 1 may be

  as of        2026-05-04 12:00:00.000 UTC
  policy       p2c
  source       consul answered 2s ago, index 1234
  endpoints    2 of 3 usable; 1 ejected, 1 may be at once
  retries      0 for 600 requests lately; the budget has 220 left, and has refused 0 since the start
  connections  6

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT  ADDRESS        STATE    FOR    SHARE  TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS  BREAKER
  orders-1  10.0.0.1:8080  usable   1h0m   33.3%  200    0       1.2ms    1          2            -
  orders-2  10.0.0.2:8080  ejected  400ms  2.9%   12     7       1.2ms    1          2            open
      ejected for another 500ms: 5 failures in a row, the last: status 500; out for 900ms [until 12:00:00.500]
      6× status 500, last 400ms ago
      1× connect failed: connection refused, last 5m0s ago
  orders-3  10.0.0.3:8080  usable   1h0m   33.3%  200    0       1.2ms    1          2            -

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT  DECISION    UNTIL         FAILED   WHY
  11:00:00.000  orders-1  discovered  -             -        the source reports it
  11:00:00.000  orders-2  discovered  -             -        the source reports it
  11:00:00.000  orders-3  discovered  -             -        the source reports it
  11:59:59.600  orders-2  ejected     12:00:00.500  7 of 12  5 failures in a row, the last: status 500; out for 900ms
`)
}

func TestExplainAnEndpointThatFailsOften(t *testing.T) {
	e := three()
	e.Usable, e.Ejected, e.Verdict = 2, 1, "2 of 3 endpoints take their share of the traffic; 1 ejected, 1 may be"
	s := &e.Endpoints[2]
	s.State, s.Since, s.Breaker = upstream.StateProbing, ago(100*time.Millisecond), "half-open"
	s.Why = "its ejection is over. Before: 9 of its last 30 attempts failed, the last: timed out; out for 1.9s"
	s.Verdict = "being probed by one request at a time: " + s.Why
	s.Attempts, s.Failures, s.Share = 30, 9, 0.07
	s.Errors = []upstream.ErrorNote{{What: "timed out", Count: 9, First: ago(9 * time.Second), Last: ago(2 * time.Second)}}
	s.History = append(s.History,
		upstream.Decision{At: ago(5 * time.Second), What: "failing", Why: "4 of its last 16 attempts failed, the last: timed out", Attempts: 16, Failures: 4, LastError: "timed out"},
		upstream.Decision{At: ago(2 * time.Second), What: "ejected", Why: "9 of its last 30 attempts failed, the last: timed out; out for 1.9s", Until: ago(100 * time.Millisecond), Attempts: 30, Failures: 9},
		upstream.Decision{At: ago(100 * time.Millisecond), What: "probing", Why: "its ejection is over, one request at a time is tried"})
	wantText(t, e, `
orders: 2 of 3 endpoints take their share of the traffic; 1 ejected, 1 may be

  as of        2026-05-04 12:00:00.000 UTC
  policy       p2c
  source       consul answered 2s ago, index 1234
  endpoints    2 of 3 usable; 1 ejected, 1 may be at once
  retries      0 for 600 requests lately; the budget has 220 left, and has refused 0 since the start
  connections  6

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT  ADDRESS        STATE    FOR    SHARE  TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS  BREAKER
  orders-1  10.0.0.1:8080  usable   1h0m   33.3%  200    0       1.2ms    1          2            -
  orders-2  10.0.0.2:8080  usable   1h0m   33.3%  200    0       1.2ms    1          2            -
  orders-3  10.0.0.3:8080  probing  100ms  7.0%   30     9       1.2ms    1          2            half-open
      being probed by one request at a time: its ejection is over. Before: 9 of its last 30 attempts failed, the last: timed out; out for 1.9s
      9× timed out, last 2s ago

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT  DECISION    UNTIL         FAILED   WHY
  11:00:00.000  orders-1  discovered  -             -        the source reports it
  11:00:00.000  orders-2  discovered  -             -        the source reports it
  11:00:00.000  orders-3  discovered  -             -        the source reports it
  11:59:55.000  orders-3  failing     -             4 of 16  4 of its last 16 attempts failed, the last: timed out
  11:59:58.000  orders-3  ejected     11:59:59.900  9 of 30  9 of its last 30 attempts failed, the last: timed out; out for 1.9s
  11:59:59.900  orders-3  probing     -             -        its ejection is over, one request at a time is tried
`)
}

func TestExplainAnEndpointThatIsSlow(t *testing.T) {
	e := three()
	e.Verdict = "2 of 3 endpoints take their share of the traffic"
	for i := range e.Endpoints {
		e.Endpoints[i].ID = e.Endpoints[i].Address // as of a static list
		e.Endpoints[i].Zone = "a"
	}
	s := &e.Endpoints[0]
	s.Zone, s.Weight = "b", 2
	s.LatencySeconds, s.LastSeconds, s.Attempts, s.Share = 0.004, 0.0241, 21, 0.034
	s.Verdict = "gets 3.4 % of the traffic, for it is slow: it answers in 24.1ms, half of the endpoints in 1.2ms or less"
	s.History = append(s.History, upstream.Decision{At: ago(time.Minute), What: "slow", Why: "it answers in 25ms, half of the endpoints in 1.2ms or less", LatencySeconds: 0.025})
	wantText(t, e, `
orders: 2 of 3 endpoints take their share of the traffic

  as of        2026-05-04 12:00:00.000 UTC
  policy       p2c
  source       consul answered 2s ago, index 1234
  endpoints    3 of 3 usable; 0 ejected, 1 may be at once
  retries      0 for 600 requests lately; the budget has 220 left, and has refused 0 since the start
  connections  6

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT       ZONE  WEIGHT  STATE   FOR   SHARE  TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS
  10.0.0.1:8080  b     2       usable  1h0m  3.4%   21     0       24.1ms   1          2
      gets 3.4 % of the traffic, for it is slow: it answers in 24.1ms, half of the endpoints in 1.2ms or less
  10.0.0.2:8080  a     1       usable  1h0m  33.3%  200    0       1.2ms    1          2
  10.0.0.3:8080  a     1       usable  1h0m  33.3%  200    0       1.2ms    1          2

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT       DECISION    WHY
  11:00:00.000  10.0.0.1:8080  discovered  the source reports it
  11:00:00.000  10.0.0.2:8080  discovered  the source reports it
  11:00:00.000  10.0.0.3:8080  discovered  the source reports it
  11:59:00.000  10.0.0.1:8080  slow        it answers in 25ms, half of the endpoints in 1.2ms or less
`)
}

func TestExplainAnEndpointThatHasAskedForAPause(t *testing.T) {
	e := three()
	e.Verdict = "2 of 3 endpoints take their share of the traffic"
	s := &e.Endpoints[1]
	s.PausedSeconds = 2.5
	s.Verdict = "left alone for another 2.5s, as it has asked by Retry-After"
	s.Errors = []upstream.ErrorNote{{What: "status 503", Count: 1, First: ago(time.Second), Last: ago(500 * time.Millisecond)}}
	s.History = append(s.History, upstream.Decision{At: ago(500 * time.Millisecond), What: "paused", Until: noon.Add(2500 * time.Millisecond),
		Why: "it answered with status 503 and asked to be left alone for 3s"})
	wantText(t, e, `
orders: 2 of 3 endpoints take their share of the traffic

  as of        2026-05-04 12:00:00.000 UTC
  policy       p2c
  source       consul answered 2s ago, index 1234
  endpoints    3 of 3 usable; 0 ejected, 1 may be at once
  retries      0 for 600 requests lately; the budget has 220 left, and has refused 0 since the start
  connections  6

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT  ADDRESS        STATE   FOR   SHARE  TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS
  orders-1  10.0.0.1:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2
  orders-2  10.0.0.2:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2
      left alone for another 2.5s, as it has asked by Retry-After [until 12:00:02.500]
      1× status 503, last 500ms ago
  orders-3  10.0.0.3:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT  DECISION    UNTIL         WHY
  11:00:00.000  orders-1  discovered  -             the source reports it
  11:00:00.000  orders-2  discovered  -             the source reports it
  11:00:00.000  orders-3  discovered  -             the source reports it
  11:59:59.500  orders-2  paused      12:00:02.500  it answered with status 503 and asked to be left alone for 3s
`)
}

func TestExplainASlowStart(t *testing.T) {
	e := three()
	e.Endpoints = append(e.Endpoints, upstream.EndpointStatus{ID: "fallback-1", Address: "10.9.9.9:8080", State: upstream.StateSpare, Verdict: "a fallback instance, not in use"})
	e.Verdict = "2 of 3 endpoints take their share of the traffic"
	s := &e.Endpoints[2]
	s.Since, s.Ramp, s.Verdict, s.Attempts, s.Share = ago(4*time.Second), 0.4, "begins slowly, with 40 % of its share by now", 40, 0.09
	s.History = append(s.History, upstream.Decision{At: ago(4 * time.Second), What: "recovered", Why: "a request that probed it succeeded"})
	wantText(t, e, `
orders: 2 of 3 endpoints take their share of the traffic

  as of        2026-05-04 12:00:00.000 UTC
  policy       p2c
  source       consul answered 2s ago, index 1234
  endpoints    3 of 3 usable; 0 ejected, 1 may be at once
  fallback     1 instance, not in use
  retries      0 for 600 requests lately; the budget has 220 left, and has refused 0 since the start
  connections  6

endpoints; share, tried and failed are of the latest attempts, those of the breaker's window

  ENDPOINT    ADDRESS        STATE   FOR   SHARE  TRIED  FAILED  LATENCY  IN FLIGHT  CONNECTIONS
  orders-1    10.0.0.1:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2
  orders-2    10.0.0.2:8080  usable  1h0m  33.3%  200    0       1.2ms    1          2
  orders-3    10.0.0.3:8080  usable  4s    9.0%   40     0       1.2ms    1          2
      begins slowly, with 40 % of its share by now
  fallback-1  10.9.9.9:8080  spare   -     0.0%   0      0       -        0          0
      a fallback instance, not in use

decisions, newest last; failed is how many of the latest attempts had

  TIME          ENDPOINT  DECISION    WHY
  11:00:00.000  orders-1  discovered  the source reports it
  11:00:00.000  orders-2  discovered  the source reports it
  11:00:00.000  orders-3  discovered  the source reports it
  11:59:56.000  orders-3  recovered   a request that probed it succeeded
`)
}
