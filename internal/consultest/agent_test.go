package consultest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// The agent keeps the catalog and the state of its checks when it is killed and started again,
// and its address: what tests of an outage build on.
func TestAgentRemembersItsServicesOverARestart(t *testing.T) {
	a := Start(t)
	a.Register(Service{Name: "orders", Port: 1001})
	a.Register(Service{ID: "orders-2", Name: "orders", Port: 1002, Status: "warning"})
	a.Register(Service{ID: "orders-3", Name: "orders", Port: 1003})
	a.Deregister("orders-3")
	address := a.Address()
	a.Stop()
	a.Stop()
	var leader string
	if err := a.get("/v1/status/leader", &leader); err == nil {
		t.Fatal("the agent answers although it was stopped")
	}
	a.Start()
	if a.Address() != address {
		t.Fatalf("the address has changed from %s to %s", address, a.Address())
	}
	var entries []struct {
		Service struct{ ID string }
		Checks  []struct{ CheckID, Status string }
	}
	if err := a.get("/v1/health/service/orders", &entries); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range entries {
		for _, c := range e.Checks {
			if c.CheckID == checkID(e.Service.ID) {
				got[e.Service.ID] = c.Status
			}
		}
	}
	if len(got) != 2 || got["orders"] != "passing" || got["orders-2"] != "warning" {
		t.Fatalf("after the restart: %v", got)
	}
}

func TestPinnedVersionIsReadFromTheToolsModule(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	version, err := pinned(filepath.Join(root, "tools", "consul", "go.mod"))
	if err != nil || version == "" {
		t.Fatalf("version %q, %v", version, err)
	}
	empty := filepath.Join(t.TempDir(), "go.mod")
	if err := os.WriteFile(empty, []byte("module x\n\nrequire github.com/hashicorp/consul/api v1.2.3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := pinned(empty); err == nil {
		t.Fatalf("version %q of a module that does not require Consul", v)
	}
}

func TestLockLetsOneInAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside, all sync.WaitGroup
	var most, now int
	var mu sync.Mutex
	inside.Add(1)
	for range 8 {
		all.Go(func() {
			inside.Wait()
			unlock, err := lock(path)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			mu.Lock()
			now--
			mu.Unlock()
			unlock()
		})
	}
	inside.Done()
	all.Wait()
	if most != 1 {
		t.Fatalf("%d held the lock at once", most)
	}
}
