package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

func TestNothingIsKnownUntilTheSourceAnswers(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.refuses(ErrUnknownYet)
		st.fails("consul: dial tcp 127.0.0.1:8500: connection refused")
		st.refuses(ErrUnknownYet, "connection refused")
		st.fails("consul: status 500")
		st.refuses(ErrUnknownYet, "status 500")
		select {
		case <-st.Known():
			t.Fatal("known, but the source has not answered")
		default:
		}
		st.reports("a")
		<-st.Known()
		st.wantUsable("a")
		st.acquires("a").Release()
	})
}

func TestUnknownAndEmptyAreDifferentAnswers(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.update(discovery.Update{Unknown: true})
		<-st.Known()
		st.refuses(ErrUnknownService)
		st.fails("consul: timeout")
		st.refuses(ErrUnknownService, "timeout")
		st.reports()
		st.refuses(ErrNoInstances)
		st.reports("a")
		st.acquires("a").Release()
		st.update(discovery.Update{Unknown: true})
		st.refuses(ErrUnknownService)
		st.wantEvents("a retired")
	})
}

func TestUnavailableIsItsCause(t *testing.T) {
	err := error(ErrNoInstances.of("orders", "because"))
	var u *Unavailable
	if !errors.As(err, &u) || u.Cause != "no-instances" {
		t.Errorf("cause of %v", err)
	}
	if errors.Is(err, ErrUnknownYet) || errors.Is(err, errStopped) || !errors.Is(err, ErrNoInstances) {
		t.Errorf("%v is the wrong one", err)
	}
}

func TestSourceErrorKeepsTheSet(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		before := st.Snapshot()
		st.fails("consul: connection refused")
		st.fails("consul: connection refused")
		if st.Snapshot() != before {
			t.Error("an error changed the snapshot")
		}
		st.acquires("a").Release()
		source := st.Status().Source
		if !source.Failing || source.LastError != "consul: connection refused" || source.Errors != 2 {
			t.Errorf("source %+v", source)
		}
		if n := st.logged("source fails, the last set stands"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		st.reports("a", "b")
		if source := st.Status().Source; source.Failing || source.LastError == "" || source.Updates != 1 {
			t.Errorf("source %+v", source)
		}
		st.wantEvents()
	})
}

func TestEmptySetRetiresAll(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.reports()
		st.refuses(ErrNoInstances)
		st.wantEvents("a retired", "b retired")
	})
}

func TestEndpointsSurviveUpdates(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		a, b, c := st.endpoint("a"), st.endpoint("b"), st.endpoint("c")
		held := st.on("b")
		st.attempt("c", Success, 1)
		st.reports("b", "c 5", "d")
		if st.endpoint("b") != b || st.endpoint("c") != c {
			t.Error("an endpoint whose instance stayed was replaced")
		}
		if b.InFlight() != 1 || c.Counters().Successes != 1 || c.Weight() != 5 {
			t.Errorf("%d in flight, %d successes, weight %d", b.InFlight(), c.Counters().Successes, c.Weight())
		}
		if !a.Retired() || b.Retired() {
			t.Errorf("a retired: %v, b retired: %v", a.Retired(), b.Retired())
		}
		st.wantUsable("b c d")
		st.wantEvents("a retired")
		held.Release()
	})
}

func TestWeightAndZoneChangeMakeANewPicker(t *testing.T) {
	pickers := 0
	play(t, func(o *Options) {
		o.Policy = func(c Candidates) Picker {
			pickers++
			return inTurn(c)
		}
	}, func(st *stage) {
		st.reports("a", "b")
		e := st.endpoint("a")
		st.reports("a", "b")
		if pickers != 1 {
			t.Errorf("%d pickers for the same set twice", pickers)
		}
		st.reports("a 7", "b")
		if pickers != 2 || st.endpoint("a") != e || e.Weight() != 7 {
			t.Errorf("%d pickers, weight %d", pickers, e.Weight())
		}
		set := instancesOf("a 7", "b")
		set[1].Zone = "west"
		set[1].Meta = map[string]string{"version": "2"}
		st.update(discovery.Update{Instances: set})
		b := st.endpoint("b")
		if pickers != 3 || b.Zone() != "west" || b.Instance().Meta["version"] != "2" {
			t.Errorf("%d pickers, instance %+v", pickers, b.Instance())
		}
		if got := whats(st.status("a").History); got != "discovered, reweighted" {
			t.Errorf("history %q", got)
		}
	})
}

func TestWeightsAreBounded(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a 0", "b -3", "c 2000000000")
		if a, b, c := st.endpoint("a").Weight(), st.endpoint("b").Weight(), st.endpoint("c").Weight(); a != 1 || b != 1 || c != maxWeight {
			t.Errorf("weights %d, %d, %d", a, b, c)
		}
	})
}

func TestNewAddressIsAnotherEndpoint(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a 1 10.0.0.1:80")
		old := st.endpoint("a")
		held := st.on("a")
		st.reports("a 1 10.0.0.9:80")
		e := st.endpoint("a")
		if e == old || !old.Retired() || e.AddrPort().String() != "10.0.0.9:80" {
			t.Errorf("endpoint at %v, the old one retired: %v", e.AddrPort(), old.Retired())
		}
		st.wantEvents("a retired")
		held.Release()
	})
}

func TestAddrPortIsZeroForNames(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a 1 db.internal:80", "b 1 unix:/run/b.sock", "c 1 [::1]:80")
		if a, b := st.endpoint("a").AddrPort(), st.endpoint("b").AddrPort(); a.IsValid() || b.IsValid() {
			t.Errorf("%v, %v", a, b)
		}
		if c := st.endpoint("c").AddrPort(); c.String() != "[::1]:80" {
			t.Errorf("%v", c)
		}
	})
}

func TestDuplicatesAndDisorderAreTaken(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("c", "a 1 10.0.0.1:80", "a 1 10.0.0.2:80", "b")
		st.wantUsable("a b c")
		if got := st.endpoint("a").Address(); got != "10.0.0.1:80" {
			t.Errorf("a is at %s", got)
		}
	})
}

func TestRetiredWithLeasesOutstanding(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		held := st.on("a")
		a := held.Endpoint()
		st.reports("b")
		st.stands("a", StateRetired, "reports it no longer")
		for range 20 {
			failing := Lease{endpoint: a, service: st.Service}
			failing.permit, _ = a.breaker.Allow()
			failing.Report(Result{Outcome: Reset})
		}
		if n := st.slots.taken.Load(); n != 0 {
			t.Errorf("a retired endpoint took %d slots", n)
		}
		held.Report(Result{Outcome: Success})
		held.Release()
		if a.InFlight() != 0 {
			t.Errorf("%d in flight", a.InFlight())
		}
		for _, e := range st.Status().Endpoints {
			if e.ID == "a" {
				t.Error("still in the status without leases")
			}
		}
		// One that comes back is another.
		st.reports("a", "b")
		if st.endpoint("a") == a {
			t.Error("the retired endpoint is back")
		}
	})
}

func TestRetirementGivesTheSlotBack(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", ServerError, 3)
		st.stands("a", StateEjected, "")
		st.reports("b", "c", "d")
		if n := st.slots.taken.Load(); n != 0 {
			t.Fatalf("%d slots taken", n)
		}
		st.attempt("b", ServerError, 3)
		st.stands("b", StateEjected, "")
	})
}

func TestEventsComeAfterTheSnapshot(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.handlers = append(st.handlers, func(e Event) {
			if got := ids(st.Snapshot().Endpoints); got != "b" {
				t.Errorf("in the event the endpoints are %q", got)
			}
			st.events = append(st.events, "second")
		})
		st.reports("b")
		st.wantEvents("a retired", "second")
	})
}

// A quitter is a source that gives up at once.
type quitter struct{}

func (quitter) Watch(context.Context, func(discovery.Update)) {}

func TestSourceThatStopsIsAnError(t *testing.T) {
	play(t, func(o *Options) { o.Source = quitter{} }, func(st *stage) {
		synctest.Wait()
		st.refuses(ErrUnknownYet, "stopped watching")
	})
}

func TestTheLastSnapshotStandsAfterRun(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.stop()
		st.acquires("a").Release()
		st.wantEvents()
		time.Sleep(time.Minute)
		if age := st.Status().Source.AgeSeconds; age != 60 {
			t.Errorf("age %v", age)
		}
	})
}
