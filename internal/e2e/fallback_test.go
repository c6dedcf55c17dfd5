package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"sidecar/internal/consultest"
	"sidecar/upstream"
)

// fastCheck is a health check for tests.
const fastCheck = `health_check = { type = "http", interval = "500ms", down_interval = "100ms", timeout = "500ms", fall = 2, rise = 2 }
`

// Where nothing of a service is usable, others stand in, for as long as that lasts.
func TestFallbackInstancesServeWhileNothingElseDoes(t *testing.T) {
	t.Parallel()
	o, spare := serveOrigin(t, "orders-1"), serveOrigin(t, "spare")
	s := serving(t, static("orders", fastCheck+`fallback.instances = ["`+spare.address+`"]`, o.address))
	l := startLoad(t, s.address("orders"), 4)
	l.more(t, 200)
	if n := spare.served.Load(); n > 0 {
		t.Errorf("the fallback instance got %d requests while it was not needed", n)
	}
	o.health.Store(http.StatusInternalServerError)
	s.waitState("orders", o.address, upstream.StateDown)
	wantSome(t, spare)
	wantNone(t, l, o)
	text := s.explain("orders")
	if missing := lacking(text, []string{"fails open: no endpoint is usable, so the fallback instances are used", "status 500", "in use"}); missing != "" {
		t.Errorf("explain does not say %q:\n%s", missing, text)
	}
	o.health.Store(http.StatusOK)
	s.waitState("orders", o.address, upstream.StateUsable)
	wantNone(t, l, spare)
	wantSome(t, o)
	l.end(t)
}

// Where there is nobody to stand in, a fixed answer may.
func fixedResponse(t *testing.T, agent *consultest.Agent) {
	s := start(t, `
[[service]]
name = "closed"
listen = "127.0.0.1:0"
fallback = { status = 200, content_type = "application/json", body = '{"open":false}' }
`, consulAt(agent))
	s.waitReady()
	a := get(t, s.address("closed"), "/")
	if a.status != http.StatusOK || a.body != `{"open":false}` || a.header.Get("Content-Type") != "application/json" ||
		a.header.Get("Sidecar-Error") != "unknown-service" {
		t.Errorf("%+v", a)
	}
	o := serveOrigin(t, "closed-1")
	agent.Register(consultest.Service{ID: "closed-1", Name: "closed", Port: o.port()})
	within(t, soon, "the instance serves", func() bool { return get(t, s.address("closed"), "/").origin() == o.name })
	// What an instance answers is the instance's.
	o.status.Store(http.StatusNotFound)
	if a := get(t, s.address("closed"), "/"); a.status != http.StatusNotFound {
		t.Errorf("%+v", a)
	}
}

// Fewer than half are healthy: the checks are wrong, or the few that are left would break
// under the load of all.
func TestAllAreUsedWhenTooFewAreHealthy(t *testing.T) {
	t.Parallel()
	origins := serveOrigins(t, "well", "sick-1", "sick-2")
	well, sick := origins[0], origins[1:]
	s := serving(t, static("orders", fastCheck, addresses(origins)...))
	l := startLoad(t, s.address("orders"), 4)
	sick[0].health.Store(http.StatusServiceUnavailable)
	s.waitState("orders", sick[0].address, upstream.StateDown)
	wantNone(t, l, sick[0]) // two of three are enough
	sick[1].health.Store(http.StatusServiceUnavailable)
	s.waitState("orders", sick[1].address, upstream.StateDown)
	for _, o := range origins {
		wantSome(t, o)
	}
	text := s.explain("orders")
	if missing := lacking(text, []string{"too few endpoints are usable, so those that are down by their health checks are used as well"}); missing != "" {
		t.Errorf("explain does not say %q:\n%s", missing, text)
	}
	if missing := lacking(remark(text, s.id("orders", sick[0].address)), []string{"down: health check failed", "status 503", "used all the same"}); missing != "" {
		t.Errorf("explain does not say %q of one that is down:\n%s", missing, text)
	}

	sick[1].health.Store(http.StatusOK)
	s.waitState("orders", sick[1].address, upstream.StateUsable)
	wantNone(t, l, sick[0])
	wantSome(t, well)
	l.end(t)
}

// An instance that the registry has dropped and that passes its check is more likely
// forgotten than gone.
func keepDropped(t *testing.T, agent *consultest.Agent) {
	first, second := serveOrigin(t, "kept-1"), serveOrigin(t, "kept-2")
	agent.Register(consultest.Service{ID: "kept-1", Name: "kept", Port: first.port()})
	agent.Register(consultest.Service{ID: "kept-2", Name: "kept", Port: second.port()})
	s := start(t, `
[[service]]
name = "kept"
listen = "127.0.0.1:0"
health_check = { type = "http", interval = "500ms", timeout = "500ms", fall = 2, keep_dropped = true }
`, consulAt(agent))
	s.waitReady()
	s.waitTotal("kept", 2)
	l := startLoad(t, s.address("kept"), 4)
	wantSome(t, first)
	within(t, patience, "it has been probed", func() bool { return strings.Contains(s.endpoint("kept", first.address).Why, "passed") })

	agent.Deregister("kept-1")
	within(t, patience, "the status says that it is dropped", func() bool {
		return strings.Contains(s.endpoint("kept", first.address).Why, "the source reports it no longer, but its health check passes")
	})
	wantSome(t, first)
	if text := s.explain("kept"); lacking(text, []string{"dropped", "serves on until that fails"}) != "" {
		t.Errorf("explain does not say that it was dropped:\n%s", text)
	}
	first.health.Store(http.StatusInternalServerError)
	s.waitTotal("kept", 1)
	wantNone(t, l, first)
	l.end(t)
}

func TestAGRPCCheckAsksARealServer(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, verdict := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, verdict)
	verdict.SetServingStatus("orders.v1", healthpb.HealthCheckResponse_SERVING)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln) // until it is stopped
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	well := serveOrigin(t, "well") // an HTTP server knows nothing of gRPC
	s := serving(t, static("orders", `health_check = { type = "grpc", service = "orders.v1", interval = "500ms", down_interval = "100ms", timeout = "500ms", fall = 2 }`,
		ln.Addr().String(), well.address))
	address := ln.Addr().String()
	s.waitState("orders", well.address, upstream.StateDown)
	within(t, patience, "it has been probed", func() bool { return strings.Contains(s.endpoint("orders", address).Why, "passed") })
	verdict.SetServingStatus("orders.v1", healthpb.HealthCheckResponse_NOT_SERVING)
	if why := s.waitState("orders", address, upstream.StateDown); !strings.Contains(why, "NOT_SERVING") {
		t.Errorf("why it is down: %q", why)
	}
	if text := remark(s.explain("orders"), address); !strings.Contains(text, "NOT_SERVING") {
		t.Errorf("explain does not say so:\n%s", text)
	}
	verdict.SetServingStatus("orders.v1", healthpb.HealthCheckResponse_SERVING)
	s.waitState("orders", address, upstream.StateUsable)
}
