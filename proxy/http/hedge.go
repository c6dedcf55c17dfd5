package http

import (
	"time"

	"sidecar/internal/eventloop"
	"sidecar/proxy/http/h1"
)

// Hedge says when a second copy of a safe request is sent while the first is waited for
// (Dean and Barroso, The Tail at Scale, 2013). With Percentile 0 none is.
type Hedge struct {
	Percentile float64       // of the latencies measured lately, after which it is sent
	MinDelay   time.Duration // but not before that
	Budget     float64       // copies per request
}

// look is what converse does when the time of the try has come for it: it begins a second
// one, if that is right, and has the loop tell when to look again. It is false when the
// try's time is over.
func (x *exchange) look() bool {
	now := x.shard.loop.Now()
	if x.expires > 0 && now >= x.expires {
		return false
	}
	if !x.up.conn.Has(eventloop.Readable) { // an answer that is there is looked at first
		x.consider(now)
	}
	x.up.conn.SetReadTimeout(x.nextLook(now))
	return true
}

// consider begins a second try if one is due.
func (x *exchange) consider(now time.Duration) {
	if at := x.hedgeAt(now); at > 0 && now >= at {
		x.hedged = true
		x.beginSecond(false)
	}
	if at := x.rescueAt(now); at > 0 && now >= at {
		x.rescued = true
		x.beginSecond(true)
	}
}

// nextLook is when to look again, from now on; 0 is never.
func (x *exchange) nextLook(now time.Duration) time.Duration {
	at := x.expires
	for _, other := range [2]time.Duration{x.hedgeAt(now), x.rescueAt(now)} {
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
func (x *exchange) hedgeAt(now time.Duration) time.Duration {
	set := x.shard.set
	if set.Hedge.Percentile <= 0 || x.hedged || x.attempts > 1 || x.alone() ||
		!x.req.MethodID.Safe() || x.req.Body.Kind != h1.NoBody {
		return 0
	}
	typical := x.shard.latencies.percentile(now, set.Hedge.Percentile)
	if typical == 0 {
		return 0 // nothing is known yet
	}
	return max(x.waited+max(typical, set.Hedge.MinDelay), x.secondAt)
}

// alone reports whether the try must remain the only one: there are two already, it asks for
// a tunnel, of which there cannot be two, or its request has not been sent whole.
func (x *exchange) alone() bool {
	return x.second != nil && x.second.live || x.req.Upgrade || !x.out.body.Done() || x.out.err != nil
}
