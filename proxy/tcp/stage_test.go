package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
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

// A stage is a proxy between a listener and a service whose instances the test sets.
type stage struct {
	t        testing.TB
	group    *eventloop.Group
	proxy    *Proxy
	service  *upstream.Service
	source   *fakeSource
	registry *metrics.Registry
	listener *eventloop.Listener
	logs     *observer.ObservedLogs
	events   chan upstream.Event // that the service has told of
	known    map[*upstream.Endpoint]bool
	panics   atomic.Int64
}

type setup struct {
	loops        int
	instances    []string
	silent       bool // the source says nothing
	options      Options
	service      upstream.Options
	listen       string // a Unix socket
	expectPanics int64
}

// enter builds the stage, and checks at the end of the test that nothing is left of it.
func enter(t testing.TB, o setup) *stage {
	t.Helper()
	watchFiles(t)
	s := &stage{t: t, source: newFakeSource(), events: make(chan upstream.Event, 100), known: map[*upstream.Endpoint]bool{}}
	group, err := eventloop.NewGroup(eventloop.Options{Loops: max(o.loops, 1), OnPanic: func(v any, stack []byte) {
		if s.panics.Add(1) > o.expectPanics {
			t.Errorf("panic: %v\n%s", v, stack)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.group = group
	core, logs := observer.New(zapcore.DebugLevel)
	s.logs = logs
	s.registry = metrics.New(metrics.Options{Loops: o.loops})

	o.service.Name, o.service.Source = "orders", s.source
	if o.service.Policy == nil {
		o.service.Policy = inOrder
	}
	if o.service.Budget == (upstream.BudgetOptions{}) {
		o.service.Budget = upstream.BudgetOptions{Ratio: 0.2, MinPerSecond: 10}
	}
	s.service = upstream.New(o.service)
	if o.options.Log == nil {
		o.options.Log = zap.New(core)
	}
	o.options.Service = s.service
	o.options.Sessions, o.options.Listener = s.registry.TCP("orders"), s.registry.Listener("orders", "tcp")
	s.proxy = New(group, o.options)
	s.service.OnEvent(func(ev upstream.Event) { s.events <- ev })

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.service.Run(ctx) })
	if !o.silent {
		s.report(o.instances...)
		<-s.service.Known()
	}
	network, address := "tcp", "127.0.0.1:0"
	if o.listen != "" {
		network, address = "unix", o.listen
	}
	if s.listener, err = group.Listen(network, address, s.proxy, eventloop.ListenOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.listener.Close()
		s.drained()
		cancel()
		running.Wait()
		s.wantNothingLeft()
		group.Close()
		if panics := s.panics.Load(); panics != o.expectPanics {
			t.Errorf("%d panics", panics)
		}
	})
	return s
}

// report has the source report instances.
func (s *stage) report(addresses ...string) {
	var set []discovery.Instance
	for _, a := range addresses {
		set = append(set, discovery.Instance{ID: a, Address: a, Weight: 1})
	}
	s.source.updates <- discovery.Update{Instances: set, At: time.Now()}
}

func (s *stage) dial() net.Conn {
	s.t.Helper()
	addr := s.listener.Addr()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// refused dials and wants a reset, which may come before the dialling is done with.
func (s *stage) refused() {
	s.t.Helper()
	addr := s.listener.Addr()
	c, err := net.Dial(addr.Network(), addr.String())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		s.t.Errorf("got %v, want a reset", err)
	}
}

// drained waits for the end of all sessions.
func (s *stage) drained() {
	s.t.Helper()
	if err := s.proxy.Drain(context.Background()); err != nil {
		s.t.Error(err)
	}
}

// wantNothingLeft checks that all is given back once the last session has ended.
func (s *stage) wantNothingLeft() {
	s.t.Helper()
	for _, e := range s.service.Snapshot().Endpoints {
		s.known[e] = true
	}
	for e := range s.known {
		if n := e.InFlight(); n != 0 {
			s.t.Errorf("endpoint %s has %d in flight", e.Address(), n)
		}
		if n := e.Connections(); n != 0 {
			s.t.Errorf("%d connections to %s are counted", n, e.Address())
		}
	}
	for _, l := range s.proxy.lanes {
		done := make(chan string, 1)
		look := func() { done <- fmt.Sprint(l.active, l.all.first == nil, len(l.byEndpoint)) }
		if !l.loop.Post(look) {
			look() // the loop has ended
		}
		if got := <-done; got != "0 true 0" {
			s.t.Errorf("lane has %s", got)
		}
	}
	for _, l := range s.group.Loops() {
		// The task that ended last may not have been taken back yet.
		eventually(s.t, "loop is empty", func() bool {
			st := l.Stats()
			return st.Conns == 0 && st.Tasks == 0
		})
	}
	if n := s.metric("sidecar_tcp_sessions_active"); n != 0 {
		s.t.Errorf("%v sessions active", n)
	}
	if n := s.metric("sidecar_listener_connections_active"); n != 0 {
		s.t.Errorf("%v connections active", n)
	}
}

// metric adds up the series of a name whose labels have all of the values.
func (s *stage) metric(name string, values ...string) (sum float64) {
	s.t.Helper()
	families, err := s.registry.Gatherer().Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			for _, v := range values {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetValue() == v
				}
				if !found {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// wantFailed checks that one session more than none has failed for the cause, and that the
// log says so.
func (s *stage) wantFailed(cause metrics.Cause) observer.LoggedEntry {
	s.t.Helper()
	s.drained()
	if n := s.metric("sidecar_tcp_sessions_failed_total", cause.String()); n != 1 {
		s.t.Errorf("%v sessions failed with %v, want 1", n, cause)
	}
	if n := s.metric("sidecar_tcp_sessions_failed_total"); n != 1 {
		s.t.Errorf("%v sessions failed, want 1", n)
	}
	lines := s.logs.FilterMessage("session failed").All()
	if len(lines) != 1 {
		s.t.Fatalf("%d lines of failed sessions, want 1: %v", len(lines), lines)
	}
	if got := lines[0].ContextMap()["cause"]; got != cause.String() {
		s.t.Errorf("the log says %v, want %v", got, cause)
	}
	return lines[0]
}

// wantClean checks that n sessions have ended and none has failed.
func (s *stage) wantClean(n int) {
	s.t.Helper()
	s.drained()
	if got := s.metric("sidecar_tcp_sessions_total"); got != float64(n) {
		s.t.Errorf("%v sessions, want %d", got, n)
	}
	if got := s.metric("sidecar_tcp_sessions_failed_total"); got != 0 {
		s.t.Errorf("%v sessions failed: %v", got, s.logs.FilterMessage("session failed").All())
	}
}

func (s *stage) wantBytes(in, out int) {
	s.t.Helper()
	s.drained()
	if got := s.metric("sidecar_tcp_received_bytes_total"); got != float64(in) {
		s.t.Errorf("%v bytes in, want %d", got, in)
	}
	if got := s.metric("sidecar_tcp_sent_bytes_total"); got != float64(out) {
		s.t.Errorf("%v bytes out, want %d", got, out)
	}
}

// A fakeSource reports what it is given.
type fakeSource struct{ updates chan discovery.Update }

func newFakeSource() *fakeSource { return &fakeSource{make(chan discovery.Update, 10)} }

func (f *fakeSource) Watch(ctx context.Context, report func(discovery.Update)) {
	for {
		select {
		case u := <-f.updates:
			report(u)
		case <-ctx.Done():
			return
		}
	}
}

// inOrder is a policy that picks the first endpoint, by ID, that is not to be avoided.
func inOrder(c upstream.Candidates) upstream.Picker { return orderedPicker(c.Endpoints) }

type orderedPicker []*upstream.Endpoint

func (p orderedPicker) Pick(_ upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
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
