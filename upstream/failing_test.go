package upstream

import (
	"math"
	"sync"
	"testing"
	"time"
)

func TestPriceOfFailures(t *testing.T) {
	for _, c := range []struct {
		latency time.Duration
		share   float64
		want    time.Duration
	}{
		{time.Millisecond, 0, time.Millisecond},
		{time.Millisecond, .01, 1044 * time.Microsecond}, // the exception: hardly dearer
		{10 * time.Millisecond, .5, 280 * time.Millisecond},
		{0, .5, 120 * time.Millisecond}, // nothing is left of the answers' latency
		{time.Microsecond, .95, dearest},
		{10 * time.Second, .9, dearest},
		{2 * dearest, .5, 2 * dearest}, // slower than the highest price as it is
	} {
		near(t, "price", time.Duration(price(float64(c.latency), c.share)), c.want)
	}
}

func TestFailingMoreIsNeverCheaper(t *testing.T) {
	for _, latency := range []time.Duration{0, time.Microsecond, time.Millisecond, time.Second, time.Minute} {
		last := 0.0
		for share := 0.0; share <= failureMost; share += .01 {
			p := price(float64(latency), share)
			if p < last || p < float64(latency) || math.IsInf(p, 0) || math.IsNaN(p) {
				t.Fatalf("%v with a share of %v costs %v, with less %v", latency, share, p, last)
			}
			last = p
		}
	}
}

func closeTo(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-3 {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// readable is what is read of a share.
func readable(share float64) float64 {
	if share < failureLeast {
		return 0 // as good as new
	}
	return share
}

// ticks returns the Moment that is d after the beginning.
func ticks(d time.Duration) Moment { return 1000 + momentOf(d) }

func TestFailureShareMovesByOutcome(t *testing.T) {
	var f failureShare
	at := ticks(0)
	f.succeed(at)
	if f.word.Load() != 0 {
		t.Error("a success of one that has not failed is written down")
	}
	want := 0.0
	for range 100 {
		f.fail(at, 0, 1)
		want = min(want+(failureStep+failureMore*want)*(1-want), failureMost)
		closeTo(t, "after a failure", f.read(at), readable(want))
	}
	closeTo(t, "after many", f.read(at), failureMost)
	f.succeed(at)
	closeTo(t, "after a success", f.read(at), failureMost*(1-successStep))
	for range 30 {
		f.succeed(at)
	}
	if f.word.Load() != 0 {
		t.Errorf("%v is left after 31 successes", f.read(at))
	}
}

// The first failure is no reason to avoid an endpoint that answers like the others; a few
// in a row are.
func TestOneFailureIsNoneAFewAreARule(t *testing.T) {
	var f failureShare
	dearer := func() float64 { return price(float64(10*time.Millisecond), f.read(ticks(0))) / 10e6 }
	f.fail(ticks(0), 0, 1)
	if got := dearer(); got > 4 || f.word.Load() == 0 {
		t.Errorf("after one failure it costs %v times as much", got)
	}
	for range 4 {
		f.fail(ticks(0), 0, 1)
	}
	if got := dearer(); got < 50 {
		t.Errorf("after five it costs %v times as much", got)
	}
}

func TestFailuresAreForgottenWithinSeconds(t *testing.T) {
	var f failureShare
	for range 100 {
		f.fail(ticks(0), 0, 1)
	}
	left := func(d time.Duration) float64 {
		return readable(failureMost * math.Exp(-float64(d)/float64(failureDecay)))
	}
	for _, d := range []time.Duration{100 * time.Millisecond, time.Second, 2 * time.Second, 10 * time.Second} {
		closeTo(t, "after "+d.String(), f.read(ticks(d)), left(d))
	}
	const later = 2 * time.Second
	f.fail(ticks(later), 0, 1)
	was := left(later)
	closeTo(t, "a failure after 2 s", f.read(ticks(later)), was+(failureStep+failureMore*was)*(1-was))
	f.succeed(ticks(time.Minute))
	if f.word.Load() != 0 {
		t.Error("a minute later it is still written down")
	}
	f.fail(ticks(0), 0, 1)
	f.forget()
	if f.read(ticks(0)) != 0 {
		t.Error("not forgotten")
	}
}

func TestFailureShareOfManyThreads(t *testing.T) {
	var f failureShare
	run := func(fails func(i int) bool) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 1000 {
					if at := ticks(time.Duration(g+i) * time.Microsecond); fails(i) {
						f.fail(at, 0, 1)
					} else {
						f.succeed(at)
					}
					if share := f.read(ticks(0)); share < 0 || share > failureMost*1.0001 {
						t.Errorf("share %v", share)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	run(func(i int) bool { return i%2 == 0 })
	if share := f.read(ticks(0)); share < .1 || share > .9 {
		t.Errorf("every other one fails, and the share is %v", share)
	}
	run(func(int) bool { return true })
	closeTo(t, "all fail", f.read(ticks(0)), failureMost)
	run(func(int) bool { return false })
	closeTo(t, "none fails", f.read(ticks(0)), 0)
}

// One that fails within a millisecond must not look like the fastest, and be tried again
// all the same after some seconds.
func TestFailingFastDoesNotLookFast(t *testing.T) {
	play(t, func(o *Options) { o.MaxEjected = 0 }, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", ServerError, 5)
		for range 5 {
			st.report("b", Result{Outcome: Success, Latency: 20 * time.Millisecond})
		}
		a, b := st.endpoint("a"), st.endpoint("b")
		cost := func(e *Endpoint) float64 { ns, _ := e.LatencyAt(Now()); return ns }
		if cost(a) < 20*cost(b) {
			t.Errorf("the failing one costs %v, the sound one %v", cost(a), cost(b))
		}
		if _, measured := a.LatencyAt(Now()); !measured {
			t.Error("a price counts as a guess")
		}
		if share := a.FailureShare(); share < .5 {
			t.Errorf("share %v after five failures", share)
		}
		time.Sleep(4 * failureDecay)
		if share := a.FailureShare(); share > .02 || cost(a) > 1.1*max(cost(b), float64(FirstGuess)) {
			t.Errorf("later the share is still %v, and it costs %v", share, cost(a))
		}
		// A client's cancel is neither.
		before := a.failing.word.Load()
		st.attempt("a", Canceled, 5)
		if a.failing.word.Load() != before {
			t.Error("cancels count")
		}
	})
}

func TestAFailureAfterNothingSaysMore(t *testing.T) {
	after := func(gap time.Duration, weight int) *failureShare {
		f := new(failureShare)
		f.fail(ticks(0), gap, weight)
		return f
	}
	dense, sparse := after(20*time.Millisecond, 1), after(5*time.Second, failureHeavy)
	if d, s := dense.read(ticks(0)), sparse.read(ticks(0)); d != 0 || s < .9 {
		t.Errorf("one in fifty a second: %v, one in five seconds: %v", d, s)
	}
	// It is remembered for as long as it takes to come round again.
	if s := sparse.read(ticks(10 * time.Second)); s < .3 {
		t.Errorf("10 s later: %v", s)
	}
	// But no longer than failureKeep, and a success brings that back.
	rare := after(time.Hour, failureHeavy)
	closeTo(t, "20 s after a failure an hour after the last outcome", rare.read(ticks(failureKeep)), failureMost/math.E)
	rare.succeed(ticks(0))
	closeTo(t, "after a success", rare.read(ticks(failureDecay)), failureMost*(1-successStep)/math.E)
}

func TestAFailureThatTookLongSaysMore(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		for _, id := range []string{"a", "b"} {
			st.report(id, Result{Outcome: Success, Latency: 5 * time.Millisecond})
		}
		st.report("a", Result{Outcome: ServerError, Latency: time.Millisecond})
		st.report("b", Result{Outcome: TimedOut, Latency: time.Second})
		if a, b := st.endpoint("a").FailureShare(), st.endpoint("b").FailureShare(); a != 0 || b < .9 {
			t.Errorf("an error at once counts %v, a second of waiting %v", a, b)
		}
	})
}
