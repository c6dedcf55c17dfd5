package e2e

import (
	"net/http"
	"testing"
	"time"
)

// Who fails fast looks idle and quick. It must not draw the traffic for that.
func TestOneThatFailsFastGetsNoTraffic(t *testing.T) {
	t.Parallel()
	const off = "breaker = { consecutive_failures = 0, success_rate = 0 }"
	for name, test := range map[string]struct {
		config   string
		requests int
		cause    []string
		masked   bool // users see none of it
	}{
		"by default":        {requests: 10_000, cause: []string{"ejected|probed|it fails", "status 500"}},
		"without a breaker": {config: off, requests: 4000, cause: []string{"gets ", "it fails", "status 500"}},
		"with retries": {config: `retry.on = ["connect", "reset", "timeout", "500", "502", "503", "504"]`, requests: 10_000, masked: true,
			cause: []string{"ejected|probed|it fails", "status 500"}},
		"with retries and without a breaker": {config: off + `
retry.on = ["connect", "reset", "timeout", "500", "502", "503", "504"]`, requests: 4000, masked: true,
			cause: []string{"gets ", "it fails", "status 500"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failsFast(t, test.config, test.requests, test.masked, test.cause)
		})
	}
}

func failsFast(t *testing.T, config string, requests int, masked bool, cause []string) {
	const clients = 16
	origins := serveOrigins(t, "bad", "good-1", "good-2")
	bad := origins[0]
	bad.status.Store(http.StatusInternalServerError)
	for _, o := range origins[1:] {
		o.latency.Store(int64(5 * time.Millisecond))
	}
	s := serving(t, static("orders", config, addresses(origins)...))
	all := ask(t, s.address("orders"), clients, requests)

	share := float64(bad.served.Load()) / float64(len(all))
	errors := len(all) - len(all.good())
	t.Logf("%v; the one that fails got %d of them (%.2f %%, required: under 2 %%), users saw %d errors", all, bad.served.Load(), 100*share, errors)
	if len(all) != requests || share >= 0.02 {
		t.Errorf("the one that fails got %.2f %% of %d requests", 100*share, len(all))
	}
	if bad.served.Load() == 0 {
		t.Error("it was never asked, which proves nothing")
	}
	if masked && errors > 0 {
		t.Errorf("users saw %d errors", errors)
	}
	if !masked && int64(errors) != bad.served.Load() {
		t.Errorf("users saw %d errors, and there were %d", errors, bad.served.Load())
	}
	s.wantExplained("orders", bad.address, cause...)
}

// An instance that fails now and then, as no other does, is ejected for its success rate.
func TestOneThatFailsNowAndThenIsEjected(t *testing.T) {
	t.Parallel()
	const clients, requests = 16, 6000
	origins := serveOrigins(t, "flawed", "good-1", "good-2")
	flawed := origins[0]
	flawed.flaw.Store(3)
	for _, o := range origins {
		o.latency.Store(int64(5 * time.Millisecond))
	}
	s := serving(t, static("orders", "", addresses(origins)...))
	all := ask(t, s.address("orders"), clients, requests)
	counters := s.endpoint("orders", flawed.address).Counters
	t.Logf("%v; one of three fails every third request: users saw %d errors, and would have seen %d", all, len(all)-len(all.good()), requests/9)
	if counters.EjectionsByRate == 0 {
		t.Errorf("it was not ejected for its rate: %+v", counters)
	}
	if errors := len(all) - len(all.good()); errors > requests/9/2 {
		t.Errorf("users saw %d errors", errors)
	}
	if text := s.explain("orders"); lacking(text, []string{"of its last", "attempts failed, the last: status 500"}) != "" {
		t.Errorf("explain does not tell its rate:\n%s", text)
	}
}

// Where all fail alike, it is the requests.
func TestNobodyIsEjectedWhereAllFailNowAndThen(t *testing.T) {
	t.Parallel()
	const clients, requests = 16, 3000
	origins := serveOrigins(t, "orders-1", "orders-2", "orders-3")
	for _, o := range origins {
		o.latency.Store(int64(5 * time.Millisecond))
	}
	// Five in a row would be chance here.
	s := serving(t, static("orders", "breaker.consecutive_failures = 0", addresses(origins)...))
	ask(t, s.address("orders"), clients, 300)
	for _, o := range origins {
		o.flaw.Store(3)
	}
	all := ask(t, s.address("orders"), clients, requests)
	for _, o := range origins {
		e := s.endpoint("orders", o.address)
		t.Logf("%s: %.0f %%, %s", o.name, 100*all.share(o.name), e.Verdict)
		if e.Counters.Ejections > 0 || all.share(o.name) < 0.1 {
			t.Errorf("%s was ejected %d times and has %.0f %% of the traffic", o.name, e.Counters.Ejections, 100*all.share(o.name))
		}
	}
}

// One that asks to be left alone is, and nobody notices.
func TestOneThatAsksForAPauseGetsIt(t *testing.T) {
	t.Parallel()
	const clients, requests = 8, 1000
	origins := serveOrigins(t, "busy", "good-1", "good-2")
	busy := origins[0]
	busy.status.Store(http.StatusServiceUnavailable)
	busy.pause.Store(60)
	s := serving(t, static("orders", "", addresses(origins)...))
	all := ask(t, s.address("orders"), clients, requests)
	t.Logf("%v; it was asked %d times", all, busy.served.Load())
	if n := busy.served.Load(); n < 1 || n > clients {
		t.Errorf("the one that asked for a pause was asked %d times", n)
	}
	if len(all.good()) != requests {
		t.Errorf("%d of %d requests were answered well", len(all.good()), requests)
	}
	s.wantExplained("orders", busy.address, "left alone for another", "Retry-After|status 503")
}
