package upstream

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sidecar/limiter"
)

// says wants the sentence about an endpoint.
func (st *stage) says(id, want string) {
	st.t.Helper()
	if got := st.status(id).Verdict; got != want {
		st.t.Errorf("%s: %q, want %q", id, got, want)
	}
}

func (st *stage) saysOfItself(want string) {
	st.t.Helper()
	if got := st.Status().Verdict; got != want {
		st.t.Errorf("the service: %q, want %q", got, want)
	}
}

func TestExplainSoundAndUnavailable(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.saysOfItself("unavailable: service orders: its instances are not known yet")
		st.reports("a", "b")
		st.saysOfItself("2 of 2 endpoints take their share of the traffic")
		st.says("a", "takes its share of the traffic")
		held := st.on("a")
		defer held.Release()
		st.reports()
		st.saysOfItself("unavailable: service orders: it has no instances")
		st.says("a", "has left the service (the source reports it no longer); 1 leases run on")
	})
}

func TestExplainEjectedAndProbed(t *testing.T) {
	play(t, func(o *Options) { o.Random = func() uint64 { return 0 } }, func(st *stage) { // no jitter
		st.reports("a", "b", "c")
		st.attempt("b", Success, 3)
		for range 3 {
			st.report("a", Result{Outcome: ConnectFailed, Err: errIll})
		}
		time.Sleep(250 * time.Millisecond)
		why := "3 failures in a row, the last: connect failed: connect: connection refused; out for 1s"
		st.says("a", "ejected for another 750ms: "+why)
		st.saysOfItself("2 of 3 endpoints take their share of the traffic; 1 ejected, 1 may be")
		st.ready("a")
		st.says("a", "being probed by one request at a time: its ejection is over. Before: "+why)
		st.reports("a")
		st.says("a", "being probed by one request at a time: its ejection is over. Before: "+why+
			" (used all the same, for the service fails open)")
		st.saysOfItself("fails open: " + openAllEjected + "; requests go to 1 of 1 endpoints")
	})
}

func TestExplainDown(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(time.Second)
		st.falls(errIll, "a")
		const why = "down: health check failed 2 times in a row, the last time: connect: connection refused"
		st.says("a", why)
		st.saysOfItself("1 of 2 endpoints take their share of the traffic")
		st.falls(errIll, "b")
		st.says("a", why+" (used all the same, for the service fails open)")
		st.saysOfItself("fails open: " + openAllDown + "; requests go to 2 of 2 endpoints")
	})
}

func TestExplainSlow(t *testing.T) {
	play(t, tempered, func(st *stage) {
		st.reports("a", "b", "c")
		st.answers(10*time.Millisecond, 50, "b", "c")
		st.answers(200*time.Millisecond, 2, "a")
		const slow = "it is slow: it answers in 200ms, half of the endpoints in 10ms or less"
		st.says("a", "gets 2.0 % of the traffic, for "+slow)
		st.saysOfItself("2 of 3 endpoints take their share of the traffic")
		// Its average decays because it is left alone, and it is no faster for that.
		st.calm(time.Minute)
		st.says("a", slow) // nobody has traffic now
		if got := st.status("a"); got.LatencySeconds > .001 || got.LastSeconds < .19 {
			t.Errorf("latency %v, last %v", got.LatencySeconds, got.LastSeconds)
		}
	})
}

// A single endpoint is not slow, for there is nothing to compare it with.
func TestExplainAlone(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a")
		st.answers(time.Second, 2, "a")
		st.says("a", "takes its share of the traffic")
	})
}

func TestExplainFailing(t *testing.T) {
	play(t, func(o *Options) { o.MaxEjected = 0; o.Breaker.ConsecutiveFailures = 0 }, func(st *stage) {
		st.reports("a", "b", "c")
		st.answers(time.Millisecond, 98, "b", "c")
		for range 4 {
			st.report("a", Result{Outcome: ServerError, Status: 500})
		}
		st.says("a", "gets 2.0 % of the traffic, for it fails: 4 of its last 4 attempts, the last: status 500")
		st.saysOfItself("2 of 3 endpoints take their share of the traffic")
		st.calm(20 * time.Second)
		st.says("a", "it fails: it did so when it was last tried, the last: status 500")
	})
}

// A policy that does not look at failures gives a failing endpoint as much as the others.
func TestExplainFailingWithItsShare(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a")
		st.attempt("a", ServerError, 4)
		st.says("a", "it fails: 4 of its last 4 attempts, the last: server error (it is not ejected: too many are already, or the others fail as much)")
	})
}

func TestExplainPauseAndSlowStart(t *testing.T) {
	play(t, slowly, func(st *stage) {
		st.reports("a", "b")
		st.reports("a", "b", "c")
		time.Sleep(4 * time.Second)
		st.says("c", "begins slowly, with 40 % of its share by now")
		st.saysOfItself("2 of 3 endpoints take their share of the traffic")
		st.report("a", asks(5*time.Second))
		time.Sleep(2 * time.Second)
		if got := st.status("a").Verdict; !strings.HasPrefix(got, "left alone for another 3s, as it has asked by Retry-After") {
			t.Errorf("a: %q", got)
		}
	})
}

func TestExplainBudgetAndOverload(t *testing.T) {
	play(t, func(o *Options) {
		o.Budget = BudgetOptions{Ratio: .2}
		o.Adaptive = limiter.New(limiter.Options{Initial: 2})
	}, func(st *stage) {
		st.reports("a")
		const sound = "1 of 1 endpoints take their share of the traffic"
		st.saysOfItself(sound) // that nothing may be retried yet is nothing to tell
		deposit(st.Budget(), 5)
		st.Budget().Withdraw()
		st.saysOfItself(sound + "; the retry budget is used up (1 retries for 5 requests lately)")
		defer st.acquires("a").Release()
		defer st.acquires("a").Release()
		if _, err := st.Acquire(PickKey{}); !errors.Is(err, ErrShed) {
			t.Fatal(err)
		}
		if got := st.Status().Verdict; !strings.HasSuffix(got, "; overloaded: 1 requests were refused in the last 10s, the learned limit is 2 in flight") {
			t.Errorf("the service: %q", got)
		}
	})
}

func TestExplainRefusals(t *testing.T) {
	play(t, func(o *Options) { o.Limits.InFlight = 1 }, func(st *stage) {
		st.reports("a")
		const sound = "1 of 1 endpoints take their share of the traffic"
		held := st.acquires("a")
		st.saysOfItself(sound) // full, but nobody was refused
		st.refuses(ErrServiceFull)
		st.refuses(ErrServiceFull)
		held.Release()
		st.saysOfItself(sound + "; overloaded: 2 requests were refused in the last 10s by limit.max_in_flight")
		time.Sleep(10 * time.Second)
		st.saysOfItself(sound)
	})
}

func TestSharesAddUp(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Success, 6)
		st.attempt("b", Success, 3)
		st.attempt("c", ServerError, 1)
		for id, want := range map[string]float64{"a": .6, "b": .3, "c": .1} {
			closeTo(t, "share of "+id, st.status(id).Share, want)
		}
		time.Sleep(time.Minute)
		if got := st.status("a"); got.Share != 0 || got.Attempts != 0 {
			t.Errorf("a minute later: %v of %d", got.Share, got.Attempts)
		}
	})
}
