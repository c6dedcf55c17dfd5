package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/breaker"
	"sidecar/metrics"
	"sidecar/upstream"
)

// sorry is what is answered when nothing can be used.
func sorry(o *Options) {
	o.Fallback = Fallback{Status: 200, ContentType: "application/json", Body: `{"orders":[]}`}
}

// wantFixed wants the fixed response, with its body unless head is set.
func (p *peer) wantFixed(status int, cause, body string, head bool) {
	p.t.Helper()
	said := p.head()
	if !strings.HasPrefix(said, fmt.Sprintf("HTTP/1.1 %d ", status)) || !strings.Contains(said, "\r\nSidecar-Error: "+cause+"\r\n") {
		p.t.Fatalf("heard %q", said)
	}
	if bodied := strings.Contains(said, fmt.Sprintf("\r\nContent-Length: %d\r\n", len(body))); bodied == (status == 204) {
		p.t.Errorf("heard %q", said)
	}
	if status != 204 && !strings.Contains(said, "\r\nContent-Type: application/json\r\n") {
		p.t.Errorf("heard %q", said)
	}
	if !head {
		p.hear(body)
	}
}

func TestFixedResponseWhenNothingIsUsable(t *testing.T) {
	const body = `{"orders":[]}`
	r := newRig(t, setup{options: sorry})
	c := r.dial()
	c.say(get)
	c.wantFixed(200, "no-instances", body, false)
	c.say(post) // the connection goes on
	c.wantFixed(200, "no-instances", body, false)
	c.say(lines("HEAD / HTTP/1.1", "Host: a"))
	c.wantFixed(200, "no-instances", body, true)
	r.change(func(o *Options) { o.Fallback.Status = 204 })
	c.say(get)
	c.wantFixed(204, "no-instances", "", false)
	r.change(func(o *Options) { o.Fallback.Status = 205 })
	c.say(get)
	c.wantFixed(205, "no-instances", "", false)
	if n := r.metric("sidecar_http_fallback_answers_total"); n != 5 {
		t.Errorf("%v responses", n)
	}
	if n := r.metric("sidecar_http_errors_total", "no-instances"); n != 5 {
		t.Errorf("%v errors", n)
	}
	o := newOrigin(t)
	r.report(o.addr)
	eventually(t, "there is one", func() bool { return len(r.service.Snapshot().Endpoints) == 1 })
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

func TestFixedResponseBeforeAnythingIsKnown(t *testing.T) {
	r := newRig(t, setup{silent: true, options: sorry})
	c := r.dial()
	c.say(get)
	c.wantFixed(200, "not-discovered", `{"orders":[]}`, false)
}

func TestFixedResponseIsForNothingElse(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		r := newRig(t, setup{origins: []string{closedPort(t)}, options: sorry})
		c := r.dial()
		c.say(get)
		c.wantOwn(502, "connect-failed")
	})
	t.Run("over the limit", func(t *testing.T) {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}, options: sorry, limit: 1})
		c, s := busyOn(r, o)
		d := r.dial()
		d.say(get)
		d.wantOwn(503, "over-limit")
		s.say(ok)
		c.hear(ok)
	})
	t.Run("an answer", func(t *testing.T) {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}, options: sorry})
		c, s := busyOn(r, o)
		bad := lines("HTTP/1.1 503 Busy", "Content-Length: 0")
		s.say(bad)
		c.hear(bad)
	})
	t.Run("a malformed request", func(t *testing.T) {
		r := newRig(t, setup{options: sorry})
		c := r.dial()
		c.say("what\r\n\r\n")
		c.wantOwn(400, "bad-request")
	})
}

// breaking ejects an endpoint at its first failure, for as long as the clock says.
func breaking(open time.Duration) func(*upstream.Options) {
	return func(o *upstream.Options) {
		o.Breaker = breaker.Settings{ConsecutiveFailures: 1, Open: open, OpenMax: open}
		o.MaxEjected = 1
	}
}

func TestMidBodyFailureCountsAgainstTheEndpoint(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, service: breaking(time.Hour)})
	c, s := busyOn(r, o)
	s.say(ok[:len(ok)-1])
	c.hear(ok[:len(ok)-1])
	s.reset()
	c.gone()
	if n := r.outcomes(); n.Successes != 1 || n.Resets != 1 || n.Ejections != 1 {
		t.Errorf("%+v", n)
	}
	d := r.dial()
	d.say(get)
	s = p.accept()
	s.hear(get)
	s.say(ok)
	d.hear(ok)
}

func TestWhatEndsATunnelIsNotTheEndpointsFailure(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(upgrade)
	s := o.accept()
	s.hear(upgrade)
	s.say(switched + "hi")
	c.hear(switched + "hi")
	s.reset()
	c.gone()
	r.wantError(metrics.CauseReset)
	if n := r.outcomes(); n.Successes != 1 || n.Failures() != 0 {
		t.Errorf("%+v", n)
	}
}

func TestClientsFaultMidBodyIsNobodyElses(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c, s := busyOn(r, o)
	s.say(ok[:len(ok)-1])
	c.hear(ok[:len(ok)-1])
	c.reset()
	s.gone()
	if n := r.outcomes(); n.Successes != 1 || n.Failures() != 0 {
		t.Errorf("%+v", n)
	}
}

func TestFailedProbeIsTriedElsewhere(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, service: breaking(time.Millisecond)})
	o.serve(func(c net.Conn) bool { return false })
	p.serve(func(c net.Conn) bool {
		_, err := io.WriteString(c, ok)
		return err == nil
	})
	c := r.dial()
	eventually(t, "it is probed, more than once", func() bool {
		c.say(get)
		c.hear(ok) // in any case
		return r.outcomes().Resets >= 3
	})
	if n := r.outcomes(); n.Ejections == 0 || n.Successes != 0 {
		t.Errorf("%+v", n)
	}
}

// serve has answer called for each request without a body, and closes a connection when that
// is false.
func (o *origin) serve(answer func(net.Conn) bool) {
	o.serveEach(func(c net.Conn) {
		for in := bufio.NewReader(c); ; {
			if _, err := http.ReadRequest(in); err != nil || !answer(c) {
				return
			}
		}
	})
}

// serveEach has each connection served by talk, on a goroutine of its own, and closed behind
// it or at the end of the test.
func (o *origin) serveEach(talk func(net.Conn)) {
	var serving sync.WaitGroup
	stop := make(chan struct{})
	o.t.Cleanup(func() { close(stop); serving.Wait() })
	serving.Go(func() {
		for {
			select {
			case c := <-o.conns:
				done := make(chan struct{})
				serving.Go(func() { defer close(done); defer c.Close(); talk(c) })
				serving.Go(func() {
					select {
					case <-stop:
						c.Close()
					case <-done:
					}
				})
			case <-stop:
				return
			}
		}
	})
}
