package breaker

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A patient is a breaker under test, with verbs to tell its story.
type patient struct {
	t *testing.T
	*Breaker
	changes []string
	mayTrip bool
}

func newPatient(t *testing.T, failures int) *patient {
	return admit(t, Settings{
		ConsecutiveFailures: failures,
		Open:                time.Second,
		OpenMax:             4 * time.Second,
	})
}

// admit makes a patient with all its functions set that s leaves at nil.
func admit(t *testing.T, s Settings) *patient {
	p := &patient{t: t, mayTrip: true}
	if s.MayTrip == nil {
		s.MayTrip = func(Reason) bool { return p.mayTrip }
	}
	s.OnChange = func(from, to State) {
		if got := p.State(); got != to {
			t.Errorf("in OnChange(%v, %v) the state is %v", from, to, got)
		}
		p.changes = append(p.changes, fmt.Sprintf("%v>%v", from, to))
	}
	p.Breaker = New(s)
	return p
}

func (p *patient) allowed() Permit {
	p.t.Helper()
	permit, ok := p.Allow()
	if !ok {
		p.t.Fatalf("refused while %v, ready in %v", p.State(), time.Until(p.ReadyAt()))
	}
	return permit
}

func (p *patient) refused() {
	p.t.Helper()
	if _, ok := p.Allow(); ok {
		p.t.Fatalf("allowed while %v", p.State())
	}
}

func (p *patient) attempts(outcomes ...Outcome) {
	p.t.Helper()
	for _, o := range outcomes {
		p.allowed().Report(o)
	}
}

func (p *patient) is(want State) {
	p.t.Helper()
	if got := p.State(); got != want {
		p.t.Fatalf("state %v, want %v", got, want)
	}
}

// changed checks all changes so far.
func (p *patient) changed(want ...string) {
	p.t.Helper()
	if !slices.Equal(p.changes, want) {
		p.t.Errorf("changes %v, want %v", p.changes, want)
	}
}

func (p *patient) counts(at time.Duration, attempts, failures uint64) {
	p.t.Helper()
	if a, f := p.Counts(at); a != attempts || f != failures {
		p.t.Errorf("at %v: %d attempts, %d failures, want %d and %d", at, a, f, attempts, failures)
	}
}

// waitOpen waits until the breaker is ready and says how long that took.
func (p *patient) waitOpen() time.Duration {
	p.t.Helper()
	p.is(Open)
	d := time.Until(p.ReadyAt())
	time.Sleep(d - time.Nanosecond)
	p.refused()
	time.Sleep(time.Nanosecond)
	return d
}

func (p *patient) wantHeld(got, held time.Duration) {
	p.t.Helper()
	if got < held*3/4 || got > held {
		p.t.Fatalf("open for %v, want within a quarter below %v", got, held)
	}
}

func TestOpensAfterConsecutiveFailuresOnly(t *testing.T) {
	p := newPatient(t, 3)
	p.attempts(Failure, Failure, Success)
	if n := p.first.failures.Load(); n != 0 {
		t.Errorf("%d failures in a row after a success, so gobreaker is told of each further one", n)
	}
	p.attempts(Failure, Failure)
	p.is(Closed)
	p.attempts(Ignored, Ignored)
	p.is(Closed)
	p.attempts(Failure)
	p.is(Open)
	p.refused()
}

func TestZeroNeverTrips(t *testing.T) {
	p := newPatient(t, 0)
	for range 100 {
		p.attempts(Failure)
	}
	p.is(Closed)
	p.counts(p.since(), 100, 100)
	if !p.ReadyAt().IsZero() {
		t.Error("a closed breaker has a ReadyAt")
	}
}

func TestProbesOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, 1)
		p.attempts(Failure)
		p.waitOpen()
		probe := p.allowed()
		p.is(HalfOpen)
		if !probe.Probe() {
			t.Error("the permit does not know that it is a probe")
		}
		p.refused()
		p.refused()
		probe.Report(Success)
		p.is(Closed)
		first, second := p.allowed(), p.allowed()
		first.Report(Success)
		second.Report(Success)
		p.changed("closed>open", "open>half-open", "half-open>closed")
	})
}

func TestIgnoredProbeGivesTheSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, 1)
		p.attempts(Failure)
		p.waitOpen()
		for range 5 {
			probe := p.allowed()
			p.refused()
			probe.Report(Ignored)
			p.is(HalfOpen)
		}
		p.attempts(Success)
		p.is(Closed)
		p.changed("closed>open", "open>half-open", "half-open>closed")
	})
}

func TestOpenTimeDoublesUpToTheLimitAndStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, 1)
		p.attempts(Failure)
		for _, held := range []time.Duration{1, 2, 4, 4, 4} {
			p.wantHeld(p.waitOpen(), held*time.Second)
			p.attempts(Failure)
		}
		p.waitOpen()
		p.attempts(Success)
		time.Sleep(4 * time.Second) // as long as it had been open: it has recovered
		p.attempts(Failure)
		p.wantHeld(p.waitOpen(), time.Second)
	})
}

func TestRelapseDoublesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, 1)
		p.attempts(Failure)
		p.waitOpen()
		p.attempts(Success)
		time.Sleep(time.Second - 1)
		p.attempts(Failure)
		p.wantHeld(p.waitOpen(), 2*time.Second)
	})
}

func TestOpenTimeIsJittered(t *testing.T) {
	b := New(Settings{})
	seen := make(map[time.Duration]bool)
	for range 100 {
		d := b.jittered(time.Second)
		if d < 750*time.Millisecond || d > time.Second {
			t.Fatalf("jittered to %v", d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different times out of 100", len(seen))
	}
	if d := b.jittered(3); d != 3 {
		t.Errorf("3 ns jittered to %v", d)
	}
}

func TestLateReportsAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, 2)
		lateSuccess, lateFailure, lateIgnored := p.allowed(), p.allowed(), p.allowed()
		afterwards := []Permit{p.allowed(), p.allowed(), p.allowed()}
		p.attempts(Failure, Failure)
		p.is(Open)

		lateSuccess.Report(Success)
		lateFailure.Report(Failure)
		lateIgnored.Report(Ignored)
		p.is(Open)
		p.refused()

		p.waitOpen()
		probe := p.allowed()
		for _, late := range afterwards {
			late.Report(Failure)
		}
		p.is(HalfOpen)
		p.refused()
		p.counts(p.since(), 2, 2)
		probe.Report(Success)
		p.is(Closed)
	})
}

// gobreaker turns half-open at whatever late report reaches it after its own timeout. That
// must not let a probe out before its time.
func TestLateReportRacingTheOpeningDoesNotShortenIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, 1)
		late := p.allowed()
		p.attempts(Failure)
		time.Sleep(time.Millisecond)
		late.period.tell(errFailed) // past our own check, as in a race
		p.is(Open)
		p.refused()
		p.wantHeld(p.waitOpen()+time.Millisecond, time.Second)
		p.attempts(Success)
		p.is(Closed)
	})
}

func TestRefusedTripIsAskedAgain(t *testing.T) {
	p := newPatient(t, 2)
	p.mayTrip = false
	p.attempts(Failure, Failure, Failure, Failure)
	p.is(Closed)
	p.mayTrip = true
	p.attempts(Failure)
	p.is(Open)
}

func TestMayTripIsNotAskedAgainForAFailedProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, 1)
		p.attempts(Failure)
		p.waitOpen()
		p.mayTrip = false
		p.attempts(Failure)
		p.is(Open)
	})
}

func TestDefaults(t *testing.T) {
	b := New(Settings{})
	if b.open != time.Second || b.openMax != time.Minute || b.span != 10*time.Second || b.minRequests != 5 {
		t.Errorf("open %v, open max %v, window %v, %d requests at least", b.open, b.openMax, b.span, b.minRequests)
	}
	b = New(Settings{Open: time.Hour, OpenMax: time.Second, MinRequests: -1, ConsecutiveFailures: -1})
	if b.openMax != time.Hour || b.minRequests != 5 || b.threshold != 0 {
		t.Errorf("open max %v, %d requests at least, %d failures", b.openMax, b.minRequests, b.threshold)
	}
}

// Many goroutines attempt, fail and succeed over many open times. At no moment is there
// more than one probe, changes come in order, and at the end the breaker closes.
func TestManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last atomic.Uint32 // the state OnChange left
		var openings atomic.Int64
		b := New(Settings{
			ConsecutiveFailures: 3,
			Open:                10 * time.Millisecond,
			OpenMax:             20 * time.Millisecond,
			OnChange: func(from, to State) {
				if !last.CompareAndSwap(uint32(from), uint32(to)) {
					t.Errorf("%v to %v, but the last state was %v", from, to, State(last.Load()))
				}
				if to == Open {
					openings.Add(1)
				}
			},
		})
		var probes atomic.Int64
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 2000 {
					permit, ok := b.Allow()
					if !ok {
						time.Sleep(time.Millisecond)
						continue
					}
					if permit.Probe() {
						if n := probes.Add(1); n != 1 {
							t.Errorf("%d probes at once", n)
						}
						time.Sleep(time.Millisecond)
						probes.Add(-1)
					}
					permit.Report(Outcome((i/20 + g) % 3))
				}
			})
		}
		wg.Wait()
		if openings.Load() == 0 {
			t.Error("it never opened, so nothing was tried")
		}
		time.Sleep(time.Second)
		permit, ok := b.Allow()
		if !ok {
			t.Fatal("refused long after the last failure")
		}
		permit.Report(Success)
		if b.State() != Closed {
			t.Errorf("it ends %v", b.State())
		}
	})
}

func TestNoAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, 3)
		check := func(what string, f func()) {
			t.Helper()
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%s: %v allocations", what, n)
			}
		}
		check("success", func() { p.attempts(Success) })
		check("ignored", func() { p.attempts(Ignored) })
		p.attempts(Failure)
		check("success and failure in turns", func() { p.attempts(Success, Failure) })
		p.attempts(Failure, Failure)
		check("refusal while open", p.refused)
		p.waitOpen()
		p.allowed()
		check("refusal while half-open", p.refused)
	})
}

func TestStrings(t *testing.T) {
	got := fmt.Sprint(Closed, Open, HalfOpen, State(9), Success, Failure, Ignored, Outcome(9), InARow, ByRate, Reason(9))
	want := "closed open half-open unknown success failure ignored unknown failures in a row success rate unknown"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
