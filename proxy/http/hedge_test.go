package http

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sidecar/metrics"
)

// hedging sends a copy as soon as the loop has been told, by learn, what answers take.
func hedging(o *Options) { o.Hedge = Hedge{Percentile: 0.95, Budget: 1} }

// learn has the loop believe that its last answers have taken so long.
func (r *rig) learn(took time.Duration) {
	r.t.Helper()
	r.on(func() {
		s := r.shard
		s.latencies = latencies{}
		for range fewLatencies {
			s.latencies.add(s.loop.Now(), took)
		}
	})
}

// A race is a rig with several origins and one request that runs on two of them.
type race struct {
	*rig
	client        *peer
	first, second *peer
	origins       []*origin
}

// newRace has a request hedged, or with rescuing rescued.
func newRace(t testing.TB, request string, options ...func(*Options)) *race {
	t.Helper()
	g := &race{origins: []*origin{newOrigin(t), newOrigin(t), newOrigin(t)}}
	g.rig = newRig(t, setup{origins: []string{g.origins[0].addr, g.origins[1].addr, g.origins[2].addr}, options: func(o *Options) {
		hedging(o)
		for _, change := range options {
			change(o)
		}
	}})
	g.learn(time.Millisecond)
	g.client = g.dial()
	g.client.say(request)
	g.first = g.origins[0].accept()
	g.first.hear(request)
	g.second = g.origins[1].accept()
	g.second.hear(request)
	return g
}

// wantHedges wants that so many copies were sent, and so many of them answered first.
func (r *rig) wantHedges(sent, won float64) {
	r.t.Helper()
	if s, w := r.metric("sidecar_http_hedges_total"), r.metric("sidecar_http_hedges_won_total"); s != sent || w != won {
		r.t.Errorf("%v hedges, %v won; want %v and %v", s, w, sent, won)
	}
}

func TestHedgeThatIsAnsweredFirst(t *testing.T) {
	g := newRace(t, get)
	g.second.say(ok)
	g.client.hear(ok)
	g.first.gone()
	g.wantHedges(1, 1)
	g.pooled(1) // the second's connection is as good as any
	for i, want := range []uint64{0, 1} {
		if n := g.outcomesOf(i); n.Attempts != 1 || n.Successes != want || n.Canceled != 1-want {
			t.Errorf("endpoint %d: %+v", i, n)
		}
	}
	if n := g.metric("sidecar_http_retries_total"); n != 0 {
		t.Errorf("%v retries", n)
	}
	g.on(func() { // both are known to have taken so long
		if l := &g.shard.latencies; l.window[0].count+l.window[1].count != fewLatencies+2 {
			t.Errorf("%d latencies are known", l.window[0].count)
		}
	})
	// The client's connection goes on, and so does the exchange.
	g.learn(time.Hour)
	g.client.say(get)
	s := g.origins[0].accept()
	s.hear(get)
	s.say(ok)
	g.client.hear(ok)
	g.wantHedges(1, 1)
}

func TestHedgeThatIsAnsweredLater(t *testing.T) {
	g := newRace(t, get)
	g.first.say(ok)
	g.client.hear(ok)
	g.second.gone()
	g.wantHedges(1, 0)
	g.pooled(1)
	if n := g.outcomesOf(1); n.Canceled != 1 || n.Failures() != 0 {
		t.Errorf("%+v", n)
	}
	g.learn(time.Hour)
	trade(g.client, g.first)
}

func TestHedgeOfOtherSafeRequests(t *testing.T) {
	for _, request := range []string{lines("HEAD / HTTP/1.1", "Host: a"), lines("OPTIONS / HTTP/1.1", "Host: a")} {
		g := newRace(t, request)
		head := lines("HTTP/1.1 200 OK", "Content-Length: 0")
		g.second.say(head)
		g.client.hear(head)
		g.first.gone()
		g.learn(time.Hour)
		g.client.say(request)
		s := g.origins[0].accept()
		s.hear(request)
		s.say(head)
		g.client.hear(head)
	}
}

func TestHedgeWithAnotherRequestBehind(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: hedging})
	r.learn(time.Millisecond)
	c := r.dial()
	next := lines("GET /next HTTP/1.1", "Host: a")
	c.say(get + next)
	s := o.accept()
	s.hear(get)
	h := p.accept()
	h.hear(get)
	r.learn(time.Hour)
	h.say(ok)
	c.hear(ok)
	s = o.accept()
	s.hear(next)
	s.say(ok)
	c.hear(ok)
}

func TestNoHedge(t *testing.T) {
	quick := func(r *rig) { r.learn(time.Millisecond) }
	for name, c := range map[string]struct {
		request string
		options func(*Options)
		known   func(*rig)
	}{
		"off":               {get, func(*Options) {}, quick},
		"nothing is known":  {get, hedging, func(*rig) {}},
		"not so long":       {get, hedging, func(r *rig) { r.learn(time.Hour) }},
		"MinDelay":          {get, func(o *Options) { hedging(o); o.Hedge.MinDelay = time.Hour }, quick},
		"POST":              {post, hedging, quick},
		"PUT":               {strings.Replace(post, "POST", "PUT", 1), hedging, quick},
		"POST with a key":   {strings.Replace(post, "Host", "Idempotency-Key: k\r\nHost", 1), hedging, quick},
		"DELETE":            {lines("DELETE / HTTP/1.1", "Host: a"), hedging, quick},
		"a body":            {strings.Replace(post, "POST", "GET", 1), hedging, quick},
		"asks for a tunnel": {upgrade, hedging, quick},
		"an unknown method": {lines("LOOK / HTTP/1.1", "Host: a"), hedging, quick},
	} {
		t.Run(name, func(t *testing.T) {
			o, p := newOrigin(t), newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: c.options})
			c.known(r)
			client := r.dial()
			client.say(c.request)
			s := o.accept()
			s.hear(c.request)
			r.pass(30 * time.Millisecond)
			s.say(ok)
			client.hear(ok)
			p.untouched()
			r.wantHedges(0, 0)
		})
	}
}

func TestHedgesHaveABudgetOfTheirOwn(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: func(o *Options) { hedging(o); o.Hedge.Budget = 0.5 }})
	r.learn(time.Millisecond)
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	r.wantMetric(1, "sidecar_http_hedges_denied_total")
	s.say(ok)
	c.hear(ok)
	p.untouched()
	r.learn(time.Millisecond)
	c.say(get) // the second request has saved enough
	s.hear(get)
	h := p.accept()
	h.hear(get)
	h.say(ok)
	c.hear(ok)
	r.wantHedges(1, 1)
	if b := r.service.Budget().Status(); b.Retries != 0 || b.Refused != 0 {
		t.Errorf("the retry budget: %+v", b)
	}
}

func TestHedgeHasNowhereToGo(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: hedging})
	r.learn(time.Millisecond)
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	r.pass(30 * time.Millisecond)
	s.say(ok)
	c.hear(ok)
	o.untouched()
	r.wantHedges(0, 0)
	if b := r.shard.set.hedges.Status(); b.Retries != 0 {
		t.Errorf("it was paid for: %+v", b)
	}
}

func TestFirstFailsWhileItsHedgeRuns(t *testing.T) {
	g := newRace(t, get)
	g.first.reset()
	g.until("that is noticed", func() bool { return g.service.Snapshot().Endpoints[0].InFlight() == 0 })
	g.second.say(ok)
	g.client.hear(ok)
	if n := g.outcomes(); n.Resets != 1 {
		t.Errorf("%+v", n)
	}
	if n := g.metric("sidecar_http_retries_total"); n != 0 {
		t.Errorf("%v retries", n)
	}
	g.origins[2].untouched()
}

func TestBothFail(t *testing.T) {
	for attempts, again := range map[int]bool{0: false, 1: false, 2: true} {
		g := newRace(t, get, func(o *Options) { o.Retry.Attempts = attempts })
		g.second.reset()
		g.until("that is noticed", func() bool { return g.service.Snapshot().Endpoints[1].InFlight() == 0 })
		g.first.reset()
		if again { // the copy was one of the attempts, and where it failed nobody goes again
			s := g.origins[2].accept()
			s.hear(get)
			s.say(ok)
			g.client.hear(ok)
		} else {
			g.client.wantOwn(502, "reset")
			g.origins[2].untouched()
		}
		for i := range 2 {
			if n := g.outcomesOf(i); n.Resets != 1 {
				t.Errorf("endpoint %d: %+v", i, n)
			}
		}
	}
}

func TestAnswersThatAHedgeDoesNotPassOn(t *testing.T) {
	busy := lines("HTTP/1.1 503 Busy", "Retry-After: 60", "Content-Length: 0")
	withStatus := func(o *Options) { o.Retry.Status[3] = true }
	t.Run("one that is tried again", func(t *testing.T) {
		g := newRace(t, get, withStatus)
		g.second.say(busy)
		g.second.gone()
		g.first.say(ok)
		g.client.hear(ok)
		g.wantHedges(1, 0)
		if n := g.outcomesOf(1); n.ServerErrors != 1 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("a switch that nobody asked for", func(t *testing.T) {
		g := newRace(t, get)
		g.second.say(switched)
		g.second.gone()
		g.first.say(ok)
		g.client.hear(ok)
		if n := g.outcomesOf(1); n.Resets != 1 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("no HTTP", func(t *testing.T) {
		g := newRace(t, get)
		g.second.say("what?\r\n\r\n")
		g.second.gone()
		g.first.say(ok)
		g.client.hear(ok)
	})
	t.Run("any other status is an answer", func(t *testing.T) {
		g := newRace(t, get)
		g.second.say(busy)
		g.client.hear(busy)
		g.first.gone()
		g.wantHedges(1, 1)
	})
	t.Run("both of them", func(t *testing.T) {
		g := newRace(t, get, withStatus)
		g.second.say(busy)
		g.second.gone()
		g.first.say(busy)
		s := g.origins[2].accept()
		s.hear(get)
		s.say(ok)
		g.client.hear(ok)
	})
}

func TestInterimResponsesOfBoth(t *testing.T) {
	hint := lines("HTTP/1.1 103 Early Hints", "Link: </a>")
	g := newRace(t, get)
	g.first.say(hint)
	g.client.hear(hint)
	g.second.say(hint + ok) // one that nobody knows to be the client's is not told
	g.client.hear(ok)
}

func TestClientGoesAwayWhileTwoTriesRun(t *testing.T) {
	g := newRace(t, get)
	g.client.reset()
	g.first.gone()
	g.second.gone()
	g.wantError(metrics.CauseClientGone)
	for i := range 2 {
		if n := g.outcomesOf(i); n.Canceled != 1 || n.Failures() != 0 {
			t.Errorf("endpoint %d: %+v", i, n)
		}
	}
}

func TestDrainCutsBothTries(t *testing.T) {
	g := newRace(t, get)
	g.listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.proxy.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	g.client.gone()
	g.first.gone()
	g.second.gone()
}

func TestDrainWaitsForTheWinner(t *testing.T) {
	g := newRace(t, get)
	g.listener.Close()
	drained := make(chan error, 1)
	go func() { drained <- g.proxy.Drain(context.Background()) }()
	g.until("it drains", func() bool { return g.shard.draining })
	g.second.say(ok)
	g.client.hear(lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + "hi")
	g.client.closeWrite()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	g.first.gone()
	g.second.gone()
}

func TestPanicLeavesNeitherTry(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: hedging, panics: 1})
	r.learn(time.Millisecond)
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	h := p.accept()
	h.hear(get)
	r.on(func() { r.shard.set = nil }) // the task finds its world in pieces when it goes on
	s.say("HTTP/1.1 200")
	c.gone()
	s.gone()
	h.gone()
	r.on(func() { r.shard.set = r.proxy.current.Load() })
}
