package admin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sidecar/limiter"
	"sidecar/upstream"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func sample() Document {
	return Document{
		Build:     Build{Version: "1.2.3", Revision: "abc", Go: "go1.26"},
		At:        noon,
		Started:   noon.Add(-3*time.Hour - 12*time.Minute),
		PID:       77,
		Readiness: Readiness{Missing: []string{"mail: consul at 127.0.0.1:8500: connection refused"}},
		Loops:     []Loop{{Index: 0, Turns: 5}, {Index: 1, Panics: 2}},
		Listeners: []Listener{
			{Address: "unix:/run/mail.sock", Service: "mail", Protocol: "tcp", Error: "too many open files"},
			{Address: "127.0.0.1:7001", Service: "orders", Protocol: "http", Active: 12, Accepted: 10345},
		},
		Services: []Service{
			{
				Policy: "p2c", SourceKind: "consul",
				Status: upstream.Status{
					Service: "orders", Total: 2, Usable: 1, Verdict: "1 of 2 endpoints take their share of the traffic; 1 ejected, 1 may be",
					Ejected: 1, MaxEjected: 1, Connections: 5, Pending: 1,
					Adaptive: &limiter.Status{Limit: 40, InFlight: 3, Shed: 8, LongTermSeconds: 0.001, ShortTermSeconds: 0.002, Gradient: 1},
					Source:   upstream.SourceStatus{Known: true, Index: 1234, LastSuccess: noon.Add(-2 * time.Second)},
					Budget:   upstream.BudgetStatus{Requests: 120, Retries: 3, Refused: 17},
					Endpoints: []upstream.EndpointStatus{
						{
							ID: "a", Address: "10.0.0.1:8080", Zone: "b", Weight: 1, State: upstream.StateUsable, Since: noon.Add(-time.Hour),
							Verdict: "takes its share of the traffic", Why: "the source reports it", Connections: 4,
							InFlight: 3, LatencySeconds: 0.001234, Measured: true, Counters: upstream.Counters{Attempts: 300, Resets: 1, Timeouts: 2},
						},
						{
							ID: "b", Address: "10.0.0.12:8080", Weight: 10, State: upstream.StateEjected, Since: noon.Add(-1500 * time.Millisecond),
							Why:            "5 failures in a row, the last: status 500; out for 2s",
							Verdict:        "ejected for another 500ms: 5 failures in a row, the last: status 500; out for 2s",
							LatencySeconds: 0.03, Counters: upstream.Counters{Attempts: 100, ServerErrors: 50},
						},
					},
				},
			},
			{
				Policy: "random", SourceKind: "consul",
				Status: upstream.Status{
					Service: "mail", Cause: "not-discovered", Unavailable: "the registry has not answered yet",
					Verdict: "unavailable: the registry has not answered yet",
					Source:  upstream.SourceStatus{Failing: true, LastError: "connection refused"},
				},
			},
			{
				Policy: "p2c", SourceKind: "static",
				Status: upstream.Status{
					Service: "search", Total: 1, Usable: 1, FailOpen: "every health check fails",
					Verdict: "fails open: every health check fails; 1 of 1 endpoints are usable",
					Source:  upstream.SourceStatus{Known: true, LastSuccess: noon.Add(-time.Hour), Failing: true, LastError: "evil\x1b[2Jname\nline"},
				},
			},
			{
				Policy: "p2c", SourceKind: "consul",
				Status: upstream.Status{Service: "gone", Fallback: true, Usable: 2, Source: upstream.SourceStatus{Known: true, Unknown: true, LastSuccess: noon}},
			},
		},
	}
}

func TestStatusIsAnAlignedTable(t *testing.T) {
	d := sample()
	var out strings.Builder
	if err := WriteText(&out, &d); err != nil {
		t.Fatal(err)
	}
	const want = `sidecar 1.2.3 (abc), go1.26: not ready, up 3h12m, pid 77
  missing: mail: consul at 127.0.0.1:8500: connection refused
  loop 1: 2 tasks ended by a panic: see the log, and report it

LISTENER             SERVICE  PROTOCOL  ACTIVE  ACCEPTED
unix:/run/mail.sock  mail     tcp       0       0
127.0.0.1:7001       orders   http      12      10345
  unix:/run/mail.sock does not accept: too many open files

orders (p2c): 1 of 2 endpoints usable; consul answered 2s ago, index 1234
  1 of 2 endpoints take their share of the traffic; 1 ejected, 1 may be
  retries: 3 of the last 120 requests; 17 refused by the budget since the start
  learned limit: 3 of 40 in flight; 8 shed since the start
  ENDPOINT        ZONE  WEIGHT  STATE    FOR   SHARE  LATENCY  IN FLIGHT  CONNECTIONS  FAILED  VERDICT
  10.0.0.1:8080   b     1       usable   1h0m  75.0%  1.2ms    3          4            1.0%    -
  10.0.0.12:8080  -     10      ejected  1.5s  25.0%  -        0          0            50.0%   ejected for another 500ms: 5 failures in a row, the last: status 500; o…

mail (random): 0 of 0 endpoints usable; consul has not answered yet
  consul fails: connection refused
  unavailable: the registry has not answered yet

search (p2c): 1 of 1 endpoint usable; static answered 1h0m ago
  static fails: evil�[2Jname�line
  fails open: every health check fails; 1 of 1 endpoints are usable

gone (p2c): 0 of 0 endpoints usable; consul does not know the service, as of 0s ago
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestADrainingOrEmptySidecarIsShown(t *testing.T) {
	var out strings.Builder
	d := Document{Draining: true, Readiness: Readiness{Ready: true}, Services: []Service{{
		Status: upstream.Status{Endpoints: []upstream.EndpointStatus{{Address: "x:1", State: upstream.StateRetired}}},
	}}}
	if err := WriteText(&out, &d); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{": draining, up 0s", "x:1       -     0       retired  -    -      -        0          0            -       -\n"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q lacks %q", out.String(), part)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestAnErrorOfTheWriterIsReported(t *testing.T) {
	d := sample()
	if err := WriteText(brokenWriter{}, &d); err == nil {
		t.Error("no error")
	}
}

func TestTimesAreToldAsPeopleReadThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                         "0s",
		1234 * time.Millisecond:              "1.2s",
		75 * time.Second:                     "1m15s",
		3*time.Hour + 12*time.Minute + 5*1e9: "3h12m",
		10 * time.Hour:                       "10h0m",
		73 * time.Hour:                       "3d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 1500 * time.Nanosecond: "2µs", 12345 * time.Microsecond: "12.3ms", 1234567 * time.Microsecond: "1.235s",
	} {
		if got := latency(d); got != want {
			t.Errorf("latency(%v) = %q, want %q", d, got, want)
		}
	}
}
