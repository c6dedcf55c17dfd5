package http

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// hanging is an endpoint that answers nothing for /hang until the test says so.
func hanging(t *testing.T) (address string, answer func()) {
	hold := make(chan struct{})
	released := false
	answer = func() {
		if !released {
			released = true
			close(hold)
		}
	}
	address = serveBoth(t, func(w http.ResponseWriter, _ *http.Request) {
		<-hold
		_, _ = io.WriteString(w, "late")
	})
	t.Cleanup(answer)
	return address, answer
}

// ask sends a request by HTTP/2 that may be repeated, and hands over its answer.
func (r *rig) ask() <-chan string {
	r.t.Helper()
	got := make(chan string, 1)
	client := newClient(r.t.(*testing.T), true)
	req, _ := http.NewRequest("PUT", "http://"+r.listener.Addr().String()+"/", strings.NewReader("x"))
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		got <- resp.Status + " " + string(body)
	}()
	return got
}

// A copy by HTTP/2 goes out also where there is no connection to the other endpoint yet.
func TestARescueHasAConnectionMade(t *testing.T) {
	bad, _ := hanging(t)
	good := serveBoth(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "good") })
	r := newRig(t, setup{origins: []string{bad, good}, options: func(o *Options) {
		stalling(o)
		o.Upstream, o.Retry.Attempts = UpstreamH2C, 1
	}})
	if got := <-r.ask(); got != "200 OK good" {
		t.Error(got)
	}
	if n := r.metric("sidecar_http_retries_total", "stalled"); n != 1 {
		t.Errorf("%v retries", n)
	}
	r.until("the second is judged", func() bool { return r.outcomesOf(1).Successes == 1 && r.outcomesOf(0).Timeouts == 1 })
}

// Where none can be made nothing is paid for a copy that cannot be sent, and the first try goes on.
func TestARescueWithoutAConnectionCostsNothing(t *testing.T) {
	slow, answer := hanging(t)
	r := newRig(t, setup{origins: []string{slow, closedPort(t)}, options: func(o *Options) {
		stalling(o)
		o.Upstream, o.Retry.Attempts = UpstreamH2C, 1
	}})
	got := r.ask()
	r.begun(1)
	r.pass(200 * time.Millisecond) // some looks
	answer()
	if s := <-got; s != "200 OK late" {
		t.Error(s)
	}
	if n := r.metric("sidecar_http_retries_total"); n != 0 {
		t.Errorf("%v retries", n)
	}
	if n := r.outcomesOf(1); n.Failures() != 0 {
		t.Errorf("nobody has asked the other one: %+v", n)
	}
}

// answered asks once, so that there is an idle trunk.
func answered(r *rig) {
	r.t.Helper()
	if got := <-r.ask(); got != "200 OK " {
		r.t.Fatal(got)
	}
}

func TestAnIdleTrunkIsClosed(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"after upstream_idle":  func(o *Options) { o.UpstreamIdle = 30 * time.Millisecond },
		"at once without pool": func(o *Options) { o.PoolPerEndpoint = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{origins: []string{serveBoth(t, func(http.ResponseWriter, *http.Request) {})}, options: func(o *Options) {
				o.Upstream = UpstreamH2C
				change(o)
			}})
			answered(r)
			r.until("it is closed", func() bool { return r.service.Snapshot().Endpoints[0].Connections() == 0 })
			answered(r)
		})
	}
}

// Another loop that may make no connection gets this one's.
func TestAnIdleTrunkIsGivenUp(t *testing.T) {
	for _, anyWillDo := range []bool{false, true} {
		r := newRig(t, setup{origins: []string{serveBoth(t, func(http.ResponseWriter, *http.Request) {})}, options: overH2C})
		answered(r)
		e := r.service.Snapshot().Endpoints[0]
		r.until("the stream has ended", func() bool { return len(r.shard.pools[e].trunks) == 1 && r.shard.pools[e].trunks[0].Streams() == 0 })
		r.on(func() {
			if anyWillDo {
				r.shard.giveUp(nil, true)
			} else {
				r.shard.giveUp(e, false)
			}
		})
		r.until("it is closed", func() bool { return e.Connections() == 0 })
	}
}

func TestATrunkThatIsUsedIsNotGivenUp(t *testing.T) {
	address, answer := hanging(t)
	r := newRig(t, setup{origins: []string{address}, options: overH2C})
	got := r.ask()
	e := r.service.Snapshot().Endpoints[0]
	r.until("it has a stream", func() bool {
		p := r.shard.pools[e]
		return p != nil && len(p.trunks) == 1 && p.trunks[0].Streams() == 1 && !p.trunks[0].fresh
	})
	r.on(func() { r.shard.giveUp(e, true) })
	answer()
	if s := <-got; s != "200 OK late" {
		t.Error(s)
	}
}

// Who does not agree on HTTP/2 by ALPN is not spoken to in it.
func TestATrunkIsAgreedOn(t *testing.T) {
	for _, two := range []bool{true, false} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.EnableHTTP2 = true
		if !two {
			s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
			s.EnableHTTP2 = false
		}
		s.StartTLS()
		if !two {
			s.TLS.NextProtos = nil // one that knows no ALPN takes any client
		}
		t.Cleanup(s.Close)
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		r := newRig(t, setup{origins: []string{s.Listener.Addr().String()}, options: func(o *Options) {
			overH2C(o)
			o.HTTP2.Scheme = "https"
			o.UpstreamTLS = func(bool) *tls.Config {
				return &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"h2"}}
			}
		}})
		c := r.dial()
		c.say(get)
		if two {
			if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Errorf("answer %q", head)
			}
			continue
		}
		if _, body := c.wantOwn(502, "connect-failed"); !strings.Contains(body, "does not speak HTTP/2: it has not agreed on HTTP/2 by ALPN") {
			t.Errorf("it is told %q", body)
		}
	}
}
