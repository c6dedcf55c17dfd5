package upstream

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

// drains has the operator take endpoints out, or put them back.
func (st *stage) drains(on bool, endpointIDs ...string) {
	st.t.Helper()
	for _, id := range endpointIDs {
		if err := st.SetDrained(id, on); err != nil {
			st.t.Fatal(err)
		}
	}
	synctest.Wait()
}

func TestADrainedEndpointGetsNothingMore(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		held := st.on("b")
		st.drains(true, "b")
		st.wantUsable("a c")
		st.stands("b", StateDrained, "the operator has taken it out")
		if e := st.status("b"); e.Verdict != "drained by the operator; 1 leases run on" || e.Used || e.Sound {
			t.Errorf("%+v", e)
		}
		if e := st.status("a"); !e.Sound || !e.Used {
			t.Errorf("%+v", e)
		}
		if v := st.Status().Verdict; v != "2 of 3 endpoints take their share of the traffic; 1 drained by the operator" {
			t.Errorf("verdict %q", v)
		}
		held.Report(Result{Outcome: Success})
		held.Release()

		st.reports("a 2", "b 3", "c")
		st.wantUsable("a c")
		st.drains(true, "b") // again, which changes nothing
		st.drains(false, "b")
		st.wantUsable("a b c")
		if got := whats(st.status("b").History); got != "discovered, drained, reweighted, undrained" {
			t.Errorf("history %q", got)
		}
		if n := st.logged("endpoint drained"); n != 1 {
			t.Errorf("%d lines in the log", n)
		}
		st.wantEvents()
	})
}

func TestDrainedIsTheIDAndNotTheInstance(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.drains(true, "b")
		st.reports("a", "b 1 10.9.9.9:1") // another address
		st.stands("b", StateDrained, "operator")
		st.reports("a")
		if got := st.Drained(); !reflect.DeepEqual(got, []string{"b"}) {
			t.Errorf("drained %v", got)
		}
		st.reports("a", "b")
		st.wantUsable("a")
		if got := whats(st.status("b").History); got != "discovered, drained" {
			t.Errorf("history %q", got)
		}
		st.reports("a")
		st.drains(false, "b") // which is not there
		st.reports("a", "b")
		st.wantUsable("a b")
		if err := st.SetDrained("x", true); !errors.Is(err, ErrNoEndpoint) || !strings.Contains(err.Error(), `orders: there is no endpoint "x"`) {
			t.Errorf("%v", err)
		}
		if err := st.Uneject("x"); !errors.Is(err, ErrNoEndpoint) {
			t.Errorf("%v", err)
		}
	})
}

// A service that takes the place of another one begins with what the operator has said.
func TestAServiceBeginsWithWhatIsDrained(t *testing.T) {
	play(t, func(o *Options) { o.Drained = []string{"b"} }, func(st *stage) {
		st.reports("a", "b")
		st.wantUsable("a")
		st.drains(false, "b")
		st.wantUsable("a b")
	})
}

// Nor does it matter whether it hears of that before or after its first set.
func TestAServiceIsToldBeforeItKnowsItsSet(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.drains(true, "b")
		st.reports("a", "b")
		st.wantUsable("a")
		if got := whats(st.status("b").History); got != "discovered, drained" {
			t.Errorf("history %q", got)
		}
	})
	s := New(Options{Name: "orders", Policy: inTurn})
	s.Feed(discovery.Update{Instances: instancesOf("a", "b")})
	if err := s.SetDrained("b", true); err != nil {
		t.Fatal(err)
	}
	s.Step()
	if got := ids(s.Snapshot().Usable); got != "a" {
		t.Errorf("usable are %q", got)
	}
	if err := s.SetDrained("c", true); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("%v", err)
	}
}

func TestToDrainEndsAnEjection(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Reset, 3)
		st.stands("a", StateEjected, "3 failures")
		if st.Status().MaxEjected != 1 {
			t.Fatalf("%+v", st.Status())
		}
		time.Sleep(time.Millisecond)
		st.drains(true, "a")
		if s := st.Status(); s.Ejected != 0 || s.MaxEjected != 1 {
			t.Errorf("%d ejected of %d", s.Ejected, s.MaxEjected)
		}
		st.attempt("b", Reset, 3) // the slot is free for another one
		st.stands("b", StateEjected, "3 failures")
		st.drains(false, "a")
		st.wantUsable("a c")
		st.stands("a", StateUsable, "the source reports it")
	})
}

func TestWhatIsDrainedDoesNotCountForEjections(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c", "d")
		for _, c := range []struct {
			on  bool
			id  string
			max int64
		}{{true, "a", 1}, {true, "b", 1}, {true, "c", 0}, {false, "a", 1}, {false, "c", 1}, {false, "b", 2}} {
			if st.drains(c.on, c.id); st.Status().MaxEjected != c.max {
				t.Errorf("%d may be ejected, want %d", st.Status().MaxEjected, c.max)
			}
		}
	})
}

func TestAnUndrainedEndpointBeginsSlowly(t *testing.T) {
	play(t, func(o *Options) { o.SlowStart = time.Minute }, func(st *stage) {
		st.reports("a", "b")
		st.drains(true, "a")
		time.Sleep(time.Hour)
		st.drains(false, "a")
		if e := st.status("a"); e.Ramp > 0.11 {
			t.Errorf("it begins with %v of its share", e.Ramp)
		}
	})
}

// What still runs on a drained endpoint may fail: it is about to be stopped.
func TestADrainedEndpointIsNotEjected(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		var held []Lease
		for range 5 {
			held = append(held, st.on("a"))
		}
		st.drains(true, "a")
		for i := range held {
			held[i].Report(Result{Outcome: Reset})
			held[i].Release()
		}
		synctest.Wait()
		st.stands("a", StateDrained, "operator")
		if s := st.Status(); s.Ejected != 0 || strings.Contains(whats(st.status("a").History), "ejected") {
			t.Errorf("%d ejected, history %q", s.Ejected, whats(st.status("a").History))
		}
	})
}

func TestTheHealthOfADrainedEndpointIsNobodysNews(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(2 * time.Second)
		st.drains(true, "a")
		before := whats(st.status("a").History)
		st.falls(errIll, "a")
		st.falls(nil, "a")
		st.falls(errIll, "a")
		if got := whats(st.status("a").History); got != before {
			t.Errorf("history %q, want %q", got, before)
		}
		if n := st.logged("endpoint down") + st.logged("endpoint up"); n != 0 {
			t.Errorf("%d lines in the log", n)
		}
		st.wantEvents("a down", "a up", "a down") // those who keep connections have to know
		st.drains(false, "a")
		st.stands("a", StateDown, "connection refused") // it counts from now on
		st.wantUsable("b")
	})
}

func TestFailingOpenSparesWhatIsDrained(t *testing.T) {
	play(t, func(o *Options) { withChecks(o); o.Panic = 0.5 }, func(st *stage) {
		st.reports("a", "b", "c", "d")
		time.Sleep(2 * time.Second)
		st.drains(true, "c", "d")
		st.wantUsable("a b") // half of all, but all that count
		st.falls(errIll, "a")
		st.wantUsable("b")
		st.falls(errIll, "b")
		st.wantUsable("a b")
		if s := st.Status(); s.FailOpen != openAllDown {
			t.Errorf("%q", s.FailOpen)
		}
		st.attempt("a", Reset, 3)
		st.wantUsable("b")
		st.drains(true, "a", "b")
		st.wantUsable("c d") // there is nothing else; these two are up
		if s := st.Status(); s.FailOpen != openAllDrained || !strings.Contains(st.status("c").Verdict, "used all the same") {
			t.Errorf("%q, %q", s.FailOpen, st.status("c").Verdict)
		}
		if l := st.acquires("c"); l != nil {
			l.Release()
		}
		st.falls(errIll, "c", "d")
		st.wantUsable("a b c d")
		st.drains(false, "a")
		st.wantUsable("a")
	})
}

func TestAFallbackComesBeforeWhatIsDrained(t *testing.T) {
	play(t, func(o *Options) { o.Fallback = instancesOf("z") }, func(st *stage) {
		st.reports("a", "b")
		st.drains(true, "a", "b")
		st.wantUsable("z")
		if err := st.SetDrained("z", true); !errors.Is(err, ErrNoEndpoint) {
			t.Errorf("a fallback instance: %v", err)
		}
	})
}

func TestTheOperatorEndsAnEjection(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Reset, 3)
		st.wantUsable("b c")
		time.Sleep(time.Millisecond)
		if err := st.Uneject("a"); err != nil {
			t.Fatal(err)
		}
		st.wantUsable("a b c")
		st.stands("a", StateUsable, "the operator has ended its ejection")
		if got := whats(st.status("a").History); got != "discovered, ejected, unejected" {
			t.Errorf("history %q", got)
		}
		if st.status("a").FailureShare != 0 || st.Status().Ejected != 0 {
			t.Errorf("%+v", st.status("a"))
		}
		if err := st.Uneject("b"); err != nil { // it is not ejected
			t.Fatal(err)
		}
		synctest.Wait()
		if got := whats(st.status("b").History); got != "discovered" {
			t.Errorf("history %q", got)
		}
		// And the next ejection is told as one that a probe has ended.
		st.attempt("b", Reset, 3)
		time.Sleep(time.Second)
		l := st.acquires("b")
		l.Report(Result{Outcome: Success})
		l.Release()
		st.stands("b", StateUsable, "a request that probed it succeeded")
	})
}

func TestADrainedEndpointThatIsDroppedLeaves(t *testing.T) {
	play(t, func(o *Options) { withChecks(o); o.HealthCheck.KeepDropped = true }, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(2 * time.Second)
		st.drains(true, "b")
		st.update(discovery.Update{Instances: instancesOf("a")})
		if n := len(st.Snapshot().Endpoints); n != 1 {
			t.Errorf("%d endpoints", n)
		}
	})
}
