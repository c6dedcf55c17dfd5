package tcp

import (
	"net/netip"
	"testing"
	"time"

	"sidecar/metrics"
	"sidecar/upstream"
)

// tried is how many endpoints the only failed session's line names.
func (s *stage) tried(cause metrics.Cause) int {
	s.t.Helper()
	tried, _ := s.wantFailed(cause).ContextMap()["tried"].([]any)
	return len(tried)
}

func closedPorts(t testing.TB, n int) (dead []string) {
	for range n {
		dead = append(dead, closedPort(t))
	}
	return dead
}

func TestTriesAreThoseOfTheOptions(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		s := enter(t, setup{instances: closedPorts(t, 7), options: Options{Settings: Settings{Tries: n}}})
		s.refused()
		if got := s.tried(metrics.CauseConnectFailed); got != n {
			t.Errorf("%d endpoints were tried, want %d", got, n)
		}
		if b := s.service.Budget().Status(); b.Requests != 1 || b.Retries != uint64(n-1) {
			t.Errorf("budget: %+v", b)
		}
	}
}

func TestTriesArePaidFor(t *testing.T) {
	// One further try for two sessions.
	s := enter(t, setup{instances: closedPorts(t, 4), service: upstream.Options{Budget: upstream.BudgetOptions{Ratio: 0.5}}})
	want := uint64(0)
	for i := range uint64(6) {
		s.refused()
		s.drained()
		want += 1 + i%2
		made := uint64(0)
		for _, e := range s.service.Snapshot().Endpoints {
			made += e.Counters().ConnectFailures
		}
		if made != want {
			t.Errorf("after %d sessions %d endpoints were dialled, want %d", i+1, made, want)
		}
	}
}

func TestNoOtherEndpointCostsNothing(t *testing.T) {
	s := enter(t, setup{instances: closedPorts(t, 1)})
	s.refused()
	s.wantFailed(metrics.CauseConnectFailed)
	if b := s.service.Budget().Status(); b.Retries != 0 {
		t.Errorf("budget: %+v", b)
	}
}

func TestFullEndpointsArePassedOver(t *testing.T) {
	var addrs []string
	var origins []*origin
	for range 5 {
		o := newOrigin(t)
		origins, addrs = append(origins, o), append(addrs, o.addr)
	}
	s := enter(t, setup{instances: addrs, options: Options{Settings: Settings{Tries: 1}}, service: upstream.Options{Endpoint: upstream.Limits{Connections: 1}}})
	for range origins { // each takes one, though a session may dial one only
		client := s.dial()
		say(t, client, "hello")
	}
	for _, o := range origins {
		hear(t, o.accept(), "hello")
	}
	if b := s.service.Budget().Status(); b.Retries != 0 {
		t.Errorf("budget: %+v", b)
	}
	s.refused()
	eventually(t, "it has failed", func() bool { return s.metric("sidecar_tcp_sessions_failed_total", "over-limit") == 1 })
	for _, e := range s.service.Snapshot().Endpoints {
		if n := e.Counters(); n.Failures() != 0 || e.Connections() != 1 {
			t.Errorf("%d connections, %+v", e.Connections(), n)
		}
	}
}

func TestConnectionsOfTheServiceAreLimited(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr, p.addr}, service: upstream.Options{Limits: upstream.Limits{Connections: 2}}})
	var clients, servers [2]interface{ Close() error }
	for i := range clients {
		client := s.dial()
		say(t, client, "hello")
		clients[i] = client
		select {
		case c := <-o.conns:
			hear(t, c, "hello")
			servers[i] = c
		case c := <-p.conns:
			hear(t, c, "hello")
			servers[i] = c
		}
	}
	s.refused()
	eventually(t, "it has failed", func() bool { return s.metric("sidecar_tcp_sessions_failed_total", "over-limit") == 1 })
	for i := range clients {
		clients[i].Close()
		servers[i].Close()
	}
	s.drained() // and there is room again
	client := s.dial()
	say(t, client, "again")
	select {
	case c := <-o.conns:
		hear(t, c, "again")
		c.Close()
	case c := <-p.conns:
		hear(t, c, "again")
		c.Close()
	}
	client.Close()
}

func TestPendingConnectionsAreLimited(t *testing.T) {
	deaf := deafPort(t)
	s := enter(t, setup{instances: []string{deaf}, service: upstream.Options{Endpoint: upstream.Limits{Pending: 1}}, options: Options{Settings: Settings{ConnectTimeout: 500 * time.Millisecond}}})
	first := s.dial()
	s.awaitInFlight(deaf, 1)
	s.refused()
	eventually(t, "one has been refused", func() bool { return s.metric("sidecar_tcp_sessions_failed_total", "over-limit") == 1 })
	hearReset(t, first)
	s.drained()
	if n := s.metric("sidecar_tcp_sessions_failed_total", "connect-timeout"); n != 1 {
		t.Errorf("%v sessions have run into the timeout", n)
	}
}

func TestConnectionsAreCountedThroughChurn(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{loops: 2, instances: []string{closedPort(t), o.addr}, service: upstream.Options{Budget: upstream.BudgetOptions{Ratio: 1}}})
	for i := range 60 {
		client := s.dial()
		say(t, client, "hello")
		server := o.accept()
		hear(t, server, "hello")
		switch i % 4 {
		case 0:
			end(t, client, server)
		case 1:
			reset(t, client)
		case 2:
			reset(t, server)
		case 3:
			client.Close()
			server.Close()
		}
	}
	s.drained()
	for _, e := range s.service.Snapshot().Endpoints {
		if e.Connections() != 0 || e.InFlight() != 0 {
			t.Errorf("%s: %d connections, %d in flight", e.Address(), e.Connections(), e.InFlight())
		}
	}
}

// keyed picks the first endpoint and tells the keys that it was asked for.
type keyed struct {
	orderedPicker
	keys chan<- upstream.PickKey
}

func (p keyed) Pick(key upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	p.keys <- key
	return p.orderedPicker.Pick(key, avoid)
}

func TestHashOfTheClientsAddress(t *testing.T) {
	var hashed []byte
	hash := func(b []byte) uint64 { hashed = append([]byte(nil), b...); return 42 }
	for want, hash := range map[uint64]func([]byte) uint64{0: nil, 42: hash} {
		o := newOrigin(t)
		keys := make(chan upstream.PickKey, 10)
		s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{Hash: hash}}, service: upstream.Options{
			Policy: func(c upstream.Candidates) upstream.Picker { return keyed{c.Endpoints, keys} },
		}})
		client, server := s.dial(), o.accept()
		if key := <-keys; key.Hash != want || !key.Repeatable {
			t.Errorf("%+v", key)
		}
		talk(t, client, server)
		end(t, client, server)
		s.wantClean(1)
	}
	if a, _ := netip.AddrFromSlice(hashed); a.Unmap() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("hashed %v", hashed)
	}
}

func TestClientOfAUnixSocketHasNoHash(t *testing.T) {
	o := newOrigin(t)
	keys := make(chan upstream.PickKey, 10)
	s := enter(t, setup{
		instances: []string{o.addr}, listen: t.TempDir() + "/s",
		options: Options{Settings: Settings{Hash: func([]byte) uint64 { return 42 }}},
		service: upstream.Options{Policy: func(c upstream.Candidates) upstream.Picker { return keyed{c.Endpoints, keys} }},
	})
	client, server := s.dial(), o.accept()
	if key := <-keys; key.Hash != 0 {
		t.Errorf("%+v", key)
	}
	talk(t, client, server)
	end(t, client, server)
	s.wantClean(1)
}
