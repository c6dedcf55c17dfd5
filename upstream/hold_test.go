package upstream

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestHoldReads(t *testing.T) {
	const ramping = 10 * time.Second
	var h hold
	if pause, share := h.read(ticks(0), ramping); pause != 0 || share != 1 {
		t.Errorf("without a hold: %v, %v", pause, share)
	}
	h.startRamp(ticks(0))
	for _, c := range []struct {
		after time.Duration
		share float64
	}{{0, .1}, {500 * time.Millisecond, .1}, {2 * time.Second, .2}, {5 * time.Second, .5}, {9900 * time.Millisecond, .99}} {
		_, share := h.read(ticks(c.after), ramping)
		closeTo(t, "share after "+c.after.String(), share, c.share)
	}
	if h.pause(ticks(0), 3*time.Second) != true {
		t.Error("a pause is not new")
	}
	pause, share := h.read(ticks(2*time.Second), ramping)
	near(t, "pause", pause, time.Second)
	closeTo(t, "share in a pause", share, .2)
	if pause, _ := h.read(ticks(4*time.Second), ramping); pause != 0 {
		t.Errorf("%v left of a pause that is over", pause)
	}
	if _, share := h.read(ticks(10*time.Second+time.Millisecond), ramping); share != 1 || h.word.Load() != 0 {
		t.Errorf("at the end: share %v, word %x", share, h.word.Load())
	}
	h.startRamp(0) // a Moment may be 0, which stands for none
	if _, share := h.read(1, ramping); share != leastRamp {
		t.Errorf("share %v", share)
	}
}

// The longest of the pauses that many threads report stands, beside the slow start.
func TestHoldOfManyThreads(t *testing.T) {
	var h hold
	var first atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				if h.pause(ticks(0), time.Duration(1+(g*i)%50)*time.Second) {
					first.Add(1)
				}
				h.read(ticks(0), time.Minute)
				if i == 500 {
					h.startRamp(ticks(0))
				}
			}
		})
	}
	wg.Wait()
	pause, share := h.read(ticks(0), time.Minute)
	near(t, "pause", pause, 50*time.Second)
	if share != leastRamp || first.Load() != 1 {
		t.Errorf("share %v, %d pauses were new", share, first.Load())
	}
}

func asks(d time.Duration) Result { return Result{Outcome: Overloaded, Status: 429, RetryAfter: d} }

// leftAlone wants a not to be used until d from now.
func (st *stage) leftAlone(d time.Duration) {
	st.t.Helper()
	near(st.t, "pause", time.Duration(st.status("a").PausedSeconds*float64(time.Second)), d)
	st.acquires("b").Release()
	time.Sleep(d - 10*time.Millisecond)
	st.acquires("b").Release()
	time.Sleep(11 * time.Millisecond)
	st.acquires("a").Release()
}

func TestRetryAfterIsAPause(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.report("a", asks(5*time.Second))
		if n := st.logged("endpoint paused"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		st.leftAlone(5 * time.Second)
		history := st.status("a").History
		d := history[len(history)-1]
		if d.What != "paused" || d.Until.Sub(d.At) != 5*time.Second || !strings.Contains(d.Why, "status 429") {
			t.Errorf("decision %+v", d)
		}
	})
}

func TestPausesAreCapped(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.report("a", asks(24*time.Hour))
		st.leftAlone(time.Minute)
	})
}

func TestTheLongerPauseWins(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		leases := []Lease{st.on("a"), st.on("a"), st.on("a")}
		for i, d := range []time.Duration{10, 3, 20} {
			leases[i].Report(asks(d * time.Second))
			leases[i].Release()
		}
		st.leftAlone(20 * time.Second)
		if n := st.logged("endpoint paused"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

// Nobody has looked at a since its last pause, so it is still written down.
func TestAnOldPauseDoesNotHideANewOne(t *testing.T) {
	for _, since := range []time.Duration{2 * time.Second, time.Minute, time.Hour} {
		play(t, nil, func(st *stage) {
			st.reports("a", "b")
			first, second := st.on("a"), st.on("a")
			first.Report(asks(time.Second))
			first.Release()
			time.Sleep(since)
			second.Report(asks(2 * time.Second))
			second.Release()
			st.leftAlone(2 * time.Second)
			if n := st.logged("endpoint paused"); n != 2 {
				t.Errorf("after %v: logged %d times", since, n)
			}
		})
	}
}

func TestWhereAllArePausedAllAreUsed(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.report("a", asks(10*time.Second))
		st.report("b", asks(20*time.Second))
		st.acquires("a").Release() // the picker's first choice
		st.acquires("b", st.endpoint("a")).Release()
	})
}

func TestOneThatBeginsSlowlyGoesBeforeOneThatIsPaused(t *testing.T) {
	play(t, func(o *Options) {
		o.SlowStart = time.Minute
		o.Random = func() uint64 { return 1 << 63 } // chance is a half
	}, func(st *stage) {
		st.reports("a")
		st.reports("a", "b")
		st.acquires("a").Release()
		st.report("a", asks(10*time.Second))
		st.acquires("b").Release()
	})
}

// A limit is in the way everywhere but at the one that is left alone.
func TestAPausedOneIsUsedWhenTheOthersAreFull(t *testing.T) {
	play(t, func(o *Options) { o.Endpoint.InFlight = 1 }, func(st *stage) {
		st.reports("a", "b")
		st.report("a", asks(10*time.Second))
		defer st.acquires("b").Release()
		defer st.acquires("a").Release()
		st.refuses(ErrOverLimit)
	})
}

func TestAProbeWaitsForThePause(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", ServerError, 2)
		st.report("a", Result{Outcome: ServerError, Status: 503, RetryAfter: 10 * time.Second})
		st.wantUsable("b")
		time.Sleep(2 * time.Second)
		st.stands("a", StateProbing, "")
		st.acquires("b").Release()
		last := st.acquires("a", st.endpoint("b")) // rather than fail
		last.Release()
		if got := st.status("a").Verdict; !strings.Contains(got, "to be probed in 8") {
			t.Errorf("verdict %q", got)
		}
		time.Sleep(9 * time.Second)
		st.acquires("a").Release()
	})
}

func slowly(o *Options) {
	o.SlowStart = 10 * time.Second
	o.Random = rand.New(rand.NewPCG(1, 2)).Uint64
}

// shareOf returns which part of what a picker gives to id it gets.
func (st *stage) shareOf(id string, requests int) float64 {
	st.t.Helper()
	usable := st.Snapshot().Usable
	got := 0
	for i := range requests {
		l, err := st.Acquire(PickKey{Hash: uint64(i), Repeatable: true})
		if err != nil {
			st.t.Fatal(err)
		}
		if l.Endpoint().ID() == id {
			got++
		}
		l.Report(Result{Outcome: Success, Latency: time.Millisecond})
		l.Release()
	}
	return float64(got) * float64(len(usable)) / float64(requests)
}

// begins wants id to begin slowly, from now on.
func (st *stage) begins(id string) {
	st.t.Helper()
	start := time.Now()
	for _, c := range []struct {
		at   time.Duration
		want float64
	}{{0, .1}, {time.Second / 2, .1}, {4 * time.Second, .4}, {7 * time.Second, .7}, {10001 * time.Millisecond, 1}} {
		time.Sleep(time.Until(start.Add(c.at)))
		closeTo(st.t, "ramp", st.status(id).Ramp, c.want)
		if got := st.shareOf(id, 30_000); got < c.want-.02 || got > c.want+.02 {
			st.t.Errorf("after %v %s gets %.3f of its share, want %v", c.at, id, got, c.want)
		}
	}
}

func TestOneThatJoinsOthersBeginsSlowly(t *testing.T) {
	play(t, slowly, func(st *stage) {
		st.reports("a", "b")
		if got := st.shareOf("a", 1000); got != 1 { // all are new
			t.Errorf("a gets %v of its share", got)
		}
		st.reports("a", "b", "c")
		st.begins("c")
		st.reports("d", "e") // all are new again
		if got := st.shareOf("d", 1000); got != 1 {
			t.Errorf("d gets %v of its share", got)
		}
	})
}

func TestOneThatWasEjectedBeginsSlowly(t *testing.T) {
	play(t, slowly, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Reset, 3)
		st.ready("a")
		probe := st.acquires("a")
		probe.Report(Result{Outcome: Success, Latency: time.Millisecond})
		probe.Release()
		st.wantUsable("a b c")
		st.begins("a")
	})
}

func TestOneWhoseCheckPassesAgainBeginsSlowly(t *testing.T) {
	play(t, func(o *Options) { slowly(o); withChecks(o) }, func(st *stage) {
		st.reports("a", "b", "c")
		time.Sleep(time.Second)
		st.falls(errIll, "a")
		st.wantUsable("b c")
		st.ails(nil, st.endpoint("a").Address())
		for st.endpoint("a").Down() {
			time.Sleep(time.Millisecond)
		}
		st.wantUsable("a b c")
		st.begins("a")
	})
}

func TestWithoutSlowStartTheFullShareComesAtOnce(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a")
		st.reports("a", "b")
		if got := st.shareOf("b", 1000); got != 1 {
			t.Errorf("b gets %v of its share", got)
		}
	})
}
