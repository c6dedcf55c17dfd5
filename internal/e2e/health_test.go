package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecar/upstream"
)

// waitState waits until an endpoint is in a state, and returns why it says it is.
func (s *sidecar) waitState(service, address string, want upstream.State) string {
	s.t.Helper()
	var e upstream.EndpointStatus
	took := within(s.t, patience, address+" is "+string(want), func() bool {
		e = s.endpoint(service, address)
		return e.State == want
	})
	s.t.Logf("%s is %s after %v: %s", address, want, took.Round(time.Millisecond), e.Why)
	return e.Why
}

// wantNone fails the test if an origin is asked while others are.
func wantNone(t *testing.T, l *load, o *origin) {
	t.Helper()
	l.more(t, 50) // what was under way when it was taken out
	before := o.served.Load()
	l.more(t, 300)
	if n := o.served.Load() - before; n > 0 {
		t.Errorf("%s is out, and got %d requests", o.name, n)
	}
}

func wantSome(t *testing.T, o *origin) {
	t.Helper()
	before := o.served.Load()
	within(t, patience, o.name+" gets traffic", func() bool { return o.served.Load() > before })
}

func TestAnHTTPCheckTakesAnInstanceOutAndBringsItBack(t *testing.T) {
	t.Parallel()
	sick, well := serveOrigin(t, "sick"), serveOrigin(t, "well")
	s := start(t, static("orders", `health_check = { type = "http", interval = "500ms", timeout = "500ms", fall = 2 }`, sick.address, well.address))
	l := startLoad(t, s.address("orders"), 4)
	wantSome(t, sick)
	wantSome(t, well)
	// The first probe decides alone; then it takes two.
	within(t, patience, "it has been probed", func() bool { return strings.Contains(s.endpoint("orders", sick.address).Why, "passed") })

	sick.health.Store(http.StatusInternalServerError)
	if why := s.waitState("orders", sick.address, upstream.StateDown); !strings.Contains(why, "health check failed 2 times") || !strings.Contains(why, "500") {
		t.Errorf("why it is down: %q", why)
	}
	within(t, patience, "its idle connections are closed", func() bool { return sick.open() <= 1 }) // but a probe's
	wantNone(t, l, sick)

	sick.health.Store(http.StatusOK)
	if why := s.waitState("orders", sick.address, upstream.StateUsable); !strings.Contains(why, "passed 2 times") {
		t.Errorf("why it is usable: %q", why)
	}
	wantSome(t, sick)
	l.end(t)
}

func TestATCPCheckNoticesAnInstanceThatIsGone(t *testing.T) {
	t.Parallel()
	gone, address := spawnOrigin(t, "127.0.0.1:0")
	well := serveOrigin(t, "well")
	s := start(t, static("orders", `health_check = { type = "tcp", interval = "500ms", timeout = "500ms", fall = 1, rise = 1 }`, address, well.address))
	gone.kill()
	// No request is needed to notice.
	if why := s.waitState("orders", address, upstream.StateDown); !strings.Contains(why, "refused") {
		t.Errorf("why it is down: %q", why)
	}
	for range 20 {
		if a := get(t, s.address("orders"), "/"); a.origin() != well.name {
			t.Errorf("%+v", a)
		}
	}
	if n := s.endpoint("orders", address).Counters.Attempts; n != 0 {
		t.Errorf("the instance that is gone was tried %d times", n)
	}
	back, _ := spawnOrigin(t, address)
	s.waitState("orders", address, upstream.StateUsable)
	within(t, patience, "it gets traffic", func() bool { return get(t, s.address("orders"), "/").origin() == back.name() })
}

func TestTheBreakerEjectsAnInstanceThatAnswersWithErrors(t *testing.T) {
	t.Parallel()
	const failures = 5
	bad, good := serveOrigin(t, "bad"), serveOrigin(t, "good")
	bad.status.Store(http.StatusInternalServerError)
	s := start(t, static("orders", `balancer.policy = "round_robin"
breaker = { consecutive_failures = 5, open = "2s", open_max = "2s" }`, bad.address, good.address))
	w := connect(t, s.address("orders"))
	errors := 0
	for range 40 {
		a, err := w.get("/")
		if err != nil {
			t.Fatal(err)
		}
		if a.status == http.StatusInternalServerError {
			errors++
			if a.origin() != bad.name || a.header.Get("Sidecar-Error") != "" {
				t.Errorf("an origin's own error looks like the sidecar's: %+v", a)
			}
		}
	}
	// It may be asked once more when its time is over, if the machine is that slow.
	if errors < failures || errors > failures+2 {
		t.Errorf("%d of 40 requests got an error, want %d", errors, failures)
	}
	why := ""
	within(t, patience, "the status says that it is ejected", func() bool {
		e := s.endpoint("orders", bad.address)
		why = e.Why
		return (e.State == upstream.StateEjected || e.State == upstream.StateProbing) && len(e.History) > 0
	})
	if !strings.Contains(why, "5 failures in a row") || !strings.Contains(why, "500") && !strings.Contains(why, "5xx") && !strings.Contains(why, "server error") {
		t.Errorf("why it is out: %q", why)
	}

	bad.status.Store(http.StatusOK)
	within(t, patience, "it is back", func() bool {
		a, err := w.get("/")
		return err == nil && a.origin() == bad.name && a.status == http.StatusOK
	})
	if why := s.waitState("orders", bad.address, upstream.StateUsable); !strings.Contains(why, "succeeded") {
		t.Errorf("why it is usable: %q", why)
	}
}

// A request that may be repeated is, so that an instance that is gone costs nobody anything.
func TestARequestIsTriedOnAnotherInstance(t *testing.T) {
	t.Parallel()
	good := serveOrigin(t, "good")
	s := start(t, static("orders", `balancer.policy = "round_robin"
breaker.consecutive_failures = 0`, deadAddress(t), good.address))
	s.waitReady()
	w := connect(t, s.address("orders"))
	for range 20 {
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	if n := s.service("orders").Budget.Retries; n == 0 {
		t.Error("there were no retries, which proves nothing")
	}

	alone := start(t, static("orders", "", deadAddress(t)))
	a := get(t, alone.address("orders"), "/")
	if a.status != http.StatusBadGateway || a.header.Get("Sidecar-Error") != "connect-failed" || !strings.Contains(a.body, "refused") {
		t.Errorf("without another instance: %+v", a)
	}
}
