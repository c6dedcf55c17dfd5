package breaker

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ejected is a patient in virtual time that has just opened, for a second and then longer.
func ejected(t *testing.T, failures int) (*patient, *timeline) {
	line := newTimeline()
	p := admit(t, Settings{
		ConsecutiveFailures: failures,
		Clock:               line.read,
		Random:              func() uint64 { return 0 },
	})
	for range failures {
		p.attempts(Failure)
	}
	p.is(Open)
	return p, line
}

func TestResetOfAClosedBreakerDoesNothing(t *testing.T) {
	p := newPatient(t, 2)
	p.attempts(Failure)
	p.Reset()
	p.counts(p.since(), 1, 1)
	p.changed()
	p.attempts(Failure)
	p.is(Open)
}

func TestResetClosesAnOpenBreaker(t *testing.T) {
	p, _ := ejected(t, 2)
	p.Reset()
	p.is(Closed)
	p.changed("closed>open", "open>closed")
	p.counts(0, 0, 0)
	if !p.ReadyAt().IsZero() {
		t.Error("a closed breaker has a ReadyAt")
	}
	p.Reset()
	p.changed("closed>open", "open>closed")

	first, second := p.allowed(), p.allowed()
	first.Report(Failure)
	second.Report(Success)
	p.attempts(Failure)
	p.is(Closed)
	p.attempts(Failure)
	p.is(Open)
}

func TestResetClosesAHalfOpenBreaker(t *testing.T) {
	for _, c := range []struct {
		name  string
		probe func(p *patient) (late Permit)
	}{
		{"with a probe out", func(p *patient) Permit { return p.allowed() }},
		{"with a second probe out", func(p *patient) Permit { p.attempts(Ignored); return p.allowed() }},
		{"with its slot free", func(p *patient) Permit { p.attempts(Ignored); return Permit{} }},
	} {
		for _, late := range []Outcome{Success, Failure, Ignored} {
			t.Run(c.name+", late "+late.String(), func(t *testing.T) {
				p, line := ejected(t, 2)
				line.until(p)
				probe := c.probe(p)
				p.is(HalfOpen)
				p.Reset()
				p.is(Closed)
				p.attempts(Failure)
				probe.Report(late)
				p.is(Closed)
				p.counts(line.now.Sub(p.origin), 1, 1)
				p.changed("closed>open", "open>half-open", "half-open>closed")
				p.attempts(Failure) // the second in a row
				p.is(Open)
				line.until(p)
				p.attempts(Success)
				p.is(Closed)
			})
		}
	}
}

func TestResetDropsPermitsFromBefore(t *testing.T) {
	line := newTimeline()
	p := admit(t, Settings{ConsecutiveFailures: 1, Clock: line.read})
	before := []Permit{p.allowed(), p.allowed(), p.allowed()}
	p.attempts(Failure)
	p.Reset()
	for i, permit := range before {
		permit.Report(Outcome(i))
	}
	p.is(Closed)
	p.counts(0, 0, 0)
}

func TestOpeningAfterAResetIsARelapse(t *testing.T) {
	p, line := ejected(t, 1)
	p.Reset()
	line.now = line.now.Add(time.Second - 1)
	p.attempts(Failure)
	if got := line.until(p); got != 2*time.Second {
		t.Errorf("open for %v, want twice the first time", got)
	}
	p.Reset()
	line.now = line.now.Add(2 * time.Second)
	p.attempts(Failure)
	if got := line.until(p); got != time.Second {
		t.Errorf("open for %v long after the reset", got)
	}
}

// The attempt that is about to become the probe finds out that the breaker was reset.
func TestResetWhileAProbeBegins(t *testing.T) {
	line := newTimeline()
	var changes []string
	var b *Breaker
	b = New(Settings{
		ConsecutiveFailures: 1,
		Clock:               line.read,
		OnChange: func(from, to State) {
			changes = append(changes, from.String()+">"+to.String())
			if to == HalfOpen {
				// Somebody else does this at the moment when the slot is taken.
				done := make(chan struct{})
				go func() { b.Reset(); close(done) }()
				<-done
			}
		},
	})
	p := &patient{t: t, Breaker: b}
	p.attempts(Failure)
	line.now = b.ReadyAt()
	permit := p.allowed()
	p.is(Closed)
	if permit.Probe() {
		t.Error("the attempt is a probe of a closed breaker")
	}
	permit.Report(Failure)
	p.is(Open)
	p.changes = changes
	p.changed("closed>open", "open>half-open", "half-open>closed", "closed>open")
}

// An attempt may have read which period it is and then be held up, while a probe is given
// up, a Reset closes the breaker, and the probe's slot comes free.
func TestAttemptThatComesTooLateForAProbe(t *testing.T) {
	begin := func(t *testing.T) (*patient, *timeline, *period) {
		p, line := ejected(t, 2)
		line.until(p)
		p.allowed()
		gone := p.current.Load()
		p.Reset()
		gone.taken.Store(false)
		p.attempts(Failure)
		return p, line, gone
	}
	t.Run("closed", func(t *testing.T) {
		p, _, gone := begin(t)
		permit, ok := p.probe(gone)
		if !ok || permit.Probe() {
			t.Fatalf("allowed: %t, probe: %t; want an ordinary attempt", ok, permit.Probe())
		}
		permit.Report(Failure)
		p.is(Open)
		p.changed("closed>open", "open>half-open", "half-open>closed", "closed>open")
	})
	t.Run("open again", func(t *testing.T) {
		p, line, gone := begin(t)
		p.attempts(Failure)
		p.is(Open)
		if _, ok := p.probe(gone); ok {
			t.Error("allowed while open")
		}
		line.until(p)
		p.attempts(Success) // its slot is free
		p.is(Closed)
	})
	t.Run("a second reset when open again", func(t *testing.T) {
		p, line, gone := begin(t)
		p.attempts(Failure)
		p.end(gone)
		p.is(Open)
		line.until(p)
		p.attempts(Success) // its slot is free
		p.is(Closed)
	})
	t.Run("a second reset", func(t *testing.T) {
		p, _, gone := begin(t)
		p.end(gone)
		p.attempts(Failure) // the second in a row: the reset was no success of this period
		p.is(Open)
	})
}

// A Reset that comes while the probe's failure is being counted closes what that opens.
func TestResetWhileAProbeFails(t *testing.T) {
	line := newTimeline()
	var p *patient
	done := make(chan struct{})
	p = admit(t, Settings{
		ConsecutiveFailures: 1,
		Clock:               line.read,
		MayDouble: func() bool { // gobreaker's lock is held, and the next period not yet there
			failing := p.current.Load()
			go func() { p.Reset(); close(done) }()
			for !failing.reset.Load() {
				runtime.Gosched()
			}
			return true
		},
	})
	p.attempts(Failure)
	line.until(p)
	p.attempts(Failure)
	<-done
	p.is(Closed)
	p.changed("closed>open", "open>half-open", "half-open>open", "open>closed")
}

// Attempts and resets from many goroutines while virtual time runs. Changes come in order,
// each from the state that the one before has left, and at the end nobody holds the slot.
func TestManyGoroutinesAndResets(t *testing.T) {
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	var now, openings, resets atomic.Int64
	var last atomic.Uint32 // the state OnChange left
	b := New(Settings{
		ConsecutiveFailures: 3,
		SuccessRate:         .5,
		Open:                time.Microsecond,
		OpenMax:             4 * time.Microsecond,
		Window:              100 * time.Microsecond,
		Clock:               func() time.Time { return start.Add(time.Duration(now.Add(10))) },
		OnChange: func(from, to State) {
			if !last.CompareAndSwap(uint32(from), uint32(to)) {
				t.Errorf("%v to %v, but the last state was %v", from, to, State(last.Load()))
			}
			switch {
			case to == Open:
				openings.Add(1)
			case from == Open && to == Closed:
				resets.Add(1)
			}
		},
	})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20000 {
				if permit, ok := b.Allow(); ok {
					permit.Report(Outcome((i/10 + g) % 3))
				}
				if i%50 == g {
					b.Reset()
				}
			}
		})
	}
	wg.Wait()
	if openings.Load() == 0 || resets.Load() == 0 {
		t.Errorf("%d openings and %d resets of an open breaker, so nothing was tried", openings.Load(), resets.Load())
	}
	now.Add(int64(time.Second))
	permit, ok := b.Allow()
	if !ok {
		t.Fatalf("refused long after the last failure, while %v", b.State())
	}
	permit.Report(Success)
	if b.State() != Closed || State(last.Load()) != Closed {
		t.Errorf("it ends %v, OnChange says %v", b.State(), State(last.Load()))
	}
}
