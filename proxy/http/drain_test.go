package http

import (
	"context"
	"errors"
	"strings"
	"testing"

	"sidecar/metrics"
)

func TestDrainLetsRunningRequestsEnd(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	servers := park(r, o, 1)
	idle, busy := r.dial(), r.dial()
	trade(idle, servers[0])
	busy.say(get + get)
	servers[0].hear(get)
	head := r.dial()
	head.say("GET / HTTP/1.1\r\n")
	r.until("the head is being read", func() bool { return r.shard.loop.Stats().Tasks == 2 })
	r.listener.Close()
	drained := make(chan error, 1)
	go func() { drained <- r.proxy.Drain(context.Background()) }()
	idle.end()
	servers[0].say(ok)
	closing := lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + "hi"
	busy.hear(closing)
	busy.closeWrite()
	busy.end() // the second request is not begun
	servers[0].end()
	head.say("Host: a\r\n\r\n")
	s := o.accept()
	s.hear(get)
	s.say(ok)
	head.hear(closing)
	head.closeWrite()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	head.end()
	s.end()
}

// Whoever sends a request just when the drain begins is served, and told that it was the last.
func TestDrainServesOneMoreRequestOfAnIdleConnection(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	servers := park(r, o, 1)
	c := r.dial()
	trade(c, servers[0])
	r.listener.Close()
	drained := make(chan error, 1)
	go func() { drained <- r.proxy.Drain(context.Background()) }()
	r.until("it drains", func() bool { return r.shard.draining })
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + "hi")
	c.closeWrite()
	c.end()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestDrainCutsWhatDoesNotEnd(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	waiting, midway, head := r.dial(), r.dial(), r.dial()
	waiting.say(get)
	s := o.accept()
	s.hear(get)
	midway.say(get)
	s2 := o.accept()
	s2.hear(get)
	s2.say(ok[:len(ok)-1])
	midway.hear(ok[:len(ok)-1])
	head.say("GET")
	r.until("the head is being read", func() bool { return r.shard.loop.Stats().Tasks == 3 })
	r.listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.proxy.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	waiting.gone()
	midway.gone()
	head.gone()
	s.gone()
	s2.gone()
	if n := r.metric("sidecar_http_errors_total", metrics.CauseDraining.String()); n != 2 {
		t.Errorf("%v requests cut", n)
	}
	if n := r.outcomes(); n.Failures() != 0 {
		t.Errorf("%+v", n)
	}
}

func TestPanicInATaskTakesNothingElseAlong(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, panics: 1})
	servers := park(r, o, 1)
	c := r.dial()
	trade(c, servers[0])
	c.say(get)
	servers[0].hear(get)
	// The task finds its world in pieces when it goes on.
	r.change(func(o *Options) { o.Service = nil })
	servers[0].say("HTTP/1.1 200")
	servers[0].close()
	c.gone()
	r.change(func(o *Options) { o.Service = r.service })
	if n := r.metric("sidecar_http_errors_total", "internal"); n != 1 {
		t.Errorf("%v internal errors", n)
	}
	r.on(func() {
		if r.shard.count != 1 || len(r.shard.free) != 0 { // it is not used again
			t.Errorf("%d clients, %d exchanges free", r.shard.count, len(r.shard.free))
		}
	})
	d := r.dial()
	d.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok)
	d.hear(ok)
}

func TestLogNamesWhatWasCut(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok[:len(ok)-1])
	c.hear(ok[:len(ok)-1])
	s.close()
	c.end()
	r.wantError(metrics.CauseReset)
	fields := r.logs.FilterMessage("request failed").All()[0].ContextMap()
	if fields["begun"] != true || !strings.Contains(fields["error"].(string), "EOF") {
		t.Errorf("%v", fields)
	}
}
