package upstream

import (
	"testing"
	"time"

	"sidecar/discovery"
)

// A service that takes the place of another goes on with what that knew of the same instances.
func TestAServiceInheritsWhatIsKnownOfItsInstances(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b", "c")
		time.Sleep(time.Second)
		st.falls(errIll, "a")
		b := st.endpoint("b")
		lease, err := st.Acquire(PickKey{}, st.endpoint("a"), st.endpoint("c"))
		if err != nil || lease.Endpoint() != b {
			t.Fatalf("%v, %v", lease.Endpoint(), err)
		}
		lease.Report(Result{Outcome: Success, Latency: 7 * time.Millisecond})
		lease.Release()

		instances, known := st.Instances()
		if !known || len(instances) != 3 {
			t.Fatalf("%v, %v", instances, known)
		}
		moved := instances[2]
		moved.Address = "10.0.0.99:80" // c is another one now
		next := New(Options{Name: "orders", Source: &script{}, Policy: inTurn, HealthCheck: &HealthCheck{Prober: st.health, Settings: checked}, Before: st.Service})
		next.Feed(discovery.Update{Instances: []discovery.Instance{instances[0], instances[1], moved}, At: time.Now()})
		next.Step()
		defer func() {
			for _, e := range next.Snapshot().Endpoints {
				e.cancelCheck()
			}
			next.running.Wait()
		}()
		ends := next.Snapshot().Endpoints
		if !ends[0].Down() || ends[1].Down() || ends[2].Down() {
			t.Errorf("down: %v %v %v, want the first", ends[0].Down(), ends[1].Down(), ends[2].Down())
		}
		if next.Status().Endpoints[0].State != StateDown {
			t.Errorf("the first is %v", next.Status().Endpoints[0].State)
		}
		if got := ends[1].Latency(); got != b.Latency() || got > 20*time.Millisecond {
			t.Errorf("latency %v, was %v", got, b.Latency())
		}
		if _, measured := ends[2].LatencyAt(next.clock.moment()); measured {
			t.Error("what is known of an instance has gone to another address")
		}
		if next.options.Before != nil {
			t.Error("the service before is kept")
		}
	})
}

// Without checks of its own a service does not know when one that was down is up again.
func TestAServiceWithoutChecksInheritsNoVerdict(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b")
		time.Sleep(time.Second)
		st.falls(errIll, "a")
		instances, _ := st.Instances()
		next := New(Options{Name: "orders", Source: &script{}, Policy: inTurn, Before: st.Service})
		next.Feed(discovery.Update{Instances: instances, At: time.Now()})
		next.Step()
		if next.Snapshot().Endpoints[0].Down() {
			t.Error("it is down for ever")
		}
	})
}

func TestRetiringTellsOfThoseOnlyThatAreGone(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		next := New(Options{Name: "orders", Source: &script{}, Policy: inTurn})
		instances, _ := st.Instances()
		next.Feed(discovery.Update{Instances: instances[:1], At: time.Now()})
		next.Step()
		all := st.Snapshot().Endpoints
		st.stop()
		st.Retire(next)
		for _, e := range all {
			if !e.Retired() {
				t.Errorf("%s is not retired", e.ID())
			}
		}
		st.wantEvents("b retired")
	})
}
