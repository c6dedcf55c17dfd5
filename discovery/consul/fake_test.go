package consul

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"sidecar/discovery"
)

// A registry is an agent that answers as the test says, over connections in memory, so that
// it lives in a synctest bubble.
type registry struct {
	t       *testing.T
	client  *Client
	queries chan *query
	asked   atomic.Int64 // queries that have come
	probes  atomic.Int64 // questions whether it is there
	deaf    atomic.Bool  // those are not answered
	dialled atomic.Int64 // connections that were asked for
	down    atomic.Bool  // connections are refused
	conns   chan net.Conn
	closed  chan struct{}

	mu   sync.Mutex
	open []net.Conn // all that were opened
}

// A query is one that waits for its answer.
type query struct {
	*http.Request
	reply chan response
}

type response struct {
	status int
	header map[string]string
	body   string
}

// newRegistry starts a registry whose Client is made from o. Serve is how it serves; none is
// plain HTTP.
func newRegistry(t *testing.T, o Options, serve ...func(*registry, *http.Server) error) *registry {
	t.Helper()
	r := &registry{t: t, queries: make(chan *query), conns: make(chan net.Conn), closed: make(chan struct{})}
	o.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		r.dialled.Add(1)
		if r.down.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		near, far := net.Pipe()
		select {
		case r.conns <- far:
			r.mu.Lock()
			r.open = append(r.open, far)
			r.mu.Unlock()
			return near, nil
		case <-r.closed:
			return nil, net.ErrClosed
		}
	}
	var err error
	if r.client, err = New(o); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: r}
	go func() {
		for _, s := range serve {
			_ = s(r, server)
			return
		}
		_ = server.Serve(r)
	}()
	t.Cleanup(func() {
		r.client.Close()
		server.Close()
	})
	return r
}

// drop closes all connections, as an agent does that ends.
func (r *registry) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

func (r *registry) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

func (r *registry) Close() error   { close(r.closed); return nil }
func (r *registry) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodOptions {
		r.probes.Add(1)
		if r.deaf.Load() {
			<-req.Context().Done()
		}
		return
	}
	r.asked.Add(1)
	q := &query{req, make(chan response)}
	select {
	case r.queries <- q:
	case <-req.Context().Done():
		return
	}
	select {
	case resp := <-q.reply:
		for key, value := range resp.header {
			w.Header().Set(key, value)
		}
		w.WriteHeader(resp.status)
		_, _ = w.Write([]byte(resp.body))
	case <-req.Context().Done():
	}
}

// wantQuery returns the query that waits or comes within a minute, and checks what it asks.
func (r *registry) wantQuery(path string, index uint64) *query {
	r.t.Helper()
	q := r.query(time.Minute)
	if q == nil {
		r.t.Fatalf("nobody asks; want a query for %s", path)
	}
	if q.URL.Path != path {
		r.t.Fatalf("query for %s, want %s", q.URL.Path, path)
	}
	want := ""
	if index > 0 {
		want = strconv.FormatUint(index, 10)
	}
	if got := q.URL.Query().Get("index"); got != want {
		r.t.Fatalf("query for %s waits for index %q, want %q", path, got, want)
	}
	return q
}

// wantNone checks that nobody asks for d.
func (r *registry) wantNone(d time.Duration) {
	r.t.Helper()
	if q := r.query(d); q != nil {
		r.t.Fatalf("asked %s, want no query", q.URL)
	}
}

// wantGivenUp checks that the query has been given up, or is within d.
func (q *query) wantGivenUp(t *testing.T, d time.Duration) {
	t.Helper()
	synctest.Wait()
	select {
	case <-q.Context().Done():
	case <-time.After(d + 1):
		t.Fatalf("the query for %s still waits after %v", q.URL, d)
	}
}

// query returns the next query, or nil when none comes within d.
func (r *registry) query(d time.Duration) *query {
	select {
	case q := <-r.queries:
		return q
	case <-time.After(d):
		return nil
	}
}

// with answers with index and entries, from a server that has a leader.
func (q *query) with(index uint64, entries ...*api.ServiceEntry) {
	q.headed(headers(index), entries...)
}

// headers are those of an answer with index, changed by others: "Key: value".
func headers(index uint64, others ...string) map[string]string {
	all := map[string]string{"X-Consul-Index": strconv.FormatUint(index, 10)}
	for _, line := range others {
		key, value, _ := strings.Cut(line, ": ")
		all[key] = value
	}
	return all
}

// headed answers like with, and header is set on top.
func (q *query) headed(header map[string]string, entries ...*api.ServiceEntry) {
	if entries == nil {
		entries = []*api.ServiceEntry{}
	}
	q.json(header, entries)
}

// json answers with value, from a server that has a leader unless header says otherwise.
func (q *query) json(header map[string]string, value any) {
	all := map[string]string{"X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}
	maps.Copy(all, header)
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	q.send(response{status: 200, header: all, body: string(body)})
}

func (q *query) fail(status int, body string) { q.send(response{status: status, body: body}) }

// send answers, unless the query has been given up.
func (q *query) send(resp response) {
	select {
	case q.reply <- resp:
	case <-q.Context().Done():
	}
}

// entry is a healthy instance of "orders" on a node of its own.
func entry(id string, change ...func(*api.ServiceEntry)) *api.ServiceEntry {
	e := &api.ServiceEntry{
		Node:    &api.Node{Node: "n1", Address: "10.0.0.1"},
		Service: &api.AgentService{ID: id, Service: "orders", Port: portOf(id), Weights: api.AgentWeights{Passing: 1, Warning: 1}},
		Checks:  api.HealthChecks{{CheckID: "serfHealth", Status: api.HealthPassing}},
	}
	for _, c := range change {
		c(e)
	}
	return e
}

// portOf gives each ID a port of its own, and "a" 8080.
func portOf(id string) int {
	port := 0
	for _, c := range id {
		port = (port*31 + int(c-'a')) % 50_000
	}
	return 8080 + port
}

func weighing(weight uint64) func(*api.ServiceEntry) {
	return func(e *api.ServiceEntry) { e.Service.Weights.Passing = int(weight) }
}

func inState(status string) func(*api.ServiceEntry) {
	return func(e *api.ServiceEntry) {
		e.Checks = append(e.Checks, &api.HealthCheck{CheckID: "service:" + e.Service.ID, Status: status})
	}
}

// A watching is a Source's Watch that runs.
type watching struct {
	t       testing.TB
	updates chan discovery.Update
	cancel  context.CancelFunc
	ended   chan struct{}
}

func startWatch(t testing.TB, s discovery.Source) *watching {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{t: t, updates: make(chan discovery.Update, 10_000), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		s.Watch(ctx, func(u discovery.Update) { w.updates <- u })
	}()
	t.Cleanup(w.stop)
	return w
}

func (r *registry) watch(q Query) *watching { return startWatch(r.t, r.client.Source(q)) }

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
		return u
	case <-time.After(d):
		w.t.Fatalf("no update within %v", d)
		panic("unreachable")
	}
}

// wantIDs checks that the next update is a set with these IDs.
func (w *watching) wantIDs(ids ...string) discovery.Update {
	w.t.Helper()
	u := w.next(time.Second)
	if u.Err != nil {
		w.t.Fatalf("error %v, want the set %v", u.Err, ids)
	}
	if !sameIDs(u.Instances, ids) {
		w.t.Fatalf("set %v, want the IDs %v", u.Instances, ids)
	}
	return u
}

// latest returns the last of the updates that have come, or nil.
func (w *watching) latest() (u *discovery.Update) {
	synctest.Wait()
	for len(w.updates) > 0 {
		got := <-w.updates
		u = &got
	}
	return u
}

func sameIDs(set []discovery.Instance, ids []string) bool {
	if len(set) != len(ids) {
		return false
	}
	for i := range set {
		if set[i].ID != ids[i] {
			return false
		}
	}
	return true
}

// wantErr checks that the next update is an error.
func (w *watching) wantErr() discovery.Update {
	w.t.Helper()
	u := w.next(time.Second)
	if u.Err == nil {
		w.t.Fatalf("set %v, want an error", u.Instances)
	}
	if u.At.IsZero() || u.Instances != nil || u.Unknown {
		w.t.Fatalf("an update with an error says more: %+v", u)
	}
	return u
}

// wantQuiet checks that nothing is reported once all has come to rest.
func (w *watching) wantQuiet() {
	w.t.Helper()
	synctest.Wait()
	select {
	case u := <-w.updates:
		w.t.Fatalf("reported %+v, want nothing", u)
	default:
	}
}

const orders = "/v1/health/service/orders"

// unviewed is a query that agents do not answer from a view of their own, so that it waits for
// its whole time from the beginning.
var unviewed = Query{Service: "orders", Near: "n1"}

// waiting starts a watch, and returns the query with which it waits for a change.
func (r *registry) waiting(t *testing.T, service string) (*watching, *query) {
	t.Helper()
	w := r.watch(Query{Service: service, Near: "n1"})
	r.wantQuery("/v1/health/service/"+service, 0).with(5, entry("a"))
	w.wantIDs("n1/a")
	return w, r.wantQuery("/v1/health/service/"+service, 5)
}

// outrank makes another watch the scout, so that those of the test wait as most do.
func (r *registry) outrank() {
	scout := &member{renewed: func() {}, dead: func() {}, rewound: func() {}}
	r.t.Cleanup(r.client.patrol.join(scout))
	r.client.patrol.saw(scout, 1_000_000)
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }
