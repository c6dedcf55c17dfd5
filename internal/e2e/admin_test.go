package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"sidecar/admin"
)

// page is what anybody gets who asks the admin interface over HTTP.
func page(t *testing.T, s *sidecar, path string) (code int, contentType, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(s.Address, "unix:"))
		},
	}}
	resp, err := client.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

// metrics is a scrape.
func metrics(t *testing.T, s *sidecar) map[string]*dto.MetricFamily {
	t.Helper()
	code, _, body := page(t, s, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", code, body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("/metrics is not the text format of Prometheus: %v", err)
	}
	return families
}

// sum adds the values of a family's series up.
func sum(families map[string]*dto.MetricFamily, name string) float64 {
	var total float64
	for _, m := range families[name].GetMetric() {
		total += m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue() + m.GetHistogram().GetSampleSum()
	}
	return total
}

func TestTheAdminInterfaceTellsWhatThereIs(t *testing.T) {
	t.Parallel()
	o, echo := serveOrigin(t, "orders-1"), serveStream(t)
	const secret = "5ef9e5bb-d4a4-4b7a-b4d6-e2a4de3d5fa3"
	s := start(t, static("orders", "", o.address)+static("queue", `protocol = "tcp"`, echo.address),
		"SIDECAR_CONSUL_TOKEN="+secret)
	for range 10 {
		if a := get(t, s.address("orders"), "/"); a.status != http.StatusOK {
			t.Fatalf("%+v", a)
		}
	}
	session := connect(t, s.address("queue"))
	session.exchange(t, "hello")

	if code, _, body := page(t, s, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	s.waitReady()
	if code, _, body := page(t, s, "/readyz"); code != http.StatusOK || body != "ready\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}

	code, kind, body := page(t, s, "/status")
	var d admin.Document
	if err := json.Unmarshal([]byte(body), &d); code != http.StatusOK || err != nil || !strings.HasPrefix(kind, "application/json") {
		t.Fatalf("/status: %d %s %v", code, kind, err)
	}
	if len(d.Services) != 2 || len(d.Listeners) != 2 || len(d.Loops) == 0 || d.PID != s.cmd.Process.Pid || !d.Readiness.Ready {
		t.Errorf("/status: %s", body)
	}
	if e := s.endpoint("orders", o.address); e.Counters.Attempts != 10 || e.State != "usable" || e.Why == "" || e.LatencySeconds <= 0 {
		t.Errorf("the endpoint: %+v", e)
	}
	if _, _, text := page(t, s, "/status?format=text"); !strings.Contains(text, o.address) || !strings.Contains(text, "queue") {
		t.Errorf("/status as text:\n%s", text)
	}

	code, _, body = page(t, s, "/config")
	if code != http.StatusOK || strings.Contains(body, secret) || !strings.Contains(body, "token = ") || !strings.Contains(body, o.address) {
		t.Errorf("/config: %d\n%s", code, body)
	}
	for _, path := range []string{"/status", "/status?format=text", "/metrics", "/readyz", "/"} {
		if _, _, body := page(t, s, path); strings.Contains(body, secret) {
			t.Errorf("%s shows the token", path)
		}
	}
	if strings.Contains(s.err.String(), secret) {
		t.Error("the log shows the token")
	}
	if code, _, _ := page(t, s, "/nothing"); code != http.StatusNotFound {
		t.Errorf("/nothing: %d", code)
	}
}

func TestMetricsCountWhatHappens(t *testing.T) {
	t.Parallel()
	o, echo := serveOrigin(t, "orders-1"), serveStream(t)
	s := start(t, static("orders", `timeout.upstream_idle = "10m"`, o.address)+static("queue", `protocol = "tcp"`, echo.address))
	w := connect(t, s.address("orders"))
	for range 10 {
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	session := connect(t, s.address("queue"))
	session.exchange(t, "hello")

	families := metrics(t, s)
	for name, f := range families {
		if !strings.HasPrefix(name, "sidecar_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("a foreign name: %s", name)
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
	// A count may follow a moment behind what the client has seen.
	for name, want := range map[string]float64{
		"sidecar_build_info": 1,

		"sidecar_http_requests_total": 10, "sidecar_http_requests_in_flight": 0, "sidecar_http_errors_total": 0,
		"sidecar_http_upstream_connections_opened_total": 1, "sidecar_http_upstream_connections_reused_total": 9,
		"sidecar_http_upstream_connections_idle": 1,

		"sidecar_tcp_sessions_total": 1, "sidecar_tcp_sessions_active": 1, "sidecar_tcp_sessions_failed_total": 0,
		"sidecar_tcp_received_bytes_total": 5, "sidecar_tcp_sent_bytes_total": 5,

		"sidecar_listener_connections_accepted_total": 2, "sidecar_listener_connections_active": 2,
		"sidecar_endpoint_attempts_total": 11, "sidecar_endpoint_usable": 2, "sidecar_endpoint_in_flight": 1,
		"sidecar_source_known": 2, "sidecar_loop_connections": 4, "sidecar_loop_panics_total": 0,
	} {
		if families[name] == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		within(t, patience, fmt.Sprintf("%s is %v", name, want), func() bool { return sum(metrics(t, s), name) == want })
	}
}
