package tcp

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sidecar/discovery"
	"sidecar/healthcheck"
	"sidecar/metrics"
	"sidecar/upstream"
)

// talk proves that a session works in both directions.
func talk(t testing.TB, client, server net.Conn) {
	t.Helper()
	say(t, client, "ping")
	hear(t, server, "ping")
	say(t, server, "pong")
	hear(t, client, "pong")
}

// end ends a session from both sides.
func end(t testing.TB, client, server net.Conn) {
	t.Helper()
	closeWrite(t, client)
	hearEnd(t, server)
	closeWrite(t, server)
	hearEnd(t, client)
}

func TestNextEndpointWhenOneDoesNotAccept(t *testing.T) {
	o := newOrigin(t)
	dead := []string{closedPort(t), "unix:/nonexistent/socket", closedPort(t), closedPort(t)}
	s := enter(t, setup{instances: append(dead, o.addr), options: Options{Settings: Settings{Tries: 5}}})
	s.service.Snapshot()
	client := s.dial()
	say(t, client, "said before anyone listened")
	server := o.accept()
	hear(t, server, "said before anyone listened")
	talk(t, client, server)
	end(t, client, server)
	s.wantClean(1)
}

func TestNextEndpointWhenOneIsDeaf(t *testing.T) {
	o := newOrigin(t)
	deaf := deafPort(t)
	policy := func(c upstream.Candidates) upstream.Picker { // the deaf one first
		usable := c.Endpoints
		if usable[0].Address() != deaf {
			usable = []*upstream.Endpoint{usable[1], usable[0]}
		}
		return orderedPicker(usable)
	}
	s := enter(t, setup{
		instances: []string{deaf, o.addr},
		service:   upstream.Options{Policy: policy},
		options:   Options{Settings: Settings{ConnectTimeout: 50 * time.Millisecond}},
	})
	client, server := s.dial(), o.accept()
	talk(t, client, server)
	end(t, client, server)
	s.wantClean(1)
}

func TestResetWhenNoEndpointAccepts(t *testing.T) {
	dead := []string{closedPort(t), closedPort(t)}
	s := enter(t, setup{instances: dead})
	s.refused()
	line := s.wantFailed(metrics.CauseConnectFailed)
	tried, _ := line.ContextMap()["tried"].([]any)
	if line.Level != zapcore.WarnLevel || len(tried) != 2 {
		t.Errorf("%v %v", line.Level, line.ContextMap())
	}
	for _, a := range dead {
		if got := line.ContextMap(); !strings.Contains(strings.Join(asStrings(tried), " "), a+": ") {
			t.Errorf("the log does not name %s: %v", a, got)
		}
	}
}

func asStrings(a []any) (s []string) {
	for _, v := range a {
		s = append(s, v.(string))
	}
	return s
}

func TestResetWhenTheOnlyEndpointIsDeaf(t *testing.T) {
	s := enter(t, setup{instances: []string{deafPort(t)}, options: Options{Settings: Settings{ConnectTimeout: 20 * time.Millisecond}}})
	s.refused()
	s.wantFailed(metrics.CauseConnectTimeout)
}

func TestTriesAreBounded(t *testing.T) {
	var dead []string
	for range DefaultTries + 3 {
		dead = append(dead, closedPort(t))
	}
	s := enter(t, setup{instances: dead})
	s.refused()
	line := s.wantFailed(metrics.CauseConnectFailed)
	if tried, _ := line.ContextMap()["tried"].([]any); len(tried) != DefaultTries {
		t.Errorf("%d endpoints were tried, want %d", len(tried), DefaultTries)
	}
}

func TestResetWhenNothingIsUsable(t *testing.T) {
	for cause, u := range map[metrics.Cause]discovery.Update{
		metrics.CauseNoInstances:    {},
		metrics.CauseUnknownService: {Unknown: true},
	} {
		t.Run(cause.String(), func(t *testing.T) {
			s := enter(t, setup{silent: true})
			s.source.updates <- u
			<-s.service.Known()
			s.refused()
			s.wantFailed(cause)
		})
	}
	t.Run("not-discovered", func(t *testing.T) {
		s := enter(t, setup{silent: true})
		s.refused()
		s.wantFailed(metrics.CauseNotDiscovered)
	})
}

func TestFloodOfUnservedConnectionsIsCountedButNotAllLogged(t *testing.T) {
	s := enter(t, setup{silent: true})
	const n = 500
	began := time.Now()
	for range n {
		s.refused()
	}
	s.drained()
	seconds := int(time.Since(began)/time.Second) + 2
	if got := s.metric("sidecar_tcp_sessions_failed_total", "not-discovered"); got != n {
		t.Errorf("%v failures counted, want %d", got, n)
	}
	lines := s.logs.FilterMessage("session failed").All()
	if len(lines) == 0 || len(lines) > seconds*linesUnavailable {
		t.Errorf("%d lines in %d seconds", len(lines), seconds)
	}
}

func TestSessionsOfARetiredEndpointRunOn(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	talk(t, client, server)
	s.retire(o.addr)
	talk(t, client, server)
	s.refused() // there is nobody for new ones
	end(t, client, server)
	s.drained()
	if n := s.metric("sidecar_tcp_sessions_failed_total"); n != 1 {
		t.Errorf("%v sessions failed, want the one that came too late", n)
	}
}

func TestSessionsOfARetiredEndpointAreCut(t *testing.T) {
	o, other := newOrigin(t), newOrigin(t)
	s := enter(t, setup{loops: 2, instances: []string{o.addr}, options: Options{Settings: Settings{CloseOnDown: true}}})
	quiet, quietServer := s.dial(), o.accept()
	talk(t, quiet, quietServer)
	half, halfServer := s.dial(), o.accept()
	closeWrite(t, half)
	hearEnd(t, halfServer)
	stuck, stuckServer := s.dial(), o.accept()
	hung := make(chan error, 1)
	go func() { hung <- sendNoise(stuck, 1, 1<<30) }()
	hearNoise(t, stuckServer, 1, 1000)

	s.report(o.addr, other.addr)
	eventually(t, "both are known", func() bool { return len(s.service.Snapshot().Endpoints) == 2 })
	s.retire(o.addr, other.addr)
	hearReset(t, quiet)
	hearReset(t, quietServer)
	hearReset(t, half)
	if err := <-hung; err == nil {
		t.Error("a gibibyte went to nobody")
	}
	client, server := s.dial(), other.accept()
	talk(t, client, server)
	end(t, client, server)
	s.drained()
	if n := s.metric("sidecar_tcp_sessions_failed_total", "endpoint-down"); n != 3 {
		t.Errorf("%v sessions were cut, want 3", n)
	}
	if n := s.logs.FilterMessage("session failed").Len(); n != 3 {
		t.Errorf("%d lines, want 3", n)
	}
}

// retire has the source leave out an endpoint, and waits for the service to say so.
func (s *stage) retire(gone string, rest ...string) {
	s.t.Helper()
	for _, e := range s.service.Snapshot().Endpoints {
		s.known[e] = true
	}
	s.report(rest...)
	s.wantEvent(gone, upstream.Retired)
}

func (s *stage) wantEvent(address string, kind upstream.EventKind) {
	s.t.Helper()
	for ev := range s.events {
		if ev.Endpoint.Address() == address && ev.Kind == kind {
			return
		}
	}
}

// A prober says what the test tells it to.
type prober struct {
	mu   sync.Mutex
	sick map[string]bool
}

func (p *prober) set(address string, sick bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sick == nil {
		p.sick = make(map[string]bool)
	}
	p.sick[address] = sick
}

func (p *prober) Probe(_ context.Context, address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sick[address] {
		return errors.New("sick")
	}
	return nil
}

func TestSessionsOfAnEndpointThatIsMarkedDown(t *testing.T) {
	for name, closeOnDown := range map[string]bool{"keep": false, "close": true} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			p := new(prober)
			s := enter(t, setup{
				instances: []string{o.addr},
				options:   Options{Settings: Settings{CloseOnDown: closeOnDown}},
				service: upstream.Options{HealthCheck: &upstream.HealthCheck{Prober: p, Settings: healthcheck.Settings{
					Interval: time.Millisecond, Timeout: time.Second, Rise: 1, Fall: 1,
				}}},
			})
			client, server := s.dial(), o.accept()
			talk(t, client, server)
			p.set(o.addr, true)
			s.wantEvent(o.addr, upstream.Down)
			if closeOnDown {
				hearReset(t, client)
				hearReset(t, server)
				s.wantFailed(metrics.CauseEndpointDown)
				return
			}
			talk(t, client, server)
			end(t, client, server)
			s.wantClean(1)
		})
	}
}

// An endpoint goes while it is being dialled. Nothing has been sent, so the session goes to
// another one.
func TestEndpointRetiredWhileItIsDialled(t *testing.T) {
	o := newOrigin(t)
	deaf := deafPort(t)
	s := enter(t, setup{instances: []string{deaf}, options: Options{Settings: Settings{CloseOnDown: true, ConnectTimeout: 300 * time.Millisecond}}})
	client := s.dial()
	s.awaitInFlight(deaf, 1)
	s.retire(deaf, o.addr)
	server := o.accept()
	talk(t, client, server)
	end(t, client, server)
	s.wantClean(1)
}

func (s *stage) awaitInFlight(address string, n int64) {
	s.t.Helper()
	eventually(s.t, address+" is in flight", func() bool {
		for _, e := range s.service.Snapshot().Endpoints {
			if e.Address() == address && e.InFlight() == n {
				return true
			}
		}
		return false
	})
}

func TestSettingsChangeWhileSessionsRun(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	talk(t, client, server)
	s.proxy.Reconfigure(Settings{Service: s.service, CloseOnDown: true})
	s.retire(o.addr)
	hearReset(t, client)
	hearReset(t, server)
	s.wantFailed(metrics.CauseEndpointDown)
}

func TestDrainWaitsForTheLastSession(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{loops: 2, instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	talk(t, client, server)
	s.listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	drained := make(chan error)
	go func() { drained <- s.proxy.Drain(ctx) }()
	for range 100 {
		talk(t, client, server)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a session running: %v", err)
	default:
	}
	end(t, client, server)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	s.wantClean(1)
}

func TestDrainCutsWhatIsLeftAtItsDeadline(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{loops: 2, instances: []string{o.addr}})
	var clients, servers []net.Conn
	for range 5 {
		clients, servers = append(clients, s.dial()), append(servers, o.accept())
	}
	talk(t, clients[0], servers[0])
	s.listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.proxy.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
	for i := range clients {
		hearReset(t, clients[i])
		hearReset(t, servers[i])
	}
	if n := s.metric("sidecar_tcp_sessions_failed_total", "draining"); n != 5 {
		t.Errorf("%v sessions were cut, want 5", n)
	}
	if n := s.logs.FilterMessage("session failed").Len(); n != 5 {
		t.Errorf("%d lines, want 5", n)
	}
}

func TestDrainCutsASessionThatIsStillDialling(t *testing.T) {
	deaf := deafPort(t)
	s := enter(t, setup{instances: []string{deaf}, options: Options{Settings: Settings{ConnectTimeout: 100 * time.Millisecond}}})
	client := s.dial()
	s.awaitInFlight(deaf, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.proxy.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
	hearReset(t, client)
	s.wantFailed(metrics.CauseDraining)
}

// A session that panics takes nothing with it.
func TestPanicEndsItsSessionOnly(t *testing.T) {
	o := newOrigin(t)
	log := zap.NewNop()
	picks := 0
	s := enter(t, setup{
		instances:    []string{o.addr},
		options:      Options{Log: log},
		expectPanics: 1,
		service: upstream.Options{Policy: func(c upstream.Candidates) upstream.Picker {
			return pickFunc(func() *upstream.Endpoint {
				if picks++; picks == 2 {
					panic("the second pick")
				}
				return c.Endpoints[0]
			})
		}},
	})
	client, server := s.dial(), o.accept()
	talk(t, client, server)
	s.refused()
	talk(t, client, server)
	end(t, client, server)
	s.drained()
	if n := s.metric("sidecar_tcp_sessions_failed_total", "internal"); n != 1 {
		t.Errorf("%v internal failures, want 1", n)
	}
}

type pickFunc func() *upstream.Endpoint

func (f pickFunc) Pick(upstream.PickKey, []*upstream.Endpoint) *upstream.Endpoint { return f() }

func TestLoopsThatCloseEndTheirSessions(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{loops: 2, instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	talk(t, client, server)
	half, halfServer := s.dial(), o.accept()
	closeWrite(t, half)
	hearEnd(t, halfServer)
	s.group.Close()
	hearReset(t, client)
	hearReset(t, server)
	hearReset(t, half)
}
