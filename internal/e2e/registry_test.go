package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

// TestARegisteredService is everything that needs an agent which stays up: they share one.
func TestARegisteredService(t *testing.T) {
	t.Parallel()
	agent := consultest.Start(t)
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, *consultest.Agent)
	}{
		{"is served by a configuration of two lines", twoLines},
		{"that nobody knows is answered with the cause", unknownService},
		{"sends traffic to a new instance and none to one that has left", comingAndGoing},
		{"loses no request when instances are killed under load", killedUnderLoad},
		{"that nobody knows is answered with what is configured", fixedResponse},
		{"keeps an instance that the registry has dropped while it is well", keepDropped},
		{"over TCP passes over dead instances", deadOverTCP},
		{"over TCP keeps or cuts the sessions of an instance that left", leavingOverTCP},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			t.Parallel()
			scenario.run(t, agent)
		})
	}
}

// consulAt tells a sidecar where the agent is.
func consulAt(agent *consultest.Agent) string { return "SIDECAR_CONSUL_ADDRESS=" + agent.Address() }

func twoLines(t *testing.T, agent *consultest.Agent) {
	o := serveOrigin(t, "orders-1")
	agent.Register(consultest.Service{Name: "orders", Port: o.port()})
	s := start(t, "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:0\"\n", "CONSUL_HTTP_ADDR="+agent.Address())
	s.waitReady()
	w := connect(t, s.address("orders"))
	for range 3 {
		a, err := w.get("/some/path?query")
		if err != nil || a.status != http.StatusOK || a.origin() != o.name || a.body != "orders-1 answers\n" {
			t.Fatalf("%+v, %v", a, err)
		}
		if e := a.header.Get("Sidecar-Error"); e != "" {
			t.Errorf("Sidecar-Error %q of a good answer", e)
		}
	}
	if svc := s.service("orders"); svc.SourceKind != "consul" || svc.Usable != 1 || svc.Source.Index == 0 {
		t.Errorf("status: %+v", svc)
	}
}

func unknownService(t *testing.T, agent *consultest.Agent) {
	s := start(t, "[[service]]\nname = \"ordres\"\nlisten = \"127.0.0.1:0\"\n", consulAt(agent))
	s.waitReady() // what the registry has said is known
	a := get(t, s.address("ordres"), "/")
	if a.status != http.StatusServiceUnavailable || a.header.Get("Sidecar-Error") != "unknown-service" ||
		!strings.Contains(a.body, "ordres") {
		t.Errorf("%+v", a)
	}
}

// The connections that are kept to an instance stay for ten minutes here, so that if they are
// gone it is because the instance is.
const keepLong = "[[service]]\nname = \"stock\"\nlisten = \"127.0.0.1:0\"\ntimeout.upstream_idle = \"10m\"\n"

func comingAndGoing(t *testing.T, agent *consultest.Agent) {
	first, second := serveOrigin(t, "stock-1"), serveOrigin(t, "stock-2")
	agent.Register(consultest.Service{ID: "stock-1", Name: "stock", Port: first.port()})
	agent.Register(consultest.Service{ID: "stock-2", Name: "stock", Port: second.port(), Status: "critical"})
	s := start(t, keepLong, consulAt(agent))
	s.waitReady()
	l := startLoad(t, s.address("stock"), 4)
	l.more(t, 200)
	if n := second.served.Load(); n != 0 {
		t.Errorf("the critical instance got %d requests", n)
	}

	passing := time.Now()
	agent.SetCheck("stock-2", "passing")
	within(t, soon, "the new instance gets traffic", func() bool { return second.served.Load() > 0 })
	took := time.Since(passing)
	t.Logf("a new instance gets traffic %v after passing (required: 1s)", took.Round(time.Millisecond))

	within(t, patience, "connections to the first instance are kept", func() bool { return first.open() > 0 })
	left := time.Now()
	agent.Deregister("stock-1")
	within(t, soon, "no connection to the instance that left is open", func() bool { return first.open() == 0 })
	took = time.Since(left)
	served := first.served.Load()
	t.Logf("one that has left loses its last connection after %v, and got its last request after %v (required: 1s)",
		took.Round(time.Millisecond), max(0, time.Unix(0, first.last.Load()).Sub(left)).Round(time.Millisecond))
	l.more(t, 500)
	if n := first.served.Load(); n != served || first.open() != 0 {
		t.Errorf("the instance that left got %d more requests, and has %d connections", n-served, first.open())
	}

	// A check that fails is the same as leaving, and a check that passes as coming.
	agent.Register(consultest.Service{ID: "stock-1", Name: "stock", Port: first.port()})
	within(t, soon, "the instance that has come back gets traffic", func() bool { return first.served.Load() > served })
	agent.SetCheck("stock-2", "critical")
	within(t, soon, "no connection to the critical instance is open", func() bool { return second.open() == 0 })
	served = second.served.Load()
	l.more(t, 200)
	if n := second.served.Load(); n != served {
		t.Errorf("the critical instance got %d requests", n-served)
	}
	l.end(t)
}
