package http

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/upstream"
)

func endpointLimits(l upstream.Limits) func(*upstream.Options) {
	return func(o *upstream.Options) { o.Endpoint = l }
}

func serviceLimits(l upstream.Limits) func(*upstream.Options) {
	return func(o *upstream.Options) { o.Limits = l }
}

// busyOn has a request in flight on an origin.
func busyOn(r *rig, o *origin) (client, server *peer) {
	r.t.Helper()
	client = r.dial()
	client.say(get)
	server = o.accept()
	server.hear(get)
	return client, server
}

func TestConnectionsOfAnEndpointAreLimited(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, service: endpointLimits(upstream.Limits{Connections: 1})})
	c, s := busyOn(r, o)
	d, s2 := busyOn(r, p) // another endpoint is used
	e := r.dial()
	e.say(get)
	if _, body := e.wantOwn(503, "over-limit"); !strings.Contains(body, "max_connections") {
		t.Error(body)
	}
	s.say(ok)
	c.hear(ok)
	trade(e, s) // an idle one is no new one
	s2.say(ok)
	d.hear(ok)
	if n := r.outcomes(); n.Failures() != 0 {
		t.Errorf("%+v", n)
	}
	if b := r.service.Budget().Status(); b.Retries != 0 {
		t.Errorf("it was paid for: %+v", b)
	}
}

func TestConnectionsOfTheServiceAreLimited(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, service: serviceLimits(upstream.Limits{Connections: 1})})
	c, s := busyOn(r, o)
	d := r.dial()
	d.say(get)
	d.wantOwn(503, "over-limit")
	p.untouched()
	s.say(ok)
	c.hear(ok)
	trade(d, s)
	if n := r.metric("sidecar_http_errors_total", metrics.CauseOverLimit.String()); n != 1 {
		t.Errorf("%v errors", n)
	}
}

func TestPendingConnectionsAreLimited(t *testing.T) {
	for _, limit := range []func(upstream.Limits) func(*upstream.Options){endpointLimits, serviceLimits} {
		d, o := newDeaf(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{d.addr, o.addr}, service: limit(upstream.Limits{Pending: 1})})
		// One to the second is idle: that too many are being made is no reason to close it.
		r.change(func(o *Options) { o.ConnectTimeout = time.Millisecond })
		first := r.dial()
		first.say(get)
		s := o.accept()
		s.hear(get)
		s.say(ok)
		first.hear(ok)
		r.pooled(1)
		r.change(func(o *Options) { o.ConnectTimeout = time.Minute })
		c := r.dial()
		c.say(get)
		e := r.service.Snapshot().Endpoints[0]
		r.until("it is being connected", func() bool { return e.Connections() == 1 })
		trade(first, s)
		trade(first, s)
		h := d.listen(get)
		h.say(ok)
		c.hear(ok)
		r.pooled(2)
	}
}

func TestNoOtherEndpointThanOneWithTooManyPending(t *testing.T) {
	d := newDeaf(t)
	r := newRig(t, setup{origins: []string{d.addr}, service: endpointLimits(upstream.Limits{Pending: 1}), options: func(o *Options) { o.ConnectTimeout = 300 * time.Millisecond }})
	c, e := r.dial(), r.dial()
	c.say(get)
	endpoint := r.service.Snapshot().Endpoints[0]
	r.until("it is being connected", func() bool { return endpoint.Connections() == 1 })
	r.change(func(o *Options) { o.Retry.Attempts = 0 })
	e.say(get)
	if _, body := e.wantOwn(503, "over-limit"); !strings.Contains(body, "max_pending") {
		t.Error(body)
	}
	c.wantOwn(504, "connect-timeout")
}

func TestHedgeKeepsToTheLimits(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: hedging, service: serviceLimits(upstream.Limits{Connections: 1})})
	r.learn(time.Millisecond)
	c, s := busyOn(r, o)
	r.wantMetric(1, "sidecar_http_hedges_total")
	r.until("it is given up", func() bool { return r.service.Snapshot().Endpoints[1].InFlight() == 0 })
	s.say(ok)
	c.hear(ok)
	p.untouched()
	if n := r.outcomesOf(1); n.Failures() != 0 {
		t.Errorf("%+v", n)
	}
}

// The idle connection that is allowed lies with another loop than the one that needs it.
func TestIdleConnectionIsGivenUpToAnotherLoop(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, loops: 2, service: serviceLimits(upstream.Limits{Connections: 1})})
	c := r.dialTo(0)
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
	eventually(t, "it is idle", func() bool { return r.proxy.shards[0].requests.Idle.Load() == 1 })
	d := r.dialTo(1)
	d.say(get)
	d.wantOwn(503, "over-limit")
	s.end() // closed for the sake of those who come
	d.say(get)
	s = o.accept()
	s.hear(get)
	s.say(ok)
	d.hear(ok)
}

// dialTo makes a client that a certain loop serves.
func (r *rig) dialTo(loop int) *peer {
	r.t.Helper()
	var c *peer
	eventually(r.t, "a client comes to the loop", func() bool {
		if c = r.dial(); r.loopOf(c) != loop {
			c.close()
			c = nil
		}
		return c != nil
	})
	return c
}

// loopOf is the index of the loop that serves a client.
func (r *rig) loopOf(c *peer) int {
	r.t.Helper()
	var at atomic.Int64
	at.Store(-1)
	eventually(r.t, "the client is accepted", func() bool {
		if r.group.EachWait(context.Background(), func(l *eventloop.Loop) {
			for k := r.proxy.shards[l.Index()].clients; k != nil; k = k.next {
				if k.conn.RemoteAddrPort().String() == c.conn.LocalAddr().String() {
					at.Store(int64(l.Index()))
				}
			}
		}) != nil {
			r.t.Fatal("the loops have ended")
		}
		return at.Load() >= 0
	})
	return int(at.Load())
}

func TestIdleConnectionIsNotGivenUpForAnotherEndpointsLimit(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, service: endpointLimits(upstream.Limits{Connections: 1})})
	c, s := busyOn(r, o)
	d, s2 := busyOn(r, p)
	s2.say(ok)
	d.hear(ok)
	r.pooled(1)
	trade(d, s2) // the first is full, which the second's connection does not help
	trade(d, s2)
	s.say(ok)
	c.hear(ok)
}

// What a request has had in flight is over when it is sent again: it does not stand in its own way.
func TestARetryDoesNotCompeteWithItself(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, limit: 1})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
	r.pooled(1)
	c.say(get)
	s.hear(get)
	s.close() // as any server may, with a connection that was idle
	s = o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}
