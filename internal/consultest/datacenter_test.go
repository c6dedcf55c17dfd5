package consultest

import (
	"fmt"
	"testing"
	"time"
)

// entries are the IDs and states of a service's instances, as an agent sees them.
func (a *Agent) entries(service string) map[string]string {
	a.t.Helper()
	var all []struct {
		Service struct{ ID string }
		Checks  []struct{ CheckID, Status string }
	}
	if err := a.get("/v1/health/service/"+service, &all); err != nil {
		a.t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range all {
		for _, c := range e.Checks {
			if c.CheckID == checkID(e.Service.ID) {
				got[e.Service.ID] = c.Status
			}
		}
	}
	return got
}

// What the tests of outages build on, in one story, since starting four agents takes seconds.
func TestDatacenterSurvivesWhatTestsDoToIt(t *testing.T) {
	begin := time.Now()
	d := StartDatacenter(t)
	t.Logf("started after %v", time.Since(begin).Round(time.Millisecond))
	begin = time.Now()
	var many []Service
	for i := range 300 {
		many = append(many, Service{ID: fmt.Sprintf("many-%d", i), Name: "many", Port: 1 + i, Status: "warning"})
	}
	d.Client.RegisterMany(many...)
	t.Logf("%d registered after %v", len(many), time.Since(begin).Round(time.Millisecond))
	if got := d.Client.entries("many"); len(got) != 300 || got["many-299"] != "warning" {
		t.Fatalf("%d are registered: %v", len(got), got)
	}
	snapshot := d.Follower().SaveSnapshot()

	leader := d.Leader()
	leader.Stop()
	next := d.Leader()
	if next == leader {
		t.Fatal("who was killed leads")
	}
	next.DeregisterMany("many-0", "many-1")
	next.RegisterMany(Service{ID: "many-2", Name: "many", Port: 3})
	if got := next.entries("many"); len(got) != 298 || got["many-2"] != "passing" {
		t.Errorf("%d are registered, many-2 is %s", len(got), got["many-2"])
	}
	d.StopServers()
	d.StartServers()
	if got := d.Leader().entries("many"); len(got) != 298 {
		t.Errorf("%d are registered after the restart", len(got))
	}
	d.Client.RestoreSnapshot(snapshot)
	if got := d.Leader().entries("many"); len(got) != 300 || got["many-2"] != "warning" {
		t.Errorf("%d are registered as of the snapshot, many-2 is %s", len(got), got["many-2"])
	}
	d.Leader().Stop()
	d.Follower().Pause()
	d.Client.Stop()
	d.Heal()
	for _, a := range d.agents() {
		if got := a.entries("many"); len(got) != 300 {
			t.Errorf("%s knows of %d instances", a.name, len(got))
		}
	}
}

func TestTokensOpenAndClose(t *testing.T) {
	d := StartDatacenter(t)
	d.Client.Register(Service{Name: "orders", Port: 1})
	ask := *d.Client
	token := d.NewToken(ReadAll)
	ask.token = token.Secret
	if got := ask.entries("orders"); len(got) != 1 {
		t.Errorf("with a token: %v", got)
	}
	ask.token = d.NewToken("").Secret
	if got := ask.entries("orders"); len(got) != 0 {
		t.Errorf("with a token that may do nothing: %v", got)
	}
	ask.token = token.Secret
	d.DeleteToken(token)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ask.get("/v1/health/service/orders", new([]any)) == nil; <-tick.C {
		if time.Since(begin) > patience {
			t.Fatal("a token that was deleted opens still")
		}
	}
}

func TestPausedAgentAnswersWhenItGoesOn(t *testing.T) {
	a := Start(t)
	a.Pause()
	answered := make(chan error, 1)
	go func() { answered <- a.get("/v1/status/leader", new(string)) }()
	select {
	case err := <-answered:
		t.Fatalf("it answers although it stands still: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	a.Resume()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}
