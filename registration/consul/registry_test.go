package consul

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	discovery "sidecar/discovery/consul"
	"sidecar/internal/consultest"
	"sidecar/registration"
)

var (
	passing  = registration.Health{Passing: true, Why: "200 OK"}
	critical = registration.Health{Why: "connection refused"}
)

// announcement is one of "orders" with this ID.
func announcement(id string) registration.Announcement {
	return registration.Announcement{ID: id, Name: "orders", Address: "127.0.0.9", Port: 8080, Weight: 1, WarningWeight: 1, TTL: time.Minute}
}

func TestRealAgent(t *testing.T) {
	server := consultest.Start(t)
	agent := newAgent(t, server.Address())

	t.Run("everything of the announcement arrives", func(t *testing.T) {
		a := announcement("whole")
		a.Tags, a.Meta = []string{"v2", "eu"}, map[string]string{"zone": "b"}
		a.Weight, a.WarningWeight, a.DeregisterAfter = 10, 3, time.Hour
		if err := New(agent).Register(t.Context(), a, passing); err != nil {
			t.Fatal(err)
		}
		s := agent.becomes(t, a, "passing")
		if got := s.Service; got.Address != "127.0.0.9" || got.Port != 8080 || !slices.Equal(got.Tags, a.Tags) || got.Meta["zone"] != "b" || got.Weights != (weights{10, 3}) {
			t.Errorf("%+v", got)
		}
		// "serfHealth" besides
		if len(s.Checks) != 2 || s.Checks[1].Type != "ttl" || s.Checks[1].Name == "" {
			t.Errorf("checks %+v", s.Checks)
		}
	})

	t.Run("health is followed", func(t *testing.T) {
		a, r := announcement("health"), New(agent)
		if err := r.Register(t.Context(), a, critical); err != nil {
			t.Fatal(err)
		}
		agent.becomes(t, a, "critical")
		if err := r.Renew(t.Context(), a, passing); err != nil {
			t.Fatal(err)
		}
		// The agent tells a reason at once only with a change, else within its check_update_interval.
		if s := agent.becomes(t, a, "passing"); s.Checks[1].Output != "200 OK" {
			t.Errorf("%+v", s.Checks)
		}
		// A registration on top of another tells its own health, although the agent keeps the state
		// of a check that it knows.
		if err := r.Register(t.Context(), a, critical); err != nil {
			t.Fatal(err)
		}
		agent.becomes(t, a, "critical")
	})

	t.Run("checks of an earlier registration go", func(t *testing.T) {
		a := announcement("earlier")
		agent.must(t, http.MethodPut, "/v1/agent/service/register", map[string]any{"ID": a.ID, "Name": a.Name, "Check": map[string]string{"CheckID": "old", "TTL": "1h"}}, nil)
		if err := New(agent).Register(t.Context(), a, passing); err != nil {
			t.Fatal(err)
		}
		if s := agent.becomes(t, a, "passing"); s.state("old") != "" {
			t.Errorf("%+v", s.Checks)
		}
	})

	t.Run("nobody renews", func(t *testing.T) {
		a := announcement("silent")
		a.TTL = time.Second
		if err := New(agent).Register(t.Context(), a, passing); err != nil {
			t.Fatal(err)
		}
		agent.becomes(t, a, "critical")
	})

	t.Run("what is not there is forgotten, and needs no end", func(t *testing.T) {
		a, r := announcement("nobody"), New(agent)
		if err := r.Renew(t.Context(), a, passing); !errors.Is(err, registration.ErrForgotten) {
			t.Errorf("renew: %v", err)
		}
		if err := r.Leave(t.Context(), a, "it drains"); err != nil {
			t.Errorf("leave: %v", err)
		}
		if err := r.Deregister(t.Context(), a); err != nil {
			t.Errorf("deregister: %v", err)
		}
	})

	t.Run("somebody takes it away", func(t *testing.T) {
		a := announcement("taken")
		a.TTL = 3 * time.Second
		r := run(t, agent, a, passing)
		agent.becomes(t, a, "passing")
		server.Deregister(a.ID)
		eventually(t, "it is registered twice", func() bool { return r.Status().Registrations == 2 })
		agent.becomes(t, a, "passing")
		agent.must(t, http.MethodPut, "/v1/agent/check/deregister/service:"+a.ID, nil, nil)
		eventually(t, "it is registered three times", func() bool { return r.Status().Registrations == 3 })
		agent.becomes(t, a, "passing")
	})

	t.Run("somebody else takes the ID", func(t *testing.T) {
		a, r := announcement("contested"), New(agent)
		if err := r.Register(t.Context(), a, passing); err != nil {
			t.Fatal(err)
		}
		for range 2 * compareEvery {
			if err := r.Renew(t.Context(), a, passing); err != nil {
				t.Fatal(err)
			}
		}
		other := describe(a, passing)
		other.Port = 9090
		agent.must(t, http.MethodPut, "/v1/agent/service/register", other, nil)
		var err error
		renewals := 0
		for err == nil && renewals < compareEvery {
			err = r.Renew(t.Context(), a, passing)
			renewals++
		}
		if !errors.Is(err, registration.ErrForgotten) || !strings.Contains(err.Error(), `somebody else has registered "contested"`) || renewals != compareEvery {
			t.Errorf("after %d renewals: %v", renewals, err)
		}
	})

	t.Run("leaves and ends", func(t *testing.T) {
		a := announcement("leaver")
		r := run(t, agent, a, passing)
		agent.becomes(t, a, "passing")
		if err := r.Leave(t.Context(), "it drains"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is in maintenance", func() bool {
			s, _ := agent.lookup(t, a.Name, a.ID)
			return s.state("_service_maintenance:"+a.ID) == "critical"
		})
		r.stop()
		eventually(t, "it is gone", func() bool {
			_, ok := agent.lookup(t, a.Name, a.ID)
			return !ok
		})
	})
}

func TestMaintenanceOfOursEndsAndAnOperatorsStands(t *testing.T) {
	server := consultest.Start(t)
	agent := newAgent(t, server.Address())
	reason := func(id string) string {
		var checks map[string]struct{ Notes string }
		agent.must(t, http.MethodGet, "/v1/agent/checks", nil, &checks)
		return checks["_service_maintenance:"+id].Notes
	}

	a, r := announcement("ours"), New(agent)
	if err := r.Register(t.Context(), a, passing); err != nil {
		t.Fatal(err)
	}
	if err := r.Leave(t.Context(), a, "it drains"); err != nil {
		t.Fatal(err)
	}
	// The sidecar dies here, and the machine with it.
	server.Stop()
	server.Start()
	if got := reason(a.ID); got != "sidecar: it drains" {
		t.Fatalf("maintenance %q after the restart", got)
	}
	if err := New(agent).Register(t.Context(), a, passing); err != nil {
		t.Fatal(err)
	}
	if got := reason(a.ID); got != "" {
		t.Errorf("maintenance %q goes on", got)
	}
	agent.becomes(t, a, "passing")

	b := announcement("operators")
	if err := r.Register(t.Context(), b, passing); err != nil {
		t.Fatal(err)
	}
	agent.must(t, http.MethodPut, "/v1/agent/service/maintenance/"+b.ID+"?enable=true&reason=new+disk", nil, nil)
	for name, step := range map[string]func() error{
		"register": func() error { return New(agent).Register(t.Context(), b, passing) },
		"renew":    func() error { return r.Renew(t.Context(), b, passing) },
		"leave":    func() error { return r.Leave(t.Context(), b, "it drains") },
		"end":      func() error { return r.Deregister(t.Context(), b) },
	} {
		if err := step(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := reason(b.ID); got != "new disk" {
			t.Errorf("maintenance %q after %s", got, name)
		}
	}

	// So it stands over the whole life of a sidecar, and the next one's beginning.
	life := run(t, agent, b, passing)
	agent.becomes(t, b, "passing")
	if err := life.Leave(t.Context(), "the sidecar is being stopped"); err != nil {
		t.Fatal(err)
	}
	life.stop()
	run(t, agent, b, passing)
	agent.becomes(t, b, "passing")
	if got := reason(b.ID); got != "new disk" {
		t.Errorf("maintenance %q after a restart of the sidecar", got)
	}
}

func TestRestartedAgentHasTheAnnouncementAgain(t *testing.T) {
	data := t.TempDir()
	server := consultest.Start(t, map[string]any{"data_dir": filepath.Join(data, "agent")})
	agent := newAgent(t, server.Address())
	a := announcement("orders")
	a.TTL = 6 * time.Second
	r := run(t, agent, a, passing)
	agent.becomes(t, a, "passing")

	server.Stop()
	eventually(t, "the outage is seen", func() bool { return r.Status().Failing })
	server.Start()
	eventually(t, "it is renewed", func() bool { return !r.Status().Failing })
	agent.becomes(t, a, "passing")
	if n := r.Status().Registrations; n != 1 {
		t.Errorf("%d registrations, although the agent remembers", n)
	}

	server.Stop()
	if err := os.RemoveAll(filepath.Join(data, "agent")); err != nil {
		t.Fatal(err)
	}
	server.Start()
	back := time.Now()
	agent.becomes(t, a, "passing")
	t.Logf("known again %v after the return of an agent without memory", time.Since(back).Round(time.Millisecond))
	eventually(t, "it is registered a second time", func() bool { return r.Status().Registrations == 2 })
}

func TestNewTokenIsHandedToTheAgent(t *testing.T) {
	const management = "11111111-2222-3333-4444-555555555555"
	server := consultest.Start(t, map[string]any{"acl": map[string]any{
		"enabled": true, "default_policy": "deny",
		"tokens": map[string]string{"initial_management": management, "agent": management, "default": management},
	}})
	operator := newAgent(t, server.Address())
	operator.token = management
	operator.must(t, http.MethodPut, "/v1/acl/policy", map[string]string{"Name": "orders", "Rules": `service "orders" { policy = "write" }`}, nil)
	type token struct{ AccessorID, SecretID string }
	newToken := func(policies ...map[string]string) (made token) {
		operator.must(t, http.MethodPut, "/v1/acl/token", map[string]any{"Policies": policies}, &made)
		return made
	}
	write := map[string]string{"Name": "orders"}
	weak, first, second := newToken(), newToken(write), newToken(write)

	path := filepath.Join(t.TempDir(), "token")
	use := func(token token) {
		if err := os.WriteFile(path, []byte(token.SecretID), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	use(weak)
	client, err := discovery.New(discovery.Options{Address: server.Address(), TokenFile: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	a := announcement("orders/1 %") // nothing that is escaped the wrong way goes unnoticed
	r := run(t, client, a, passing)
	eventually(t, "the weak token is refused", func() bool {
		return strings.Contains(r.Status().LastError, "refuses the token in "+path) && strings.Contains(r.Status().LastError, "service:write")
	})
	use(first)
	operator.becomes(t, a, "passing")

	operator.must(t, http.MethodDelete, "/v1/acl/token/"+first.AccessorID, nil, nil)
	use(second)
	eventually(t, "it is registered with the new token", func() bool { return r.Status().Registrations == 2 })
	// What the agent tells the servers now it tells with the new token.
	r.SetHealth(critical)
	operator.becomes(t, a, "critical")
	if err := r.Leave(t.Context(), "it drains"); err != nil {
		t.Error(err)
	}
	r.stop()
	eventually(t, "it is gone", func() bool {
		_, ok := operator.lookup(t, a.Name, a.ID)
		return !ok
	})
}
