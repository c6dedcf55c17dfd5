package limiter

import (
	"encoding/json"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"sidecar/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

func (g *Gradient) take(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if !g.Allow() {
			t.Fatalf("request %d of %d is refused, with a limit of %d", i+1, n, g.Limit())
		}
	}
}

// window tells of one: n requests are in flight at once and are done after latency, the last
// of them at its end.
func (g *Gradient) window(t *testing.T, end time.Duration, n int, latency time.Duration) {
	t.Helper()
	g.take(t, n)
	for range n - 1 {
		g.Done(end-1, latency, true)
	}
	g.Done(end, latency, true)
}

func TestRefusesBeyondTheLimit(t *testing.T) {
	g := New(Options{Initial: 3})
	g.take(t, 3)
	for range 4 {
		if g.Allow() {
			t.Fatal("a fourth is let in")
		}
	}
	if g.InFlight() != 3 || g.Shed() != 4 {
		t.Errorf("%d in flight and %d shed, want 3 and 4", g.InFlight(), g.Shed())
	}
	g.Done(0, 0, false)
	g.take(t, 1)
	g.Drop(0)
	g.Done(0, time.Millisecond, true)
	g.Done(0, time.Millisecond, false)
	if g.InFlight() != 0 {
		t.Errorf("%d in flight after all are out", g.InFlight())
	}
}

func TestDefaults(t *testing.T) {
	g := New(Options{})
	o := g.control.options
	o.Random = nil
	want := Options{
		Initial: DefaultInitial, Min: DefaultMin, Max: DefaultMax, Tolerance: DefaultTolerance,
		Window: DefaultWindow, Samples: DefaultSamples, Probe: DefaultProbe,
	}
	if o.Initial != want.Initial || o.Min != want.Min || o.Max != want.Max || o.Tolerance != want.Tolerance ||
		o.Window != want.Window || o.Samples != want.Samples || o.Probe != want.Probe {
		t.Errorf("the defaults are %+v, want %+v", o, want)
	}
	if g.Limit() != DefaultInitial {
		t.Errorf("the first limit is %d", g.Limit())
	}
}

func TestOptionsOutOfRangeAreSetRight(t *testing.T) {
	for _, c := range []struct {
		o                 Options
		initial, min, max int
	}{
		{Options{Initial: 1, Min: 5, Max: 10}, 5, 5, 10},
		{Options{Initial: 50, Min: 5, Max: 10}, 10, 5, 10},
		{Options{Min: 50, Max: 10}, 50, 50, 50},
		{Options{Initial: -1, Min: -1, Max: -1}, DefaultInitial, DefaultMin, DefaultMax},
		{Options{Initial: 1 << 40, Max: 1 << 40}, MaxLimit, DefaultMin, MaxLimit},
		{Options{Min: 1 << 40}, MaxLimit, MaxLimit, MaxLimit},
	} {
		o := c.o.withDefaults()
		if o.Initial != c.initial || o.Min != c.min || o.Max != c.max {
			t.Errorf("%+v becomes %d between %d and %d, want %d between %d and %d",
				c.o, o.Initial, o.Min, o.Max, c.initial, c.min, c.max)
		}
	}
	for _, bad := range []float64{0, -1, 0.9, math.NaN(), math.Inf(1)} {
		if got := (Options{Tolerance: bad}).withDefaults().Tolerance; got != DefaultTolerance {
			t.Errorf("a tolerance of %v becomes %v", bad, got)
		}
	}
	if got := (Options{Samples: 1 << 30}).withDefaults().Samples; got != maxSamples {
		t.Errorf("so many samples become %d", got)
	}
}

// The formula, for one window after another: limit, gradient and what they come from.
func TestChangesTheLimitByTheFormula(t *testing.T) {
	g := New(Options{Initial: 100, Samples: 90, Probe: -1})
	g.window(t, DefaultWindow, 90, 10*time.Millisecond)
	// long = short, gradient 1: 100 + 0.2 × √100.
	g.wants(t, 102, 1)
	// 1.5 × 10 ms / 20 ms = 0.75: 102 × (1 - 0.2 × 0.25) + 0.2 × √102.
	g.window(t, 2*DefaultWindow, 90, 20*time.Millisecond)
	g.wants(t, 98.92, 0.75)
	// Four times as slow is no less than a half: 98.92 × 0.9 + 0.2 × √98.92.
	g.window(t, 3*DefaultWindow, 90, 40*time.Millisecond)
	g.wants(t, 91.02, 0.5)
}

func (g *Gradient) wants(t *testing.T, limit, gradient float64) {
	t.Helper()
	if got := g.Status().Gradient; math.Abs(got-gradient) > 0.001 {
		t.Fatalf("the gradient is %v, want %v", got, gradient)
	}
	if got := g.control.limit; math.Abs(got-limit) > 0.01 || g.Limit() != int(got) {
		t.Fatalf("the limit is %v, and %d in force, want %v", got, g.Limit(), limit)
	}
}

func TestALimitThatIsNotUsedStays(t *testing.T) {
	g := New(Options{Initial: 100, Samples: 10})
	for i := range 50 {
		// Fast or slow, 49 in flight say nothing about 100.
		latency := time.Millisecond
		if i%2 == 1 {
			latency = 5 * time.Millisecond
		}
		g.window(t, time.Duration(i+1)*DefaultWindow, 49, latency)
	}
	if g.Limit() != 100 {
		t.Errorf("the limit is %d, want 100", g.Limit())
	}
}

func TestAWindowNeedsItsTimeAndItsSamples(t *testing.T) {
	g := New(Options{Initial: 100, Samples: 10, Probe: -1})
	g.window(t, DefaultWindow-1, 100, time.Millisecond)
	if g.Status().ShortTermSeconds != 0 {
		t.Fatal("a window is closed before its time")
	}
	g.window(t, DefaultWindow, 1, time.Millisecond)
	if g.Limit() != 102 {
		t.Fatalf("the limit is %d after a full window, want 102", g.Limit())
	}

	g = New(Options{Initial: 100, Samples: 10, Probe: -1})
	g.window(t, time.Hour, 9, time.Millisecond)
	if g.Status().ShortTermSeconds != 0 {
		t.Fatal("9 samples close a window that needs 10")
	}
	g.window(t, time.Hour, 1, time.Millisecond)
	if g.Status().ShortTermSeconds == 0 {
		t.Fatal("10 samples do not close it")
	}
}

// A window lasts as long as two requests at least, so that it sees what the limit did.
func TestAWindowLastsAsLongAsTwoRequests(t *testing.T) {
	g := New(Options{Initial: 20, Samples: 10, Probe: -1})
	g.window(t, time.Second, 10, time.Second)
	limit := g.Limit()
	g.window(t, 3*time.Second-1, 20, time.Second)
	if g.Limit() != limit {
		t.Fatal("a window is closed after less than two requests' time")
	}
	for at := 3 * time.Second; at < 12*time.Second; at += 2 * time.Second {
		g.window(t, at, 20, time.Second)
	}
	if g.Limit() <= limit {
		t.Errorf("the limit is still %d", g.Limit())
	}
}

func TestOneOutlierDoesNotMoveTheLimit(t *testing.T) {
	g := New(Options{Initial: 100, Probe: -1})
	g.window(t, DefaultWindow, 100, time.Millisecond)
	g.take(t, 100)
	g.Done(DefaultWindow, time.Minute, true) // counts for 8 ms
	for range 99 {
		g.Done(2*DefaultWindow, time.Millisecond, true)
	}
	if s := g.Status(); s.Gradient != 1 || s.ShortTermSeconds > 0.0015 {
		t.Errorf("after one outlier: %+v", s)
	}
}

func TestTimeoutsBringTheLimitDownAndAreNoLatency(t *testing.T) {
	g := New(Options{Initial: 100, Probe: -1})
	g.window(t, DefaultWindow, 100, time.Millisecond)
	long := g.Status().LongTermSeconds
	for i := range 200 {
		n := g.Limit()
		g.take(t, n)
		for range n {
			g.Drop(time.Duration(i+2) * time.Minute)
		}
	}
	s := g.Status()
	if s.Limit != DefaultMin || s.Gradient != lowest {
		t.Errorf("nothing but timeouts leave %+v, want the limit %d", s, DefaultMin)
	}
	if s.LongTermSeconds != long {
		t.Errorf("the long-term latency is %v s, was %v s", s.LongTermSeconds, long)
	}
	for i := range 200 {
		g.window(t, time.Duration(i+300)*time.Minute, g.Limit(), time.Millisecond)
	}
	if g.Limit() < 50 {
		t.Errorf("the limit is %d long after the service has healed", g.Limit())
	}
}

// A share of a fifth: gradient 0.8, and no allowance.
func TestAShareOfTimeouts(t *testing.T) {
	g := New(Options{Initial: 100, Samples: 100, Probe: -1})
	g.take(t, 100)
	for i := range 100 {
		if i%5 == 0 {
			g.Drop(DefaultWindow)
		} else {
			g.Done(DefaultWindow, time.Millisecond, true)
		}
	}
	g.wants(t, 96, 0.8)
}

func TestStatusIsReadable(t *testing.T) {
	g := New(Options{Initial: 100, Samples: 10, Probe: -1})
	g.window(t, DefaultWindow, 100, 10*time.Millisecond)
	g.take(t, 1)
	got, err := json.Marshal(g.Status())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"limit":102,"in_flight":1,"shed":0,"long_term_latency_seconds":0.01,"short_term_latency_seconds":0.01,"gradient":1,"probing":false}`
	if rounded(t, string(got)) != rounded(t, want) {
		t.Errorf("status is\n%s, want about\n%s", got, want)
	}
}

// rounded is the status with its latencies to the tenth of a millisecond.
func rounded(t *testing.T, text string) Status {
	t.Helper()
	var s Status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	s.LongTermSeconds = math.Round(s.LongTermSeconds * 1e4)
	s.ShortTermSeconds = math.Round(s.ShortTermSeconds * 1e4)
	return s
}

// Many threads, each with a clock that is a little behind or ahead of the others'.
func TestManyThreads(t *testing.T) {
	const threads, rounds = 8, 20_000
	g := New(Options{Initial: 4, Max: 50, Samples: 10})
	var wg sync.WaitGroup
	for thread := range threads {
		wg.Go(func() {
			for i := range rounds {
				at := time.Duration(i)*time.Millisecond + time.Duration(thread)*time.Microsecond
				if !g.Allow() {
					continue
				}
				if n := g.InFlight(); n < 1 || n > threads {
					t.Errorf("%d in flight by %d threads", n, threads)
				}
				switch i % 10 {
				case 0:
					g.Done(at, 0, false)
				case 1:
					g.Drop(at)
				default:
					g.Done(at, time.Duration(1+i%7)*time.Millisecond, true)
				}
				if s := g.Status(); s.Limit < DefaultMin || s.Limit > 50 || s.Gradient < lowest || s.Gradient > 1 {
					t.Errorf("out of range: %+v", s)
				}
			}
		})
	}
	wg.Wait()
	if g.InFlight() != 0 {
		t.Errorf("%d in flight after all are out", g.InFlight())
	}
	if g.Status().LongTermSeconds == 0 {
		t.Error("no window has been closed")
	}
}

func TestDoesNotAllocate(t *testing.T) {
	g := New(Options{Initial: 10, Max: 10, Samples: 1, Window: 1})
	at := time.Duration(0)
	for name, f := range map[string]func(){
		"allowed": func() { // closes a window each time
			at += time.Second
			if g.Allow() {
				g.Done(at, time.Millisecond, true)
			}
		},
		"dropped": func() {
			if g.Allow() {
				g.Drop(at)
			}
		},
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	full := New(Options{Initial: 2})
	full.take(t, 2)
	if n := testing.AllocsPerRun(100, func() { full.Allow() }); n != 0 {
		t.Errorf("refused: %v allocations", n)
	}
}

func BenchmarkAllowDone(b *testing.B) {
	g := New(Options{Initial: 1000})
	at := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		at += time.Microsecond
		if g.Allow() {
			g.Done(at, time.Millisecond, true)
		}
	}
}

func BenchmarkAllowDoneParallel(b *testing.B) {
	g := New(Options{Initial: 1000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		at := time.Duration(0)
		for pb.Next() {
			at += time.Microsecond
			if g.Allow() {
				g.Done(at, time.Millisecond, true)
			}
		}
	})
}

func BenchmarkRefused(b *testing.B) {
	g := New(Options{Initial: 2})
	g.Allow()
	g.Allow()
	b.ReportAllocs()
	for b.Loop() {
		g.Allow()
	}
}
