package upstream

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errIll = errors.New("connect: connection refused")

func withChecks(o *Options) { o.HealthCheck = &HealthCheck{Settings: checked} }

func TestHealthCheckTakesOutAndBrings(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b", "c")
		st.wantUsable("a b c") // until the first verdict the source is believed
		st.stands("a", StateUsable, "the source reports it")
		time.Sleep(time.Second)
		st.stands("a", StateUsable, "health check passed")
		st.wantEvents()

		st.falls(errIll, "a")
		st.wantUsable("b c")
		st.stands("a", StateDown, "failed 2 times in a row, the last time: connect: connection refused")
		st.wantEvents("a down")
		if !st.endpoint("a").Down() || st.logged("endpoint down") != 1 {
			t.Errorf("down: %v, logged %d times", st.endpoint("a").Down(), st.logged("endpoint down"))
		}

		st.falls(nil, "a")
		st.wantUsable("a b c")
		st.stands("a", StateUsable, "passed 2 times in a row")
		st.wantEvents("a up")
		if n := st.logged("endpoint up"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		if got := whats(st.status("a").History); got != "discovered, checked, down, up" {
			t.Errorf("history %q", got)
		}
	})
}

func TestDownFromTheStart(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.ails(errIll, "10.0.0.2:80")
		st.reports("a", "b")
		time.Sleep(time.Second)
		st.wantUsable("a")
		st.wantEvents("b down")
	})
}

func TestAllDownFailsOpen(t *testing.T) {
	play(t, func(o *Options) {
		withChecks(o)
		o.Breaker.Open = time.Hour
	}, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("c", Reset, 3) // ejected, and not used even so
		st.falls(errIll, "c")
		st.wantUsable("a b")
		st.falls(errIll, "a", "b")
		st.wantUsable("a b")
		status := st.Status()
		if status.FailOpen != openAllDown || status.Usable != 2 || status.Cause != "" {
			t.Errorf("status %+v", status)
		}
		if n := st.logged("failing open"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		st.stands("a", StateDown, "connection refused")
		st.acquires("a").Release()

		st.falls(nil, "b")
		st.wantUsable("b")
		if got := st.Status().FailOpen; got != "" || st.logged("no longer failing open") != 1 {
			t.Errorf("fail open: %q", got)
		}
		if got := whats(st.Status().History); got != "fail-open, fail-open ended" {
			t.Errorf("history %q", got)
		}
	})
}

func TestAllDownAndAllThatIsLeftEjected(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", Reset, 3)
		st.ails(errIll, "10.0.0.1:80", "10.0.0.2:80")
		time.Sleep(300 * time.Millisecond)
		st.wantUsable("b")
		st.reports("a")
		st.wantUsable("a")
		st.acquires("a").Release()
	})
}

// One is ejected and the other goes down: the ejected one passes its check, so it is the
// better guess.
func TestDownAndEjectedFailsOpenToTheEjected(t *testing.T) {
	play(t, func(o *Options) {
		withChecks(o)
		o.Breaker.Open = time.Hour
	}, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(time.Second)
		st.attempt("a", Reset, 3)
		st.wantUsable("b")
		st.falls(errIll, "b")
		st.wantUsable("a")
		if got := st.Status().FailOpen; got != openAllEjected {
			t.Errorf("fail open: %q", got)
		}
		st.acquires("a").Release()
		st.stands("a", StateEjected, "3 failures in a row")
		st.stands("b", StateDown, "connection refused")
	})
}

func TestHealthChecksEndWithTheirEndpoint(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(5 * time.Second)
		st.reports("b")
		probed := func() int {
			st.health.mu.Lock()
			defer st.health.mu.Unlock()
			return st.health.probed["10.0.0.1:80"]
		}
		before := probed()
		if before < 4 {
			t.Errorf("probed %d times in 5 s", before)
		}
		st.ails(errIll, "10.0.0.1:80")
		time.Sleep(time.Minute)
		if after := probed(); after != before {
			t.Errorf("probed %d times after it had left", after-before)
		}
		st.wantEvents("a retired")
	})
}

// A laggard is a prober that ends a second after its context.
type laggard struct{ running atomic.Int64 }

func (l *laggard) Probe(ctx context.Context, _ string) error {
	l.running.Add(1)
	defer l.running.Add(-1)
	<-ctx.Done()
	time.Sleep(time.Second)
	return ctx.Err()
}

func TestRunWaitsForItsHealthChecks(t *testing.T) {
	play(t, nil, func(st *stage) {
		prober := &laggard{}
		s := New(Options{
			Name: "orders", Source: st.source, Policy: inTurn,
			HealthCheck: &HealthCheck{Prober: prober, Settings: checked},
		})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		synctest.Wait()
		st.reports("a", "b", "c")
		time.Sleep(500 * time.Millisecond)
		if n := prober.running.Load(); n != 3 {
			t.Errorf("%d probes run", n)
		}
		cancel()
		<-ended
		if n := prober.running.Load(); n != 0 {
			t.Errorf("%d probes still run", n)
		}
	})
}

func TestRunTwicePanics(t *testing.T) {
	play(t, nil, func(st *stage) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		st.Run(context.Background())
	})
}
