package upstream

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"sidecar/limiter"
)

func TestLimitOfTheService(t *testing.T) {
	play(t, func(o *Options) { o.Limits.InFlight = 3 }, func(st *stage) {
		st.refuses(ErrUnknownYet) // and is not counted
		st.reports("a", "b")
		held := []*Lease{st.acquires("a"), st.acquires("b", st.endpoint("a")), st.acquires("a")}
		st.refuses(ErrServiceFull, "limit.max_in_flight")
		held[1].Release()
		_, err := st.Acquire(PickKey{}, st.endpoint("a"), st.endpoint("b"))
		wantUnavailable(t, err, ErrAllAvoided) // refused by the picker, and counted out again
		held[1] = st.acquires("a")
		st.refuses(ErrServiceFull)
		for _, l := range held {
			l.Release()
			l.Release()
		}
		if n := st.gate.inFlight.Load(); n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

func TestLimitOfTheServiceHoldsForManyGoroutines(t *testing.T) {
	play(t, func(o *Options) { o.Limits.InFlight = 5 }, func(st *stage) {
		st.reports("a", "b", "c")
		var mu sync.Mutex
		held, most, refused := 0, 0, 0
		count := func(by int) {
			mu.Lock()
			held += by
			most = max(most, held)
			mu.Unlock()
		}
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for i := range 200 {
					l, err := st.Acquire(PickKey{Hash: uint64(g + i)})
					if err != nil {
						mu.Lock()
						refused++
						mu.Unlock()
						time.Sleep(time.Millisecond)
						continue
					}
					count(1)
					time.Sleep(time.Duration(i%3) * time.Millisecond)
					count(-1)
					l.Release()
				}
			})
		}
		wg.Wait()
		if most != 5 || refused == 0 {
			t.Errorf("%d were in flight at most, %d refused", most, refused)
		}
		if n := st.gate.inFlight.Load(); n != 0 {
			t.Errorf("%d in flight at the end", n)
		}
	})
}

func TestAPolicyMayKnowHowManyLeasesThereAre(t *testing.T) {
	for _, counted := range []bool{false, true} {
		var seen Candidates
		play(t, func(o *Options) {
			o.CountInFlight = counted
			o.Policy = func(c Candidates) Picker {
				seen = c
				return inTurn(c)
			}
		}, func(st *stage) {
			st.reports("a", "b", "c")
			st.attempt("b", Reset, 3)
			if ids(seen.Endpoints) != "a c" || ids(seen.Listed) != "a b c" || seen.Random == nil {
				t.Errorf("candidates %s of %s", ids(seen.Endpoints), ids(seen.Listed))
			}
			if seen.Now() != Now() {
				t.Errorf("the moment is %v, want %v", seen.Now(), Now())
			}
			if (seen.InFlight != nil) != counted {
				t.Fatalf("counted: %v", seen.InFlight != nil)
			}
			if counted {
				l := st.acquires("a")
				if n := seen.InFlight(); n != 1 {
					t.Errorf("%d in flight", n)
				}
				l.Release()
				if n := seen.InFlight(); n != 0 {
					t.Errorf("%d in flight", n)
				}
			}
		})
	}
}

func TestLimitsOfConnections(t *testing.T) {
	for _, c := range []struct {
		name              string
		endpoint, service Limits
		want              [4]*Unavailable // for one to a, another to a, one to b, a third to a
		text              string
	}{
		{"none", Limits{}, Limits{}, [4]*Unavailable{}, ""},
		{"endpoint", Limits{Connections: 1}, Limits{}, [4]*Unavailable{nil, ErrEndpointConnections, nil, ErrEndpointConnections}, "breaker.max_connections"},
		{"endpoint pending", Limits{Pending: 1}, Limits{}, [4]*Unavailable{nil, ErrEndpointPending, nil, ErrEndpointPending}, "breaker.max_pending"},
		{"service", Limits{}, Limits{Connections: 2}, [4]*Unavailable{nil, nil, ErrConnections, ErrConnections}, "limit.max_connections"},
		{"service pending", Limits{}, Limits{Pending: 2}, [4]*Unavailable{nil, nil, ErrPending, ErrPending}, "limit.max_pending"},
		{"both", Limits{Connections: 2}, Limits{Connections: 2}, [4]*Unavailable{nil, nil, ErrConnections, ErrEndpointConnections}, "max_connections"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := many(2, func(o *Options) { o.Endpoint, o.Limits = c.endpoint, c.service })
			a, b := s.Snapshot().Endpoints[0], s.Snapshot().Endpoints[1]
			var made []*Endpoint
			for i, e := range []*Endpoint{a, a, b, a} {
				err := e.BeginConnect()
				if c.want[i] == nil {
					if err != nil {
						t.Fatalf("connection %d: %v", i, err)
					}
					made = append(made, e)
					continue
				}
				wantUnavailable(t, err, c.want[i], c.text)
			}
			if status := s.Status(); status.Connections != int64(len(made)) || status.Pending != int64(len(made)) {
				t.Errorf("%d connections, %d pending, want %d", status.Connections, status.Pending, len(made))
			}
			for i, e := range made {
				e.EndConnect(i != 0) // the first one fails
			}
			if n := s.Status().Connections; n != int64(len(made)-1) {
				t.Errorf("%d connections after one has failed", n)
			}
			for _, e := range made[1:] {
				e.Disconnect()
			}
			wantNoConnections(t, s)
		})
	}
}

// A limit of pending connections is for those that are being made, not for those that are.
func TestMadeConnectionsAreNotPending(t *testing.T) {
	s := many(1, func(o *Options) { o.Endpoint.Pending, o.Limits.Pending = 1, 1 })
	e := s.Snapshot().Endpoints[0]
	for range 5 {
		if err := e.BeginConnect(); err != nil {
			t.Fatal(err)
		}
		e.EndConnect(true)
	}
	if n := e.Connections(); n != 5 {
		t.Errorf("%d connections", n)
	}
	for range 5 {
		e.Disconnect()
	}
	wantNoConnections(t, s)
}

func wantNoConnections(t *testing.T, s *Service) {
	t.Helper()
	open, pending := s.connections.open.Load(), s.connections.pending.Load()
	for _, e := range s.Snapshot().Endpoints {
		if n, p := e.Connections(), e.connections.pending.Load(); n != 0 || p != 0 {
			t.Errorf("%s: %d connections, %d pending", e.ID(), n, p)
		}
	}
	if open != 0 || pending != 0 {
		t.Errorf("service: %d connections, %d pending", open, pending)
	}
}

func TestConnectionsOfManyGoroutines(t *testing.T) {
	s := many(3, func(o *Options) {
		o.Endpoint = Limits{Connections: 4, Pending: 2}
		o.Limits = Limits{Connections: 6, Pending: 3}
	})
	endpoints := s.Snapshot().Endpoints
	var wg sync.WaitGroup
	refused := make([]map[string]int, 8)
	for g := range refused {
		refused[g] = make(map[string]int)
		wg.Go(func() {
			var open []*Endpoint
			for i := range 2000 {
				e := endpoints[(g+i)%3]
				if n := e.Connections(); n > 4+8 { // as many as there are goroutines may be on their way back
					t.Errorf("%d connections to one", n)
				}
				if err := e.BeginConnect(); err != nil {
					var u *Unavailable
					if !errors.As(err, &u) || u.Cause != "over-limit" {
						t.Errorf("error %v", err)
					}
					refused[g][err.Error()]++
				} else if i%5 == 0 {
					e.EndConnect(false)
				} else {
					e.EndConnect(true)
					open = append(open, e)
				}
				for len(open) > i%9 {
					open[0].Disconnect()
					open = open[1:]
				}
			}
			for _, e := range open {
				e.Disconnect()
			}
		})
	}
	wg.Wait()
	wantNoConnections(t, s)
	total := 0
	for _, r := range refused {
		for _, n := range r {
			total += n
		}
	}
	if total == 0 {
		t.Error("no limit was ever reached, so nothing was tried")
	}
}

func learning(o *Options) {
	o.Adaptive = limiter.New(limiter.Options{Initial: 20, Samples: 5, Probe: -1})
}

func TestLearnedLimitShedsAtOnce(t *testing.T) {
	play(t, func(o *Options) {
		o.Adaptive = limiter.New(limiter.Options{Initial: 2, Min: 2})
	}, func(st *stage) {
		st.reports("a", "b")
		one, two := st.acquires("a"), st.acquires("a")
		st.refuses(ErrShed, "overloaded", "limit.adaptive")
		status := st.Status()
		if status.Adaptive == nil || status.Adaptive.Limit != 2 || status.Adaptive.InFlight != 2 || status.Adaptive.Shed != 1 {
			t.Errorf("status %+v", status.Adaptive)
		}
		one.Release()
		two.Release()
		_, err := st.Acquire(PickKey{}, st.endpoint("a"), st.endpoint("b"))
		wantUnavailable(t, err, ErrAllAvoided)
		if n := st.Status().Adaptive.InFlight; n != 0 || st.gate.inFlight.Load() != 0 {
			t.Errorf("%d in flight for the limiter, %d for the service", n, st.gate.inFlight.Load())
		}
	})
}

// What the limiter learns from: the latency of answers, and that there was no answer in time
// or none wanted. That something failed, or a client has left, says nothing of the load.
func TestWhatTheLimiterLearnsFrom(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		result  Result
		learned time.Duration // as the latency
		falls   bool
	}{
		{Result{Outcome: Success, Latency: 10 * ms}, 10 * ms, false},
		{Result{Outcome: Success}, 0, false},
		{Result{Outcome: Canceled, Latency: 10 * ms}, 0, false},
		{Result{Outcome: ServerError, Latency: 1 * ms}, 0, false},
		{Result{Outcome: ConnectFailed, Latency: 1 * ms}, 0, false},
		{Result{Outcome: Reset, Latency: 1 * ms}, 0, false},
		{Result{Outcome: TimedOut, Latency: 100 * ms}, 0, true},
		{Result{Outcome: Overloaded, Latency: 1 * ms, RetryAfter: time.Second}, 0, true},
		{Result{Outcome: ServerError, Latency: 1 * ms, RetryAfter: time.Second}, 0, true},
	} {
		t.Run(fmt.Sprint(c.result.Outcome, c.result.RetryAfter), func(t *testing.T) {
			play(t, func(o *Options) { learning(o); o.MaxEjected = 0 }, func(st *stage) {
				st.reports("a")
				time.Sleep(time.Second) // the first window is over with its samples
				var held []Lease
				for range 15 {
					held = append(held, st.on("a"))
				}
				for i := range held {
					held[i].Report(c.result)
					time.Sleep(ms) // the body
					held[i].Release()
				}
				got := *st.Status().Adaptive
				near(t, "latency", time.Duration(got.ShortTermSeconds*float64(time.Second)), c.learned)
				if falls := got.Limit < 20; falls != c.falls || got.InFlight != 0 {
					t.Errorf("the limit is %d, %d in flight", got.Limit, got.InFlight)
				}
			})
		})
	}
}
