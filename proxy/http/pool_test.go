package http

import (
	"strings"
	"testing"
	"time"

	"sidecar/metrics"
)

func TestConnectionsAreKeptOnBothSides(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
	for range 20 {
		trade(c, s)
	}
	// Other clients use the same one.
	for range 3 {
		c.close()
		c = r.dial()
		trade(c, s)
	}
	o.untouched()
	r.pooled(1)
	if m := r.shard.requests; m.Opened.Load() != 1 || m.Reused.Load() != 23 {
		t.Errorf("%d opened, %d reused", m.Opened.Load(), m.Reused.Load())
	}
}

// park has n requests in flight at once and answers them in order, so that their
// connections are in the pool with the last on top.
func park(r *rig, o *origin, n int) []*peer {
	r.t.Helper()
	var clients, servers []*peer
	for range n {
		c := r.dial()
		c.say(get)
		s := o.accept()
		s.hear(get)
		clients, servers = append(clients, c), append(servers, s)
	}
	for i := range n {
		servers[i].say(ok)
		clients[i].hear(ok)
	}
	return servers
}

func TestConnectionUsedLastIsUsedNext(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	servers := park(r, o, 3)
	r.pooled(3)
	c, d := r.dial(), r.dial()
	c.say(get)
	servers[2].hear(get)
	d.say(get)
	servers[1].hear(get)
	servers[2].say(ok)
	c.hear(ok)
	trade(c, servers[2])
	servers[1].say(ok)
	d.hear(ok)
	trade(c, servers[1])
}

func TestPoolIsBounded(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.PoolPerEndpoint = 2 }})
	servers := park(r, o, 4)
	servers[2].end()
	servers[3].end()
	r.pooled(2)
}

func TestNoPool(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.PoolPerEndpoint = 0 }})
	c := r.dial()
	for range 3 {
		c.say(get)
		s := o.accept()
		s.hear(get)
		s.say(ok)
		c.hear(ok)
		s.end()
	}
}

func TestIdleConnectionIsGivenUp(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.UpstreamIdle = 20 * time.Millisecond }})
	park(r, o, 1)[0].end()
	r.pooled(0)
}

func TestDeadlineOfThePoolDoesNotReachTheNextRequest(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.UpstreamIdle = time.Second }})
	servers := park(r, o, 1)
	c := r.dial()
	c.say(get)
	servers[0].hear(get)
	r.pass(1200 * time.Millisecond)
	servers[0].say(ok)
	c.hear(ok)
}

func TestOriginClosesAnIdleConnection(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	servers := park(r, o, 3)
	r.pooled(3)
	servers[1].close()
	r.pooled(2)
	servers[2].reset()
	r.pooled(1)
	// A word that nobody asked for: whatever it means, it is no answer to the next request.
	servers[0].say(lines("HTTP/1.1 408 Request Timeout", "Content-Length: 0"))
	r.pooled(0)
	servers[0].gone()
	c := r.dial()
	c.say(post)
	s := o.accept()
	s.hear(post)
	s.say(ok)
	c.hear(ok)
}

func TestBytesBehindAResponseEndItsConnection(t *testing.T) {
	for name, c := range map[string]struct{ request, response, want string }{
		"length":      {get, ok, ok},
		"chunked":     {get, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\n\r\n", ""},
		"no body":     {get, lines("HTTP/1.1 204 No"), ""},
		"304":         {get, lines("HTTP/1.1 304 No", "Content-Length: 3"), ""},
		"HEAD":        {lines("HEAD / HTTP/1.1", "Host: a"), lines("HTTP/1.1 200 OK", "Content-Length: 3"), ""},
		"long":        {get, lines("HTTP/1.1 200 OK", "Content-Length: 100000") + strings.Repeat("x", 100000), ""},
		"204 with TE": {get, lines("HTTP/1.1 204 No", "Transfer-Encoding: chunked"), lines("HTTP/1.1 204 No")},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == "" {
				c.want = c.response
			}
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}})
			client := r.dial()
			client.say(c.request)
			s := o.accept()
			s.hear(c.request)
			<-s.pour(c.response + "HTTP/1.1 200 EVIL\r\n\r\n")
			client.hear(c.want)
			s.gone()
			client.say(get)
			s = o.accept()
			s.hear(get)
			s.say(ok)
			client.hear(ok)
		})
	}
}

func TestClosingResponseIsNotPooled(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(lines("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 2") + "hi")
	c.hear(ok)
	s.end()
	r.pooled(0)
}

func TestUnfinishedRequestIsNotPooled(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 10") + "half")
	s := o.accept()
	s.hear(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 10") + "half")
	s.say(ok)
	c.hear(lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + "hi")
	s.end()
	c.end()
	r.pooled(0)
}

func TestRetiredEndpointLosesItsIdleConnections(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{first.addr}})
	servers := park(r, first, 2)
	c := r.dial()
	c.say(get)
	servers[1].hear(get)
	r.report(second.addr)
	servers[0].end()
	// What runs ends in peace, and then its connection goes as well.
	servers[1].say(ok)
	c.hear(ok)
	servers[1].end()
	c.say(get)
	s := second.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
	r.on(func() {
		if len(r.shard.pools) != 1 {
			t.Errorf("%d pools", len(r.shard.pools))
		}
	})
}

func TestStaleConnectionIsReplaced(t *testing.T) {
	for _, c := range []struct {
		name, request string
		leave         func(*peer)
	}{
		{"end", get, (*peer).close},
		{"reset", get, (*peer).reset},
		{"HEAD", lines("HEAD / HTTP/1.1", "Host: a"), (*peer).close},
		{"GET with a body", lines("GET / HTTP/1.1", "Host: a", "Content-Length: 3") + "abc", (*peer).close},
		{"PUT", strings.Replace(post, "POST", "PUT", 1), (*peer).close},
		{"POST with a key", strings.Replace(post, "Host", "Idempotency-Key: k\r\nHost", 1), (*peer).reset},
		{"a body of 64 KiB", lines("PUT / HTTP/1.1", "Host: a", "Content-Length: 65536") + strings.Repeat("x", 65536), (*peer).close},
		{"chunks with extensions", lines("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n", (*peer).close},
		{"GET with chunks", lines("GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n", (*peer).close},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			// It is no retry: it takes nothing from the budget, nor from the attempts.
			r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Retry = Retry{} }})
			servers := park(r, o, 2)
			client := r.dial()
			client.say(c.request)
			servers[1].hear(c.request)
			c.leave(servers[1])
			s := o.accept() // a new one, and not the other from the pool
			s.hear(c.request)
			s.say(lines("HTTP/1.1 204 No"))
			client.hear(lines("HTTP/1.1 204 No"))
			if n := r.outcomes(); n.Failures() != 0 {
				t.Errorf("it counts against the endpoint: %+v", n)
			}
		})
	}
}

func TestStaleConnectionFailsOthers(t *testing.T) {
	for _, request := range []string{post, lines("GET / HTTP/1.1", "Host: a", "Content-Length: 100000") + strings.Repeat("x", 100000)} {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}})
		servers := park(r, o, 1)
		c := r.dial()
		c.say(request)
		servers[0].hear(request)
		servers[0].close()
		c.wantOwn(502, "idle-race")
		o.untouched()
		r.wantError(metrics.CauseIdleRace)
	}
}

func TestConnectionThatHasSpokenIsNotStale(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Retry = Retry{} }})
	servers := park(r, o, 1)
	c := r.dial()
	c.say(get)
	servers[0].hear(get)
	servers[0].say("HTTP/1.1 200")
	servers[0].close()
	c.wantOwn(502, "reset")
	o.untouched()
}
