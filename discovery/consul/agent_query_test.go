package consul

import (
	"errors"
	"maps"
	"net/url"
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/internal/consultest"
)

// What a query may ask for, asked of a real agent.
func TestRealAgentUnderstandsAllThatAQueryAsks(t *testing.T) {
	agent := consultest.Start(t)
	client := newClient(t, Options{Address: agent.Address()})
	watch := func(t *testing.T, q Query) *watching {
		q.Service = "orders"
		return startWatch(t, client.Source(q))
	}
	agent.Register(consultest.Service{ID: "a", Name: "orders", Port: 1, Meta: map[string]string{"version": "1"}, Tags: []string{"Blue"}})
	agent.Register(consultest.Service{ID: "b", Name: "orders", Port: 2, Meta: map[string]string{"version": "2"}, Status: "critical"})
	agent.RegisterMany(consultest.Service{ID: "c", Name: "orders", Address: "127.0.0.3", Port: 3, Meta: map[string]string{"version": "2"}})

	t.Run("filter", func(t *testing.T) {
		w := watch(t, Query{Filter: `Service.Meta.version == "2"`})
		if u := w.eventually("elsewhere/c"); !maps.Equal(u.States, map[string]int{"passing": 1, "critical": 1}) {
			t.Errorf("states %v", u.States)
		}
		agent.SetCheck("b", "passing")
		w.eventually("elsewhere/c", "node1/b")
		if u := watch(t, Query{Filter: `Service.Meta.version == "9"`}).eventually(); u.Unknown {
			t.Error("a filter that nobody meets makes the service unknown")
		}
		watch(t, Query{Filter: "Nonsense"}).eventuallyErr("does not understand the filter")
	})
	t.Run("tag", func(t *testing.T) {
		watch(t, Query{Tags: []string{"bLUE"}}).eventually("node1/a")
	})
	t.Run("near", func(t *testing.T) {
		w := watch(t, Query{Near: "_agent", Nearest: 1})
		u := w.eventuallyOne()
		if u.States["passing"] != 3 {
			t.Errorf("states %v", u.States)
		}
		agent.Register(consultest.Service{ID: "d", Name: "orders", Port: 4})
		if u := w.eventuallyOne(); u.States["passing"] != 4 {
			t.Errorf("states %v", u.States)
		}
		agent.Deregister("d")
	})
	t.Run("tagged address", func(t *testing.T) {
		for kind, want := range map[string]string{"lan": "127.0.0.3:3", "wan_ipv4": "127.0.0.3:3"} {
			u := watch(t, Query{TaggedAddress: kind, Filter: `Service.ID == "c"`}).eventually("elsewhere/c")
			if got := u.Instances[0].Address; got != want {
				t.Errorf("%s: %s", kind, got)
			}
		}
	})
	t.Run("datacenter", func(t *testing.T) {
		watch(t, Query{Datacenter: "dc1", Filter: `Service.ID == "c"`}).eventually("dc1/elsewhere/c")
		watch(t, Query{Datacenter: "dc9"}).eventuallyErr(`correct the service's datacenter "dc9"`)
	})
	t.Run("namespace", func(t *testing.T) {
		watch(t, Query{Namespace: "team"}).eventuallyErr("leave namespace and partition out")
		watch(t, Query{Partition: "east"}).eventuallyErr("leave namespace and partition out")
	})
	t.Run("cached", func(t *testing.T) {
		cached := newClient(t, Options{Address: agent.Address(), Cached: true, Consistency: "default"})
		source := cached.Source(Query{Service: "cached"})
		w := startWatch(t, source)
		if u := w.eventually(); !u.Unknown {
			t.Errorf("update %+v", u)
		}
		agent.Register(consultest.Service{Name: "cached", Port: 9})
		w.eventually("node1/cached")
		discovery.Refresh(source)
		w.eventually("node1/cached")
		agent.Deregister("cached")
		w.eventually()
	})
	t.Run("prepared query", func(t *testing.T) {
		w := startWatch(t, client.Source(Query{Prepared: "nearby", Poll: time.Second}))
		w.eventuallyErr("does not know the prepared query")
		var created struct{ ID string }
		definition := map[string]any{"Name": "nearby", "Service": map[string]any{"Service": "orders", "Tags": []string{"Blue"}}}
		if err := client.Call(t.Context(), "POST", "/v1/query", nil, definition, &created); err != nil {
			t.Fatal(err)
		}
		w.eventually("node1/a")
		startWatch(t, client.Source(Query{Prepared: created.ID})).eventually("node1/a")
	})
}

// eventuallyOne reads updates until one is a set of one instance.
func (w *watching) eventuallyOne() discovery.Update {
	w.t.Helper()
	for start := time.Now(); ; {
		if u := w.next(patience - time.Since(start)); u.Err == nil && len(u.Instances) == 1 {
			return u
		}
	}
}

func TestRealAgentTakesCalls(t *testing.T) {
	agent := consultest.Start(t)
	client := newClient(t, Options{Address: agent.Address()})
	call := func(path string, query url.Values, in any) error {
		return client.Call(t.Context(), "PUT", path, query, in, nil)
	}
	w := startWatch(t, client.Source(Query{Service: "local"}))
	if err := call("/v1/agent/service/register", url.Values{"replace-existing-checks": {"true"}}, map[string]any{
		"ID": "l 1", "Name": "local", "Port": 80, "Check": map[string]any{"CheckID": "c", "TTL": "1h", "Status": "critical"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := call("/v1/agent/check/pass/c", url.Values{"note": {"all is well"}}, nil); err != nil {
		t.Fatal(err)
	}
	w.eventually("node1/l 1")
	if err := call("/v1/agent/service/deregister/"+url.PathEscape("l 1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	w.eventually()
	err := call("/v1/agent/check/pass/c", nil, nil)
	var status interface{ StatusCode() int }
	if !errors.As(err, &status) || status.StatusCode() != 404 {
		t.Errorf("error %v", err)
	}
	var self struct{ Config struct{ NodeName string } }
	if err := client.Call(t.Context(), "GET", "/v1/agent/self", nil, nil, &self); err != nil || self.Config.NodeName != "node1" {
		t.Errorf("%+v, %v", self, err)
	}
}

// An agent that is stopped, so that nothing is refused and nothing answered, is noticed within
// 6 s, and its return within 5 s.
func TestRealAgentThatHangsIsNoticed(t *testing.T) {
	agent := consultest.Start(t)
	agent.Register(consultest.Service{Name: "orders", Port: 1001})
	w := startWatch(t, newClient(t, Options{Address: agent.Address()}).Source(Query{Service: "orders"}))
	w.eventually("node1/orders")
	agent.Pause()
	stopped := time.Now()
	w.eventuallyErr("it hangs, or the network drops packets")
	t.Logf("noticed after %v", time.Since(stopped).Round(time.Millisecond))
	agent.Resume()
	resumed := time.Now()
	w.eventually("node1/orders")
	agent.Register(consultest.Service{ID: "orders-2", Name: "orders", Port: 1002})
	w.eventually("node1/orders", "node1/orders-2")
	t.Logf("updates again after %v", time.Since(resumed).Round(time.Millisecond))
}

// Rule 3.1.3 with a real agent: the servers are put back to an older state, and the indexes
// with it. Queries that wait would wait on, those of its own view and those at a server alike.
func TestRealAgentThatIsRestoredIsFollowed(t *testing.T) {
	agent := consultest.Start(t)
	agent.RegisterMany(consultest.Service{ID: "a", Name: "orders", Port: 1}, consultest.Service{ID: "a2", Name: "stock", Port: 1})
	snapshot := agent.SaveSnapshot()
	for range 10 { // so that the indexes differ by much
		agent.RegisterMany(consultest.Service{ID: "b", Name: "orders", Port: 2})
		agent.DeregisterMany("b")
	}
	agent.RegisterMany(consultest.Service{ID: "b2", Name: "stock", Port: 2})
	agent.RegisterMany(consultest.Service{ID: "b", Name: "orders", Port: 2})
	client := newClient(t, Options{Address: agent.Address()})
	view := startWatch(t, client.Source(Query{Service: "orders"}))
	other := startWatch(t, client.Source(Query{Service: "stock"})) // whose index is not the highest
	server := startWatch(t, newClient(t, Options{Address: agent.Address()}).Source(Query{Service: "orders", Near: "_agent"}))
	high := view.eventually("elsewhere/a", "elsewhere/b").Index
	server.eventually("elsewhere/a", "elsewhere/b")
	other.eventually("elsewhere/a2", "elsewhere/b2")
	<-time.After(time.Second) // until they wait
	agent.RestoreSnapshot(snapshot)
	if low := view.eventually("elsewhere/a").Index; low >= high {
		t.Errorf("index %d after %d: this shows nothing", low, high)
	}
	server.eventually("elsewhere/a")
	other.eventually("elsewhere/a2")
	agent.RegisterMany(consultest.Service{ID: "c", Name: "orders", Port: 3})
	view.eventually("elsewhere/a", "elsewhere/c")
	server.eventually("elsewhere/a", "elsewhere/c")
}
