package upstream

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A request that may not be repeated would be lost with the probe, so for a second those
// that may be go first.
func TestProbesAreRequestsThatMayBeRepeated(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", Reset, 3)
		st.ready("a")
		gets := func(want string, repeatable bool) Lease {
			t.Helper()
			l, err := st.Acquire(PickKey{Repeatable: repeatable})
			if err != nil || l.Endpoint().ID() != want || l.Probe() != (want == "a") {
				t.Fatalf("lease on %v, a probe: %v, %v; want %s", l.Endpoint(), l.Probe(), err, want)
			}
			return l
		}
		gets("b", false).release()
		gets("a", true).release() // and was canceled
		time.Sleep(probePatience - time.Millisecond)
		gets("b", false).release()
		time.Sleep(time.Millisecond)
		gets("a", false).release()
	})
}

func TestARequestThatMayNotBeRepeatedProbesRatherThanFails(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", Reset, 3)
		st.ready("a")
		l, err := st.Acquire(PickKey{}, st.endpoint("b"))
		if err != nil || l.Endpoint().ID() != "a" {
			t.Fatalf("lease on %v, %v", l.Endpoint(), err)
		}
		l.Release()
	})
}

func TestBreakIsAnotherAttemptThatFailed(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		a := st.endpoint("a")
		l := st.on("a")
		l.Break(Result{Outcome: Reset}) // before the report
		l.Report(Result{Outcome: Success, Latency: time.Millisecond})
		l.Break(Result{Outcome: Canceled}) // no failure
		l.Break(Result{Outcome: Success})
		if c := a.Counters(); c.Failures() != 0 || a.FailureShare() != 0 {
			t.Errorf("counters %+v", c)
		}
		l.Break(Result{Outcome: Reset, Err: errIll})
		l.Break(Result{Outcome: Reset})
		l.Release()
		l.Break(Result{Outcome: Reset})
		want := Counters{Attempts: 1, Successes: 1, Resets: 1}
		if c := a.Counters(); c != want {
			t.Errorf("counters %+v", c)
		}
		if a.failing.word.Load() == 0 || a.Latency() != time.Millisecond {
			t.Errorf("failure share %v, latency %v", a.FailureShare(), a.Latency())
		}
		got := st.status("a")
		if got.Attempts != 2 || got.Failures != 1 || got.Errors[0].What != "connection reset: connect: connection refused" {
			t.Errorf("status %+v", got)
		}
	})
}

func TestBreakAfterAFailureIsNotASecondOne(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		for _, first := range []Outcome{ServerError, Canceled} {
			l := st.on("a")
			l.Report(Result{Outcome: first})
			l.Break(Result{Outcome: Reset})
			l.Release()
		}
		if c := st.endpoint("a").Counters(); c.Resets != 0 || c.ServerErrors != 1 {
			t.Errorf("counters %+v", c)
		}
		var zero Lease
		zero.Break(Result{Outcome: Reset})
	})
}

func TestBreaksInARowEject(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		leases := []Lease{st.on("a"), st.on("a"), st.on("a"), st.on("a")}
		for i := range leases {
			leases[i].Report(Result{Outcome: Success})
		}
		for i := range leases[:3] {
			leases[i].Break(Result{Outcome: Reset})
		}
		st.stands("a", StateEjected, "3 failures in a row, the last: connection reset")
		// One more while it is out is neither a probe nor the reason for another ejection.
		st.ready("a")
		leases[3].Break(Result{Outcome: Reset})
		if got := st.status("a").Breaker; got != "open" {
			t.Errorf("breaker %s", got)
		}
		st.acquires("a").Release()
		for i := range leases {
			leases[i].Release()
		}
		if n := st.endpoint("a").InFlight(); n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

// byRate is for breakers that look at the success rate alone.
func byRate(o *Options) {
	o.Breaker.ConsecutiveFailures = 0
	o.Breaker.SuccessRate = .8
	o.Breaker.MinRequests = 5
}

// serves has id answer requests, of which one in every so many fails, by turns.
func (st *stage) serves(id string, requests, every int) {
	st.t.Helper()
	for i := range requests {
		if st.status(id).State != StateUsable {
			return
		}
		outcome := Success
		if every > 0 && i%every == every-1 {
			outcome = ServerError
		}
		st.attempt(id, outcome, 1)
	}
}

func TestOneThatIsWorseThanTheOthersIsEjectedByRate(t *testing.T) {
	play(t, byRate, func(st *stage) {
		st.reports("a", "b", "c", "d")
		for _, id := range []string{"b", "c", "d"} {
			st.serves(id, 20, 10)
		}
		st.serves("a", 20, 2)
		st.wantUsable("b c d")
		st.stands("a", StateEjected, "3 of its last 6 attempts failed, the last: server error")
		c := st.status("a").Counters
		if c.Ejections != 1 || c.EjectionsByRate != 1 || st.logged("endpoint ejected") != 1 {
			t.Errorf("counters %+v, logged %d times", c, st.logged("endpoint ejected"))
		}
	})
}

// Three of five may be chance, as long as nobody knows what the others do.
func TestARateWaitsUntilTheOthersAreKnown(t *testing.T) {
	play(t, byRate, func(st *stage) {
		st.reports("a", "b", "c")
		st.serves("b", leastCompared, 0)
		st.serves("a", 10, 2)
		if n := st.endpoint("a").Counters().Ejections; n != 0 {
			t.Errorf("%d ejections by the word of %d attempts elsewhere", n, leastCompared)
		}
		st.serves("b", enoughCompared, 0)
		st.serves("a", 2, 2)
		if n := st.endpoint("a").Counters().EjectionsByRate; n != 1 {
			t.Errorf("%d ejections, want 1", n)
		}
	})
}

// Where all answer one request in three with an error, it is the requests.
func TestWhereAllFailAlikeNobodyIsEjectedByRate(t *testing.T) {
	play(t, byRate, func(st *stage) {
		st.reports("a", "b", "c", "d")
		for range 10 {
			for _, id := range []string{"a", "b", "c", "d"} {
				st.serves(id, 3, 3)
			}
		}
		st.wantUsable("a b c d")
		for _, e := range st.Status().Endpoints {
			if e.Counters.EjectionsRefused == 0 {
				t.Errorf("%s: no ejection was refused, so nothing was tried", e.ID)
			}
			if !strings.Contains(e.Verdict, "the others fail as much") {
				t.Errorf("verdict %q", e.Verdict)
			}
		}
	})
}

// Failures in a row are no matter of comparison.
func TestInARowIsNotCompared(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c", "d")
		for range 2 {
			for _, id := range []string{"a", "b", "c", "d"} {
				st.attempt(id, Reset, 2)
				st.attempt(id, Success, 1)
			}
		}
		st.attempt("a", Reset, 3)
		st.wantUsable("b c d")
	})
}

func TestTheOnlyOneWithTrafficIsNotCompared(t *testing.T) {
	play(t, byRate, func(st *stage) {
		st.reports("a", "b")
		st.attempt("b", Success, leastCompared-1)
		st.serves("a", 10, 2)
		st.wantUsable("b")
	})
}

// failsAgain has the probe of id fail, and returns for how long it is out then.
func (st *stage) failsAgain(id string) time.Duration {
	st.t.Helper()
	st.ready(id)
	probe := st.acquires(id)
	probe.Report(Result{Outcome: Reset})
	probe.Release()
	return time.Until(st.endpoint(id).breaker.ReadyAt())
}

// When all fail, no endpoint must be missing for long after that.
func TestEjectionsGrowOnlyWhileTheOthersDoWell(t *testing.T) {
	for _, others := range []Outcome{Success, ServerError} {
		play(t, nil, func(st *stage) {
			st.reports("a", "b", "c")
			st.attempt("a", Reset, 3)
			var last time.Duration
			for range 3 {
				st.attempt("b", others, 5)
				st.attempt("c", others, 5)
				last = st.failsAgain("a")
			}
			low, high := 6*time.Second, 8*time.Second // a quarter is jitter
			if others.Failure() {
				low, high = 750*time.Millisecond, time.Second
			}
			if last < low || last > high {
				t.Errorf("the others: %v; out for %v, want %v to %v", others, last, low, high)
			}
		})
	}
}

// Where many have failed together, and requests are few, most of these go where they may be
// answered.
func TestProbesLeaveRequestsForTheOthers(t *testing.T) {
	play(t, func(o *Options) { o.Random = rand.New(rand.NewPCG(7, 7)).Uint64 }, func(st *stage) {
		names := strings.Fields("a b c d e f g h i j")
		st.reports(names...)
		bad := names[:5]
		for _, id := range bad {
			st.attempt(id, Reset, 3)
		}
		for _, id := range bad {
			st.ready(id)
		}
		const requests = 1000
		probes := 0
		for range requests {
			l, err := st.Acquire(PickKey{Repeatable: true})
			if err != nil {
				t.Fatal(err)
			}
			if l.Probe() {
				probes++
			}
			l.Release()
		}
		if share := float64(probes) / requests; share < probeShare-.05 || share > probeShare+.05 {
			t.Errorf("a share of %v were probes, want about %v", share, probeShare)
		}
	})
}
