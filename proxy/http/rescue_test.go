package http

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/upstream"
)

// stalling has a try given up for dead after a short silence.
func stalling(o *Options) { o.Retry.Stalled = 20 * time.Millisecond }

// answers has the loop hear of the i-th endpoint, as if it had answered somebody else.
func (r *rig) answers(i int) {
	r.t.Helper()
	r.on(func() {
		s := r.shard
		s.silence.heardFrom(s.pool(r.service.Snapshot().Endpoints[i]), s.loop.Now(), s.set.Retry.Stalled)
	})
}

// asks has a request of another loop in flight on the i-th endpoint until the test ends.
func (r *rig) asks(i int) {
	r.t.Helper()
	all := r.service.Snapshot().Endpoints
	avoid := slices.DeleteFunc(slices.Clone(all), func(e *upstream.Endpoint) bool { return e == all[i] })
	lease, err := r.service.Acquire(upstream.PickKey{}, avoid...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(lease.Release)
}

// A client that is alone has nobody to hear from: its request goes elsewhere as well.
func TestSilentEndpointWhenNobodyElseIsAsked(t *testing.T) {
	g := stuck(t, get)
	g.second = g.origins[1].accept()
	g.second.hear(get)
	g.second.say(ok)
	g.client.hear(ok)
	g.first.gone()
}

// stuck is a rig with three origins, the first of which has heard a request and is silent.
func stuck(t testing.TB, request string, options ...func(*Options)) *race {
	t.Helper()
	g := ready(t, options...)
	g.sticks(request)
	return g
}

// ready is stuck before the request, for what must be so when its silence begins.
func ready(t testing.TB, options ...func(*Options)) *race {
	t.Helper()
	g := &race{origins: []*origin{newOrigin(t), newOrigin(t), newOrigin(t)}}
	g.rig = newRig(t, setup{origins: []string{g.origins[0].addr, g.origins[1].addr, g.origins[2].addr}, options: func(o *Options) {
		stalling(o)
		for _, change := range options {
			change(o)
		}
	}})
	g.client = g.dial()
	return g
}

// sticks has the first origin hear a request.
func (g *race) sticks(request string) {
	g.t.Helper()
	poured := g.client.pour(request)
	g.first = g.origins[0].accept()
	g.first.hear(request)
	if err := <-poured; err != nil {
		g.t.Fatal(err)
	}
}

// unhurried has a try given up later, where a test has to do something first.
func unhurried(o *Options) { o.Retry.Stalled = 200 * time.Millisecond }

// A process is stopped. Another request finds the second endpoint, because the first has as
// much in flight as it may, and shows that it is not everything that stands still.
func TestSilentEndpointIsGivenUpForAnother(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: unhurried, limit: 1})
	c, d := r.dial(), r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	d.say(get)
	other := p.accept()
	other.hear(get)
	other.say(ok)
	d.hear(ok)
	other.hear(get)
	other.say(ok)
	c.hear(ok)
	s.gone()
	if n := r.outcomes(); n.Timeouts != 1 || n.Canceled != 0 {
		t.Errorf("%+v", n)
	}
	if notes := r.service.Status().Endpoints[0].Errors; len(notes) != 1 || !strings.HasPrefix(notes[0].What, "timed out: it has sent nothing to anyone for ") {
		t.Errorf("evidence: %+v", notes)
	}
	if n := r.metric("sidecar_http_retries_total", "stalled"); n != 1 || r.metric("sidecar_http_retries_total") != 1 {
		t.Errorf("%v retries", n)
	}
	r.wantHedges(0, 0)
}

func TestSilentEndpointAnswersAfterAll(t *testing.T) {
	g := stuck(t, get)
	g.answers(1)
	g.second = g.origins[1].accept()
	g.second.hear(get)
	g.first.say(ok)
	g.client.hear(ok)
	g.second.gone()
	if n := g.outcomes(); n.Successes != 1 || n.Failures() != 0 {
		t.Errorf("%+v", n)
	}
	if n := g.outcomesOf(1); n.Canceled != 1 {
		t.Errorf("%+v", n)
	}
	g.change(func(o *Options) { o.Retry.Stalled = 0 })
	trade(g.client, g.first)
}

func TestRequestsThatAreRescued(t *testing.T) {
	body := noise(60 << 10)
	for name, request := range map[string]string{
		"GET":             get,
		"HEAD":            lines("HEAD / HTTP/1.1", "Host: a"),
		"DELETE":          lines("DELETE / HTTP/1.1", "Host: a"),
		"PUT":             lines("PUT / HTTP/1.1", "Host: a", "Content-Length: 61440") + body,
		"PUT in chunks":   lines("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + chunks(body, 1000),
		"POST with a key": strings.Replace(post, "Host", "Idempotency-Key: k\r\nHost", 1),
	} {
		t.Run(name, func(t *testing.T) {
			g := stuck(t, request)
			g.answers(1)
			g.second = g.origins[1].accept()
			g.second.hear(request)
			none := lines("HTTP/1.1 204 No")
			g.second.say(none)
			g.client.hear(none)
			g.first.gone()
			g.change(func(o *Options) { o.Retry.Stalled = 0 })
			g.pooled(1)
			// Nothing is left of the copy on either connection.
			g.client.say(get)
			s := g.origins[0].accept()
			s.hear(get)
			s.say(ok)
			g.client.hear(ok)
		})
	}
}

// What is kept of a request lies in a buffer that others would like to have.
func TestCopyIsTheRequestAndNothingElse(t *testing.T) {
	g := stuck(t, lines("GET /first HTTP/1.1", "Host: a", "X-Mark: "+strings.Repeat("1", 500)), unhurried)
	clients := []*peer{g.client}
	for range 5 { // who waits holds no buffer: these get the one that the first was read into
		c := g.dial()
		c.say(lines("GET /second HTTP/1.1", "Host: b", "X-Mark: "+strings.Repeat("2", 500)))
		g.origins[0].accept().head()
		clients = append(clients, c)
	}
	g.answers(1)
	var copies []*peer
	for range clients {
		s := g.origins[1].accept()
		copies = append(copies, s)
		head := s.head()
		mark, host := "2", "b"
		if strings.HasPrefix(head, "GET /first ") {
			mark, host = "1", "a"
		}
		path := map[string]string{"1": "first", "2": "second"}[mark]
		if want := lines("GET /"+path+" HTTP/1.1", "Host: "+host, "X-Mark: "+strings.Repeat(mark, 500)); head != want {
			t.Errorf("%s, want %s", brief(head), brief(want))
		}
	}
	for _, s := range copies {
		s.say(ok)
	}
	for _, c := range clients {
		c.hear(ok)
	}
	if n := g.metric("sidecar_http_retries_total", "stalled"); n != 6 {
		t.Errorf("%v retries", n)
	}
}

func TestNoRescue(t *testing.T) {
	long := lines("PUT / HTTP/1.1", "Host: a", "Content-Length: 100000") + noise(100000)
	elsewhere := func(r *rig) { r.answers(1) }
	for name, c := range map[string]struct {
		request string
		options func(*Options)
		before  func(*rig)
	}{
		"off":                   {get, func(o *Options) { o.Retry.Stalled = 0 }, elsewhere},
		"others are silent too": {get, stalling, func(r *rig) { r.asks(1) }},
		"POST":                  {post, stalling, elsewhere},
		"not all of it is kept": {long, stalling, elsewhere},
		"no attempt is left":    {get, func(o *Options) { o.Retry.Attempts = 0 }, elsewhere},
		"asks for a tunnel":     {upgrade, stalling, elsewhere},
		"answers took longer":   {get, stalling, func(r *rig) { r.learn(time.Hour); r.answers(1) }},
	} {
		t.Run(name, func(t *testing.T) {
			g := ready(t, c.options)
			c.before(g.rig)
			g.sticks(c.request)
			g.pass(60 * time.Millisecond)
			g.first.say(ok)
			g.client.hear(ok)
			g.origins[1].untouched()
			if n := g.metric("sidecar_http_retries_total"); n != 0 {
				t.Errorf("%v retries", n)
			}
		})
	}
}

func TestRescueHasNowhereToGo(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: stalling})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	r.on(func() { r.shard.silence.heardFrom(new(pool), r.shard.loop.Now(), time.Millisecond) }) // one that has left since
	r.pass(60 * time.Millisecond)
	s.say(ok)
	c.hear(ok)
	o.untouched()
	if b := r.service.Budget().Status(); b.Retries != 0 {
		t.Errorf("it was paid for: %+v", b)
	}
	if n := r.metric("sidecar_http_retries_total"); n != 0 {
		t.Errorf("%v retries", n)
	}
}

func TestRescueNeedsTheRetryBudget(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: stalling, budget: &upstream.BudgetOptions{}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	r.answers(1)
	r.wantMetric(1, "sidecar_http_retries_denied_total")
	s.say(ok)
	c.hear(ok)
	p.untouched()
}

// Where few requests are in flight one of them may just be slow; several say more.
func TestCrowdOfSilentRequestsWaitsLess(t *testing.T) {
	g := ready(t)
	g.on(func() { // one answer of many took long
		s := g.shard
		for range 100 {
			s.latencies.add(s.loop.Now(), time.Millisecond)
		}
		s.latencies.add(s.loop.Now(), time.Hour)
	})
	g.sticks(get)
	g.answers(1)
	g.pass(60 * time.Millisecond)
	g.origins[1].untouched()
	var clients []*peer
	for range crowd - 1 {
		c := g.dial()
		c.say(get)
		s := g.origins[0].accept()
		s.hear(get)
		clients = append(clients, c)
	}
	g.answers(1)
	var copies []*peer
	for range crowd { // all of them, since all have waited for long
		s := g.origins[1].accept()
		s.hear(get)
		copies = append(copies, s)
	}
	for _, s := range copies {
		s.say(ok)
	}
	for _, c := range append(clients, g.client) {
		c.hear(ok)
	}
}

func TestRescueThatFailsIsReplaced(t *testing.T) {
	o, third := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, closedPort(t), third.addr}, options: stalling})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	r.answers(2)
	h := third.accept()
	h.hear(get)
	h.say(ok)
	c.hear(ok)
	s.gone()
	if n := r.metric("sidecar_http_retries_total", "stalled"); n != 2 {
		t.Errorf("%v retries", n)
	}
}

func TestRescuesAreAttempts(t *testing.T) {
	g := stuck(t, get, func(o *Options) { o.Retry.Attempts = 1 })
	g.answers(1)
	s := g.origins[1].accept()
	s.hear(get)
	s.reset()
	eventually(t, "that is noticed", func() bool { return g.outcomesOf(1).Resets == 1 })
	g.answers(1)
	g.pass(60 * time.Millisecond)
	g.first.reset()
	g.client.wantOwn(502, "reset")
	g.origins[2].untouched()
}

func TestAllAreSilent(t *testing.T) {
	g := stuck(t, get, func(o *Options) { o.RequestTimeout = 300 * time.Millisecond })
	g.answers(1)
	g.second = g.origins[1].accept()
	g.second.hear(get)
	g.client.wantOwn(504, "timeout")
	g.first.gone()
	g.second.gone()
}

// A client that takes its response slowly is no sign of life from the endpoint.
func TestOnlyBytesBreakTheSilence(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	body := strings.Repeat(noise(1<<20), 16)
	c.say(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 100"))
	s := o.accept()
	s.head()
	s.say(lines("HTTP/1.1 200 OK", "Content-Length: 16777217"))
	c.head()
	poured := s.pour(body)
	c.hear(body)
	<-poured
	var last time.Duration
	r.on(func() { last = r.shard.pool(r.service.Snapshot().Endpoints[0]).heard })
	r.pass(5 * time.Millisecond)
	c.say(noise(100)) // wakes the task
	s.hear(noise(100))
	r.on(func() {
		if heard := r.shard.pool(r.service.Snapshot().Endpoints[0]).heard; heard != last {
			t.Errorf("heard at %v, and at %v nothing came", last, heard)
		}
	})
	s.say("x")
	c.hear("x")
}
