package upstream

import (
	"strings"
	"testing"
	"time"

	"sidecar/discovery"
)

// Below Options.Panic the health checks are no longer believed, the breakers still are.
func TestPanicUsesThoseThatAreDown(t *testing.T) {
	play(t, func(o *Options) { withChecks(o); o.Panic = .5; o.Breaker.Open = time.Hour }, func(st *stage) {
		st.reports("a", "b", "c", "d", "e")
		time.Sleep(time.Second)
		st.attempt("e", Reset, 3)
		st.falls(errIll, "a")
		st.wantUsable("b c d") // more than half
		st.falls(errIll, "b")
		st.wantUsable("a b c d") // two of five: all that are not ejected
		status := st.Status()
		if status.FailOpen != openPanic || st.logged("failing open") != 1 {
			t.Errorf("fail open: %q, logged %d times", status.FailOpen, st.logged("failing open"))
		}
		if !strings.Contains(status.Verdict, "requests go to 4 of 5 endpoints") {
			t.Errorf("verdict %q", status.Verdict)
		}
		st.stands("a", StateDown, "connection refused")
		for id, used := range map[string]bool{"a": true, "c": true, "e": false} {
			e := st.status(id)
			if e.Used != used || strings.Contains(e.Verdict, "used all the same") != (id == "a") {
				t.Errorf("%s is used: %v, verdict %q", id, e.Used, e.Verdict)
			}
		}
		// Breakers apply to those that are down as well.
		st.attempt("a", Reset, 3)
		st.wantUsable("b c d")
		st.falls(nil, "b")
		st.wantUsable("b c d")
		if got := st.Status().FailOpen; got != "" || st.logged("no longer failing open") != 1 {
			t.Errorf("fail open: %q", got)
		}
	})
}

func TestHalfIsNoPanic(t *testing.T) {
	play(t, func(o *Options) { withChecks(o); o.Panic = .5 }, func(st *stage) {
		st.reports("a", "b", "c", "d")
		time.Sleep(time.Second)
		st.falls(errIll, "a", "b")
		st.wantUsable("c d")
	})
}

// That most are ejected is no reason to use them; that is what MaxEjected is for.
func TestEjectionsAloneAreNoPanic(t *testing.T) {
	play(t, func(o *Options) { o.Panic = .9; o.MaxEjected = .75 }, func(st *stage) {
		st.reports("a", "b", "c", "d")
		for _, id := range []string{"a", "b", "c"} {
			st.attempt(id, Reset, 3)
		}
		st.wantUsable("d")
		if got := st.Status().FailOpen; got != "" {
			t.Errorf("fail open: %q", got)
		}
	})
}

func TestWithoutPanicThoseThatAreDownAreLeftAlone(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b", "c", "d")
		time.Sleep(time.Second)
		st.falls(errIll, "a", "b", "c")
		st.wantUsable("d")
	})
}

// In a panic an endpoint that is down and whose ejection is over is probed.
func TestPanicProbesThoseThatAreDown(t *testing.T) {
	play(t, func(o *Options) { withChecks(o); o.Panic = .5 }, func(st *stage) {
		st.reports("a", "b", "c")
		time.Sleep(time.Second)
		st.attempt("a", Reset, 3)
		st.falls(errIll, "a", "b") // that takes longer than the ejection
		st.wantUsable("b c")
		probe := st.acquires("a")
		if !probe.Probe() {
			t.Error("not a probe")
		}
		probe.Report(Result{Outcome: Success})
		probe.Release()
		st.wantUsable("a b c")
	})
}

func withFallback(o *Options) { o.Fallback = instancesOf("y", "x 3") }

func TestFallbackIsUsedWhileNothingElseIsUsable(t *testing.T) {
	var seen Candidates
	play(t, func(o *Options) {
		withChecks(o)
		withFallback(o)
		o.Policy = func(c Candidates) Picker {
			seen = c
			return inTurn(c)
		}
	}, func(st *stage) {
		st.fails("consul: connection refused") // the registry is down from the start
		st.wantUsable("x y")
		st.reports("a", "b")
		st.wantUsable("a b")
		if got := st.status("x"); got.State != StateSpare || got.Used || got.Verdict != "a fallback instance, not in use" {
			t.Errorf("status %+v", got)
		}

		time.Sleep(time.Second)
		st.falls(errIll, "a", "b")
		st.wantUsable("x y")
		status := st.Status()
		if !status.Fallback || status.FailOpen != openFallback || status.Total != 2 || status.Usable != 2 ||
			!strings.Contains(status.Verdict, "none of 2 endpoints, 2 fallback instances") {
			t.Errorf("status %+v", status)
		}
		if got := st.status("x"); !got.Used || got.Verdict != "a fallback instance, in use" || got.Weight != 3 {
			t.Errorf("status %+v", got)
		}
		if got := st.status("a"); got.Used || strings.Contains(got.Verdict, "all the same") {
			t.Errorf("status %+v", got)
		}
		if ids(seen.Endpoints) != "x y" || ids(seen.Listed) != "x y" {
			t.Errorf("candidates %s of %s", ids(seen.Endpoints), ids(seen.Listed))
		}

		st.falls(nil, "b")
		st.wantUsable("b")
		st.update(discovery.Update{Unknown: true})
		st.wantUsable("x y")
		st.reports("a")
		st.wantUsable("a")
		if got := whats(st.Status().History); !strings.HasPrefix(got, "source failed, fail-open, source answers again, fail-open ended, fail-open, fail-open ended") {
			t.Errorf("history %q", got)
		}
	})
}

// However they fail, there is nothing to use instead of them.
func TestFallbackInstancesAreNeverEjected(t *testing.T) {
	play(t, withFallback, func(st *stage) {
		st.reports()
		st.wantUsable("x y")
		st.attempt("x", ConnectFailed, 20)
		st.attempt("y", Success, 5)
		st.wantUsable("x y")
		status := st.Status()
		if c := st.status("x").Counters; status.Ejected != 0 || c.Ejections != 0 || c.EjectionsRefused != 0 || c.ConnectFailures != 20 {
			t.Errorf("%d ejected, counters %+v", status.Ejected, c)
		}
		x, y := st.Snapshot().Usable[0], st.Snapshot().Usable[1]
		cost := func(e *Endpoint) float64 { ns, _ := e.LatencyAt(Now()); return ns }
		if cost(x) < 10*cost(y) {
			t.Errorf("x costs %v, y %v", cost(x), cost(y))
		}
		st.wantEvents()
	})
}

// While the fallback is in use the endpoints of the service are still tried, as their
// ejections end.
func TestFallbackIsLeftForAnEndpointThatRecovers(t *testing.T) {
	play(t, withFallback, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", Reset, 3)
		st.reports("a")
		st.wantUsable("x y")
		st.acquires("x").Release()
		st.ready("a")
		probe := st.acquires("a")
		probe.Report(Result{Outcome: Success})
		probe.Release()
		st.wantUsable("a")
	})
}

// How well the fallback does says nothing about whether the endpoints fail together.
func TestEndpointsAreNotComparedWithTheFallback(t *testing.T) {
	play(t, func(o *Options) {
		withFallback(o)
		withChecks(o)
		o.Breaker.Open, o.Breaker.OpenMax, o.Breaker.Window = 10*time.Second, time.Hour, time.Minute
	}, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(time.Second)
		st.attempt("b", ServerError, 3) // b is ejected, a fails and goes down
		st.attempt("a", ServerError, 5)
		st.ails(errIll, st.endpoint("a").Address())
		for !st.endpoint("a").Down() {
			time.Sleep(10 * time.Millisecond)
		}
		st.wantUsable("x y")
		st.attempt("x", Success, 10)
		if d := st.failsAgain("b"); d > 10*time.Second {
			t.Errorf("out for %v", d)
		}
	})
}
