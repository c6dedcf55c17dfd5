package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A collector is OpenTelemetry's, as far as a sidecar sees it.
type collector struct {
	url string

	mu    sync.Mutex
	spans []sighting
	wrong []string
}

// A sighting is a span that has come, with the service.name of who has sent it.
type sighting struct {
	*otlp.Span
	sender string
}

func serveCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	server := httptest.NewServer(c)
	c.url = server.URL
	t.Cleanup(func() {
		server.Close()
		for _, w := range c.wrong {
			t.Error(w)
		}
	})
	return c
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var data otlp.TracesData
	if err := decode(r, &data); err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("the collector got %s %s: %v", r.Method, r.URL, err))
		return
	}
	for _, rs := range data.ResourceSpans {
		sender := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" {
				sender = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans = append(c.spans, sighting{s, sender})
			}
		}
	}
}

func decode(r *http.Request, data *otlp.TracesData) error {
	if r.URL.Path != "/v1/traces" || r.Method != http.MethodPost {
		return fmt.Errorf("want POST /v1/traces")
	}
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(zip)
	if err != nil {
		return err
	}
	return proto.Unmarshal(raw, data)
}

// of waits until a trace has n spans.
func (c *collector) of(t *testing.T, trace string, n int) (spans []sighting) {
	t.Helper()
	within(t, patience, fmt.Sprintf("trace %s has %d spans", trace, n), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		spans = nil
		for _, s := range c.spans {
			if fmt.Sprintf("%x", s.TraceId) == trace {
				spans = append(spans, s)
			}
		}
		return len(spans) >= n
	})
	if len(spans) != n {
		t.Errorf("%d spans, want %d", len(spans), n)
	}
	return spans
}

// below are the spans whose parent has that id, in hexadecimal.
func below(spans []sighting, parent string) (children []sighting) {
	for _, s := range spans {
		if fmt.Sprintf("%x", s.ParentSpanId) == parent {
			children = append(children, s)
		}
	}
	return children
}

func (s sighting) id() string { return fmt.Sprintf("%x", s.SpanId) }

func (s sighting) text(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			if text := a.Value.GetStringValue(); text != "" {
				return text
			}
			return fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return ""
}

var traceparentLine = regexp.MustCompile(`(?m)^Traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])\r$`)

// traced asks for /head and returns what the origin was told: trace, parent and flag.
func traced(t *testing.T, w *wire, field string) (trace, parent, flag string) {
	t.Helper()
	a, err := w.ask("/head", field)
	if err != nil {
		t.Fatal(err)
	}
	found := traceparentLine.FindAllStringSubmatch(a.body, -1)
	if len(found) != 1 {
		t.Fatalf("the origin is told %q", a.body)
	}
	return found[0][1], found[0][2], found[0][3]
}

func tracingTo(c *collector, sender string, sample int) string {
	return fmt.Sprintf("[tracing]\nendpoint = %q\nsample = %d\nservice = %q\n", c.url, sample, sender)
}

// TestATraceGoesThroughTwoSidecars has a request pass one sidecar, which begins its trace, and
// another, which would not have: four spans, each below the one before, and the origin below the last.
func TestATraceGoesThroughTwoSidecars(t *testing.T) {
	t.Parallel()
	c, o := serveCollector(t), serveOrigin(t, "orders")
	log := filepath.Join(folder(t), "access.log")
	inner := serving(t, tracingTo(c, "inner", 0)+static("orders", "", o.address))
	outer := serving(t, tracingTo(c, "outer", 1)+fmt.Sprintf("[access_log]\npath = %q\nformat = \"$trace_id\"\n", log)+static("edge", "", inner.address("orders")))
	trace, parent, flag := traced(t, connect(t, outer.address("edge")), "X-Other: 1")
	if flag != "1" {
		t.Errorf("flag %s", flag)
	}
	spans := c.of(t, trace, 4)
	last := ""
	for _, want := range []struct {
		sender string
		kind   otlp.Span_SpanKind
	}{
		{"outer", otlp.Span_SPAN_KIND_SERVER}, {"outer", otlp.Span_SPAN_KIND_CLIENT},
		{"inner", otlp.Span_SPAN_KIND_SERVER}, {"inner", otlp.Span_SPAN_KIND_CLIENT},
	} {
		next := below(spans, last)
		if len(next) != 1 || next[0].sender != want.sender || next[0].Kind != want.kind || next[0].text("http.response.status_code") != "200" {
			t.Fatalf("below %q there are %v, want %v", last, next, want)
		}
		last = next[0].id()
	}
	if parent != last {
		t.Errorf("the origin is told to be below %s, the last span is %s", parent, last)
	}
	within(t, patience, "the access log has the trace", func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.HasPrefix(string(text), trace+"\n")
	})
	within(t, patience, "the spans are counted", func() bool {
		return sum(metrics(t, outer), "sidecar_tracing_spans_total") == 2
	})
}

// TestNobodyIsAskedWhatIsNotSampled: the client's decision holds, and without one the share.
func TestNobodyIsAskedWhatIsNotSampled(t *testing.T) {
	t.Parallel()
	c, o := serveCollector(t), serveOrigin(t, "orders")
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	all, none := serving(t, tracingTo(c, "all", 1)+static("orders", "", o.address)), serving(t, tracingTo(c, "none", 0)+static("orders", "", o.address))
	if gotTrace, gotParent, flag := traced(t, connect(t, all.address("orders")), "traceparent: 00-"+trace+"-"+parent+"-00"); gotTrace != trace || gotParent != parent || flag != "0" {
		t.Errorf("the origin is told %s %s %s", gotTrace, gotParent, flag)
	}
	if _, _, flag := traced(t, connect(t, none.address("orders")), "X-Other: 1"); flag != "0" {
		t.Errorf("flag %s", flag)
	}
	if gotTrace, gotParent, flag := traced(t, connect(t, none.address("orders")), "traceparent: 00-"+trace+"-"+parent+"-01"); gotTrace != trace || gotParent == parent || flag != "1" {
		t.Errorf("the origin is told %s %s %s", gotTrace, gotParent, flag)
	}
	spans := c.of(t, trace, 2)
	if request := below(spans, parent); len(request) != 1 || request[0].sender != "none" || len(below(spans, request[0].id())) != 1 {
		t.Errorf("%v", spans)
	}
	for _, s := range []*sidecar{all, none} {
		s.end()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 2 {
		t.Errorf("%d spans came", len(c.spans))
	}
}

// TestEveryTryIsSeen has a request fail on one endpoint and succeed on another.
func TestEveryTryIsSeen(t *testing.T) {
	t.Parallel()
	c, bad, good := serveCollector(t), serveOrigin(t, "bad"), serveOrigin(t, "good")
	bad.status.Store(http.StatusServiceUnavailable)
	s := serving(t, "runtime.loops = 1\n"+tracingTo(c, "edge", 1)+static("orders", "balancer.policy = \"round_robin\"\nretry.on = [\"503\"]", bad.address, good.address))
	w := connect(t, s.address("orders"))
	for range 2 { // one of them begins with the bad one
		trace, parent, _ := traced(t, w, "X-Other: 1")
		spans := c.of(t, trace, c.count(t, trace))
		request := below(spans, "")
		if len(request) != 1 {
			t.Fatalf("%d requests", len(request))
		}
		tries := below(spans, request[0].id())
		last := tries[len(tries)-1]
		if last.text("server.port") != fmt.Sprint(good.port()) || last.id() != parent || last.Status != nil {
			t.Errorf("the last try: %v", last)
		}
		if len(tries) == 1 {
			continue
		}
		first := tries[0]
		if first.text("server.port") != fmt.Sprint(bad.port()) || first.text("http.response.status_code") != "503" || first.text("error.type") != "503" ||
			last.text("http.request.resend_count") != "1" || last.text("sidecar.try") != "retry" || request[0].text("sidecar.tries") != "2" {
			t.Errorf("%v, %v, %v", first, last, request[0])
		}
		return
	}
	t.Error("nobody asked the bad one")
}

// count waits until the request's own span of a trace has come, with which all others have, and
// returns how many there are.
func (c *collector) count(t *testing.T, trace string) (n int) {
	t.Helper()
	within(t, patience, "the request's span has come", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		n = 0
		complete := false
		for _, s := range c.spans {
			if fmt.Sprintf("%x", s.TraceId) == trace {
				n++
				complete = complete || s.Kind == otlp.Span_SPAN_KIND_SERVER
			}
		}
		return complete
	})
	return n
}

// TestACallOfGRPCIsTraced has a client of grpc-go call by HTTP/2.
func TestACallOfGRPCIsTraced(t *testing.T) {
	t.Parallel()
	c := serveCollector(t)
	g := serveGRPC(t, "calls-1")
	s := serving(t, tracingTo(c, "edge", 0)+static("calls", "", g.address))
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	ctx := metadata.AppendToOutgoingContext(lasting(t), "traceparent", "00-"+trace+"-"+parent+"-01", "tracestate", "congo=1")
	client, done := dialGRPC(t, s.address("calls")), make(chan error, 1)
	go func() {
		done <- client.Invoke(ctx, methodStand, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
	}()
	told := g.next(t).asked.Get("traceparent")
	close(g.hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	spans := c.of(t, trace, 2)
	request := below(spans, parent)
	if len(request) != 1 {
		t.Fatalf("%v", spans)
	}
	if try := below(spans, request[0].id()); len(try) != 1 || len(told) != 1 || told[0] != "00-"+trace+"-"+try[0].id()+"-01" {
		t.Errorf("the server is told %q, the spans are %v", told, spans)
	}
	for _, one := range spans {
		if one.text("rpc.system.name") != "grpc" || one.text("rpc.response.status_code") != "OK" || !strings.Contains(one.text("rpc.method"), "/") ||
			one.Name != one.text("rpc.method") || one.text("network.protocol.version") != "2" || one.TraceState != "congo=1" || one.Status != nil {
			t.Errorf("%v", one)
		}
	}
}

// TestACollectorThatIsNotThereHarmsNobody: requests are served, what is lost is counted, and a stop
// does not wait for it.
func TestACollectorThatIsNotThereHarmsNobody(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders")
	s := serving(t, "[tracing]\nendpoint = \"http://"+deadAddress(t)+"\"\nsample = 1\n"+static("orders", "", o.address))
	w := connect(t, s.address("orders"))
	for range 100 {
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	within(t, patience, "it is told", func() bool { return strings.Contains(s.err.String(), "traces do not reach the collector") })
	s.end()
}

// end stops a sidecar, which sends what is left.
func (s *sidecar) end() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	if st := s.wait(); !st.Success() {
		s.t.Errorf("%v", st)
	}
	s.checked = true
}
