package http

import (
	"strings"
	"testing"
	"time"

	"sidecar/metrics"
	"sidecar/upstream"
)

func TestEndpointThatRefusesIsPassedOver(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{closedPort(t), closedPort(t), o.addr}})
	c := r.dial()
	// Nothing has been sent, so it may be any request, of any length.
	body := noise(200 << 10)
	request := lines("POST / HTTP/1.1", "Host: a", "Content-Length: 204800") + body
	poured := c.pour(request)
	s := o.accept()
	s.hear(request)
	s.say(ok)
	c.hear(ok)
	if err := <-poured; err != nil {
		t.Error(err)
	}
	if n := r.metric("sidecar_http_retries_total", "connect"); n != 2 {
		t.Errorf("%v retries", n)
	}
	if n := r.outcomes(); n.ConnectFailures != 1 {
		t.Errorf("%+v", n)
	}
}

func TestAllRefuse(t *testing.T) {
	for _, origins := range [][]string{{closedPort(t)}, {closedPort(t), closedPort(t)}, {closedPort(t), closedPort(t), closedPort(t), closedPort(t), closedPort(t)}} {
		r := newRig(t, setup{origins: origins})
		c := r.dial()
		c.say(get)
		c.wantOwn(502, "connect-failed")
		if n := int(r.metric("sidecar_http_errors_total")); n != 1 {
			t.Errorf("%d errors", n)
		}
		tries := uint64(0)
		for _, e := range r.service.Snapshot().Endpoints {
			tries += e.Counters().ConnectFailures
		}
		if want := min(len(origins), 3); tries != uint64(want) {
			t.Errorf("%d tries, want %d", tries, want)
		}
	}
}

func TestConnectFailuresAreNotRetriedUnasked(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{closedPort(t), o.addr}, options: func(o *Options) { o.Retry.Connect = false }})
	c := r.dial()
	c.say(get)
	c.wantOwn(502, "connect-failed")
	o.untouched()
}

func TestResetOfAFreshConnection(t *testing.T) {
	for _, c := range []struct {
		request, said string
		again         bool
	}{
		{get, "", true},
		{get, "HTTP/1.1 200 OK\r\nX-Stale: 1\r\nContent-Le", true},
		{get, lines("HTTP/1.1 100 Continue"), true},
		{lines("OPTIONS / HTTP/1.1", "Host: a"), "", true},
		{post, "", false},
		{post, lines("HTTP/1.1 100 Continue"), false},
		{lines("POST / HTTP/1.1", "Host: a", "Idempotency-Key: 1", "Content-Length: 3") + "abc", "", true},
		{lines("PATCH / HTTP/1.1", "Host: a", "Content-Length: 3") + "abc", "", false},
		{lines("PUT / HTTP/1.1", "Host: a", "Content-Length: 0"), "", true},
		{lines("DELETE / HTTP/1.1", "Host: a"), "", true},
		{lines("get / HTTP/1.1", "Host: a"), "", false},
	} {
		first, second := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{first.addr, second.addr}})
		client := r.dial()
		client.say(c.request)
		s := first.accept()
		s.hear(c.request)
		s.say(c.said)
		s.close()
		if strings.Contains(c.said, "100") {
			client.hear(c.said)
		}
		if c.again {
			s = second.accept()
			s.hear(c.request)
			s.say(ok)
			client.hear(ok)
			if n := r.metric("sidecar_http_retries_total", "reset"); n != 1 {
				t.Errorf("%v retries", n)
			}
		} else {
			client.wantOwn(502, "reset")
			first.untouched()
			second.untouched()
		}
		if n := r.outcomes(); n.Resets != 1 {
			t.Errorf("%+v", n)
		}
	}
}

func TestRetryByStatus(t *testing.T) {
	busy := lines("HTTP/1.1 503 Busy", "Content-Length: 4") + "busy"
	withStatus := func(o *Options) { o.Retry.Status[3] = true }
	t.Run("safe", func(t *testing.T) {
		first, second := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: withStatus})
		c := r.dial()
		c.say(get)
		s := first.accept()
		s.hear(get)
		s.say(busy)
		s = second.accept()
		s.hear(get)
		s.say(ok)
		c.hear(ok)
		// All of the answer had come, so its connection is as good as before.
		eventually(t, "both connections are in the pool", func() bool { return r.metric("sidecar_http_upstream_connections_idle") == 2 })
		if n := r.outcomes(); n.ServerErrors != 1 {
			t.Errorf("%+v", n)
		}
		if n := r.metric("sidecar_http_retries_total", "503"); n != 1 {
			t.Errorf("%v retries", n)
		}
	})
	t.Run("not safe", func(t *testing.T) {
		first, second := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: withStatus})
		c := r.dial()
		c.say(post)
		s := first.accept()
		s.hear(post)
		s.say(busy)
		c.hear(busy)
		second.untouched()
	})
	t.Run("another status", func(t *testing.T) {
		first, second := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: withStatus})
		c := r.dial()
		c.say(get)
		s := first.accept()
		s.hear(get)
		s.say(strings.Replace(busy, "503", "500", 1))
		c.hear(strings.Replace(busy, "503", "500", 1))
		second.untouched()
	})
	t.Run("the last try", func(t *testing.T) {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}, options: withStatus})
		c := r.dial()
		c.say(get)
		s := o.accept()
		for range 3 {
			s.hear(get)
			s.say(busy)
		}
		c.hear(busy)
		o.untouched()
	})
	t.Run("no budget", func(t *testing.T) {
		first, second := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: withStatus, budget: &upstream.BudgetOptions{}})
		c := r.dial()
		c.say(get)
		s := first.accept()
		s.hear(get)
		s.say(busy)
		c.hear(busy)
		second.untouched()
		if n := r.metric("sidecar_http_retries_denied_total"); n != 1 {
			t.Errorf("%v denied", n)
		}
	})
}

func TestBudgetIsExhausted(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	// One retry for five requests.
	r := newRig(t, setup{origins: []string{first.addr, second.addr}, budget: &upstream.BudgetOptions{Ratio: 0.2}})
	c := r.dial()
	for i := 1; i <= 10; i++ {
		c.say(get)
		s := first.accept()
		s.hear(get)
		s.reset()
		if i%5 != 0 {
			c.wantOwn(502, "reset")
			continue
		}
		s = second.accept()
		s.hear(get)
		s.say(ok)
		c.hear(ok)
		s.close()
		r.pooled(0)
	}
}

func TestTryThatTakesTooLong(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: func(o *Options) { o.Retry.PerTry = time.Second }})
	c := r.dial()
	c.say(get)
	s := first.accept()
	s.hear(get)
	s.end() // given up
	s = second.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
	if n := r.outcomes(); n.Timeouts != 1 {
		t.Errorf("%+v", n)
	}
	// What the first has cost is not the second's latency.
	if e := r.service.Snapshot().Endpoints[1]; e.Latency() >= time.Second {
		t.Errorf("latency %v", e.Latency())
	}
	c.say(post)
	s = first.accept()
	s.hear(post)
	c.wantOwn(504, "timeout")
	second.untouched()
}

func TestRequestTimeoutIsForAllTries(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: func(o *Options) { o.RequestTimeout = 50 * time.Millisecond }})
	c := r.dial()
	c.say(get)
	first.accept().hear(get)
	c.wantOwn(504, "timeout")
	second.untouched()
	r.wantError(metrics.CauseTimeout)
	// The client's connection is still good.
	r.change(func(o *Options) { o.RequestTimeout = time.Minute })
	c.say(get)
	s := first.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

func TestTimeoutCountsFromTheEndOfTheRequest(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.RequestTimeout = 100 * time.Millisecond }})
	c := r.dial()
	c.say(post[:len(post)-1])
	s := o.accept()
	s.hear(post[:len(post)-1])
	r.pass(200 * time.Millisecond)
	r.change(func(o *Options) { o.RequestTimeout = time.Minute })
	c.say(post[len(post)-1:])
	s.hear(post[len(post)-1:])
	s.say(ok)
	c.hear(ok)
}
