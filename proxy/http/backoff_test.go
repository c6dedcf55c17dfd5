package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"sidecar/metrics"
	"sidecar/proxy/http/h1"
)

func TestBackoffIsDrawnFromItsWholeRange(t *testing.T) {
	p := &settings{Settings: Settings{Retry: Retry{Backoff: 100, BackoffMax: 700}}}
	x := &exchange{shard: &shard{set: p}}
	for attempts, most := range map[int]time.Duration{0: 100, 1: 100, 2: 200, 3: 400, 4: 700, 5: 700, 100: 700} {
		x.attempts = attempts
		var low, high bool
		for range 5000 {
			wait := x.backoff(&failure{retry: metrics.RetryReset})
			if wait < 0 || wait > most {
				t.Fatalf("%d after %d attempts, the most is %d", wait, attempts, most)
			}
			low, high = low || wait <= most/20, high || wait >= most-most/20
		}
		if !low || !high {
			t.Errorf("after %d attempts not all of 0 to %d is drawn", attempts, most)
		}
	}
	x.attempts = 1
	for name, c := range map[string]struct {
		f         failure
		low, high time.Duration
	}{
		"another endpoint after none was reached":   {failure{retry: metrics.RetryConnect}, 0, 0},
		"another one does not have to be waited on": {failure{retry: metrics.Retry503, after: time.Hour}, 0, 100},
		"the only one says how long":                {failure{retry: metrics.Retry503, after: time.Hour, same: true}, time.Hour, time.Hour},
	} {
		for range 100 {
			if wait := x.backoff(&c.f); wait < c.low || wait > c.high {
				t.Errorf("%s: %d", name, wait)
			}
		}
	}
	p.Retry.Backoff = 0
	if wait := x.backoff(&failure{retry: metrics.RetryReset}); wait != 0 {
		t.Errorf("%d without a backoff", wait)
	}
}

// An hour, of which no draw is near enough to 0 to be seen.
func patient(o *Options) {
	o.Retry.Backoff, o.Retry.BackoffMax, o.RequestTimeout = time.Hour, time.Hour, 0
}

func TestNoBackoffToAnotherEndpointThanOneThatRefuses(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{closedPort(t), o.addr}, options: patient})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

func TestNoBackoffForAStaleConnection(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: patient})
	servers := park(r, o, 1)
	c := r.dial()
	c.say(get)
	servers[0].hear(get)
	servers[0].close()
	s := o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

// backingOff is a rig whose client's request has failed on the first of two origins, and is
// about to go to the second an hour later.
func backingOff(t *testing.T) (r *rig, c *peer, second *origin) {
	o := newOrigin(t)
	second = newOrigin(t)
	r = newRig(t, setup{origins: []string{o.addr, second.addr}, options: patient})
	c = r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.reset()
	r.until("it waits", func() bool {
		e := r.service.Snapshot().Endpoints
		return e[0].InFlight() == 0 && e[1].InFlight() == 1
	})
	return r, c, second
}

func TestClientGoesAwayDuringBackoff(t *testing.T) {
	r, c, second := backingOff(t)
	c.reset()
	r.wantError(metrics.CauseClientGone)
	r.until("the lease is given back", func() bool { return r.service.Snapshot().Endpoints[1].InFlight() == 0 })
	second.untouched()
	if n := r.outcomesOf(1); n.Canceled != 1 {
		t.Errorf("%+v", n)
	}
	if n := r.outcomes(); n.Resets != 1 {
		t.Errorf("%+v", n)
	}
}

func TestDrainCutsBackoff(t *testing.T) {
	r, c, second := backingOff(t)
	r.listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.proxy.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.gone()
	second.untouched()
	r.wantError(metrics.CauseDraining)
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := time.Now()
	for value, want := range map[string]time.Duration{
		"120":                          2 * time.Minute,
		"0":                            0,
		"-1":                           0,
		"soon":                         0,
		"1.5":                          0,
		"99999999999999999999":         (1<<31 - 1) * time.Second,
		now.UTC().Format(time.RFC1123): 0, // no such zone in HTTP
		now.Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
		now.Add(time.Hour).UTC().Format(http.TimeFormat):  time.Hour,
		now.Add(time.Hour).UTC().Format(time.ANSIC):       time.Hour,
	} {
		var x try
		if _, err := x.resp.Parse([]byte(lines("HTTP/1.1 503 Busy", "Retry-After: "+value)), h1.MethodGet, nil); err != nil {
			t.Fatal(err)
		}
		// A date tells whole seconds, and time passes.
		if got := x.retryAfter(); got > want || got < want-time.Minute {
			t.Errorf("%s: %v, want %v", value, got, want)
		}
	}
	var x try
	if got := x.retryAfter(); got != 0 {
		t.Errorf("%v without the field", got)
	}
}

func busyFor(seconds int) string {
	return lines("HTTP/1.1 503 Busy", fmt.Sprint("Retry-After: ", seconds), "Content-Length: 4") + "busy"
}

func waitsFor(d time.Duration) func(*Options) {
	return func(o *Options) { o.Retry.Status[3], o.Retry.RetryAfterMax = true, d }
}

func TestOnlyEndpointIsWaitedFor(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: waitsFor(time.Second)})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	said := time.Now()
	s.say(busyFor(1))
	s.hear(get) // on the same connection, which is as good as before
	if took := time.Since(said); took < time.Second-10*time.Millisecond {
		t.Errorf("it has waited %v", took)
	}
	s.say(ok)
	c.hear(ok)
}

func TestOnlyEndpointIsNotWaitedForTooLong(t *testing.T) {
	for name, c := range map[string]struct {
		seconds int
		options func(*Options)
	}{
		"RetryAfterMax":  {2, waitsFor(time.Second)},
		"none at all":    {1, waitsFor(0)},
		"RequestTimeout": {90, waitsFor(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}, options: c.options})
			client := r.dial()
			client.say(get)
			s := o.accept()
			s.hear(get)
			s.say(busyFor(c.seconds))
			client.hear(busyFor(c.seconds))
			if b := r.service.Budget().Status(); b.Retries != 0 {
				t.Errorf("it was paid for: %+v", b)
			}
			if n := r.outcomes(); n.ServerErrors != 1 || n.Attempts != 1 && n.Canceled == 0 {
				t.Errorf("%+v", n)
			}
			if n := r.metric("sidecar_http_retries_total"); n != 0 {
				t.Errorf("%v retries", n)
			}
		})
	}
}

func TestEndpointThatAsksForAPauseIsLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		answer  string
		pause   bool
		outcome func(*rig) uint64
	}{
		"503":       {busyFor(60), true, func(r *rig) uint64 { return r.outcomes().ServerErrors }},
		"503 alone": {lines("HTTP/1.1 503 Busy", "Content-Length: 0"), false, func(r *rig) uint64 { return r.outcomes().ServerErrors }},
		"429":       {lines("HTTP/1.1 429 Slow", "Retry-After: 60", "Content-Length: 0"), true, func(r *rig) uint64 { return r.outcomes().Overloaded }},
		"429 alone": {lines("HTTP/1.1 429 Slow", "Content-Length: 0"), false, func(r *rig) uint64 { return r.outcomes().Successes }},
		"500":       {lines("HTTP/1.1 500 No", "Retry-After: 60", "Content-Length: 0"), false, func(r *rig) uint64 { return r.outcomes().ServerErrors }},
	} {
		t.Run(name, func(t *testing.T) {
			o, p := newOrigin(t), newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr, p.addr}})
			client := r.dial()
			client.say(get)
			s := o.accept()
			s.hear(get)
			s.say(c.answer)
			client.hear(c.answer)
			if n := c.outcome(r); n != 1 {
				t.Errorf("%+v", r.outcomes())
			}
			if !c.pause {
				trade(client, s)
				return
			}
			client.say(get)
			s = p.accept()
			s.hear(get)
			s.say(ok)
			client.hear(ok)
		})
	}
}

func TestPauseIsTakenFromAnAnswerThatIsTriedAgain(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: waitsFor(time.Second)})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(busyFor(60))
	s = p.accept() // at once: it has not asked for anything
	s.hear(get)
	s.say(ok)
	c.hear(ok)
	trade(c, s)
	o.untouched()
}

// A client that goes away while its endpoint is connected to is not waited for.
func TestClientGoneWhileConnecting(t *testing.T) {
	d := newDeaf(t)
	r := newRig(t, setup{origins: []string{d.addr}})
	c := r.dial()
	c.say(get)
	endpoint := r.service.Snapshot().Endpoints[0]
	eventually(t, "a connection is being made", func() bool { return endpoint.Connections() == 1 })
	c.close()
	eventually(t, "nothing is in flight", func() bool { return endpoint.InFlight() == 0 && endpoint.Connections() == 0 })
	if n := r.outcomes(); n.ConnectFailures+n.Timeouts != 0 {
		t.Errorf("%+v", n)
	}
}
