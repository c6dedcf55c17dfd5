package upstream

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailuresInARowEject(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", ServerError, 2)
		st.attempt("a", Success, 1)
		st.attempt("a", ConnectFailed, 2)
		st.attempt("a", Canceled, 5)
		st.wantUsable("a b c")
		st.attempt("a", TimedOut, 1)
		st.wantUsable("b c")
		st.stands("a", StateEjected, "3 failures in a row, the last: timed out")
		if n := st.logged("endpoint ejected"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		st.wantEvents() // an ejection is no reason to close connections
	})
}

// ready waits until the ejection of id is over.
func (st *stage) ready(id string) {
	st.t.Helper()
	time.Sleep(time.Until(st.endpoint(id).breaker.ReadyAt()))
	synctest.Wait()
	st.stands(id, StateProbing, "ejection is over")
}

func TestEjectedEndpointIsProbedByOneRequestAtATime(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Reset, 3)
		st.acquires("b").Release()
		st.ready("a")
		st.wantUsable("b c")

		probe := st.acquires("a")
		st.acquires("b").Release()
		st.acquires("b").Release()
		if got := st.status("a").Breaker; got != "half-open" {
			t.Errorf("breaker %s", got)
		}

		// The client went away: the next request probes.
		probe.Release()
		probe = st.acquires("a")
		st.acquires("b").Release()

		// It failed, so it is out for longer.
		probe.Report(Result{Outcome: ConnectFailed})
		st.acquires("b").Release()
		st.stands("a", StateEjected, "probed it failed: connect failed")
		probe.Release()
		if d := time.Until(st.endpoint("a").breaker.ReadyAt()); d < 1500*time.Millisecond || d > 2*time.Second {
			t.Errorf("out for another %v", d)
		}

		st.ready("a")
		probe = st.acquires("a")
		probe.Report(Result{Outcome: Success, Latency: time.Millisecond})
		st.wantUsable("a b c") // as soon as it is reported; the body may take hours
		st.stands("a", StateUsable, "probed it succeeded")
		probe.Release()
		want := "discovered, ejected, probing, ejected again, probing, recovered"
		if got := whats(st.status("a").History); got != want {
			t.Errorf("history %q, want %q", got, want)
		}
		if n := st.slots.taken.Load(); n != 0 {
			t.Errorf("%d slots taken", n)
		}
	})
}

func TestRetriesAreNotSpentOnProbes(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Reset, 3)
		st.ready("a")
		b, c := st.endpoint("b"), st.endpoint("c")
		st.acquires("c", b).Release()
		st.acquires("a", b, c).Release() // unless there is nothing else
		st.acquires("a").Release()
	})
}

func TestAProbeThatSucceededLeavesNoPenalty(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", ConnectFailed, 3)
		a := st.endpoint("a")
		if got, _ := a.LatencyAt(Now()); got < 2*float64(FirstGuess) {
			t.Errorf("it looks like %v to a picker", time.Duration(got))
		}
		st.ready("a")
		probe := st.acquires("a")
		probe.Report(Result{Outcome: Success, Latency: 2 * time.Millisecond})
		probe.Release()
		if got, _ := a.LatencyAt(Now()); got != 2e6 || a.Latency() != 2*time.Millisecond || a.FailureShare() != 0 {
			t.Errorf("it looks like %v to a picker, latency %v, failure share %v", time.Duration(got), a.Latency(), a.FailureShare())
		}
		st.attempt("b", ConnectFailed, 3)
		st.ready("b")
		probe = st.acquires("b")
		probe.Report(Result{Outcome: Success}) // not measured
		probe.Release()
		if got := st.status("b"); got.Measured || got.LatencySeconds != FirstGuess.Seconds() {
			t.Errorf("latency %v, measured %v", got.LatencySeconds, got.Measured)
		}
	})
}

func TestLateReportsOfAnEjectedEndpoint(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		late := []Lease{st.on("a"), st.on("a")}
		st.attempt("a", Reset, 3)
		late[0].Report(Result{Outcome: Success})
		st.stands("a", StateEjected, "")
		st.ready("a")
		probe := st.acquires("a")
		late[1].Report(Result{Outcome: Reset})
		st.stands("a", StateProbing, "")
		probe.Report(Result{Outcome: Success})
		st.stands("a", StateUsable, "")
		for i := range late {
			late[i].Release()
		}
		probe.Release()
		if n := st.endpoint("a").InFlight(); n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

func TestMaxEjected(t *testing.T) {
	for _, c := range []struct {
		total int
		share float64
		want  int64
	}{
		{0, .5, 0}, {1, .5, 0}, {2, .5, 1}, {3, .5, 1}, {4, .5, 2}, {5, .5, 2}, {10, .5, 5},
		{1, 1, 0}, {2, 1, 1}, {3, 1, 2}, {10, 1, 9}, {10, 7, 9},
		{2, .1, 1}, {3, .1, 1}, {20, .1, 2}, {100, .29, 29},
		{2, 0, 0}, {10, 0, 0}, {10, -1, 0},
	} {
		var s slots
		s.resize(c.total, c.share)
		if got := s.limit.Load(); got != c.want {
			t.Errorf("%v of %d endpoints: %d may be ejected, want %d", c.share, c.total, got, c.want)
		}
	}
}

func TestNoMoreAreEjectedThanMaxEjected(t *testing.T) {
	for _, c := range []struct {
		instances []string
		usable    string
	}{
		{[]string{"a"}, "a"},
		{[]string{"a", "b"}, "b"},
		{[]string{"a", "b", "c"}, "b c"},
		{[]string{"a", "b", "c", "d"}, "c d"},
	} {
		play(t, nil, func(st *stage) {
			st.reports(c.instances...)
			for _, id := range c.instances {
				st.attempt(id, Reset, 3)
			}
			st.wantUsable(c.usable)
			st.acquires(c.usable[:1]).Release()
			status := st.Status()
			if status.Ejected != status.MaxEjected {
				t.Errorf("%d of %d ejected", status.Ejected, status.MaxEjected)
			}
			if n := st.status(c.usable[:1]).Counters.EjectionsRefused; n == 0 {
				t.Error("the status does not say that ejections were refused")
			}
		})
	}
}

func TestZeroShareEjectsNothing(t *testing.T) {
	play(t, func(o *Options) { o.MaxEjected = 0 }, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Reset, 20)
		st.wantUsable("a b c")
	})
}

// The slot of one that recovers goes to the next that fails.
func TestSlotsAreReused(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", Reset, 3)
		st.attempt("b", Reset, 5)
		st.wantUsable("b")
		st.ready("a")
		probe := st.acquires("a")
		probe.Report(Result{Outcome: Success})
		probe.Release()
		st.wantUsable("a b")
		st.attempt("b", Reset, 1) // its row goes on
		st.wantUsable("a")
	})
}

// When the others leave, an ejected endpoint may be all there is.
func TestOnlyEjectedEndpointsLeftFailsOpen(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", Reset, 3)
		st.reports("a")
		st.wantUsable("a")
		if st.Status().FailOpen == "" || st.logged("failing open") != 1 {
			t.Errorf("fail open: %q, logged %d times", st.Status().FailOpen, st.logged("failing open"))
		}
		first, second := st.acquires("a"), st.acquires("a")
		first.Release()
		second.Release()
		st.stands("a", StateEjected, "")

		st.ready("a")
		probe, other := st.acquires("a"), st.acquires("a")
		other.Report(Result{Outcome: Reset}) // not the probe, so it decides nothing
		probe.Report(Result{Outcome: Success})
		st.stands("a", StateUsable, "")
		probe.Release()
		other.Release()
		synctest.Wait()
		if got := st.Status().FailOpen; got != "" {
			t.Errorf("still failing open: %s", got)
		}
	})
}

func TestEjectedAMomentAgo(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		a, b := st.endpoint("a"), st.endpoint("b")
		stale := st.Snapshot()
		st.attempt("b", Reset, 3)
		st.snapshot.Store(stale) // as a thread sees it that has just loaded it
		_, err := st.Acquire(PickKey{}, a)
		wantUnavailable(t, err, ErrEjected)
		st.acquires("a", b).Release()
		l, err := st.Acquire(PickKey{Hash: 1}) // picks b, is refused, picks on
		if err != nil || l.Endpoint() != a {
			t.Errorf("got %v, %v", l.Endpoint(), err)
		}
		l.Release()
	})
}

// Trips of many threads at once: never more out than allowed, nothing left taken.
func TestManyGoroutinesEject(t *testing.T) {
	play(t, func(o *Options) { o.Breaker.Open = 10 * time.Millisecond }, func(st *stage) {
		st.reports("a", "b", "c", "d", "e", "f")
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 500 {
					l, err := st.Acquire(PickKey{Hash: uint64(g + i)})
					if err != nil {
						t.Error(err)
						return
					}
					if n := st.slots.taken.Load(); n > 3 {
						t.Errorf("%d are ejected", n)
					}
					l.Report(Result{Outcome: Outcome(i / 50 % 4), Latency: time.Millisecond})
					l.Release()
					if i%10 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		wg.Wait()
		ejections := uint64(0)
		for _, e := range st.Snapshot().Endpoints {
			ejections += e.Counters().Ejections
		}
		if ejections == 0 {
			t.Error("nothing was ever ejected, so nothing was tried")
		}
		for range 100 { // let everyone recover
			time.Sleep(time.Second)
			l, err := st.Acquire(PickKey{})
			if err != nil {
				t.Fatal(err)
			}
			l.Report(Result{Outcome: Success})
			l.Release()
		}
		synctest.Wait()
		if n := st.slots.taken.Load(); n != 0 {
			t.Errorf("%d slots taken at the end", n)
		}
		st.wantUsable("a b c d e f")
	})
}
