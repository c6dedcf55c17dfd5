package http

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sidecar/discovery"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/upstream"
)

// patience bounds what must come true but is not said when; no test passes because of it.
const patience = 20 * time.Second

// A rig is a proxy, of one loop unless more are asked for, in front of origins that the test plays.
type rig struct {
	t        testing.TB
	group    *eventloop.Group
	service  *upstream.Service
	proxy    *Proxy
	shard    *shard
	source   source
	registry *metrics.Registry
	listener *eventloop.Listener
	logs     *observer.ObservedLogs
	panics   atomic.Int64
	known    map[*upstream.Endpoint]bool
}

// setup is what a test may want different. Unless it says so, nothing is added to heads, so
// that what one side says is what the other hears.
type setup struct {
	origins []string // the first is picked unless it is to be avoided
	options func(*Options)
	budget  *upstream.BudgetOptions
	limit   int // of requests in flight on an endpoint
	service func(*upstream.Options)
	loops   int // 1 if 0
	silent  bool
	panics  int64
}

func newRig(t testing.TB, set setup) *rig {
	t.Helper()
	before := descriptors(t)
	r := &rig{t: t, source: make(source, 10), registry: metrics.New(metrics.Options{Loops: max(set.loops, 1)}), known: map[*upstream.Endpoint]bool{}}
	var err error
	r.group, err = eventloop.NewGroup(eventloop.Options{Loops: max(set.loops, 1), OnPanic: func(v any, stack []byte) {
		if r.panics.Add(1) > set.panics {
			t.Errorf("panic: %v\n%s", v, stack)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	r.logs = logs
	budget := upstream.BudgetOptions{Ratio: 0.2, MinPerSecond: 10}
	if set.budget != nil {
		budget = *set.budget
	}
	su := upstream.Options{Name: "orders", Source: r.source, Policy: inOrder, Budget: budget, Endpoint: upstream.Limits{InFlight: set.limit}}
	if set.service != nil {
		set.service(&su)
	}
	r.service = upstream.New(su)
	o := Options{
		Settings: Settings{
			Service: r.service,
			Forward: Forwarding{For: ForwardedOff},
			Retry:   Retry{Attempts: 2, Connect: true, Reset: true, Timeout: true},

			HeadTimeout: time.Minute, ClientIdle: time.Minute, ConnectTimeout: time.Minute, RequestTimeout: time.Minute,
			UpstreamIdle: time.Minute, StreamIdle: time.Minute, PoolPerEndpoint: 128,
		},
		Name: "orders", Log: zap.New(core),
		Requests: r.registry.HTTP("orders"), Listener: r.registry.Listener("orders", "http"),
	}
	if set.options != nil {
		set.options(&o)
	}
	r.proxy = New(r.group, o)
	r.shard = r.proxy.shards[0]
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.service.Run(ctx) })
	if !set.silent {
		r.report(set.origins...)
		<-r.service.Known()
	}
	if r.listener, err = r.group.Listen("tcp", "127.0.0.1:0", r.proxy, eventloop.ListenOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.listener.Close()
		if err := r.proxy.Drain(context.Background()); err != nil {
			t.Errorf("drain: %v", err)
		}
		r.wantNothingLeft()
		cancel()
		running.Wait()
		r.group.Close()
		if n := r.panics.Load(); n != set.panics {
			t.Errorf("%d panics, want %d", n, set.panics)
		}
		eventually(t, "descriptors are closed", func() bool { return descriptors(t) <= before })
	})
	return r
}

// wantNothingLeft checks that all is given back and that the counts agree.
func (r *rig) wantNothingLeft() {
	r.t.Helper()
	for _, e := range r.service.Snapshot().Endpoints {
		r.known[e] = true
	}
	for _, l := range r.group.Loops() {
		eventually(r.t, "the loop is empty", func() bool { return l.Stats().Conns == 0 && l.Stats().Tasks == 0 })
	}
	for e := range r.known {
		if e.InFlight() != 0 {
			r.t.Errorf("%s has %d in flight", e.Address(), e.InFlight())
		}
		if e.Connections() != 0 {
			r.t.Errorf("%d connections to %s are counted", e.Connections(), e.Address())
		}
	}
	for _, s := range r.proxy.shards {
		if m := s.requests; m.Opened.Load() != m.Closed.Load() || m.Idle.Load() != 0 {
			r.t.Errorf("%d connections opened, %d closed, %d idle", m.Opened.Load(), m.Closed.Load(), m.Idle.Load())
		}
		if a := s.accepts; a.Accepted.Load() != a.Closed.Load() {
			r.t.Errorf("%d clients came, %d left", a.Accepted.Load(), a.Closed.Load())
		}
	}
	if n := r.metric("sidecar_http_requests_in_flight"); n != 0 {
		r.t.Errorf("%v requests in flight", n)
	}
}

// report has the source say what instances there are.
func (r *rig) report(addresses ...string) {
	if s := r.service.Snapshot(); s != nil {
		for _, e := range s.Endpoints {
			r.known[e] = true
		}
	}
	var instances []discovery.Instance
	for i, a := range addresses {
		instances = append(instances, discovery.Instance{ID: fmt.Sprintf("%d %s", i, a), Address: a, Weight: 1})
	}
	r.source <- discovery.Update{Instances: instances, At: time.Now()}
}

// on runs fn on the loop, outside of any task.
func (r *rig) on(fn func()) {
	r.t.Helper()
	if r.group.EachWait(context.Background(), func(*eventloop.Loop) { fn() }) != nil {
		r.t.Fatal("the loop has ended")
	}
}

// change changes options while the proxy runs: a bound is made short just where it is
// meant to pass, so that no other step of a test has to be fast.
func (r *rig) change(fn func(*Options)) {
	r.t.Helper()
	o := Options{Settings: r.shard.set.Settings}
	fn(&o)
	r.proxy.Reconfigure(o.Settings)
}

// until asks on the loop until cond is true there.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	eventually(r.t, what, func() (ok bool) {
		r.on(func() { ok = cond() })
		return ok
	})
}

// pass lets time pass on the loop.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	var start time.Duration
	r.on(func() { start = r.shard.loop.Now() })
	r.until("time passes", func() bool { return r.shard.loop.Now() >= start+d })
}

// pooled waits until n connections are in the pool.
func (r *rig) pooled(n int64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprint(n, " connections are in the pool"), func() bool { return r.shard.requests.Idle.Load() == n })
}

// outcomes is what the first endpoint has on its account.
func (r *rig) outcomes() upstream.Counters { return r.outcomesOf(0) }

func (r *rig) outcomesOf(i int) upstream.Counters {
	return r.service.Snapshot().Endpoints[i].Counters()
}

// wantMetric wants a sum of counters to come to n.
func (r *rig) wantMetric(n float64, name string, values ...string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprint(name, values, " is ", n), func() bool { return r.metric(name, values...) == n })
}

// metric adds up the series of a name whose labels have all of the values.
func (r *rig) metric(name string, values ...string) (sum float64) {
	r.t.Helper()
	families, err := r.registry.Gatherer().Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := 0
			for _, l := range m.GetLabel() {
				for _, v := range values {
					if l.GetValue() == v {
						has++
					}
				}
			}
			if has == len(values) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// wantError waits until a request has failed for the cause, and for nothing else any has.
func (r *rig) wantError(cause metrics.Cause) {
	r.t.Helper()
	eventually(r.t, "a request has failed: "+cause.String(), func() bool { return r.metric("sidecar_http_errors_total", cause.String()) > 0 })
	if n := r.metric("sidecar_http_errors_total"); n != 1 {
		r.t.Errorf("%v requests failed", n)
	}
	lines := r.logs.FilterMessage("request failed").All()
	if len(lines) != 1 || lines[0].ContextMap()["cause"] != cause.String() {
		r.t.Errorf("log: %v", lines)
	}
}

// A source reports what it is given.
type source chan discovery.Update

func (s source) Watch(ctx context.Context, report func(discovery.Update)) {
	for {
		select {
		case u := <-s:
			report(u)
		case <-ctx.Done():
			return
		}
	}
}

// inOrder is a policy that picks the first endpoint that is not to be avoided.
func inOrder(c upstream.Candidates) upstream.Picker { return ordered(c.Endpoints) }

type ordered []*upstream.Endpoint

func (p ordered) Pick(_ upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
next:
	for _, e := range p {
		for _, a := range avoid {
			if a == e {
				continue next
			}
		}
		return e
	}
	return nil
}

// eventually gives up after patience; the condition, not the time, decides.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for giveUp := time.Now().Add(patience); !cond(); runtime.Gosched() {
		if time.Now().After(giveUp) {
			buf := make([]byte, 1<<20)
			t.Fatalf("still not so: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

func descriptors(t testing.TB) int {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr().String()
}

// lines makes a head of its lines.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }
