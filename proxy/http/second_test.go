package http

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecar/accesslog"
)

// A deaf origin has a queue without room: who connects gets no answer until it listens.
type deaf struct {
	t    testing.TB
	fd   int
	addr string
}

func newDeaf(t testing.TB) *deaf {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	at := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Bind(fd, at); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at = name.(*syscall.SockaddrInet4)
	for range 3 {
		c, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(c) })
		if err := syscall.Connect(c, at); err != nil && err != syscall.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return &deaf{t, fd, (&net.TCPAddr{IP: at.Addr[:], Port: at.Port}).String()}
}

// listen takes what waits in the queue, and those who connect again when they have not been
// heard, until one of them says the request.
func (d *deaf) listen(request string) *peer {
	d.t.Helper()
	heard := make(chan *peer, 10)
	var found *peer
	eventually(d.t, "a request comes", func() bool {
		if fd, _, err := syscall.Accept4(d.fd, syscall.SOCK_CLOEXEC); err == nil {
			f := os.NewFile(uintptr(fd), "")
			c, err := net.FileConn(f)
			f.Close()
			if err != nil {
				d.t.Fatal(err)
			}
			p := newPeer(d.t, c)
			go func() {
				b := make([]byte, len(request))
				if _, err := io.ReadFull(c, b); err == nil && string(b) == request {
					heard <- p
				}
			}()
		}
		select {
		case found = <-heard:
		default:
		}
		return found != nil
	})
	return found
}

// pooledSecond leaves an idle connection of the second endpoint in the pool, and none of the
// first.
func pooledSecond(r *rig, first, second *origin) *peer {
	r.t.Helper()
	c := r.dial()
	c.say(get)
	s := first.accept()
	s.hear(get)
	s.reset()
	s = second.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
	r.pooled(1)
	return s
}

func TestHedgeOnAKeptConnection(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: hedging})
	kept := pooledSecond(r, o, p)
	r.learn(time.Millisecond)
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	kept.hear(get)
	kept.say(ok)
	c.hear(ok)
	s.gone()
	p.untouched()
	r.pooled(1)
	r.learn(time.Hour)
	c.say(get)
	s = o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

func TestKeptConnectionIsClosedUnderAHedge(t *testing.T) {
	for _, leave := range []func(*peer){(*peer).close, (*peer).reset} {
		o, p := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: hedging})
		kept := pooledSecond(r, o, p)
		r.learn(time.Millisecond)
		c := r.dial()
		c.say(get)
		s := o.accept()
		s.hear(get)
		kept.hear(get)
		leave(kept)
		h := p.accept() // it says nothing of the endpoint, and a fresh one settles it
		h.hear(get)
		h.say(ok)
		c.hear(ok)
		s.gone()
		r.wantHedges(1, 1)
		if n := r.outcomesOf(1); n.Failures() != 0 {
			t.Errorf("%+v", n)
		}
	}
}

func TestHedgeIsRefused(t *testing.T) {
	o, third := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, closedPort(t), third.addr}, options: hedging})
	r.learn(time.Millisecond)
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	eventually(t, "that is noticed", func() bool { return r.outcomesOf(1).ConnectFailures == 1 })
	s.say(ok)
	c.hear(ok)
	third.untouched() // one hedge is all there is
	r.wantHedges(1, 0)
}

// hedgeToDeaf has a request hedged to an endpoint that does not accept.
func hedgeToDeaf(t *testing.T, options func(*Options)) (r *rig, c, first *peer, d *deaf, third *origin) {
	t.Helper()
	o := newOrigin(t)
	third = newOrigin(t)
	d = newDeaf(t)
	r = newRig(t, setup{origins: []string{o.addr, d.addr, third.addr}, options: func(o *Options) {
		hedging(o)
		if options != nil {
			options(o)
		}
	}})
	r.learn(time.Millisecond)
	c = r.dial()
	c.say(get)
	first = o.accept()
	first.hear(get)
	return r, c, first, d, third
}

func TestFirstFailsBeforeItsHedgeIsConnected(t *testing.T) {
	r, c, first, d, third := hedgeToDeaf(t, nil)
	r.wantMetric(1, "sidecar_http_hedges_total")
	first.reset()
	s := d.listen(get)
	s.say(ok)
	c.hear(ok)
	third.untouched()
	if n := r.outcomesOf(1); n.Successes != 1 {
		t.Errorf("%+v", n)
	}
	r.pooled(1)
}

func TestFirstIsAnsweredBeforeItsHedgeIsConnected(t *testing.T) {
	r, c, first, _, _ := hedgeToDeaf(t, nil)
	r.wantMetric(1, "sidecar_http_hedges_total")
	first.say(ok)
	c.hear(ok)
	if n := r.service.Snapshot().Endpoints[1].Connections(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
	r.learn(time.Hour)
	trade(c, first)
}

func TestHedgeIsNotAccepted(t *testing.T) {
	r, c, first, _, third := hedgeToDeaf(t, func(o *Options) { o.ConnectTimeout = 20 * time.Millisecond })
	eventually(t, "it is given up", func() bool { return r.outcomesOf(1).Timeouts == 1 })
	first.reset()
	s := third.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

func TestClientGoesAwayWhileOnlyAHedgeIsLeft(t *testing.T) {
	r, c, first, _, _ := hedgeToDeaf(t, nil)
	r.wantMetric(1, "sidecar_http_hedges_total")
	first.reset()
	c.reset()
	r.until("the request has ended", func() bool { return r.metric("sidecar_http_requests_in_flight") == 0 })
	if n := r.outcomesOf(1); n.Canceled != 1 {
		t.Errorf("%+v", n)
	}
}

// The time of the first is not the second's.
func TestTimeOfTheFirstIsOverWhileItsHedgeRuns(t *testing.T) {
	r, c, first, d, third := hedgeToDeaf(t, func(o *Options) { o.Retry.PerTry = 200 * time.Millisecond })
	r.change(func(o *Options) { o.Retry.PerTry = time.Minute }) // for the second
	r.wantMetric(1, "sidecar_http_hedges_total")
	s := d.listen(get) // a second later at the earliest, when SYNs are sent again
	first.gone()
	s.say(ok)
	c.hear(ok)
	third.untouched()
	if n := r.outcomes(); n.Timeouts != 1 {
		t.Errorf("%+v", n)
	}
}

func TestTimeOfAllTriesIsOver(t *testing.T) {
	g := newRace(t, get, func(o *Options) { o.RequestTimeout = 300 * time.Millisecond })
	g.client.wantOwn(504, "timeout")
	g.first.gone()
	g.second.gone()
	g.origins[2].untouched()
	if n := g.outcomes(); n.Timeouts != 1 {
		t.Errorf("%+v", n)
	}
	g.change(func(o *Options) { o.RequestTimeout = time.Minute })
	g.learn(time.Hour)
	g.client.say(get)
	s := g.origins[0].accept()
	s.hear(get)
	s.say(ok)
	g.client.hear(ok)
}

func TestAccessLogTellsBothTries(t *testing.T) {
	for want, act := range map[string]func(*race){
		"200 ok second first=slower:0,second=ok:200\n":                 func(g *race) { g.second.say(ok); g.client.hear(ok) },
		"200 ok first second=slower:0,first=ok:200\n":                  func(g *race) { g.first.say(ok); g.client.hear(ok) },
		"000 client-gone second first=client-gone:0,second=slower:0\n": func(g *race) { g.client.reset(); g.first.gone(); g.second.gone() },
		"200 ok first second=status:503,first=ok:200\n": func(g *race) {
			g.second.say(lines("HTTP/1.1 503 Busy", "Content-Length: 0"))
			g.second.gone()
			g.first.say(ok)
			g.client.hear(ok)
		},
		"200 ok second first=reset:0,second=ok:200\n": func(g *race) {
			g.first.reset()
			g.until("that is noticed", func() bool { return g.service.Snapshot().Endpoints[0].InFlight() == 0 })
			g.second.say(ok)
			g.client.hear(ok)
		},
	} {
		var out bytes.Buffer
		log, err := accesslog.New(accesslog.Options{Output: &out, Format: `$status $flag $endpoint $attempts`})
		if err != nil {
			t.Fatal(err)
		}
		var names *strings.Replacer
		t.Run("", func(t *testing.T) {
			g := newRace(t, get, func(o *Options) { o.AccessLog = log; o.Retry.Status[3] = true })
			names = strings.NewReplacer(g.origins[0].addr, "first", g.origins[1].addr, "second")
			act(g)
		})
		if err := log.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := regexp.MustCompile(`:[0-9]+\.[0-9]+`).ReplaceAllString(names.Replace(out.String()), ""); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
