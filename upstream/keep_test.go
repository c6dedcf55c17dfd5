package upstream

import (
	"strings"
	"testing"
	"time"

	"sidecar/discovery"
)

func keeping(o *Options) {
	withChecks(o)
	o.HealthCheck.KeepDropped = true
}

// What source and health check say of an endpoint, in all four combinations.
func TestSourceAndHealthCheckTogether(t *testing.T) {
	play(t, keeping, func(st *stage) {
		st.reports("a", "b", "c", "d", "e")
		st.ails(errIll, st.endpoint("b").Address(), st.endpoint("d").Address())
		time.Sleep(5 * time.Second)
		st.wantUsable("a c e")
		st.events = nil
		st.reports("a", "b", "e")
		st.wantUsable("a c e")
		st.stands("a", StateUsable, "health check passed")         // listed, passes
		st.stands("b", StateDown, "connection refused")            // listed, fails
		st.stands("c", StateUsable, "but its health check passes") // dropped, passes
		st.wantEvents("d retired")                                 // dropped, fails
		if n := st.logged("endpoint dropped by the source serves on, for its health check passes"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		st.reports("a", "b", "e") // and again: it is still only dropped once
		if got := whats(st.status("c").History); got != "discovered, checked, dropped" {
			t.Errorf("history %q", got)
		}
		if total := st.Status().Total; total != 4 {
			t.Errorf("%d endpoints", total)
		}
	})
}

func TestADroppedEndpointIsRetiredWhenItsCheckFails(t *testing.T) {
	play(t, keeping, func(st *stage) {
		st.reports("a", "b", "c", "d")
		time.Sleep(time.Second)
		st.reports("a", "b")
		c := st.endpoint("c")
		if got := st.Status().MaxEjected; got != 2 {
			t.Errorf("%d may be ejected of four", got)
		}
		held := st.on("c")
		defer held.Release()
		st.falls(errIll, "c")
		st.wantUsable("a b d")
		st.wantEvents("c down", "c retired")
		st.stands("c", StateRetired, "no longer, and its health check fails")
		if !c.Retired() || st.Status().MaxEjected != 1 || st.Status().Total != 3 {
			t.Errorf("retired: %v, status %+v", c.Retired(), st.Status())
		}
		st.reports("a", "b", "c")
		if st.endpoint("c") == c {
			t.Error("the retired endpoint is back")
		}
	})
}

func TestADroppedEndpointReappears(t *testing.T) {
	play(t, keeping, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(time.Second)
		st.reports("a")
		b := st.endpoint("b")
		st.reports("a", "b")
		if st.endpoint("b") != b {
			t.Error("it is another endpoint")
		}
		st.stands("b", StateUsable, "health check passed")
		if got := whats(st.status("b").History); got != "discovered, checked, dropped, discovered" {
			t.Errorf("history %q", got)
		}
		st.wantEvents()
		// From now on its check takes it out and brings it back as any other's.
		st.falls(errIll, "b")
		st.falls(nil, "b")
		st.wantUsable("a b")
	})
}

func TestAnEndpointWithoutAVerdictIsNotKept(t *testing.T) {
	play(t, keeping, func(st *stage) {
		st.reports("a", "b")
		st.reports("a") // before the first check
		st.wantUsable("a")
		st.wantEvents("b retired")
	})
}

func TestARegistryThatForgetsTheServiceEmptiesNothing(t *testing.T) {
	play(t, keeping, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(time.Second)
		st.update(discovery.Update{Unknown: true})
		st.wantUsable("a b")
		st.acquires("a").Release()
	})
}

// The instance has been registered anew: what answers the check is its successor.
func TestADroppedEndpointMakesWayForItsAddress(t *testing.T) {
	play(t, keeping, func(st *stage) {
		st.reports("a 1 10.0.0.1:80", "b 1 10.0.0.2:80")
		time.Sleep(time.Second)
		st.reports("b 1 10.0.0.2:80", "c 1 10.0.0.1:80")
		st.wantUsable("b c")
		st.wantEvents("a retired")
		// Also when it has been kept for a while.
		st.reports("c 1 10.0.0.1:80")
		time.Sleep(time.Second)
		st.wantUsable("b c")
		st.reports("c 1 10.0.0.1:80", "d 1 10.0.0.2:80")
		st.wantUsable("c d")
	})
}

func TestByDefaultTheSourceDecides(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(time.Second)
		st.reports("a")
		st.wantUsable("a")
	})
}

// A check that sees the endpoint work again ends what its failures had led to.
func TestHealthCheckResetsTheBreaker(t *testing.T) {
	play(t, func(o *Options) { withChecks(o); o.Breaker.Open = time.Hour }, func(st *stage) {
		st.reports("a", "b", "c")
		time.Sleep(time.Second)
		st.attempt("a", ConnectFailed, 3)
		st.falls(errIll, "a")
		if n := st.slots.taken.Load(); n != 1 {
			t.Fatalf("%d slots taken", n)
		}
		st.falls(nil, "a")
		st.wantUsable("a b c")
		if n := st.slots.taken.Load(); n != 0 || st.endpoint("a").FailureShare() != 0 {
			t.Errorf("%d slots taken, failure share %v", n, st.endpoint("a").FailureShare())
		}
		history := st.status("a").History
		if got := whats(history); got != "discovered, checked, ejected, down, up, recovered" {
			t.Errorf("history %q", got)
		}
		if why := history[len(history)-1].Why; !strings.Contains(why, "health check passes again") {
			t.Errorf("it recovered because %q", why)
		}
		if st.logged("endpoint up") != 1 || st.logged("endpoint recovered") != 1 {
			t.Error("not logged, or twice")
		}
	})
}

// A probe that is under way when the check passes decides nothing any more.
func TestHealthCheckResetsAHalfOpenBreaker(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b", "c")
		time.Sleep(time.Second)
		st.attempt("a", ConnectFailed, 3)
		st.ready("a")
		probe := st.acquires("a")
		st.falls(errIll, "a")
		st.falls(nil, "a")
		probe.Report(Result{Outcome: Reset})
		probe.Release()
		st.wantUsable("a b c")
		history := st.status("a").History
		if why := history[len(history)-1].Why; !strings.Contains(why, "health check passes again") {
			t.Errorf("it recovered because %q", why)
		}
		// The next time it is a probe again that succeeds.
		st.attempt("a", ConnectFailed, 3)
		st.ready("a")
		probe = st.acquires("a")
		probe.Report(Result{Outcome: Success})
		probe.Release()
		st.wantUsable("a b c")
		history = st.status("a").History
		if why := history[len(history)-1].Why; !strings.Contains(why, "probed it succeeded") {
			t.Errorf("it recovered because %q", why)
		}
	})
}
