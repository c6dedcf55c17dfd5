package upstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

// An asked source counts how often it is asked to look again.
type asked struct {
	report func(discovery.Update)
	times  []time.Duration
	begin  time.Time
}

func (a *asked) Watch(ctx context.Context, report func(discovery.Update)) {
	a.report = report
	<-ctx.Done()
}

func (a *asked) Refresh() { a.times = append(a.times, time.Since(a.begin)) }

// doubted runs a service of one endpoint whose source can be asked.
func doubted(t *testing.T, test func(s *Service, a *asked, fail func(Outcome))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &asked{begin: time.Now()}
		s := New(Options{Name: "orders", Source: a, Policy: inTurn})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		synctest.Wait()
		a.report(discovery.Update{Instances: []discovery.Instance{{ID: "a", Address: "10.0.0.1:80", Weight: 1}}})
		<-s.Known()
		test(s, a, func(o Outcome) {
			l, err := s.Acquire(PickKey{})
			if err != nil {
				t.Fatal(err)
			}
			l.Report(Result{Outcome: o, Err: errors.New("no")})
			l.Release()
			synctest.Wait()
		})
		cancel()
		<-done
	})
}

func TestFailedConnectionsHaveTheSourceLookAgain(t *testing.T) {
	doubted(t, func(_ *Service, a *asked, fail func(Outcome)) {
		for _, o := range []Outcome{Success, ServerError, TimedOut, Reset, Overloaded, Canceled} {
			fail(o)
		}
		time.Sleep(time.Minute)
		if len(a.times) != 0 {
			t.Fatalf("asked at %v though connections can be made", a.times)
		}
		fail(ConnectFailed)
		if len(a.times) != 1 || a.times[0] != time.Minute {
			t.Fatalf("asked at %v", a.times)
		}
	})
}

func TestTheSourceIsAskedLessAndLess(t *testing.T) {
	doubted(t, func(_ *Service, a *asked, fail func(Outcome)) {
		for time.Since(a.begin) < 100*time.Second {
			fail(ConnectFailed)
			time.Sleep(100 * time.Millisecond)
		}
		// At once, after 1 s, 2 s and so on up to every 30 s.
		if n := len(a.times); n < 7 || n > 9 {
			t.Fatalf("asked %d times, at %v", n, a.times)
		}
		for i, at := range a.times[1:] {
			if least := min(askFirst<<i, askMost); at-a.times[i] < least {
				t.Errorf("asked again after %v, want %v at least", at-a.times[i], least)
			}
		}
	})
}

func TestAChangedSetEndsTheRestraint(t *testing.T) {
	doubted(t, func(s *Service, a *asked, fail func(Outcome)) {
		for range 5 {
			fail(ConnectFailed)
			time.Sleep(20 * time.Second)
		}
		before := len(a.times)
		fail(ConnectFailed)
		a.report(discovery.Update{Instances: []discovery.Instance{{ID: "b", Address: "10.0.0.2:80", Weight: 1}}})
		synctest.Wait()
		fail(ConnectFailed)
		if len(a.times) <= before {
			t.Fatalf("asked at %v", a.times)
		}
	})
}

func TestTheSourceIsAskedOncePerSecondHoweverOftenItChanges(t *testing.T) {
	doubted(t, func(_ *Service, a *asked, fail func(Outcome)) {
		for i := range 10 {
			fail(ConnectFailed)
			time.Sleep(100 * time.Millisecond)
			a.report(discovery.Update{Instances: []discovery.Instance{{ID: "b", Address: fmt.Sprintf("10.0.0.2:%d", 80+i), Weight: 1}}})
			synctest.Wait()
		}
		if len(a.times) > 2 {
			t.Errorf("asked at %v", a.times)
		}
	})
}

func TestProblemsAndHeldLossesAreLoggedOnce(t *testing.T) {
	play(t, nil, func(st *stage) {
		problem := discovery.Update{Instances: []discovery.Instance{{ID: "a", Address: "10.0.0.1:80", Weight: 1}}, Problems: []string{"b: port 0"}}
		st.Feed(problem)
		st.Feed(problem)
		synctest.Wait()
		st.Feed(problem)
		synctest.Wait()
		if n := st.logged("instances are left out"); n != 1 {
			t.Errorf("the problem is logged %d times", n)
		}
		st.fails("consul: connection refused")
		st.Feed(discovery.Update{Err: fmt.Errorf("9 of 10 %w", discovery.ErrHeld)})
		synctest.Wait()
		st.fails("consul: connection refused")
		if n := st.logged("source fails, the last set stands"); n != 2 {
			t.Errorf("the failure and the loss are logged %d times", n)
		}
	})
}

func TestAnAnswerThatChangesNothingIsOnlyASignOfLife(t *testing.T) {
	doubted(t, func(s *Service, a *asked, _ func(Outcome)) {
		snapshot := s.Snapshot()
		time.Sleep(time.Minute)
		a.report(discovery.Update{Instances: []discovery.Instance{{ID: "a", Address: "10.0.0.1:80", Weight: 1}}, Index: 9, At: time.Now()})
		synctest.Wait()
		st := s.Status().Source
		if st.Updates != 1 || st.AgeSeconds != 0 || st.Index != 9 {
			t.Errorf("%+v", st)
		}
		if s.Snapshot() != snapshot {
			t.Error("a new snapshot was published for it")
		}
	})
}

func TestASetFromDiskServesUntilTheRegistryAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		s := New(Options{Name: "orders", Source: a, Policy: inTurn})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		synctest.Wait()
		set := []discovery.Instance{{ID: "a", Address: "10.0.0.1:80", Weight: 1}}
		a.report(discovery.Update{Instances: set, Stored: true, At: time.Now().Add(-time.Hour)})
		a.report(discovery.Update{Err: errors.New("registry is down")})
		<-s.Known()
		synctest.Wait()
		st := s.Status()
		if !st.Source.Stored || !st.Source.Failing || st.Source.AgeSeconds != 3600 || st.Usable != 1 {
			t.Errorf("from disk: %+v", st.Source)
		}
		a.report(discovery.Update{Instances: set, Problems: []string{"b: port 0"}, At: time.Now()})
		synctest.Wait()
		if st := s.Status().Source; st.Stored || st.Failing || st.AgeSeconds != 0 || len(st.Problems) != 1 || st.Updates != 1 {
			t.Errorf("from the registry: %+v", st)
		}
		cancel()
		<-done
	})
}
