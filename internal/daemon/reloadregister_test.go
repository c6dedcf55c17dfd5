package daemon

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// An agent is a Consul agent that takes down what it is told of announcements, with the tags and the
// token that come with it.
type agent struct {
	address string
	mu      sync.Mutex // guards told
	told    []string
}

func runAgent(t *testing.T) *agent {
	t.Helper()
	a := new(agent)
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.address = server.Listener.Addr().String()
	return a
}

func (a *agent) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	words := []string{path.Base(path.Dir(q.URL.Path)), path.Base(q.URL.Path)}
	switch {
	case strings.HasPrefix(q.URL.Path, "/v1/agent/service/register"):
		var s struct {
			ID   string
			Tags []string
		}
		if err := json.NewDecoder(q.Body).Decode(&s); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		words = append([]string{"register", s.ID}, s.Tags...)
	case strings.HasPrefix(q.URL.Path, "/v1/agent/service/"):
	default: // checks, and how they are
		io.WriteString(w, "{}")
		return
	}
	if token := q.Header.Get("X-Consul-Token"); token != "" {
		words = append(words, "by "+token)
	}
	a.mu.Lock()
	a.told = append(a.told, strings.Join(words, " "))
	a.mu.Unlock()
}

// heard is what it was told so far.
func (a *agent) heard() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.told)
}

// wantHeard waits until it was told as much as is wanted, and fails unless it is that.
func (a *agent) wantHeard(t *testing.T, all ...string) {
	t.Helper()
	until(t, "the agent has heard of "+strings.Join(all, ", "), func() bool { return len(a.heard()) >= len(all) })
	if got := a.heard(); !slices.Equal(got, all) {
		t.Errorf("it was told\n%q, want\n%q", got, all)
	}
}

// mine is an announcement in Consul at the agent.
func (a *agent) mine(consul, more string) string {
	return "[consul]\naddress = \"" + a.address + "\"\n" + consul +
		"[[register]]\nname = \"mine\"\nid = \"mine-1\"\nport = 1234\nleave_wait = \"0s\"\ncheck = { type = \"none\" }\n" + more
}

// Each step is a reload, and what the agent has heard in the end, from the beginning on.
func TestAnnouncementsInReloads(t *testing.T) {
	const maintenance, deregister = "maintenance mine-1", "deregister mine-1"
	for _, tt := range []struct {
		name  string
		steps func(a *agent) []string
		want  [][]string // behind each step, and behind the end
	}{
		{
			"another service changes",
			func(a *agent) []string {
				return []string{a.mine("", ""), a.mine("", "") + text("stock", "tcp", "127.0.0.1:0", "127.0.0.1:1")}
			},
			[][]string{{"register mine-1"}, nil, {maintenance, deregister}},
		},
		{ // others do not see it go
			"the announcement changes",
			func(a *agent) []string {
				return []string{a.mine("", `tags = ["v1"]`), a.mine("", `tags = ["v2"]`), a.mine("", `tags = ["v3"]`)}
			},
			[][]string{{"register mine-1 v1"}, {"register mine-1 v2"}, {"register mine-1 v3"}, {maintenance, deregister}},
		},
		{ // the one before takes nothing back behind its successor
			"the registry changes",
			func(a *agent) []string {
				return []string{a.mine("token = \"one\"\n", ""), a.mine("token = \"two\"\n", ""), a.mine("token = \"two\"\nconnections = 3\n", "")}
			},
			[][]string{
				{"register mine-1 by one"}, {deregister + " by one", "register mine-1 by two"},
				{deregister + " by two", "register mine-1 by two"}, {maintenance + " by two", deregister + " by two"},
			},
		},
		{
			"it is removed",
			func(a *agent) []string {
				return []string{a.mine("", ""), "[consul]\naddress = \"" + a.address + "\"\n"}
			},
			[][]string{{"register mine-1"}, {maintenance, deregister}, nil},
		},
		{
			"it is added, and removed",
			func(a *agent) []string { return []string{"", a.mine("", ""), ""} },
			[][]string{nil, {"register mine-1"}, {maintenance, deregister}, nil},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantNothingLeft(t, func(t *testing.T) {
				a := runAgent(t)
				steps := tt.steps(a)
				queue := adminOff + text("queue", "tcp", "127.0.0.1:0", "127.0.0.1:1")
				r := runPatient(t, queue+steps[0])
				all := tt.want[0]
				a.wantHeard(t, all...)
				for i, step := range steps[1:] {
					r.reload(t, queue+step)
					all = append(all, tt.want[i+1]...)
					a.wantHeard(t, all...)
					r.retiring.Wait()
					a.wantHeard(t, all...) // and nothing more
				}
				if err := r.end(t); err != nil {
					t.Error(err)
				}
				a.wantHeard(t, append(all, tt.want[len(steps)]...)...)
			})
		})
	}
}

// A new service whose registry is silent holds the end of a reload up, in which announcements change over.
func TestAnnouncementsChangeOverBesideAServiceThatIsWaitedFor(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		a := runAgent(t)
		r := runPatient(t, adminOff+short+a.mine("token = \"one\"\n", ""))
		a.wantHeard(t, "register mine-1 by one")
		// It asks the agent for its instances, which answers what is no list.
		r.reload(t, adminOff+short+a.mine("token = \"two\"\n", "")+"[[service]]\nname = \"new\"\nprotocol = \"tcp\"\nlisten = \"127.0.0.1:0\"\n")
		r.retiring.Wait()
		a.wantHeard(t, "register mine-1 by one", "deregister mine-1 by one", "register mine-1 by two")
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}
