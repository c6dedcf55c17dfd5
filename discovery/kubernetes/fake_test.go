package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

// An apiServer answers as the test says, over connections in memory, so that it lives in a
// synctest bubble.
type apiServer struct {
	t        *testing.T
	client   *Client
	requests chan *request
	asked    atomic.Int64 // requests that have come
	dialled  atomic.Int64 // connections that were asked for
	down     atomic.Bool  // connections are refused
	conns    chan net.Conn
	closed   chan struct{}
}

// A request is one that waits for its answer.
type request struct {
	*http.Request
	t     *testing.T
	steps chan step     // of the answer
	ended chan struct{} // closed when the answer has ended or the asker has gone
}

// A step is what the server does next, and last.
type step struct {
	do   func(http.ResponseWriter)
	last bool
}

// story runs tell on an apiServer and its Client, which speaks plain HTTP.
func story(t *testing.T, tell func(t *testing.T, s *apiServer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		var err error
		s.client, err = New(Options{Address: "http://10.9.0.1:8001", Namespace: "shop", dial: s.dial})
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: s}
		go func() { _ = server.Serve(s) }()
		t.Cleanup(func() {
			s.client.Close()
			server.Close()
		})
		tell(t, s)
	})
}

func newServer(t *testing.T) *apiServer {
	return &apiServer{t: t, requests: make(chan *request), conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (s *apiServer) dial(_ context.Context, network, _ string) (net.Conn, error) {
	s.dialled.Add(1)
	if s.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	s.conns <- far
	return near, nil
}

func (s *apiServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *apiServer) Close() error   { close(s.closed); return nil }
func (s *apiServer) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (s *apiServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.asked.Add(1)
	r := &request{Request: req, t: s.t, steps: make(chan step), ended: make(chan struct{})}
	defer close(r.ended)
	select {
	case s.requests <- r:
	case <-req.Context().Done():
		return
	}
	for {
		select {
		case step := <-r.steps:
			step.do(w)
			if step.last {
				return
			}
		case <-req.Context().Done():
			return
		}
	}
}

// do takes a step, or none if the asker has gone.
func (r *request) do(last bool, f func(http.ResponseWriter)) {
	select {
	case r.steps <- step{f, last}:
	case <-r.ended:
	}
	if last {
		<-r.ended
	}
}

// request returns the next request, or nil when none comes within d.
func (s *apiServer) request(d time.Duration) *request {
	select {
	case r := <-s.requests:
		return r
	case <-time.After(d):
		return nil
	}
}

func (s *apiServer) want(check func(url.Values) string) *request {
	s.t.Helper()
	r := s.request(time.Minute)
	if r == nil {
		s.t.Fatal("nobody asks")
	}
	if r.Method != http.MethodGet || r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" ||
		r.URL.Query().Get("labelSelector") != "kubernetes.io/service-name=orders" {
		s.t.Fatalf("%s %s", r.Method, r.URL)
	}
	if wrong := check(r.URL.Query()); wrong != "" {
		s.t.Fatalf("%s: %s", r.URL, wrong)
	}
	return r
}

// wantList returns the request for a list's page that comes within a minute.
func (s *apiServer) wantList(next string) *request {
	s.t.Helper()
	return s.want(func(q url.Values) string {
		if q.Has("watch") || q.Get("limit") != "100" || q.Get("continue") != next || q.Has("resourceVersion") {
			return "want a list, continued at " + next
		}
		return ""
	})
}

// wantStream returns the request for changes after a version that comes within a minute.
func (s *apiServer) wantStream(version string) *request {
	s.t.Helper()
	return s.want(func(q url.Values) string {
		if q.Get("watch") != "true" || q.Get("allowWatchBookmarks") != "true" || q.Get("resourceVersion") != version || q.Get("timeoutSeconds") == "" {
			return "want the changes after " + version
		}
		return ""
	})
}

// answer ends a request.
func (r *request) answer(status int, header map[string]string, body string) {
	r.do(true, func(w http.ResponseWriter) {
		for key, value := range header {
			w.Header().Set(key, value)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func (r *request) fail(status int, message string) {
	r.answer(status, nil, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":%d}`, message, status))
}

// list answers with a page.
func (r *request) list(version, next string, slices ...slice) {
	r.answer(http.StatusOK, nil, encode(pageOf(version, next, slices...)))
}

func pageOf(version, next string, slices ...slice) page {
	p := page{Kind: "EndpointSliceList"}
	for _, s := range slices {
		p.Items = append(p.Items, json.RawMessage(encode(s)))
	}
	p.Metadata.ResourceVersion, p.Metadata.Continue = version, next
	return p
}

// send begins the stream of changes or goes on with it.
func (r *request) send(kind string, object any) {
	r.line(fmt.Sprintf(`{"type":%q,"object":%s}`, kind, encode(object)))
}

func (r *request) line(text string) {
	r.do(false, func(w http.ResponseWriter) {
		_, _ = w.Write([]byte(text + "\n"))
		w.(http.Flusher).Flush()
	})
}

// begin sends the header of a stream.
func (r *request) begin() { r.do(false, func(w http.ResponseWriter) { w.(http.Flusher).Flush() }) }

// end ends a stream as its time is over.
func (r *request) end() { r.do(true, func(http.ResponseWriter) {}) }

// cut ends the connection.
func (r *request) cut() {
	r.do(true, func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			r.t.Error(err)
			return
		}
		conn.Close()
	})
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func pointer[T any](v T) *T { return &v }

// slice1 is an IPv4 slice at a version, with the port http at 8080.
func slice1(name, version string, endpoints ...endpoint) slice {
	s := slice{AddressType: "IPv4", Endpoints: endpoints, Ports: []port{{Name: "http", Protocol: "TCP", Port: pointer(8080)}}}
	s.Metadata.Name, s.Metadata.Namespace, s.Metadata.ResourceVersion = name, "shop", version
	return s
}

// pod is an endpoint that is ready.
func pod(name, address string, change ...func(*endpoint)) endpoint {
	text := fmt.Sprintf(`{"addresses":[%q],"conditions":{"ready":true},"targetRef":{"kind":"Pod","namespace":"shop","name":%q}}`, address, name)
	var e endpoint
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		panic(err)
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

// A watching is a Source's Watch that runs.
type watching struct {
	t       *testing.T
	source  discovery.Source
	updates chan discovery.Update
	cancel  context.CancelFunc
	ended   chan struct{}
}

func (s *apiServer) watch() *watching { return startWatch(s.t, s.client, Query{Service: "orders"}) }

func startWatch(t *testing.T, c *Client, q Query) *watching { return start(t, c.Source(q)) }

func start(t *testing.T, source discovery.Source) *watching {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{t: t, source: source, updates: make(chan discovery.Update, 10_000), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.source.Watch(ctx, func(u discovery.Update) { w.updates <- u })
	}()
	t.Cleanup(w.stop)
	return w
}

// stop ends the watch and waits for it.
func (w *watching) stop() {
	w.cancel()
	<-w.ended
}

// next returns the next update, within d.
func (w *watching) next(d time.Duration) discovery.Update {
	w.t.Helper()
	select {
	case u := <-w.updates:
		if u.At.IsZero() {
			w.t.Errorf("an update of no time: %+v", u)
		}
		return u
	case <-time.After(d):
		w.t.Fatalf("no update within %v", d)
		panic("unreachable")
	}
}

// wantIDs checks that the next update, within a second, is a set of these pods.
func (w *watching) wantIDs(pods ...string) discovery.Update {
	w.t.Helper()
	u := w.next(time.Second)
	if got := ids(u); u.Err != nil || got != strings.Join(pods, " ") {
		w.t.Fatalf("set [%s], error %v; want %v", got, u.Err, pods)
	}
	return u
}

func ids(u discovery.Update) string {
	var out []string
	for _, i := range u.Instances {
		out = append(out, strings.TrimPrefix(i.ID, "pod/shop/"))
	}
	return strings.Join(out, " ")
}

// wantErr checks that the next update, within d, is an error with text in it.
func (w *watching) wantErr(d time.Duration, text string) discovery.Update {
	w.t.Helper()
	u := w.next(d)
	if u.Err == nil || !strings.Contains(u.Err.Error(), text) {
		w.t.Fatalf("set [%s], error %v; want an error with %q", ids(u), u.Err, text)
	}
	if u.Instances != nil || u.Unknown {
		w.t.Fatalf("an update with an error says more: %+v", u)
	}
	return u
}

// wantQuiet checks that nothing is reported within d.
func (w *watching) wantQuiet(d time.Duration) {
	w.t.Helper()
	select {
	case u := <-w.updates:
		w.t.Fatalf("reported %+v, want nothing", u)
	case <-time.After(d):
	}
}
