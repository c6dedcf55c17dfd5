package upstream

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

func TestLeaseCountsOnce(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a")
		a := st.endpoint("a")
		l := st.on("a")
		if a.InFlight() != 1 {
			t.Errorf("%d in flight", a.InFlight())
		}
		l.Report(Result{Outcome: Success})
		l.Report(Result{Outcome: Reset})
		l.Release()
		l.Release()
		l.Report(Result{Outcome: Reset})
		without := st.on("a")
		without.Release()
		without.Report(Result{Outcome: Success})
		var zero Lease
		zero.Report(Result{})
		zero.Release()
		want := Counters{Attempts: 2, Successes: 1, Canceled: 1}
		if got := a.Counters(); got != want || a.InFlight() != 0 {
			t.Errorf("counters %+v, %d in flight", got, a.InFlight())
		}
	})
}

func TestCountersByOutcome(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a")
		for outcome := Success; outcome <= Canceled+1; outcome++ { // one more than there are
			st.attempt("a", outcome, int(outcome)+1)
		}
		want := Counters{
			Attempts: 36, Successes: 1, ConnectFailures: 2, Resets: 3, Timeouts: 4, ServerErrors: 5,
			Overloaded: 6, Canceled: 7 + 8, EjectionsRefused: 12, // the breaker does not count Overloaded
		}
		if got := st.endpoint("a").Counters(); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if got := want.Failures(); got != 20 {
			t.Errorf("%d failures", got)
		}
	})
}

func TestOutcomesInWords(t *testing.T) {
	for o, want := range map[Outcome]string{
		Success: "success", ConnectFailed: "connect failed", Reset: "connection reset", TimedOut: "timed out",
		ServerError: "server error", Overloaded: "overloaded", Canceled: "canceled", 99: "unknown",
	} {
		failure := want != "success" && want != "canceled" && want != "unknown"
		if o.String() != want || o.Failure() != failure {
			t.Errorf("%d is %q, a failure: %v", o, o, o.Failure())
		}
	}
	if got := fmt.Sprint(Retired, Down, Up, EventKind(9)); got != "retired down up unknown" {
		t.Errorf("kinds %q", got)
	}
}

func TestAvoidedEndpoints(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		a, b := st.endpoint("a"), st.endpoint("b")
		st.acquires("b", a).Release()
		_, err := st.Acquire(PickKey{}, a, b)
		wantUnavailable(t, err, ErrAllAvoided)
	})
}

func TestMaxInFlight(t *testing.T) {
	play(t, func(o *Options) { o.Endpoint.InFlight = 2 }, func(st *stage) {
		st.reports("a", "b")
		held := []*Lease{st.acquires("a"), st.acquires("a"), st.acquires("b"), st.acquires("b")}
		st.refuses(ErrOverLimit)
		_, err := st.Acquire(PickKey{}, st.endpoint("a"))
		wantUnavailable(t, err, ErrOverLimit)
		held[1].Release()
		held[1] = st.acquires("a")
		for _, l := range held {
			l.Release()
		}
		for _, e := range st.Snapshot().Endpoints {
			if e.InFlight() != 0 {
				t.Errorf("%d in flight on %s", e.InFlight(), e.ID())
			}
		}
	})
}

func TestMaxInFlightHoldsForManyGoroutines(t *testing.T) {
	play(t, func(o *Options) { o.Endpoint.InFlight = 3 }, func(st *stage) {
		st.reports("a", "b", "c")
		var mu sync.Mutex
		held := make(map[*Endpoint]int)
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for i := range 200 {
					l, err := st.Acquire(PickKey{Hash: uint64(g + i)})
					if err != nil {
						continue
					}
					mu.Lock()
					if held[l.Endpoint()]++; held[l.Endpoint()] > 3 {
						t.Errorf("%d leases on %s", held[l.Endpoint()], l.Endpoint().ID())
					}
					mu.Unlock()
					time.Sleep(time.Millisecond)
					mu.Lock()
					held[l.Endpoint()]--
					mu.Unlock()
					l.Release()
				}
			})
		}
		wg.Wait()
	})
}

// The tries of one Acquire are bounded, however many endpoints would refuse.
func TestAcquireGivesUp(t *testing.T) {
	picks := 0
	play(t, func(o *Options) {
		o.Endpoint.InFlight = 1
		o.Policy = func(c Candidates) Picker { return countingPicker{inTurnPicker(c.Endpoints), &picks} }
	}, func(st *stage) {
		var instances []string
		for i := range 26 {
			instances = append(instances, string(rune('a'+i)))
		}
		st.reports(instances...)
		for _, id := range instances[:25] {
			l := st.on(id)
			defer l.Release()
		}
		picks = 0
		st.refuses(ErrOverLimit)
		if picks != maxPicks {
			t.Errorf("%d picks", picks)
		}
	})
}

type countingPicker struct {
	inTurnPicker
	picks *int
}

func (p countingPicker) Pick(key PickKey, avoid []*Endpoint) *Endpoint {
	*p.picks++
	return p.inTurnPicker.Pick(key, avoid)
}

// Requests come and go from many goroutines while the set churns. At the end nothing is in
// flight anywhere, also not on those that have left.
func TestNothingIsInFlightAfterChurn(t *testing.T) {
	play(t, func(o *Options) { o.Endpoint.InFlight = 50 }, func(st *stage) {
		var mu sync.Mutex
		seen := make(map[*Endpoint]uint64)
		st.reports("a", "b", "c")
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for i := range 300 {
					l, err := st.Acquire(PickKey{Hash: uint64(g * i)})
					if err != nil {
						time.Sleep(time.Millisecond)
						continue
					}
					mu.Lock()
					seen[l.Endpoint()]++
					mu.Unlock()
					if i%3 == 0 {
						time.Sleep(time.Duration(i%5) * time.Millisecond)
					}
					if i%4 != 0 {
						l.Report(Result{Outcome: Outcome(i % int(numOutcomes)), Latency: time.Millisecond})
					}
					l.Release()
				}
			})
		}
		for i := range 100 {
			sets := [][]string{{"a", "b"}, {"b", "c"}, {}, {"a 3", "b", "c"}, {"a 1 10.0.0.9:80", "c"}}
			set := instancesOf(sets[i%len(sets)]...)
			st.source.report(discovery.Update{Instances: set})
			time.Sleep(2 * time.Millisecond)
		}
		wg.Wait()
		synctest.Wait()
		if len(seen) < 10 {
			t.Errorf("only %d endpoints were used, so little was tried", len(seen))
		}
		for e, n := range seen {
			c := e.Counters()
			if e.InFlight() != 0 || c.Attempts != n || c.Successes+c.Failures()+c.Canceled != n {
				t.Errorf("%s: %d in flight, %d leases, counters %+v", e.ID(), e.InFlight(), n, c)
			}
		}
		st.reports("z")
		if n := st.slots.taken.Load(); n != 0 {
			t.Errorf("%d slots taken", n)
		}
		if got := st.Status().Endpoints; len(got) != 1 {
			t.Errorf("%d endpoints in the status", len(got))
		}
	})
}

// A snapshot that is a moment old must not send everything to an endpoint that recovered.
func TestRecoveredEndpointIsNotFlooded(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("c", Reset, 3)
		st.ready("c")
		stale := st.Snapshot()
		probe := st.acquires("c")
		probe.Report(Result{Outcome: Success})
		probe.Release()
		st.snapshot.Store(stale)
		st.acquires("a").Release()
	})
}

// release is Release for deferring.
func (l Lease) release() { l.Release() }
