package nacos

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

// A fake is a number of servers that answer as the test says, over connections in memory, so
// that they live in a synctest bubble.
type fake struct {
	t      *testing.T
	client *Client
	conns  chan net.Conn
	closed chan struct{}

	mu      sync.Mutex
	answers map[string]answer // by path, and by "host path", which goes before
	down    map[string]bool   // hosts of which connections are refused
	asked   map[string]int    // by "host path"
	last    *http.Request     // the last one that was not a login
	dialled int
}

// An answer to a request; status 0 is none, and -1 closes the connection.
type answer struct {
	status int
	body   string
}

const (
	listV1   = "/nacos/v1/ns/instance/list"
	listV2   = "/nacos/v2/ns/instance/list"
	listV3   = "/nacos/v3/client/ns/instance/list"
	login    = "/nacos/v1/auth/login"
	loginV3  = "/nacos/v3/auth/user/login"
	notFound = `{"timestamp":"2026-01-02T03:04:05.678+00:00","status":404,"error":"Not Found","message":"","path":"/nacos/v2/ns/instance/list"}`
)

// newFake starts servers at the addresses of o, by default one, that have no path at all.
func newFake(t *testing.T, o Options) *fake {
	t.Helper()
	f := &fake{
		t: t, conns: make(chan net.Conn), closed: make(chan struct{}),
		answers: map[string]answer{}, down: map[string]bool{}, asked: map[string]int{},
	}
	if o.Addresses == nil {
		o.Addresses = []string{"n1:8848"}
	}
	o.dial = f.dial
	var err error
	if f.client, err = New(o); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	go func() { _ = server.Serve(f) }()
	t.Cleanup(func() {
		f.client.Close()
		server.Close()
	})
	return f
}

func (f *fake) dial(_ context.Context, network, address string) (net.Conn, error) {
	f.mu.Lock()
	f.dialled++
	down := f.down[address]
	f.mu.Unlock()
	if down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	f.conns <- far
	return near, nil
}

func (f *fake) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *fake) Close() error   { close(f.closed); return nil }
func (f *fake) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (f *fake) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_ = req.ParseForm()
	f.mu.Lock()
	f.asked[req.Host+" "+req.URL.Path]++
	if !strings.Contains(req.URL.Path, "login") {
		f.last = req
	}
	a, ok := f.answers[req.Host+" "+req.URL.Path]
	if !ok {
		a, ok = f.answers[req.URL.Path]
	}
	down := f.down[req.Host]
	f.mu.Unlock()
	switch {
	case down, a.status < 0:
		panic(http.ErrAbortHandler)
	case !ok:
		a = answer{404, notFound}
	case a.status == 0:
		<-req.Context().Done()
		return
	}
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body))
}

func (f *fake) answer(path string, status int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[path] = answer{status, body}
}

func (f *fake) setDown(host string, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[host] = down
}

func (f *fake) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[what]
}

// request is the last one that was not a login.
func (f *fake) request() *http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// listOf is the answer of v1, as in the documentation, with these hosts.
func listOf(hosts ...string) string {
	return `{"name":"DEFAULT_GROUP@@orders","groupName":"DEFAULT_GROUP","clusters":"","cacheMillis":10000,"hosts":[` + strings.Join(hosts, ",") +
		`],"lastRefTime":1528787794594,"checksum":"","allIPs":false,"reachProtectionThreshold":false,"valid":true}`
}

// enveloped is the answer of v2 and v3 with data.
func enveloped(data string) string { return `{"code":0,"message":"success","data":` + data + `}` }

// hostAt is a healthy instance; change is what is said of it besides, `"weight":2`.
func hostAt(ip string, change ...string) string {
	h := map[string]any{
		"instanceId": ip + "#80#DEFAULT#DEFAULT_GROUP@@orders", "ip": ip, "port": 80, "weight": 1.0, "healthy": true, "enabled": true,
		"ephemeral": true, "clusterName": "DEFAULT", "serviceName": "DEFAULT_GROUP@@orders", "metadata": map[string]string{},
		"instanceHeartBeatInterval": 5000, "instanceIdGenerator": "simple", "instanceHeartBeatTimeOut": 15000, "ipDeleteTimeout": 30000,
	}
	for _, c := range change {
		if err := json.Unmarshal([]byte("{"+c+"}"), &h); err != nil {
			panic(err)
		}
	}
	text, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// A watching is a Source's Watch that runs.
type watching struct {
	t       testing.TB
	source  discovery.Source
	updates chan discovery.Update
	cancel  context.CancelFunc
	ended   chan struct{}
}

func (f *fake) watch(q Query) *watching {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{t: f.t, source: f.client.Source(q), updates: make(chan discovery.Update, 10_000), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.source.Watch(ctx, func(u discovery.Update) { w.updates <- u })
	}()
	f.t.Cleanup(w.stop)
	return w
}

// stop ends the watch and waits for it.
func (w *watching) stop() {
	w.cancel()
	<-w.ended
}

// next returns the next update, within a quarter of an hour.
func (w *watching) next() discovery.Update {
	w.t.Helper()
	select {
	case u := <-w.updates:
		return u
	case <-time.After(15 * time.Minute):
		w.t.Fatal("no update")
		panic("unreachable")
	}
}

// drain forgets what has been reported so far.
func (w *watching) drain() {
	synctest.Wait()
	for len(w.updates) > 0 {
		<-w.updates
	}
}

// wantErr checks that the next update is an error with text in it.
func (w *watching) wantErr(text string) error {
	w.t.Helper()
	u := w.next()
	if u.Err == nil || !strings.Contains(u.Err.Error(), text) || u.At.IsZero() || u.Instances != nil && len(u.Problems) == 0 {
		w.t.Errorf("%v, want an error with %q", u.Err, text)
	}
	return u.Err
}

// wantSet checks that the next update is a set with these addresses and weights: "10.0.0.1:80*2".
func (w *watching) wantSet(want ...string) discovery.Update {
	w.t.Helper()
	u := w.next()
	var got []string
	for _, inst := range u.Instances {
		got = append(got, fmt.Sprintf("%s*%d", inst.Address, inst.Weight))
	}
	if u.Err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		w.t.Errorf("%v, error %v, want %v", got, u.Err, want)
	}
	return u
}

// story runs a test in virtual time. When it is over, the bubble fails if a goroutine is left.
func story(t *testing.T, o Options, f func(t *testing.T, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newFake(t, o)) })
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }
