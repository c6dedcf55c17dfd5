package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// scraped is what one scrape of a registry showed.
type scraped map[string]*dto.Metric

// scrape gathers everything; the keys look like `sidecar_tcp_sessions_total{service="orders"}`.
func scrape(t *testing.T, r *Registry) scraped {
	t.Helper()
	families, err := r.Gatherer().Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	out := scraped{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m
		}
	}
	return out
}

func (s scraped) value(t *testing.T, series string) float64 {
	t.Helper()
	m, ok := s[series]
	if !ok {
		t.Fatalf("series %s is missing", series)
	}
	switch {
	case m.Counter != nil:
		return m.GetCounter().GetValue()
	case m.Gauge != nil:
		return m.GetGauge().GetValue()
	}
	t.Fatalf("series %s is neither counter nor gauge", series)
	return 0
}

func (s scraped) want(t *testing.T, series string, want float64) {
	t.Helper()
	if got := s.value(t, series); got != want {
		t.Errorf("%s = %v, want %v", series, got, want)
	}
}

// everything makes a registry in which every family has at least one series.
func everything() *Registry {
	r := New(Options{Loops: 2, Version: "1.2.3", Revision: "abc"})
	r.Listener("orders", "http")
	r.HTTP("orders").Shard(0).FirstByte.Observe(time.Millisecond)
	r.HTTP("orders").Shard(0).GRPC(GRPCUnavailable)
	r.HTTP("orders").Shard(0).Clients.Connections.Add(1)
	r.TCP("mail").Shard(1).Finish(time.Second)
	r.ObserveEndpoints(func(emit func(EndpointSample)) {
		emit(EndpointSample{Service: "orders", Address: "10.0.0.1:80", Zone: "b", Usable: true, Latency: time.Second, Attempts: 9, Resets: 3})
	})
	r.ObserveServices(func(emit func(ServiceSample)) {
		emit(ServiceSample{Service: "orders", Total: 1, SetKnown: true, Adaptive: &AdaptiveSample{Limit: 20}})
	})
	r.ObserveSources(func(emit func(SourceSample)) {
		emit(SourceSample{Service: "orders", Source: "consul", Known: true, LastSuccess: time.Unix(100, 5e8), LastError: time.Unix(50, 0), Instances: 4, States: map[string]int{"passing": 4}})
	})
	r.ObserveLoops(func(emit func(LoopSample)) {
		emit(LoopSample{Loop: 0, Turns: 7, Busy: time.Second, DelaySum: time.Millisecond,
			Delays: []uint64{4, 2, 1}, DelayBounds: []time.Duration{16 * time.Microsecond, 64 * time.Microsecond}})
		emit(LoopSample{Loop: 1, Panics: 1})
	})
	r.ObserveRegistrations(func(emit func(RegistrationSample)) {
		emit(RegistrationSample{Service: "app", ID: "app-80", Registry: "consul", Registered: true, LastSuccess: time.Unix(100, 0), Renewals: 3})
	})
	r.ObserveAccessLog(func(emit func(AccessLogSample)) {
		emit(AccessLogSample{Lines: 5, Dropped: 2, WriteErrors: 1})
	})
	r.ObserveCertificates(func(emit func(CertificateSample)) {
		emit(CertificateSample{Service: "orders", Side: "listener", Reloads: 1,
			Certificates: []CertificateEnd{{Name: "orders.example", NotAfter: time.Unix(200, 0)}}})
	})
	r.ObserveTracing(func(emit func(TracingSample)) { emit(TracingSample{Exported: 3}) })
	r.Unrouted("0.0.0.0:443").Count(UnroutedNoName)
	r.ObservePauses(func(emit func(PauseSample)) { emit(PauseSample{Service: "orders", Protocol: "http"}) })
	r.ObserveLog(func() uint64 { return 7 })
	return r
}

func TestTheHandlerAnswersAScrape(t *testing.T) {
	w := httptest.NewRecorder()
	everything().Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	for _, line := range []string{
		`sidecar_build_info{goversion="go`,
		`sidecar_http_time_to_first_byte_seconds_bucket{service="orders",le="0.001024"} 1`,
		`sidecar_http_time_to_first_byte_seconds_bucket{service="orders",le="0.000512"} 0`,
		`sidecar_endpoint_failures_total{endpoint="10.0.0.1:80",kind="reset",service="orders",zone="b"} 3`,
		`sidecar_source_last_success_timestamp_seconds{service="orders",source="consul"} 100.5`,
	} {
		if !strings.Contains(string(body), line) {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

func TestShardsOfAllLoopsAddUp(t *testing.T) {
	r := New(Options{Loops: 3})
	for loop := range 3 {
		l := r.Listener("orders", "http").Shard(loop)
		l.Accepted.Add(2)
		l.Errors.Add(1)

		h := r.HTTP("orders").Shard(loop)
		h.Started.Add(3)
		h.Finish(200, time.Millisecond)
		h.Finish(503, time.Millisecond)
		h.Error(CauseNoInstances)
		h.Retry(RetryConnect)
		h.BytesIn.Add(10)
		h.Idle.Add(2)
	}
	// A connection that was handed from one loop to another.
	r.Listener("orders", "http").Shard(0).Closed.Add(5)

	got := scrape(t, r)
	got.want(t, `sidecar_listener_connections_accepted_total{protocol="http",service="orders"}`, 6)
	got.want(t, `sidecar_listener_connections_active{protocol="http",service="orders"}`, 1)
	got.want(t, `sidecar_listener_accept_errors_total{protocol="http",service="orders"}`, 3)
	got.want(t, `sidecar_http_requests_total{code="2xx",service="orders"}`, 3)
	got.want(t, `sidecar_http_requests_total{code="5xx",service="orders"}`, 3)
	got.want(t, `sidecar_http_requests_total{code="4xx",service="orders"}`, 0)
	got.want(t, `sidecar_http_requests_in_flight{service="orders"}`, 3)
	got.want(t, `sidecar_http_errors_total{cause="no-instances",service="orders"}`, 3)
	got.want(t, `sidecar_http_retries_total{reason="connect",service="orders"}`, 3)
	got.want(t, `sidecar_http_received_bytes_total{service="orders"}`, 30)
	got.want(t, `sidecar_http_upstream_connections_idle{service="orders"}`, 6)
	if n := got[`sidecar_http_request_duration_seconds{service="orders"}`].GetHistogram().GetSampleCount(); n != 6 {
		t.Errorf("durations counted: %d, want 6", n)
	}
}

func TestTCPSessionsAreCounted(t *testing.T) {
	r := New(Options{Loops: 2})
	s := r.TCP("mail").Shard(1)
	s.Started.Add(3)
	s.BytesIn.Add(5)
	s.BytesOut.Add(7)
	s.Connect.Observe(2 * time.Millisecond)
	s.Fail(CauseIdleTimeout)
	s.Finish(90 * time.Second)
	got := scrape(t, r)
	got.want(t, `sidecar_tcp_sessions_total{service="mail"}`, 3)
	got.want(t, `sidecar_tcp_sessions_active{service="mail"}`, 2)
	got.want(t, `sidecar_tcp_sessions_failed_total{cause="idle-timeout",service="mail"}`, 1)
	got.want(t, `sidecar_tcp_received_bytes_total{service="mail"}`, 5)
	got.want(t, `sidecar_tcp_sent_bytes_total{service="mail"}`, 7)
	if h := got[`sidecar_tcp_session_duration_seconds{service="mail"}`].GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 90 {
		t.Errorf("session duration: count %d, sum %v", h.GetSampleCount(), h.GetSampleSum())
	}
}

func TestAHandleOutlivesAReloadAndIsForgottenWithItsService(t *testing.T) {
	r := New(Options{})
	h := r.HTTP("orders")
	h.Shard(0).Started.Add(1)
	r.Listener("orders", "http")
	if r.HTTP("orders") != h {
		t.Fatal("the same service got another handle")
	}
	r.HTTP("other")
	r.Forget("orders")
	for series := range scrape(t, r) {
		if strings.Contains(series, `"orders"`) {
			t.Errorf("%s is still there", series)
		}
	}
	h.Shard(0).Started.Add(1) // who still holds it does no harm
	if r.HTTP("orders") == h {
		t.Error("a forgotten handle came back with its old counts")
	}
}

func TestEveryIndexHasAShard(t *testing.T) {
	r := New(Options{Loops: 2})
	for _, loop := range []int{0, 1, 2, 7, -1} {
		if r.HTTP("a").Shard(loop) == nil || r.TCP("a").Shard(loop) == nil || r.Listener("a", "tcp").Shard(loop) == nil {
			t.Errorf("no shard for loop %d", loop)
		}
	}
	if r.HTTP("a").Shard(0) == r.HTTP("a").Shard(1) {
		t.Error("two loops share a shard")
	}
}

func TestSeriesOfGoneEndpointsVanish(t *testing.T) {
	r := New(Options{})
	set := []EndpointSample{{Service: "s", Address: "a:1"}, {Service: "s", Address: "b:1"}}
	r.ObserveEndpoints(func(emit func(EndpointSample)) {
		for _, e := range set {
			emit(e)
		}
	})
	if _, ok := scrape(t, r)[`sidecar_endpoint_usable{endpoint="b:1",service="s",zone=""}`]; !ok {
		t.Fatal("b is missing")
	}
	set = set[:1]
	got := scrape(t, r)
	if _, ok := got[`sidecar_endpoint_usable{endpoint="b:1",service="s",zone=""}`]; ok {
		t.Error("b is gone and still has a series")
	}
	got.want(t, `sidecar_endpoint_usable{endpoint="a:1",service="s",zone=""}`, 0)
}

// Two instances on one address, or a name that is not UTF-8, must not cost the whole scrape.
func TestOddSamplesDoNotSpoilAScrape(t *testing.T) {
	r := New(Options{})
	r.ObserveEndpoints(func(emit func(EndpointSample)) {
		emit(EndpointSample{Service: "s", Address: "a:1", InFlight: 2, Attempts: 10})
		emit(EndpointSample{Service: "s", Address: "a:1", InFlight: 3, Attempts: 1, Usable: true, Breaker: BreakerOpen})
		emit(EndpointSample{Service: "s", Address: "b:1", Zone: "\xff"})
	})
	r.ObserveSources(func(emit func(SourceSample)) {
		emit(SourceSample{Service: "s", Source: "dns"})
		emit(SourceSample{Service: "s", Source: "dns", Updates: 4})
	})
	r.ObserveLoops(nil)
	got := scrape(t, r)
	got.want(t, `sidecar_endpoint_in_flight{endpoint="a:1",service="s",zone=""}`, 5)
	got.want(t, `sidecar_endpoint_attempts_total{endpoint="a:1",service="s",zone=""}`, 11)
	got.want(t, `sidecar_endpoint_usable{endpoint="a:1",service="s",zone=""}`, 1)
	got.want(t, `sidecar_endpoint_breaker_state{endpoint="a:1",service="s",zone=""}`, 2)
	got.want(t, `sidecar_endpoint_usable{endpoint="b:1",service="s",zone="�"}`, 0)
	got.want(t, `sidecar_source_updates_total{service="s",source="dns"}`, 4)
	if _, ok := got[`sidecar_source_last_success_timestamp_seconds{service="s",source="dns"}`]; ok {
		t.Error("a source that never answered has a time of its last success")
	}
}

// While requests run, a scrape never sees an end without its beginning, nor a histogram whose
// count is not its last bucket, nor a counter that goes back.
func TestScrapesWhileCountingAreConsistent(t *testing.T) {
	const loops = 4
	r := New(Options{Loops: loops})
	h, l := r.HTTP("s"), r.Listener("s", "http")
	stop := make(chan struct{})
	var counting sync.WaitGroup
	for loop := range loops {
		counting.Go(func() {
			s := h.Shard(loop)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				l.Shard(loop).Accepted.Add(1)
				s.Started.Add(1)
				s.FirstByte.Observe(time.Duration(i) * time.Microsecond)
				s.Finish(200+100*(i%4), time.Duration(i)*time.Microsecond)
				l.Shard(loop + 1).Closed.Add(1) // the connection was handed to the neighbour
			}
		})
	}
	for range 5_000 {
		sum := h.total()
		var ended uint64
		for _, n := range sum.finished {
			ended += n
		}
		if v := difference(sum.started, ended); v < 0 {
			t.Fatalf("in flight: %v", v)
		}
		if accepted, closed, _, _ := l.total(); difference(accepted, closed) < 0 {
			t.Fatalf("%d connections accepted, %d closed", accepted, closed)
		}
	}
	var before float64
	for range 20 {
		got := scrape(t, r)
		ok := got.value(t, `sidecar_http_requests_total{code="2xx",service="s"}`)
		if ok < before {
			t.Fatalf("requests went back from %v to %v", before, ok)
		}
		before = ok
		d := got[`sidecar_http_request_duration_seconds{service="s"}`].GetHistogram()
		if last := d.GetBucket()[len(d.GetBucket())-1].GetCumulativeCount(); last > d.GetSampleCount() {
			t.Fatalf("last bucket %d, count %d", last, d.GetSampleCount())
		}
	}
	close(stop)
	counting.Wait()
	got := scrape(t, r)
	got.want(t, `sidecar_http_requests_in_flight{service="s"}`, 0)
	got.want(t, `sidecar_listener_connections_active{protocol="http",service="s"}`, 0)
	accepted := got.value(t, `sidecar_listener_connections_accepted_total{protocol="http",service="s"}`)
	if n := got[`sidecar_http_request_duration_seconds{service="s"}`].GetHistogram().GetSampleCount(); float64(n) != accepted || n == 0 {
		t.Errorf("%d durations, %v connections", n, accepted)
	}
}

func TestTheAccessLogHasNoSeriesUnlessItIsObserved(t *testing.T) {
	for name := range scrape(t, New(Options{})) {
		if strings.Contains(name, "access_log") {
			t.Errorf("%s is there", name)
		}
	}
	s := scrape(t, everything())
	s.want(t, "sidecar_access_log_lines_total{}", 5)
	s.want(t, "sidecar_access_log_dropped_total{}", 2)
	s.want(t, "sidecar_access_log_write_errors_total{}", 1)
}

func TestAnEndpointThatWasNeverAskedHasOneSeries(t *testing.T) {
	r := New(Options{})
	r.ObserveEndpoints(func(emit func(EndpointSample)) {
		emit(EndpointSample{Service: "orders", Address: "10.0.0.1:80", Usable: true})
		emit(EndpointSample{Service: "orders", Address: "10.0.0.2:80", Attempts: 1})
		emit(EndpointSample{Service: "orders", Address: "10.0.0.3:80", Breaker: BreakerOpen})
	})
	families, err := r.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		got[f.GetName()] = len(f.GetMetric())
	}
	if got["sidecar_endpoint_usable"] != 3 || got["sidecar_endpoint_attempts_total"] != 2 || got["sidecar_endpoint_breaker_state"] != 2 {
		t.Errorf("series %v", got)
	}
}
