package http

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sidecar/tracing"
)

const (
	traceID      = "0af7651916cd43dd8448eb211c80319c"
	clientSpan   = "b7ad6b7169203331"
	sampledField = "traceparent: 00-" + traceID + "-" + clientSpan + "-01"
	unsampled    = "traceparent: 00-" + traceID + "-" + clientSpan + "-00"
	stateField   = "tracestate: congo=t61rcWkgMzE"
)

// A watch is tracing, seen by a collector.
type watch struct {
	*rig
	tracer *tracing.Tracer
	sent   []*otlp.Span
	hung   bool // the collector does
}

// watch has the rig's requests traced from now on.
func (r *rig) watch(sample float64) *watch { return r.watchBy(nil, sample, 16<<20) }

// watchBy is watch with another collector, and room for so many bytes of spans.
func (r *rig) watchBy(collector http.RoundTripper, sample float64, buffer int) *watch {
	r.t.Helper()
	w := &watch{rig: r, hung: collector != nil}
	if collector == nil {
		collector = w
	}
	loops := r.group.Loops()
	var err error
	w.tracer, err = tracing.New(tracing.Options{
		Endpoint: "http://collector", Sample: sample, Transport: collector, Flush: time.Hour, Loops: len(loops), Buffer: buffer,
		Post: func(i int, fn func()) bool { return loops[i].Post(fn) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for i, s := range r.proxy.shards {
		r.on(func() { s.trace = w.tracer.Shard(i) })
	}
	r.t.Cleanup(func() { w.end() })
	return w
}

// RoundTrip is the collector's side.
func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	zip, err := gzip.NewReader(req.Body)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(zip)
	if err != nil {
		return nil, err
	}
	var data otlp.TracesData // the same on the wire as what OTLP calls a request
	if err := proto.Unmarshal(raw, &data); err != nil {
		return nil, err
	}
	for _, r := range data.ResourceSpans {
		for _, s := range r.ScopeSpans {
			w.sent = append(w.sent, s.Spans...)
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}, Request: req}, nil
}

func (w *watch) end() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if w.hung {
		cancel()
	}
	if err := w.tracer.Close(ctx); err != nil && !w.hung {
		w.t.Error(err)
	}
}

// spans ends the tracing once no request runs any more. The last one is that of the last request.
func (w *watch) spans() []*otlp.Span {
	w.t.Helper()
	eventually(w.t, "no request runs", func() bool { return w.metric("sidecar_http_requests_in_flight") == 0 })
	w.end()
	if c := w.tracer.Counts(); c.Exported != uint64(len(w.sent)) || c.Dropped+c.Failed != 0 {
		w.t.Errorf("%d spans came, %+v", len(w.sent), c)
	}
	return w.sent
}

// tell is a span in one line, as far as it is the same in every run.
func tell(s *otlp.Span, names *strings.Replacer) string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		text := a.Value.GetStringValue()
		if n, ok := a.Value.Value.(*common.AnyValue_IntValue); ok {
			text = strconv.FormatInt(n.IntValue, 10)
		}
		all[a.Key] += text
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", strings.ToLower(s.Kind.String()[len("SPAN_KIND_"):]), s.Name)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, " %s=%s", k, all[k])
	}
	if s.Status != nil {
		b.WriteString(" FAILED")
	}
	return names.Replace(b.String())
}

// hide puts names in the place of addresses, which are not the same in every run.
func hide(of map[string]string) *strings.Replacer {
	var pairs []string
	for address, name := range of {
		host, port, _ := strings.Cut(address, ":")
		pairs = append(pairs, address, name, "_peer.address="+host, "_", "server.port="+port, "server.port="+name, "peer.port="+port, "peer.port="+name)
	}
	return strings.NewReplacer(pairs...)
}

func wantSpans(t *testing.T, got []string, want ...string) {
	t.Helper()
	volatile := regexp.MustCompile(`(client|network\.peer)\.port=\d+`) // the client's
	for i := range got {
		got[i] = volatile.ReplaceAllString(got[i], "$1.port=N")
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func tellAll(spans []*otlp.Span, of map[string]string) (all []string) {
	for _, s := range spans {
		all = append(all, tell(s, hide(of)))
	}
	return all
}

// fieldsOf are the values of a field of a head.
func fieldsOf(head, name string) (values []string) {
	for line := range strings.SplitSeq(head, "\r\n") {
		if key, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(key, name) {
			values = append(values, value)
		}
	}
	return values
}
