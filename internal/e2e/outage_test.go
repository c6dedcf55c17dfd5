package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

func TestConsulGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	agent := consultest.Start(t)
	first, second := serveOrigin(t, "orders-1"), serveOrigin(t, "orders-2")
	agent.Register(consultest.Service{ID: "orders-1", Name: "orders", Port: first.port()})
	s := start(t, "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:0\"\n", consulAt(agent))
	s.waitReady()
	l := startLoad(t, s.address("orders"), 4)
	l.more(t, 100)

	agent.Stop()
	within(t, patience, "the status says that Consul fails", func() bool { return s.service("orders").Source.Failing })
	if e := s.service("orders").Source.LastError; !strings.Contains(e, agent.Address()) {
		t.Errorf("the error does not say where Consul was looked for: %s", e)
	}
	l.more(t, 500) // with the last set
	if r, err := s.Ready(t.Context()); err != nil || !r.Ready {
		t.Errorf("not ready without Consul, although everything is served: %+v, %v", r, err)
	}

	agent.Start()
	back := time.Now()
	within(t, patience, "the status says that Consul answers", func() bool { return !s.service("orders").Source.Failing })
	t.Logf("Consul is heard again %v after it has a leader (required: 5s)", time.Since(back).Round(time.Millisecond))
	registered := time.Now()
	agent.Register(consultest.Service{ID: "orders-2", Name: "orders", Port: second.port()})
	within(t, soon, "an instance that was registered after the outage gets traffic", func() bool { return second.served.Load() > 0 })
	t.Logf("an instance that was registered after the outage gets traffic after %v", time.Since(registered).Round(time.Millisecond))
	agent.Deregister("orders-1")
	within(t, soon, "the instance that left loses its connections", func() bool { return first.open() == 0 })
	l.end(t)
}

func TestTheSidecarIsThereBeforeConsul(t *testing.T) {
	t.Parallel()
	agent := consultest.Start(t)
	o := serveOrigin(t, "orders-1")
	agent.Register(consultest.Service{Name: "orders", Port: o.port()})
	agent.Register(consultest.Service{Name: "queue", Port: o.port()})
	agent.Stop()

	s := start(t, `
[[service]]
name = "orders"
listen = "127.0.0.1:0"
[[service]]
name = "queue"
listen = "127.0.0.1:0"
protocol = "tcp"
`, consulAt(agent))
	var missing []string
	within(t, patience, "readyz says why it is not ready", func() bool {
		r, err := s.Ready(t.Context())
		missing = r.Missing
		return err == nil && !r.Ready && len(missing) == 2 && strings.Contains(missing[0], agent.Address()) &&
			strings.Contains(missing[1], agent.Address())
	})
	if !strings.HasPrefix(missing[0], "orders: ") || !strings.HasPrefix(missing[1], "queue: ") {
		t.Errorf("what is missing: %q", missing)
	}
	if code, _, body := page(t, s, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, missing[0]) {
		t.Errorf("readyz: %d %s", code, body)
	}
	if err := s.Healthy(t.Context()); err != nil {
		t.Errorf("it works, and says: %v", err)
	}

	a := get(t, s.address("orders"), "/")
	if a.status != http.StatusServiceUnavailable || a.header.Get("Sidecar-Error") != "not-discovered" ||
		!strings.Contains(a.body, agent.Address()) || !strings.Contains(a.body, "orders") {
		t.Errorf("the answer does not say what is missing: %+v", a)
	}
	// A TCP session cannot be told why; it is reset, so that nobody takes it for an empty answer.
	wantRefused(t, s.address("queue"))

	agent.Start()
	took := within(t, soon, "requests are served", func() bool { return get(t, s.address("orders"), "/").status == http.StatusOK })
	t.Logf("served %v after Consul has a leader (required: 2s)", took.Round(time.Millisecond))
	within(t, soon, "it is ready", func() bool {
		r, err := s.Ready(t.Context())
		return err == nil && r.Ready && len(r.Missing) == 0
	})
}
