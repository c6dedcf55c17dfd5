package e2e

import (
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// A request that takes longer than most goes elsewhere as well; what answers first wins, and
// the other is told that nobody waits for it.
func TestASecondCopyWins(t *testing.T) {
	t.Parallel()
	stuck, quick := serveOrigin(t, "stuck"), serveOrigin(t, "quick")
	close(quick.hold)
	// A hundred times as long as an answer takes, so that it is the stuck one who needs help.
	s := serving(t, "runtime.loops = 1\n"+static("orders", "balancer.policy = \"round_robin\"\nhedge = { enabled = true, min_delay = \"100ms\" }", stuck.address, quick.address))
	w := connect(t, s.address("orders"))
	for range 200 { // what is usual, and what hedges are paid from
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	before := metrics(t, s)
	for stuck.gone.Load() < 3 {
		if a, err := w.get("/wait"); err != nil || a.status != http.StatusOK || a.origin() != quick.name {
			t.Fatalf("%+v, %v", a, err)
		}
		<-quick.halves
	}
	families := metrics(t, s)
	won := sum(families, "sidecar_http_hedges_won_total") - sum(before, "sidecar_http_hedges_won_total")
	t.Logf("%v copies, of which %v were first", sum(families, "sidecar_http_hedges_total"), won)
	if won < 3 {
		t.Error("the copies that have won are not counted")
	}
	if e := s.endpoint("orders", stuck.address); e.Counters.Failures() > 0 {
		t.Errorf("that it was slower counts as a failure: %+v", e.Counters)
	}
	// Off, nobody comes to help.
	plain := serving(t, static("orders", "timeout.request = \"100ms\"", stuck.address))
	if a := get(t, plain.address("orders"), "/wait"); a.status != http.StatusGatewayTimeout {
		t.Errorf("%+v", a)
	}
}

// A client that says how long it will wait is not made to wait longer, and the origin knows.
func TestADeadlineIsPassedOn(t *testing.T) {
	t.Parallel()
	const latency = 50 * time.Millisecond
	busy, idle := serveOrigin(t, "busy"), serveOrigin(t, "idle")
	busy.status.Store(http.StatusServiceUnavailable)
	busy.latency.Store(int64(latency))
	s := serving(t, static("orders", `timeout.header = "X-Timeout-Ms"
balancer.policy = "round_robin"`, busy.address, idle.address))
	w := connect(t, s.address("orders"))
	told := func() (ms int) {
		a, err := w.ask("/head", "X-Timeout-Ms: 20000")
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
		found := regexp.MustCompile(`(?m)^X-Timeout-Ms: (\d+)\r$`).FindStringSubmatch(a.body)
		if found == nil {
			t.Fatalf("the origin is told nothing: %+v", a)
		}
		ms, _ = strconv.Atoi(found[1])
		return ms
	}
	// The other one answers for it, and is told what is left then.
	var once, twice []int
	for len(once) == 0 || len(twice) == 0 {
		before := busy.served.Load()
		if ms := told(); busy.served.Load() > before {
			twice = append(twice, ms)
		} else {
			once = append(once, ms)
		}
	}
	t.Logf("of 20000 ms the origin is told %v, and in a second try %v", once, twice)
	for _, ms := range once {
		if ms > 20000 || ms < 1 {
			t.Errorf("the origin is told of %d ms", ms)
		}
	}
	for _, ms := range twice {
		if ms > 20000-int(latency.Milliseconds()) || ms < 1 {
			t.Errorf("in a second try the origin is told of %d ms", ms)
		}
	}

	a, err := w.ask("/wait", "X-Timeout-Ms: 50")
	if err != nil || a.status != http.StatusGatewayTimeout || a.header.Get("Sidecar-Error") != "timeout" {
		t.Errorf("%+v, %v", a, err)
	}
	within(t, patience, "the origin knows that nobody waits", func() bool { return busy.gone.Load()+idle.gone.Load() == 1 })
}
