package consul

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"sidecar/discovery"
	"sidecar/internal/consultest"
)

// These tests drive a real Consul agent. The time they grant is for busy machines; that
// changes arrive at once is what the tests in virtual time hold, and well below the minute
// that a query waits.
const patience = 20 * time.Second

// eventually reads updates until one is the set with these IDs, and returns it. Errors are
// passed over.
func (w *watching) eventually(ids ...string) discovery.Update {
	w.t.Helper()
	start := time.Now()
	for {
		u := w.next(patience - time.Since(start))
		if u.Err == nil && sameIDs(u.Instances, ids) {
			w.t.Logf("%v after %v", ids, time.Since(start).Round(time.Millisecond))
			return u
		}
	}
}

// eventuallyErr reads updates until one is an error with text in it.
func (w *watching) eventuallyErr(text string) {
	w.t.Helper()
	start := time.Now()
	for {
		u := w.next(patience - time.Since(start))
		if u.Err != nil && strings.Contains(u.Err.Error(), text) {
			return
		}
	}
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRealAgentReportsEachChange(t *testing.T) {
	agent := consultest.Start(t)
	client := newClient(t, Options{Address: agent.Address()})

	t.Run("an instance comes, passes, fails and goes", func(t *testing.T) {
		w := startWatch(t, client.Source(Query{Service: "orders"}))
		if u := w.eventually(); !u.Unknown {
			t.Errorf("nobody has registered it: %+v", u)
		}
		agent.Register(consultest.Service{Name: "orders", Port: 1001, Status: "critical"})
		if u := w.eventually(); u.Unknown {
			t.Errorf("it is registered: %+v", u)
		}
		agent.SetCheck("orders", "passing")
		u := w.eventually("node1/orders")
		if got := u.Instances[0]; got.Address != "127.0.0.1:1001" || got.Weight != 1 || u.Index == 0 {
			t.Errorf("update %+v", u)
		}
		agent.Register(consultest.Service{ID: "orders-2", Name: "orders", Address: "127.0.0.2", Port: 1002, Meta: map[string]string{"zone": "b"}})
		if got := w.eventually("node1/orders", "node1/orders-2").Instances[1]; got.Address != "127.0.0.2:1002" || got.Zone != "b" {
			t.Errorf("instance %+v", got)
		}
		agent.SetCheck("orders", "critical")
		w.eventually("node1/orders-2")
		agent.SetCheck("orders", "passing")
		w.eventually("node1/orders", "node1/orders-2")
		agent.Deregister("orders-2")
		w.eventually("node1/orders")
		agent.SetMaintenance("orders", true)
		w.eventually()
		agent.SetMaintenance("orders", false)
		w.eventually("node1/orders")
		agent.Deregister("orders") // the last one: the agent's view says it is empty, a server confirms it
		if u := w.eventually(); u.Unknown {
			t.Errorf("it was known a moment ago: %+v", u)
		}
	})

	t.Run("warning", func(t *testing.T) {
		with := startWatch(t, client.Source(Query{Service: "stock", Warning: true}))
		without := startWatch(t, client.Source(Query{Service: "stock"}))
		agent.Register(consultest.Service{Name: "stock", Port: 1003, Weights: &consultest.Weights{Passing: 10, Warning: 3}})
		for _, w := range []*watching{with, without} {
			if got := w.eventually("node1/stock").Instances[0].Weight; got != 10 {
				t.Errorf("weight %d while passing", got)
			}
		}
		agent.SetCheck("stock", "warning")
		if got := with.eventually("node1/stock").Instances[0].Weight; got != 3 {
			t.Errorf("weight %d in warning", got)
		}
		without.eventually()
	})

	t.Run("tags", func(t *testing.T) {
		both := startWatch(t, client.Source(Query{Service: "search", Tags: []string{"v2", "eu"}}))
		nobody := startWatch(t, client.Source(Query{Service: "search", Tags: []string{"v9"}}))
		both.eventually()
		nobody.eventually()
		agent.Register(consultest.Service{ID: "s1", Name: "search", Port: 1, Tags: []string{"v1", "eu"}})
		agent.Register(consultest.Service{ID: "s2", Name: "search", Port: 2, Tags: []string{"eu", "x", "v2"}})
		agent.Register(consultest.Service{ID: "s3", Name: "search", Port: 3, Tags: []string{"v2"}})
		both.eventually("node1/s2")
		late := startWatch(t, client.Source(Query{Service: "search", Tags: []string{"v9"}}))
		if u := late.eventually(); u.Unknown {
			t.Errorf("others carry the name: %+v", u)
		}
	})

	t.Run("socket", func(t *testing.T) {
		agent.Register(consultest.Service{Name: "local", Socket: "/run/local.sock"})
		w := startWatch(t, client.Source(Query{Service: "local"}))
		if got := w.eventually("node1/local").Instances[0].Address; got != "unix:/run/local.sock" {
			t.Errorf("address %s", got)
		}
	})

	t.Run("all modes of consistency", func(t *testing.T) {
		agent.Register(consultest.Service{Name: "modes", Port: 1})
		for _, mode := range []string{"stale", "default", "consistent"} {
			w := startWatch(t, newClient(t, Options{Address: agent.Address(), Consistency: mode}).Source(Query{Service: "modes"}))
			w.eventually("node1/modes")
			agent.Register(consultest.Service{ID: "modes-2", Name: "modes", Port: 2})
			w.eventually("node1/modes", "node1/modes-2")
			agent.Deregister("modes-2")
			w.eventually("node1/modes")
			w.stop()
		}
	})
}

func TestRealAgentGoesAwayAndComesBack(t *testing.T) {
	agent := consultest.Start(t)
	agent.Register(consultest.Service{Name: "orders", Port: 1001})
	w := startWatch(t, newClient(t, Options{Address: agent.Address()}).Source(Query{Service: "orders"}))
	w.eventually("node1/orders")

	agent.Stop()
	w.eventuallyErr("connection refused; start it or correct consul.address")

	agent.Start()
	agent.Register(consultest.Service{ID: "orders-2", Name: "orders", Port: 1002})
	// In all this time no set was reported that lacked the instance that was there all along.
	for start := time.Now(); ; {
		u := w.next(patience - time.Since(start))
		if u.Err != nil {
			continue
		}
		if len(u.Instances) == 0 || u.Instances[0].ID != "node1/orders" {
			t.Fatalf("after the restart %+v", u)
		}
		if len(u.Instances) == 2 {
			break
		}
	}
	agent.Deregister("orders")
	w.eventually("node1/orders-2")
}

func TestWatchThatBeginsBeforeTheAgentExistsKnowsSoonAfter(t *testing.T) {
	agent := consultest.New(t)
	w := startWatch(t, newClient(t, Options{Address: agent.Address()}).Source(Query{Service: "orders"}))
	w.eventuallyErr("connection refused")
	agent.Start()
	agent.Register(consultest.Service{Name: "orders", Port: 1001})
	w.eventually("node1/orders")
}

func TestRealAgentWithACLsNeverEmptiesTheSetForAToken(t *testing.T) {
	const management = "11111111-2222-3333-4444-555555555555"
	agent := consultest.Start(t, map[string]any{"acl": map[string]any{
		"enabled": true, "default_policy": "deny",
		"tokens": map[string]string{"initial_management": management, "agent": management, "default": management},
	}})
	agent.Register(consultest.Service{Name: "orders", Port: 1001})
	acl := newClient(t, Options{Address: agent.Address(), Token: management}).api.ACL()
	if _, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: "read", Rules: `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`}, nil); err != nil {
		t.Fatal(err)
	}
	newToken := func(policies ...*api.ACLTokenPolicyLink) *api.ACLToken {
		token, _, err := acl.TokenCreate(&api.ACLToken{Policies: policies}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	weak, strong, next := newToken(), newToken(&api.ACLTokenPolicyLink{Name: "read"}), newToken(&api.ACLTokenPolicyLink{Name: "read"})

	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "99999999-2222-3333-4444-555555555555")
	w := startWatch(t, newClient(t, Options{Address: agent.Address(), TokenFile: path}).Source(Query{Service: "orders"}))
	w.eventuallyErr("does not know the token in " + path)
	put(t, path, weak.SecretID)
	w.eventuallyErr("give the token in " + path + " service:read and node:read")
	put(t, path, strong.SecretID)
	w.eventually("node1/orders")

	// It is deleted while a query waits with it. What follows are errors, until there is another.
	if _, err := acl.TokenDelete(strong.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	agent.Register(consultest.Service{ID: "orders-2", Name: "orders", Port: 1002})
	for start, refused := time.Now(), false; !refused; {
		u := w.next(patience - time.Since(start))
		if u.Err == nil && len(u.Instances) == 0 {
			t.Fatalf("a deleted token has emptied the set: %+v", u)
		}
		refused = u.Err != nil
	}
	put(t, path, next.SecretID)
	w.eventually("node1/orders", "node1/orders-2")
}
