package e2e

import (
	"fmt"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

// killedUnderLoad has 64 connections ask without a pause while one instance after the other
// is killed with SIGKILL, with what it has under way, and comes back on its address. The
// registry says nothing of it: it is the sidecar that has to notice.
func killedUnderLoad(t *testing.T, agent *consultest.Agent) {
	const instances, clients, rounds = 3, 64, 4
	origins, addresses := make([]*process, instances), make([]string, instances)
	for i := range origins {
		origins[i], addresses[i] = spawnOrigin(t, "127.0.0.1:0")
		agent.Register(consultest.Service{ID: fmt.Sprintf("victim-%d", i), Name: "victims", Port: portOf(addresses[i])})
	}
	s := start(t, "[[service]]\nname = \"victims\"\nlisten = \"127.0.0.1:0\"\n", consulAt(agent))
	s.waitReady()
	s.waitTotal("victims", instances)
	l := startLoad(t, s.address("victims"), clients)
	for round := range rounds {
		i := round % instances
		name := origins[i].name()
		l.more(t, 500)
		within(t, patience, "the victim is in use", func() bool { return l.from(name) > 0 })

		origins[i].kill()
		killed := l.from(name)
		l.more(t, 2000)
		if n := l.from(name) - killed; n > clients {
			t.Errorf("%d answers from an instance that is dead", n)
		}
		origins[i], _ = spawnOrigin(t, addresses[i])
		name = origins[i].name()
		// One that was ejected comes back by a probe; one that was not waits until its latency,
		// which its failures have raised, has come down.
		took := within(t, 4*patience, "the instance that came back is in use", func() bool { return l.from(name) > 0 })
		t.Logf("an instance that came back is in use after %v", took.Round(time.Millisecond))
	}
	l.end(t)
	for _, e := range s.service("victims").Endpoints {
		t.Logf("%s: %s, %+v", e.Address, e.State, e.Counters)
	}
}
