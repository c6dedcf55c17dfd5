package http

import (
	"errors"
	"os"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

// Hedge says when a second copy of a safe request is sent while the first is waited for
// (Dean and Barroso, The Tail at Scale, 2013). With Percentile 0 none is.
type Hedge struct {
	Percentile float64       // of the latencies measured lately, after which it is sent
	MinDelay   time.Duration // but not before that
	Budget     float64       // copies per request
}

// A second is the try that runs beside the first one of an exchange, for the same request.
// Whichever is answered first is the exchange's; the other is given up. It is sent either
// because the first has taken longer than most (a hedge), or because its endpoint seems to
// be dead (a rescue, see silence).
type second struct {
	try
	out    flow // what is still to be sent on it
	sent   bool // all of it has been
	live   bool // it is running
	rescue bool
}

// look is what converse does when the time of the try has come for it: it begins a second
// one, if that is right, and has the loop tell when to look again. It is false when the
// try's time is over.
func (x *exchange) look() bool {
	now := x.shard.loop.Now()
	if x.expires > 0 && now >= x.expires {
		return false
	}
	if at := x.hedgeAt(); at > 0 && now >= at {
		x.hedged = true
		x.beginSecond(false)
	}
	if at := x.rescueAt(now); at > 0 && now >= at {
		x.rescued = true
		x.beginSecond(true)
	}
	x.up.conn.SetReadTimeout(x.nextLook(now))
	return true
}

// nextLook is when to look again, from now on; 0 is never.
func (x *exchange) nextLook(now time.Duration) time.Duration {
	at := x.expires
	for _, other := range [2]time.Duration{x.hedgeAt(), x.rescueAt(now)} {
		if other > 0 && (at == 0 || other < at) {
			at = other
		}
	}
	if at == 0 {
		return 0
	}
	return max(at-now, 1) // 0 would be no bound at all
}

// hedgeAt is when a hedge is due, 0 if none is to be sent.
func (x *exchange) hedgeAt() time.Duration {
	p := x.shard.proxy
	if p.Hedge.Percentile <= 0 || x.hedged || x.second != nil && x.second.live || x.attempts > 1 ||
		!x.req.MethodID.Safe() || x.req.Body.Kind != h1.NoBody {
		return 0
	}
	typical := x.shard.latencies.percentile(x.shard.loop.Now(), p.Hedge.Percentile)
	if typical == 0 {
		return 0 // nothing is known yet
	}
	return x.waited + max(typical, p.Hedge.MinDelay)
}

// beginSecond sends the request to another endpoint as well, if there is one and, for a
// rescue, the retry budget allows it.
func (x *exchange) beginSecond(rescue bool) {
	s := x.shard
	budget := s.proxy.hedges
	if rescue {
		budget = s.proxy.Service.Budget()
	}
	if !budget.Withdraw() {
		if rescue {
			s.requests.BudgetDenied.Add(1)
		} else {
			s.requests.HedgesDenied.Add(1)
		}
		return
	}
	x.tried = append(x.tried, x.lease.Endpoint())
	lease, err := s.proxy.Service.Acquire(x.key, x.tried...)
	x.tried = x.tried[:len(x.tried)-1]
	if err != nil {
		budget.Refund()
		return
	}
	if x.second == nil {
		x.second = new(second)
	}
	c := x.second
	c.lease, c.rescue, c.sent, c.heard, c.uw = lease, rescue, false, false, 0
	c.resp.Reset()
	c.upBounded, c.began, c.waited = 0, s.loop.Now(), s.loop.Now()
	pool := s.pool(lease.Endpoint())
	if c.up = pool.get(true); c.up != nil {
		c.reused = true
	} else if c.up, err = pool.startDial(); err != nil {
		c.reused = false
		c.lease.Report(upstream.Result{Outcome: dialFailure(err).outcome(), Err: err})
		c.let(s.loop)
		return
	}
	c.live = true
	x.attempts++
	c.up.conn.SetReadTimeout(0)
	var none h1.Body
	none.Init(h1.NoBody, 0)
	c.out.task = x.task
	c.out.start(nil, c.up.conn, x.reqHead, none, x.out.buf, x.out.ready, x.out.ready, false)
	c.out.sent = min(x.first, x.out.ready)
	if rescue {
		s.requests.Retry(metrics.RetryStalled)
	} else {
		s.requests.Hedges.Add(1)
	}
	x.hearSecond()
}

// hearSecond moves the second try on. It reports whether that has got an answer worth
// having.
func (x *exchange) hearSecond() bool {
	c := x.second
	if !c.sent {
		made, err := c.up.established()
		if err != nil {
			x.loseSecond(dialFailure(err))
			return false
		}
		if !made {
			return false
		}
		switch c.out.step() {
		case finished:
			c.sent, c.waited = true, x.shard.loop.Now()
		case failedWrite:
			x.loseSecond(upstreamFailure(c.out.err))
			return false
		default:
			return false
		}
	}
	got, err := x.hear(&c.try)
	switch {
	case err != nil:
		f := upstreamFailure(err)
		f.stale = c.reused && !c.heard && f.cause == metrics.CauseReset
		x.loseSecond(f)
		return false
	case !got:
		return false
	case c.resp.Status == 101 || c.resp.Status >= 500 && c.resp.Status <= 599 && x.shard.proxy.Retry.Status[c.resp.Status-500]:
		// The first may still have a better one.
		x.loseSecond(&failure{status: c.resp.Status, retry: metrics.RetryOn(c.resp.Status)})
		return false
	}
	return true
}

// wantsOfSecond is what the second try waits for.
func (c *second) wants() eventloop.Events {
	if c.sent {
		return eventloop.Readable
	}
	return eventloop.Writable
}

// loseSecond gives the second try up because it has failed.
func (x *exchange) loseSecond(f *failure) {
	c := x.second
	c.lease.Report(f.result())
	if !f.stale {
		x.tried = append(x.tried, c.lease.Endpoint())
	}
	c.live = false
	c.let(x.shard.loop)
}

// leaveSecond gives the second try up because the first has been answered, or nobody waits
// any more.
func (x *exchange) leaveSecond() {
	c := x.second
	if c == nil || !c.live {
		return
	}
	c.live = false
	c.lease.Report(upstream.Result{Outcome: upstream.Canceled})
	c.let(x.shard.loop)
}

// adopt makes the second try the exchange's. why is what the first one has come to; nil
// means that it was merely slower.
func (x *exchange) adopt(why *failure) {
	c := x.second
	first := x.lease.Endpoint()
	switch {
	case why != nil:
		x.recordFailure(why)
		x.lease.Report(why.result())
	case c.rescue:
		waited := x.shard.loop.Now() - x.waited
		x.recordTry(metrics.CauseStalled.String(), 0)
		x.lease.Report(upstream.Result{Outcome: upstream.TimedOut, Latency: waited, Err: &stalledError{waited.Round(100 * time.Millisecond)}})
	default:
		x.recordTry("slower", 0)
		x.lease.Report(upstream.Result{Outcome: upstream.Canceled, Latency: x.shard.loop.Now() - x.waited})
	}
	if !c.rescue && why == nil {
		x.shard.requests.HedgesWon.Add(1)
	}
	x.try, c.try = c.try, x.try
	c.live = false
	c.let(x.shard.loop)
	x.tried = append(x.tried, first)
	x.out.to = x.up.conn
	x.up.conn.SetReadTimeout(x.nextLook(x.shard.loop.Now()))
}

// A stalledError is what an endpoint is told of that was silent.
type stalledError struct{ waited time.Duration }

func (e *stalledError) Error() string {
	return "it has sent nothing to anyone for " + e.waited.String() + ", others have"
}

// replaceable reports whether a second try may go on where the first has failed: nobody
// needs to be told anything else.
func (x *exchange) replaceable(err error) bool {
	return x.second != nil && x.second.live && err != errClientGone && !errors.Is(err, errDraining) &&
		!errors.Is(err, eventloop.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded)
}
