package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

// An entry is a registered instance as others look it up.
type entry struct {
	Service struct {
		ID, Address string
		Port        int
		Tags        []string
		Meta        map[string]string
		Weights     struct{ Passing, Warning int }
	}
	Checks []struct{ CheckID, Status, Output, Notes, ServiceID string }
}

// entries are the instances of a service that the catalog has, critical ones too; none while it
// cannot be asked.
func entries(agent *consultest.Agent, service string) []entry {
	resp, err := once.Get("http://" + agent.Address() + "/v1/health/service/" + service + "?consistent")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var all []entry
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&all) != nil {
		return nil
	}
	return all
}

// find is the instance with an ID; the zero value if it is not there.
func find(agent *consultest.Agent, service, id string) entry {
	for _, e := range entries(agent, service) {
		if e.Service.ID == id {
			return e
		}
	}
	return entry{}
}

// state is the worst state of its own checks, empty if it is not there.
func (e entry) state() string {
	state := ""
	for _, c := range e.Checks {
		if c.ServiceID != "" && (state == "" || c.Status == "critical") {
			state = c.Status
		}
	}
	return state
}

// maintenance is the reason for which it is in maintenance, empty if it is not.
func (e entry) maintenance() string {
	for _, c := range e.Checks {
		if strings.HasPrefix(c.CheckID, "_service_maintenance:") {
			return c.Notes
		}
	}
	return ""
}

// wantState waits until an instance is so in the catalog.
func wantState(t *testing.T, agent *consultest.Agent, service, id, state string) entry {
	t.Helper()
	var e entry
	took := within(t, patience, fmt.Sprintf("%s is %q in the catalog", id, state), func() bool {
		e = find(agent, service, id)
		return e.state() == state
	})
	t.Logf("%s is %q in the catalog after %v", id, state, took.Round(time.Millisecond))
	return e
}

// announcing is the configuration of a sidecar that announces an origin as an instance of app,
// and has a listener for it, orders.
func announcing(o *origin, more string) string {
	return static("orders", "", o.address) + fmt.Sprintf(`
[[register]]
name = "app"
id = %q
address = "127.0.0.1"
port = %d
ttl = "3s"
%s
`, o.name, o.port(), more)
}

const checked = `
  [register.check]
  type = "http"
  path = "/healthz"
  interval = "500ms"
  timeout = "500ms"
  rise = 1
  fall = 2
`

func TestTheLocalServiceIsAnnounced(t *testing.T) {
	t.Parallel()
	data := folder(t)
	agent := consultest.Start(t, map[string]any{"data_dir": data})
	app := serveOrigin(t, "app-1")
	app.health.Store(http.StatusServiceUnavailable)
	s := start(t, announcing(app, "tags = [\"v2\", \"blue\"]\nmeta = [\"version=2.1\"]\nweight = 3\nwarning_weight = 2\n"+checked), consulAt(agent))

	wantState(t, agent, "app", "app-1", "critical") // before it is well nobody is sent to it
	app.health.Store(http.StatusOK)
	e := wantState(t, agent, "app", "app-1", "passing")
	if e.Service.Address != "127.0.0.1" || e.Service.Port != app.port() || !slices.Equal(e.Service.Tags, []string{"v2", "blue"}) ||
		e.Service.Meta["version"] != "2.1" || e.Service.Weights.Passing != 3 || e.Service.Weights.Warning != 2 {
		t.Errorf("announced otherwise than it is configured: %+v", e)
	}
	s.wantAnnounced("registered", "passing")

	app.health.Store(http.StatusInternalServerError)
	e = wantState(t, agent, "app", "app-1", "critical")
	if !slices.ContainsFunc(e.Checks, func(c struct{ CheckID, Status, Output, Notes, ServiceID string }) bool {
		return strings.Contains(c.Output, "500")
	}) {
		t.Errorf("the catalog does not say why: %+v", e.Checks)
	}
	s.wantAnnounced("registered", "critical")
	if text := s.statusText(); !hasAll(text, []string{"app-1 is critical: ", "500"}) {
		t.Errorf("the status does not say why it is critical:\n%s", text)
	}
	app.health.Store(http.StatusOK)
	wantState(t, agent, "app", "app-1", "passing")

	// All that the agent knows is lost. It may have told the sidecar so, or that it does not answer.
	agent.Stop()
	within(t, noticed, "the status says that Consul fails", func() bool { return s.document().Registrations[0].Failing })
	if text := s.statusText(); !hasAll(text, []string{"app-1 fails: ", agent.Address(), "refused"}) {
		t.Errorf("the status does not say why it fails:\n%s", text)
	}
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	agent.Start()
	wantState(t, agent, "app", "app-1", "passing")
	within(t, patience, "the log says that it was announced again", func() bool { return s.logged("registration: announced again") > 0 })
	s.wantLoggedOnce("registration: announced again")
	s.wantLoggedOnce("registration: the registry does not take it")
	s.wantAnnounced("registered", "passing")

	times := s.document().Registrations[0].Registrations
	agent.Deregister("app-1")
	within(t, patience, "it is registered again", func() bool { return s.document().Registrations[0].Registrations > times })
	wantState(t, agent, "app", "app-1", "passing")
	s.wantAnnounced("registered", "passing")

	s.signal(syscall.SIGTERM)
	s.wait()
	if left := entries(agent, "app"); len(left) != 0 {
		t.Errorf("what has ended is still in the catalog: %+v", left)
	}
}

// wantAnnounced waits until `sidecar status` says so in the line of app.
func (s *sidecar) wantAnnounced(words ...string) {
	s.t.Helper()
	within(s.t, patience, fmt.Sprintf("the status says %q of app", words), func() bool {
		for line := range strings.Lines(s.statusText()) {
			if strings.HasPrefix(line, "app ") && hasAll(line, words) {
				return true
			}
		}
		return false
	})
}
