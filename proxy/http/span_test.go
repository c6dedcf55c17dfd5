package http

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"sidecar/metrics"
	"sidecar/proxy/http/h1"
)

// calls of gRPC by HTTP/1.1, which is what the exchange sees of those by HTTP/2.
const call = "POST /shop.Orders/Get HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 0\r\n" + sampledField + "\r\n\r\n"

func TestACallOfGRPCIsTwoSpans(t *testing.T) {
	for status, want := range map[string]struct{ server, client string }{
		"grpc-status: 0":  {"rpc.response.status_code=OK", "rpc.response.status_code=OK"},
		"grpc-status: 5":  {"rpc.response.status_code=NOT_FOUND", "rpc.response.status_code=NOT_FOUND FAILED"},
		"grpc-status: 14": {"rpc.response.status_code=UNAVAILABLE FAILED", "rpc.response.status_code=UNAVAILABLE FAILED"},
		"grpc-status: 16": {"rpc.response.status_code=UNAUTHENTICATED", "rpc.response.status_code=UNAUTHENTICATED FAILED"},
		"grpc-status: 99": {"error.type=missing FAILED", "error.type=missing FAILED"},
	} {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Upstream = UpstreamHTTP1 }})
		w := r.watch(0)
		c := r.dial()
		c.say(call)
		s := o.accept()
		s.head()
		answer := lines("HTTP/1.1 200 OK", "Content-Type: application/grpc", status, "Content-Length: 0")
		s.say(answer)
		c.hear(answer)
		spans := tellAll(w.spans(), map[string]string{o.addr: "origin"})
		if len(spans) != 2 {
			t.Fatalf("%s: %d spans", status, len(spans))
		}
		for i, want := range []string{want.client, want.server} {
			for part := range strings.FieldsSeq(want + " shop.Orders/Get rpc.system.name=grpc rpc.method=shop.Orders/Get http.response.status_code=200") {
				if !strings.Contains(spans[i], part) {
					t.Errorf("%s: %s has no %s", status, spans[i], part)
				}
			}
			if strings.HasSuffix(spans[i], "FAILED") != strings.Contains(want, "FAILED") {
				t.Errorf("%s: %s", status, spans[i])
			}
		}
	}
}

func TestStatusesOfGRPCHaveTheirNames(t *testing.T) {
	for code, want := range map[metrics.GRPCCode]string{
		0: "OK", 1: "CANCELLED", 2: "UNKNOWN", 3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 5: "NOT_FOUND", 6: "ALREADY_EXISTS", 7: "PERMISSION_DENIED",
		8: "RESOURCE_EXHAUSTED", 9: "FAILED_PRECONDITION", 10: "ABORTED", 11: "OUT_OF_RANGE", 12: "UNIMPLEMENTED", 13: "INTERNAL", 14: "UNAVAILABLE", 15: "DATA_LOSS", 16: "UNAUTHENTICATED",
	} {
		if got := codeName(code); got != want {
			t.Errorf("%d is %s, want %s", code, got, want)
		}
	}
}

func TestAddressesAreTakenApart(t *testing.T) {
	for in, want := range map[string]struct {
		host string
		port int
	}{
		"a.example:80": {"a.example", 80}, "a.example": {"a.example", 0}, "10.0.0.1:8080": {"10.0.0.1", 8080},
		"[::1]:443": {"::1", 443}, "[::1]": {"::1", 0}, "": {"", 0}, ":80": {"", 80}, "a:": {"a:", 0}, "a:99999": {"a:99999", 0}, "[]": {"", 0},
	} {
		if host, port := splitPort([]byte(in)); string(host) != want.host || port != want.port {
			t.Errorf("%q: %q and %d", in, host, port)
		}
	}
}

// tracings are the requests of a benchmark and of the count of allocations.
var tracings = []struct {
	name   string
	sample float64
	field  string
}{
	{"begins, not sampled", 0, "X: y"},
	{"goes on, not sampled", 1, unsampled},
	{"begins, sampled", 1, "X: y"},
	{"goes on, sampled", 0, sampledField + "\r\n" + stateField},
}

func tracedGet(field string) string {
	return strings.Replace(browserGet, "Host: ", field+"\r\nHost: ", 1)
}

// A hungCollector takes requests and never answers.
type hungCollector struct{}

func (hungCollector) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// TestTracingDoesNotAllocate counts with a collector that is stuck: what is allocated then is
// allocated for requests, and spans that are dropped have been written like all others.
func TestTracingDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 3000
	for _, c := range tracings {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}, options: allOn})
			w := r.watchBy(hungCollector{}, c.sample, 64<<10)
			s := newShuttle(r, o, tracedGet(c.field), smallAnswer)
			for range 300 {
				s.trade(t)
			}
			if sampled := w.tracer.Counts().Dropped > 0; sampled != !strings.Contains(c.name, "not") {
				t.Errorf("sampled: %v", sampled)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range n {
				s.trade(t)
			}
			runtime.ReadMemStats(&after)
			// The rest of the process may make something now and then, but not n times.
			if made := after.Mallocs - before.Mallocs; made > n/100 {
				t.Errorf("%d allocations in %d requests", made, n)
			}
		})
	}
}

// A contentCollector takes everything and looks at nothing.
type contentCollector struct{}

func (contentCollector) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

func BenchmarkTracing(b *testing.B) {
	for _, c := range []struct {
		name   string
		sample float64
	}{{"off", -1}, {"none", 0}, {"1%", 0.01}, {"all", 1}} {
		b.Run(c.name, func(b *testing.B) {
			o := newOrigin(b)
			r := newRig(b, setup{origins: []string{o.addr}, options: allOn})
			if c.sample >= 0 {
				r.watchBy(contentCollector{}, c.sample, 1<<20)
			}
			s := newShuttle(r, o, browserGet, smallAnswer)
			b.ReportAllocs()
			for b.Loop() {
				s.trade(b)
			}
		})
	}
}

// FuzzTraceparent has heads forwarded that say whatever of a trace: what reaches the endpoint has
// one traceparent, and a tracestate only if the trace is gone on with.
func FuzzTraceparent(f *testing.F) {
	f.Add(sampledField[len("traceparent: "):], "", "congo=1")
	f.Add(unsampled[len("traceparent: "):], "", "a=b,c=d")
	f.Add("00-x", "", "\xff")
	f.Add("cc-"+traceID+"-"+clientSpan+"-01-more", sampledField[len("traceparent: "):], "")
	f.Fuzz(func(t *testing.T, parent, another, state string) {
		request := lines("GET / HTTP/1.1", "Host: a", "traceparent: "+parent, "tracestate: "+state)
		if another != "" {
			request = lines("GET / HTTP/1.1", "Host: a", "traceparent: "+parent, "Traceparent: "+another, "tracestate: "+state)
		}
		var parsed h1.Request
		if n, err := parsed.Parse([]byte(request), nil); err != nil || n != len(request) || len(parsed.Fields) > 4 {
			return // no head, or another one
		}
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}})
		w := r.watch(0.5)
		c := r.dial()
		c.say(request)
		s := o.accept()
		head := s.head()
		s.say(ok)
		c.hear(ok)
		got := fieldsOf(head, "traceparent")
		if len(got) != 1 {
			t.Fatalf("the endpoint got %q", head)
		}
		parent = strings.Trim(parent, " \t")
		goesOn := len(parent) > 36 && len(got[0]) > 36 && got[0][3:35] == parent[3:35]
		if n := len(fieldsOf(head, "tracestate")); n != 0 && !goesOn {
			t.Errorf("tracestate of a trace that was not gone on with: %q", head)
		}
		if goesOn && another != "" {
			t.Errorf("one of two was believed: %q", head)
		}
		for _, span := range w.spans() {
			if !strings.HasPrefix(got[0], fmt.Sprintf("00-%x-", span.TraceId)) {
				t.Errorf("the endpoint is told %s, the collector %x", got[0], span.TraceId)
			}
		}
	})
}
