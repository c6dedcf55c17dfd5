package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sidecar/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// A receiver is a collector that decodes what it gets with OpenTelemetry's own messages.
type receiver struct {
	mu       sync.Mutex
	requests []*collector.ExportTraceServiceRequest
	at       []time.Time
	answers  []answer // of the next requests; afterwards all is well
	hang     bool     // until the request is given up
}

// An answer is what the collector says.
type answer struct {
	status     int
	retryAfter string
	body       proto.Message
	broken     bool // the connection, without an answer
}

// RoundTrip is the receiver without a network.
func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.hang {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	status, header, body, err := r.take(req)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
}

// ServeHTTP is the receiver with one.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	status, header, body, err := r.take(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (r *receiver) take(req *http.Request) (int, http.Header, []byte, error) {
	body, err := decodeBody(req)
	if err != nil {
		return 0, nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := answer{status: http.StatusOK}
	if len(r.answers) > 0 {
		a, r.answers = r.answers[0], r.answers[1:]
	}
	r.at = append(r.at, time.Now())
	if a.broken {
		return 0, nil, nil, errors.New("connection refused")
	}
	header := http.Header{"Content-Type": {"application/x-protobuf"}}
	if a.retryAfter != "" {
		header.Set("Retry-After", a.retryAfter)
	}
	if a.status/100 == 3 {
		header.Set("Location", "http://elsewhere/v1/traces")
	}
	if a.status == http.StatusOK {
		r.requests = append(r.requests, body)
	}
	var out []byte
	if a.body != nil {
		if out, err = proto.Marshal(a.body); err != nil {
			return 0, nil, nil, err
		}
	}
	return a.status, header, out, nil
}

// decodeBody reads a request as OTLP has it, and no other.
func decodeBody(req *http.Request) (*collector.ExportTraceServiceRequest, error) {
	if req.Method != http.MethodPost || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" || req.Header.Get("Content-Encoding") != "gzip" {
		return nil, fmt.Errorf("not OTLP over HTTP: %s %s %v", req.Method, req.URL, req.Header)
	}
	zip, err := gzip.NewReader(req.Body)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(zip)
	if err != nil {
		return nil, err
	}
	body := new(collector.ExportTraceServiceRequest)
	return body, proto.Unmarshal(raw, body)
}

// spans are all that were taken.
func (r *receiver) spans() (all []*otlp.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.requests {
		for _, rs := range q.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				all = append(all, ss.Spans...)
			}
		}
	}
	return all
}

// tries are when requests came, in seconds from start.
func (r *receiver) tries(start time.Time) (all []float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.at {
		all = append(all, at.Sub(start).Seconds())
	}
	return all
}

func attributes(s *otlp.Span) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		text := a.Value.GetStringValue()
		if n, ok := a.Value.Value.(*common.AnyValue_IntValue); ok {
			text = strconv.FormatInt(n.IntValue, 10)
		}
		if _, twice := all[a.Key]; twice {
			text += " twice"
		}
		all[a.Key] = text
	}
	return all
}

// A loop runs what is posted to it, as an event loop does: after its end it takes nothing, and
// all that it has taken has run.
type loop struct {
	mu    sync.Mutex
	posts chan func()
	ended bool
	done  chan struct{}
}

func newLoop(t *testing.T) *loop {
	l := &loop{posts: make(chan func(), 100), done: make(chan struct{})}
	go l.run()
	t.Cleanup(l.end)
	return l
}

func (l *loop) run() {
	defer close(l.done)
	for fn := range l.posts {
		fn()
	}
}

func (l *loop) post(_ int, fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.posts <- fn
	}
	return !l.ended
}

// do runs fn on the loop and waits for it.
func (l *loop) do(fn func()) {
	ran := make(chan struct{})
	l.post(0, func() { fn(); close(ran) })
	<-ran
}

func (l *loop) end() {
	l.mu.Lock()
	if !l.ended {
		l.ended = true
		close(l.posts)
	}
	l.mu.Unlock()
	<-l.done
}

// open makes a tracer that records everything, and closes it at the end.
func open(t *testing.T, o Options) *Tracer {
	t.Helper()
	if o.Endpoint == "" {
		o.Endpoint = "http://collector:4318"
	}
	if o.Transport == nil {
		o.Transport = new(receiver)
	}
	o.Sample = 1
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// span writes one span, whose name is its number.
func span(s *Shard, n int) {
	c := s.Begin(nil)
	s.Record(&c, &Span{Kind: Server, Name: strconv.AppendInt(nil, int64(n), 10), ID: c.Span, Start: 1, End: 2}).Done()
}
