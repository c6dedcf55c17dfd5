package limiter

import (
	"math"
	"testing"
	"time"
)

const ms = time.Millisecond

// newDipping returns a Gradient that has begun its first dip, at 200 ms, from the limit 104
// and the latency 10 ms.
func newDipping(t *testing.T, probe time.Duration) *Gradient {
	t.Helper()
	g := New(Options{Initial: 100, Samples: 100, Probe: probe, Random: func() uint64 { return 0 }})
	g.window(t, 100*ms, 100, 10*ms)
	g.wantProbing(t, false) // one window does not say whether the queue is still forming
	g.window(t, 200*ms, g.Limit(), 10*ms)
	g.wantProbing(t, true)
	return g
}

func (g *Gradient) wantProbing(t *testing.T, want bool) {
	t.Helper()
	if s := g.Status(); s.Probing != want {
		t.Fatalf("probing is %v: %+v", s.Probing, s)
	}
}

func (g *Gradient) wantLong(t *testing.T, want time.Duration) {
	t.Helper()
	if got := g.Status().LongTermSeconds; math.Abs(got-want.Seconds()) > 20e-6 {
		t.Fatalf("the long-term latency is %.4f s, want %v", got, want)
	}
}

// step tells of one step of a dip: first what was let in before it comes out, then what was
// let in after takes latency.
func (g *Gradient) step(t *testing.T, began, latency time.Duration) (ended time.Duration) {
	t.Helper()
	g.take(t, 1)
	g.Done(began+100*ms, 90*ms, true)
	ended = began + 300*ms
	for range dipSamples {
		for range 100 {
			g.take(t, 1)
			g.Done(ended, latency, true)
		}
	}
	return ended
}

func TestADipThatFindsNothingChangesNothing(t *testing.T) {
	g := newDipping(t, 0)
	// 104 × 0.8, as there seems to be no queue.
	if g.Limit() != 83 {
		t.Errorf("the limit in the dip is %d, want 83", g.Limit())
	}
	g.step(t, 200*ms, 10*ms)
	g.wantProbing(t, false)
	g.wantLong(t, 10*ms)
	if g.Limit() != 104 {
		t.Errorf("the limit after the dip is %d, want 104", g.Limit())
	}
}

func TestADipGoesDeeperWhileThatHelps(t *testing.T) {
	g := newDipping(t, 0)
	at := 200 * ms
	for i, latency := range []time.Duration{8 * ms, 6400 * time.Microsecond, 5 * ms} {
		at = g.step(t, at, latency)
		g.wantProbing(t, true)
		if want := int(104.04 * math.Pow(deeper, float64(i+2))); g.Limit() != want {
			t.Errorf("the limit is %d in step %d, want %d", g.Limit(), i+2, want)
		}
	}
	g.step(t, at, 5*ms)
	g.wantProbing(t, false)
	g.wantLong(t, 5*ms)
	// The last step that helped was to 53: 1.5 × 53.2 + √53.2.
	if g.Limit() != 87 {
		t.Errorf("the limit after the dip is %d, want 87", g.Limit())
	}
}

func TestADipBelievesHalfOfASlowerService(t *testing.T) {
	g := newDipping(t, 0)
	g.step(t, 200*ms, 20*ms)
	g.wantLong(t, 15*ms)
	g = newDipping(t, 0)
	g.step(t, 200*ms, 70*ms)
	g.wantLong(t, 25*ms) // trust times 10 ms
}

// What was let in before the step waited in the old queue.
func TestADipMeasuresOnlyWhatItLetIn(t *testing.T) {
	g := newDipping(t, 0)
	g.take(t, 51)
	g.Done(300*ms, 90*ms, true)
	for range 50 {
		g.Done(350*ms, 160*ms, true)
	}
	g.wantProbing(t, true)
	for range dipSamples * 100 {
		g.take(t, 1)
		g.Done(500*ms, 10*ms, true)
	}
	g.wantProbing(t, false)
	g.wantLong(t, 10*ms)
}

func TestADipThatMeetsTimeoutsIsGivenUp(t *testing.T) {
	g := newDipping(t, 0)
	g.take(t, 1)
	g.Done(300*ms, 10*ms, true)
	// Half the latency would be reason to go deeper, were not every eighth request dropped.
	for i := range dipSamples * 100 {
		g.take(t, 1)
		if i%8 == 0 {
			g.Drop(500 * ms)
		} else {
			g.Done(500*ms, 5*ms, true)
		}
	}
	g.wantProbing(t, false)
	if got := g.Status().LongTermSeconds; got < 0.0099 {
		t.Errorf("the long-term latency is %.4f s, want about 10 ms", got)
	}
}

// However often dips are asked for, they take a twentieth of the time at most.
func TestDipsRest(t *testing.T) {
	g := newDipping(t, 1)
	at := g.step(t, 200*ms, 10*ms)
	for rested := at + 20*300*ms; at < rested-100*ms; {
		at += 100 * ms
		g.window(t, at, g.Limit(), 10*ms)
		g.wantProbing(t, false)
	}
	for range 2 {
		at += 100 * ms
		g.window(t, at, g.Limit(), 10*ms)
	}
	g.wantProbing(t, true)
}

func TestNoDipWhileTheQueueForms(t *testing.T) {
	g := New(Options{Initial: 100, Window: time.Second})
	latency := 10 * ms
	for i := range 10 {
		g.window(t, time.Duration(i+1)*time.Second, g.Limit(), latency)
		g.wantProbing(t, false)
		latency = latency * 5 / 4 // to 75 ms
	}
}

// Nor when the limit is not in full use.
func TestNoDipWithoutNeed(t *testing.T) {
	g := New(Options{Initial: 100, Samples: 10, Max: 100})
	for i := range 100 {
		g.window(t, time.Duration(i+1)*time.Minute, 99, 10*ms)
		g.wantProbing(t, false)
	}
}

// A long-term latency that is far too high falls by a tenth per window.
func TestLongTermLatencyComesDownQuickly(t *testing.T) {
	g := New(Options{Initial: 100, Samples: 10, Probe: -1})
	at := 100 * ms
	g.window(t, at, 10, 80*ms)
	for range 20 {
		at += 200 * ms
		g.window(t, at, 90, 10*ms)
	}
	if got := g.Status().LongTermSeconds; got > 0.021 || got < 0.01 {
		t.Errorf("the long-term latency is %.4f s, want it at twice the short-term one, 0.01 s", got)
	}
}
