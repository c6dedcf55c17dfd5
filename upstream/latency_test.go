package upstream

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// near wants got within a thousandth of want.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if d := math.Abs(float64(got - want)); d > float64(want)/1000 {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// after returns want as it is after d of decay.
func after(want, d time.Duration) time.Duration {
	return time.Duration(float64(want) * math.Exp(-float64(d)/float64(decay)))
}

func (p *peakEWMA) now() time.Duration {
	ns, _ := p.read(Now())
	return time.Duration(ns)
}

func TestLatencyJumpsToThePeakAndDecaysOnReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peakEWMA
		p.forget()
		near(t, "guess", p.now(), FirstGuess)
		time.Sleep(time.Minute)
		near(t, "a guess does not decay", p.now(), FirstGuess)

		p.observe(Now(), time.Millisecond)
		near(t, "the first sample replaces the guess", p.now(), time.Millisecond)
		p.observe(Now(), time.Second)
		near(t, "peak", p.now(), time.Second)
		p.observe(Now(), time.Millisecond)
		near(t, "a sample at once weighs nothing", p.now(), time.Second)
		for _, d := range []time.Duration{50 * time.Millisecond, time.Second, 10 * time.Second, 30 * time.Second} {
			start := time.Now()
			time.Sleep(d)
			near(t, "after "+d.String(), p.now(), after(time.Second, d))
			near(t, "reading changes nothing", p.now(), after(time.Second, d))
			p.set(Now(), time.Second)
			if time.Since(start) != d {
				t.Fatal("time moves by itself")
			}
		}
	})
}

func TestLatencyAveragesSamplesBelowThePeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peakEWMA
		p.set(Now(), 100*time.Millisecond)
		time.Sleep(decay)
		p.observe(Now(), 10*time.Millisecond)
		w := math.Exp(-1)
		near(t, "one sample after tau", p.now(), time.Duration(w*100e6+(1-w)*10e6))
		for range 1000 {
			time.Sleep(100 * time.Millisecond)
			p.observe(Now(), 10*time.Millisecond)
		}
		near(t, "steady", p.now(), 10*time.Millisecond)
	})
}

func TestLatencyGoesToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peakEWMA
		p.observe(Now(), 5*time.Second)
		time.Sleep(7 * 24 * time.Hour)
		if got := p.now(); got != 0 {
			t.Errorf("%v after a week", got)
		}
		p.observe(Now(), time.Millisecond)
		near(t, "a sample after a week", p.now(), time.Millisecond)
	})
}

func TestMomentsOutOfOrder(t *testing.T) {
	if got := Moment(5).since(7); got != 0 {
		t.Errorf("a step back counts as %v", got)
	}
	if got := Moment(3).since(math.MaxUint32 - 1); got != 5 {
		t.Errorf("over the wrap: %v", got)
	}
	if got := momentOf(time.Second).since(momentOf(0)); math.Abs(got-decayTicks/10) > 1 {
		t.Errorf("a second is %v ticks, tau %v", got, decayTicks)
	}
}

func TestWeightIsTheExponential(t *testing.T) {
	for ticks := 0.; ticks < 2*decayTicks; ticks += decayTicks / 1000 {
		if d := math.Abs(weight(ticks) - math.Exp(-ticks/decayTicks)); d > 1e-6 {
			t.Fatalf("off by %v at %v ticks", d, ticks)
		}
	}
}

func TestLatencyOfManyThreadsStaysWithinTheSamples(t *testing.T) {
	var p peakEWMA
	p.forget()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				p.observe(Now(), time.Duration(g*i%7+1)*time.Millisecond)
			}
		})
	}
	wg.Wait()
	if got := p.now(); got < time.Millisecond*9/10 || got > 7*time.Millisecond {
		t.Errorf("%v", got)
	}
}

func TestResultsAndLatency(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		a := st.endpoint("a")
		report := func(r Result) {
			l := st.on("a")
			l.Report(r)
			l.Release()
		}
		report(Result{Outcome: Canceled, Latency: time.Second})
		report(Result{Outcome: Success})
		near(t, "nothing measured", a.Latency(), FirstGuess)
		report(Result{Outcome: Success, Latency: 4 * time.Millisecond})
		near(t, "success", a.Latency(), 4*time.Millisecond)
		report(Result{Outcome: Canceled, Latency: 2 * time.Millisecond})
		report(Result{Outcome: Canceled})
		near(t, "canceled early", a.Latency(), 4*time.Millisecond)
		report(Result{Outcome: Canceled, Latency: time.Second})
		near(t, "canceled after a long wait", a.Latency(), time.Second)
		// A failure is no sample: how long it took says little of what an answer would have
		// taken. It has a price instead, see failing_test.go.
		report(Result{Outcome: ServerError, Latency: time.Microsecond})
		near(t, "fast failure", a.Latency(), time.Second)
		report(Result{Outcome: TimedOut, Latency: 15 * time.Second})
		near(t, "slow failure", a.Latency(), time.Second)
		ns, _ := a.LatencyAt(Now())
		near(t, "to a picker", time.Duration(ns), time.Duration(price(float64(time.Second), a.FailureShare())))
	})
}

func BenchmarkLatency(b *testing.B) {
	var p peakEWMA
	b.ReportAllocs()
	for b.Loop() {
		p.observe(Now(), time.Millisecond)
		p.read(Now())
	}
}

// Now returns the present Moment, of services with the system's clock.
func Now() Moment { return momentOf(time.Since(epoch)) }
