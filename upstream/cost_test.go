package upstream

import (
	"testing"
	"time"
	"unsafe"

	"sidecar/limiter"
)

func TestWhatASuccessTouchesIsOneCacheLine(t *testing.T) {
	var e Endpoint
	if end := unsafe.Offsetof(e.outcomes) + 8*uintptr(Success+1); end > 64 {
		t.Errorf("it ends at %d", end)
	}
	for _, e := range many(1000, nil).Snapshot().Endpoints {
		if at := uintptr(unsafe.Pointer(e)); at%64 != 0 {
			t.Fatalf("an Endpoint, of %d bytes, lies across lines: it begins at %#x", unsafe.Sizeof(*e), at)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	play(t, func(o *Options) {
		o.Endpoint.InFlight = 2
		o.Budget = BudgetOptions{Ratio: .2, MinPerSecond: 1}
	}, func(st *stage) {
		st.reports("a", "b", "c")
		check := func(what string, f func()) {
			t.Helper()
			if n := testing.AllocsPerRun(200, f); n != 0 {
				t.Errorf("%s: %v allocations", what, n)
			}
		}
		request := func(avoid ...*Endpoint) {
			l, err := st.Acquire(PickKey{}, avoid...)
			if err != nil {
				t.Fatal(err)
			}
			l.Report(Result{Outcome: Success, Latency: time.Millisecond})
			l.Release()
		}
		a := st.endpoint("a")
		avoid := []*Endpoint{a}
		check("request", func() { request() })
		check("retry", func() { request(avoid...) })
		check("budget", func() { st.Budget().Deposit(); st.Budget().Withdraw() })
		check("status of an endpoint", func() { a.Latency(); a.InFlight(); a.Counters() })
		defer st.on("a").release()
		defer st.on("a").release()
		if !raceEnabled { // under the race detector pools forget at random
			check("picking on after a refusal", func() { request() })
		}
		defer st.on("b").release()
		defer st.on("b").release()
		defer st.on("c").release()
		defer st.on("c").release()
		if !raceEnabled {
			check("over limit", func() { _, _ = st.Acquire(PickKey{}) })
		}
		st.reports()
		check("no instances", func() { _, _ = st.Acquire(PickKey{}) })
	})
}

// What is beside the common case: leases that are counted, endpoints that are left alone or
// begin slowly, that fail, and that are tried again. The clock is virtual, so that a pause
// does not end.
func TestNoAllocationBesideTheCommonCase(t *testing.T) {
	now := time.Unix(0, 0)
	s := many(5, func(o *Options) {
		o.Clock = func() time.Time { return now }
		o.Limits = Limits{InFlight: 10, Connections: 10, Pending: 10}
		o.Adaptive = limiter.New(limiter.Options{})
		o.MaxEjected = 0
		o.SlowStart = time.Hour
	})
	request := func(r Result) {
		l, err := s.Acquire(PickKey{Repeatable: true})
		if err != nil {
			t.Fatal(err)
		}
		l.Report(r)
		l.Release()
	}
	check := func(what string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(500, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	ok := Result{Outcome: Success, Latency: time.Millisecond}
	check("counted and with a learned limit", func() { request(ok) })
	e := s.Snapshot().Endpoints[0]
	check("connections", func() {
		if err := e.BeginConnect(); err != nil {
			t.Fatal(err)
		}
		e.EndConnect(true)
		e.Disconnect()
	})

	// A failure like the one before is counted where that one stands.
	fails := Result{Outcome: ServerError, Status: 500, Latency: time.Millisecond}
	for range 100 {
		request(fails)
	}
	check("failures", func() { request(fails) })
	check("failures and successes", func() { request(ok); request(fails) })
	check("the price of failing", func() { e.LatencyAt(s.clock.moment()); e.FailureShare() })
	check("broken after a success", func() {
		l, _ := s.Acquire(PickKey{})
		l.Report(ok)
		l.Break(fails)
		l.Release()
	})

	if raceEnabled {
		return // under the race detector pools forget at random
	}
	for i, e := range s.Snapshot().Endpoints {
		if i%2 == 0 {
			e.hold.pause(s.clock.moment(), time.Minute)
		} else {
			e.hold.startRamp(s.clock.moment())
		}
	}
	check("some are left alone, some begin slowly", func() { request(ok) })
	for _, e := range s.Snapshot().Endpoints {
		e.hold.pause(s.clock.moment(), time.Minute)
	}
	check("all are left alone", func() { request(ok) })
	held := make([]Lease, 0, 10)
	for range cap(held) {
		l, err := s.Acquire(PickKey{})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	check("the service is full", func() { _, _ = s.Acquire(PickKey{}) })
	for i := range held {
		held[i].Release()
	}
}

// An endpoint that waits for its probe, with requests that may not be one.
func TestNoAllocationWhileAProbeIsDue(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Reset, 3)
		st.ready("a")
		if n := testing.AllocsPerRun(500, func() {
			l, err := st.Acquire(PickKey{})
			if err != nil || l.Probe() {
				t.Fatal(err)
			}
			l.Report(Result{Outcome: Success, Latency: time.Millisecond})
			l.Release()
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
