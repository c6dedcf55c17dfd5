package tracing

import (
	"context"
	"encoding/hex"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
)

func TestASpanIsWhatItWasMadeOf(t *testing.T) {
	r := new(receiver)
	tr := open(t, Options{Transport: r, Service: "edge", Version: "1.2", Host: "h1", Instance: "abc"})
	s := tr.Shard(0)
	c := s.Begin([]byte("00-" + traceText + "-" + parentText + "-03"))
	try := s.NewSpan()

	w := s.Record(&c, &Span{Kind: Client, Name: []byte("GET"), ID: try, Parent: c.Span, Start: 1_700_000_000_000_000_001, End: 1_700_000_000_000_000_002})
	w.Text("server.address", "10.0.0.1")
	w.Int("server.port", 8080)
	w.Int("zero", 0)
	w.Int("negative", -1)
	w.Text("empty", "")
	w.Address("network.peer.address", "network.peer.port", netip.MustParseAddrPort("[::ffff:10.0.0.1]:8080"))
	w.Address("none", "none", netip.AddrPort{})
	w.Fail("reset")
	w.Fail("and more")
	w.Done()

	s.Record(&c, &Span{Kind: Server, Name: []byte("GET"), ID: c.Span, Parent: c.Parent, Remote: true, Start: 5, End: 4, State: []byte("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")}).Done()
	if err := tr.Close(context.Background()); err != nil {
		t.Fatal(err)
	}

	spans := r.spans()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	client, server := spans[0], spans[1]
	if hex.EncodeToString(client.TraceId) != traceText || string(client.SpanId) != string(try[:]) || string(client.ParentSpanId) != string(c.Span[:]) {
		t.Errorf("ids of the try: %v", client)
	}
	if hex.EncodeToString(server.TraceId) != traceText || string(server.SpanId) != string(c.Span[:]) || hex.EncodeToString(server.ParentSpanId) != parentText {
		t.Errorf("ids of the request: %v", server)
	}
	if client.Kind != otlp.Span_SPAN_KIND_CLIENT || server.Kind != otlp.Span_SPAN_KIND_SERVER || client.Name != "GET" {
		t.Errorf("kinds: %v", spans)
	}
	const remote = uint32(otlp.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	if client.Flags != remote|3 || server.Flags != remote|uint32(otlp.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)|3 {
		t.Errorf("flags: %x, %x", client.Flags, server.Flags)
	}
	if client.StartTimeUnixNano != 1_700_000_000_000_000_001 || client.EndTimeUnixNano != 1_700_000_000_000_000_002 || server.StartTimeUnixNano != 5 || server.EndTimeUnixNano != 5 {
		t.Errorf("times: %v", spans)
	}
	if client.Status.GetCode() != otlp.Status_STATUS_CODE_ERROR || server.Status != nil {
		t.Errorf("status: %v, %v", client.Status, server.Status)
	}
	if server.TraceState != "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7" || client.TraceState != "" {
		t.Errorf("tracestate: %v", spans)
	}
	want := map[string]string{
		"server.address": "10.0.0.1", "server.port": "8080", "zero": "0", "negative": "-1", "empty": "",
		"network.peer.address": "10.0.0.1", "network.peer.port": "8080", "error.type": "reset",
	}
	if got := attributes(client); !maps.Equal(got, want) {
		t.Errorf("attributes: %v, want %v", got, want)
	}

	around := r.requests[0].ResourceSpans
	if len(r.requests) != 1 || len(around) != 1 || len(around[0].ScopeSpans) != 1 {
		t.Fatalf("%d requests: %v", len(r.requests), around)
	}
	resource := attributes(&otlp.Span{Attributes: around[0].Resource.Attributes})
	if want := map[string]string{"service.name": "edge", "service.version": "1.2", "service.instance.id": "abc", "host.name": "h1"}; !maps.Equal(resource, want) {
		t.Errorf("resource: %v, want %v", resource, want)
	}
	if scope := around[0].ScopeSpans[0].Scope; scope.Name != "sidecar" || scope.Version != "1.2" {
		t.Errorf("scope: %v", scope)
	}
}

// TestWhatClientsSendSpoilsNoMessage: one string that is not UTF-8 and the collector refuses
// all spans of a request.
func TestWhatClientsSendSpoilsNoMessage(t *testing.T) {
	for in, want := range map[string]string{
		"/a\xffb":                       "/a?b",
		"\xc3\x28 \xe2\x82 \xf0\x90":    "?( ?? ??",
		"grün 漢 🚀":                      "grün 漢 🚀",
		"\xed\xa0\x80":                  "???", // half a pair of UTF-16
		"\x00\x7f\r\n":                  "\x00\x7f\r\n",
		strings.Repeat("x", 5000):       strings.Repeat("x", MaxText),
		strings.Repeat("x", 1023) + "ü": strings.Repeat("x", 1023) + "?",
	} {
		r := new(receiver)
		tr := open(t, Options{Transport: r})
		s := tr.Shard(0)
		c := s.Begin(nil)
		w := s.Record(&c, &Span{Kind: Server, Name: []byte(in), ID: c.Span, State: []byte(in)})
		w.Bytes("bytes", []byte(in))
		w.Text("text", in)
		w.Done()
		if err := tr.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		spans := r.spans()
		if len(spans) != 1 {
			t.Fatalf("%q: %d spans, trouble %v", in, len(spans), tr.Trouble())
		}
		got := attributes(spans[0])
		if got["bytes"] != want || got["text"] != want {
			t.Errorf("%q became %q", in, got)
		}
		if len(spans[0].Name) > 256 || !utf8.ValidString(spans[0].Name) || len(spans[0].TraceState) > MaxState {
			t.Errorf("%q: name %q, state %q", in, spans[0].Name, spans[0].TraceState)
		}
	}
}

func TestASpanDoesNotAllocate(t *testing.T) {
	s := testShard(1)
	path := []byte("/orders/42")
	one := func() {
		c := s.Begin(nil)
		w := s.Record(&c, &Span{Kind: Server, Name: path, ID: c.Span, Start: 1, End: 2})
		w.Bytes("url.path", path)
		w.Text("http.request.method", "GET")
		w.Int("http.response.status_code", 200)
		w.Address("network.peer.address", "network.peer.port", netip.MustParseAddrPort("10.0.0.1:8080"))
		w.Fail("reset")
		w.Done()
		s.chunk, s.spans = s.chunk[:0], 0
	}
	if n := testing.AllocsPerRun(1000, one); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSpan(b *testing.B) {
	s := testShard(1)
	path := []byte("/orders/42")
	b.ReportAllocs()
	for b.Loop() {
		c := s.Begin(nil)
		w := s.Record(&c, &Span{Kind: Server, Name: path, ID: c.Span, Start: 1, End: 2})
		w.Bytes("url.path", path)
		w.Text("http.request.method", "GET")
		w.Text("user_agent.original", "curl/8")
		w.Text("url.scheme", "http")
		w.Text("server.address", "127.0.0.1")
		w.Int("server.port", 8080)
		w.Int("http.response.status_code", 200)
		w.Address("network.peer.address", "network.peer.port", netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), 80))
		w.Done()
		s.chunk, s.spans = s.chunk[:0], 0
	}
}

func BenchmarkBeginUnsampled(b *testing.B) {
	s := testShard(0)
	out := make([]byte, 0, 100)
	b.ReportAllocs()
	for b.Loop() {
		c := s.Begin(nil)
		out = c.AppendTraceparent(out[:0], c.Span)
	}
}
