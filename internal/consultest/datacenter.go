package consultest

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A Datacenter is what a company runs: three servers, of which one leads, and the agent of one
// host, which is a client of theirs. They are processes of their own on 127.0.0.1, keep their
// data on disk, and ask for a token: without one nobody reads or writes anything.
//
// Its methods fail the test when something goes wrong, and are for the test's goroutine.
type Datacenter struct {
	// Client is the agent that sidecars ask.
	Client *Agent
	// Servers keep the catalog. Two of them are enough for it to be read and written.
	Servers [3]*Agent
	// Token may do everything. The methods of the agents use it.
	Token string

	t testing.TB
}

// managementToken is no secret: it opens what a test has started.
const managementToken = "7f3c1a52-6a2f-4f0e-9d0c-2b1f1c9d8e47" //nolint:gosec // see above

// StartDatacenter returns a Datacenter that runs, with a leader and with all four nodes in the
// catalog. It takes some 5 s, and is killed when t ends. config holds further top-level
// settings of all agents.
func StartDatacenter(t testing.TB, config ...map[string]any) *Datacenter {
	t.Helper()
	var err error
	for range 5 {
		d := newDatacenter(t, config...)
		if err = d.start(d.agents()); err == nil {
			return d
		}
		// Somebody has taken one of the ports in between: others, then.
		for _, a := range d.agents() {
			a.Stop()
		}
	}
	t.Fatalf("consultest: %v", err)
	return nil
}

func newDatacenter(t testing.TB, config ...map[string]any) *Datacenter {
	t.Helper()
	d := &Datacenter{t: t, Token: managementToken}
	all, err := freePorts(len(d.Servers) + 1)
	if err != nil {
		t.Fatalf("consultest: %v", err)
	}
	// Servers that come back join the client too: to wait until it looks for them takes 30 s and
	// more, once it has given them up.
	var join []string
	for _, p := range all {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", p.serf))
	}
	shared := map[string]any{
		"retry_join": join, "retry_interval": "500ms",
		"acl": map[string]any{
			"enabled": true, "default_policy": "deny",
			// Every agent keeps what it has learned of a token for so long: that one was deleted is
			// known within a second instead of 30.
			"token_ttl": "1s", "policy_ttl": "1s", "role_ttl": "1s",
			"tokens": map[string]string{"initial_management": d.Token, "agent": d.Token},
		},
	}
	agent := func(name string, p ports, role map[string]any) *Agent {
		a := prepare(t, name, p, append([]map[string]any{shared, role}, config...)...)
		a.token, a.taken = d.Token, d.whole
		return a
	}
	for i := range d.Servers {
		d.Servers[i] = agent(fmt.Sprintf("server%d", i+1), all[i], map[string]any{"server": true, "bootstrap_expect": len(d.Servers)})
	}
	d.Client = agent("client", all[len(d.Servers)], nil)
	return d
}

func (d *Datacenter) agents() []*Agent { return append(d.Servers[:], d.Client) }

// start launches those agents that do not run, all at once, lets those go on that are paused, and
// waits until each of them has taken up its work.
func (d *Datacenter) start(agents []*Agent) error {
	for _, a := range agents {
		if a.running() {
			a.Resume()
		} else if err := a.launch(); err != nil {
			return err
		}
	}
	for _, a := range agents {
		if err := a.await(); err != nil {
			return err
		}
	}
	return nil
}

// whole tells whether an agent hears of a leader and sees every running node well in the
// catalog, after which nothing of the agents' own doing changes it.
func (d *Datacenter) whole(a *Agent) bool {
	if !a.hasLeader() {
		return false
	}
	// A leader that was just started answers from the part of its log that it has read so far,
	// unless it is asked for all.
	var checks []struct{ Node, Status string }
	if a.get("/v1/health/state/any?consistent", &checks) != nil {
		return false
	}
	return !slices.ContainsFunc(d.agents(), func(one *Agent) bool {
		return one.running() && !slices.ContainsFunc(checks, func(c struct{ Node, Status string }) bool {
			return c.Node == one.name && c.Status == "passing"
		})
	})
}

// Heal ends what was done to agents: those that do not run are started, those that are paused go
// on, and it waits until all four have taken up their work.
func (d *Datacenter) Heal() {
	d.t.Helper()
	if err := d.start(d.agents()); err != nil {
		d.t.Fatalf("consultest: %v", err)
	}
}

// StopServers kills all three servers at once.
func (d *Datacenter) StopServers() {
	for _, a := range d.Servers {
		a.Stop()
	}
}

// StartServers runs those servers that do not run, with the data that they had, and waits until
// all have a leader.
func (d *Datacenter) StartServers() {
	d.t.Helper()
	if err := d.start(d.Servers[:]); err != nil {
		d.t.Fatalf("consultest: %v", err)
	}
}

// Leader waits until the servers that run agree on one of themselves, and returns it. Without
// two that run, that is never.
func (d *Datacenter) Leader() *Agent {
	d.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < patience; <-tick.C {
		if a := d.agreed(); a != nil {
			return a
		}
	}
	d.t.Fatalf("consultest: the servers have no leader after %v", patience)
	return nil
}

// Follower is a server that runs and does not lead.
func (d *Datacenter) Follower() *Agent {
	d.t.Helper()
	leader := d.Leader()
	for _, a := range d.Servers {
		if a.running() && a != leader {
			return a
		}
	}
	d.t.Fatal("consultest: no server runs beside the leader")
	return nil
}

// agreed is the running server that all running servers call their leader; nil if there is none.
func (d *Datacenter) agreed() *Agent {
	var address string
	for _, a := range d.Servers {
		if !a.running() {
			continue
		}
		var leader string
		if a.get("/v1/status/leader", &leader) != nil || leader == "" || address != "" && leader != address {
			return nil
		}
		address = leader
	}
	for _, a := range d.Servers {
		if a.running() && address == fmt.Sprintf("127.0.0.1:%d", a.ports.server) {
			return a
		}
	}
	return nil
}
