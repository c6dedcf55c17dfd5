package lastgood

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

// A script is a Source that reports what the test says, when it says it.
type script struct {
	updates   chan discovery.Update
	refreshed int
}

func newScript() *script { return &script{updates: make(chan discovery.Update)} }

func (s *script) Refresh() { s.refreshed++ }

func (s *script) Watch(ctx context.Context, report func(discovery.Update)) {
	for {
		select {
		case u := <-s.updates:
			report(u)
		case <-ctx.Done():
			return
		}
	}
}

// A heard is a report and when it came, after the start.
type heard struct {
	discovery.Update
	after time.Duration
}

// A watching is a Source's Watch that runs in a bubble.
type watching struct {
	t      *testing.T
	start  time.Time
	heard  []heard
	cancel context.CancelFunc
	ended  chan struct{}
}

func watchIt(t *testing.T, s discovery.Source) *watching {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{t: t, start: time.Now(), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		s.Watch(ctx, func(u discovery.Update) { w.heard = append(w.heard, heard{u, time.Since(w.start)}) })
	}()
	t.Cleanup(w.stop)
	return w
}

func (w *watching) stop() {
	w.cancel()
	<-w.ended
}

// want checks what was heard since the last time.
func (w *watching) want(want ...heard) {
	w.t.Helper()
	synctest.Wait()
	got := w.heard
	w.heard = nil
	if len(got) != len(want) {
		w.t.Fatalf("heard %+v, want %+v", got, want)
	}
	for i := range want {
		a, b := got[i], want[i]
		same := errors.Is(a.Err, b.Err)
		if !same || !reflect.DeepEqual(fields(a), fields(b)) {
			w.t.Errorf("report %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// fields are what a report without error holds.
func fields(h heard) []any {
	return []any{h.after, h.Instances, h.Unknown, h.Stored, h.Index, h.States, h.Problems, h.At}
}

// keptSet is a set as Load returns it, and stored the report of it.
func keptSet() (Set, discovery.Update) {
	set := orders()
	set.Problems = []string{"kept instance"}
	return set, discovery.Update{Instances: set.Instances, Index: set.Index, Problems: set.Problems, Stored: true, At: set.Confirmed}
}

func one(address string) discovery.Update {
	return discovery.Update{Instances: []discovery.Instance{{ID: address, Address: address, Weight: 1}}, At: time.Now()}
}

var errRefused = errors.New("connection refused")

func TestTheKeptSetComesBeforeTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		set, stored := keptSet()
		inner := newScript()
		w := watchIt(t, s.Source("orders", "consul", set, inner))
		time.Sleep(100 * time.Millisecond)
		failed := discovery.Update{Err: errRefused, At: time.Now()}
		inner.updates <- failed
		w.want(heard{stored, 100 * time.Millisecond}, heard{failed, 100 * time.Millisecond})
		time.Sleep(time.Minute)
		inner.updates <- failed
		w.want(heard{failed, time.Minute + 100*time.Millisecond})
		good := one("10.0.0.1:80")
		inner.updates <- good
		w.want(heard{good, time.Minute + 100*time.Millisecond})
	})
}

func TestTheKeptSetIsServedToThoseWhoWaitHalfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		set, stored := keptSet()
		inner := newScript()
		w := watchIt(t, s.Source("orders", "consul", set, inner))
		time.Sleep(time.Hour)
		w.want(heard{stored, patience})
		empty := discovery.Update{Unknown: true, At: time.Now()}
		inner.updates <- empty
		w.want(heard{empty, time.Hour})
	})
}

func TestTheKeptSetIsNotServedWhenTheRegistryAnswersInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		set, _ := keptSet()
		inner := newScript()
		w := watchIt(t, s.Source("orders", "consul", set, inner))
		time.Sleep(patience - 1)
		good, failed := one("10.0.0.1:80"), discovery.Update{Err: errRefused}
		inner.updates <- good
		time.Sleep(time.Minute)
		inner.updates <- failed
		w.want(heard{good, patience - 1}, heard{failed, time.Minute + patience - 1})
	})
}

func TestWithoutAKeptSetAllIsAsTheSourceSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		inner := newScript()
		w := watchIt(t, s.Source("orders", "consul", Set{}, inner))
		time.Sleep(time.Minute)
		failed := discovery.Update{Err: errRefused}
		inner.updates <- failed
		w.want(heard{failed, time.Minute})
	})
}

func TestAnEndWithinTheFirstHalfSecondReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		set, _ := keptSet()
		w := watchIt(t, s.Source("orders", "consul", set, newScript()))
		time.Sleep(patience / 2)
		w.stop()
		w.want()
		if n := len(s.services); n != 0 {
			t.Errorf("%d services are remembered", n)
		}
	})
}

func TestARefreshIsPassedOn(t *testing.T) {
	inner := newScript()
	discovery.Refresh(open(t, t.TempDir(), Options{}).Source("orders", "consul", Set{}, inner))
	if inner.refreshed != 1 {
		t.Errorf("%d times", inner.refreshed)
	}
}

func TestAPartialSetIsWorthLessThanAKeptOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		set, stored := keptSet()
		inner := newScript()
		w := watchIt(t, s.Source("orders", "consul", set, inner))
		partial := one("10.0.0.9:80")
		partial.Partial = true
		inner.updates <- partial
		w.want(heard{stored, 0})
		time.Sleep(time.Minute)
		inner.updates <- partial
		w.want()
		whole := one("10.0.0.1:80")
		inner.updates <- whole
		w.want(heard{whole, time.Minute})
		w.stop()

		nothing := newScript()
		w = watchIt(t, s.Source("stock", "consul", Set{}, nothing))
		nothing.updates <- partial
		w.want(heard{partial, 0})
		s.write(s.takeAll())
		if got, err := s.Load("stock", "consul"); err != nil || !got.Saved.IsZero() {
			t.Errorf("a partial set is kept: %+v, %v", got, err)
		}
	})
}

func TestOnlyGoodSetsOfTheRegistryAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), Options{})
		set, stored := keptSet()
		inner := newScript()
		w := watchIt(t, s.Source("orders", "consul", set, inner))
		time.Sleep(time.Minute)
		inner.updates <- discovery.Update{Err: errRefused, At: time.Now()}
		inner.updates <- stored
		synctest.Wait()
		if st := s.Status(); st.Waiting != 0 {
			t.Errorf("status %+v", st)
		}
		for _, u := range []discovery.Update{one("10.0.0.1:80"), {At: time.Now()}, {Unknown: true, At: time.Now()}} {
			inner.updates <- u
			synctest.Wait()
			s.write(s.takeAll())
			got, err := s.Load("orders", "consul")
			if err != nil || got.Unknown != u.Unknown || !discovery.Equal(got.Instances, u.Instances) || !got.Confirmed.Equal(u.At) {
				t.Errorf("%+v is kept as %+v, %v", u, got, err)
			}
		}
		w.stop()
	})
}
