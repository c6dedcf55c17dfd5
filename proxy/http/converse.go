package http

import (
	"errors"
	"os"
	"time"

	"sidecar/proxy/http/h1"
)

// converse sends the request and waits for the head of a final response, whatever comes
// first: an endpoint may answer before it has read everything, or anything.
func (x *exchange) converse() *failure {
	x.heard, x.uw = false, 0
	x.resp.Reset() // the attempt before may have ended within a head
	out := needWrite
	for {
		if out != finished {
			switch out = x.out.step(); out {
			case failedRead:
				return clientFailure(x.out.err)
			case failedWrite, finished:
				if errors.Is(x.out.err, os.ErrDeadlineExceeded) {
					return upstreamFailure(x.out.err)
				}
				// Even if it takes no more of the request it may have answered it.
				out = finished
				x.expect()
			}
		}
		switch got, err := x.hear(&x.try); {
		case got:
			x.leaveSecond()
			return nil
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && out == finished && x.look():
		case x.replaceable(err):
			if f := x.handOver(x.unheard(err)); f != nil {
				return f
			}
		default:
			return x.unheard(err)
		}
		if x.second != nil && x.second.live && x.hearSecond() {
			x.adopt(nil)
			return nil
		}
		if out == finished {
			x.shelve()
			x.probe()
		}
		if f := x.wait(out, needRead); f != nil {
			return f
		}
	}
}

// expect sets the time that the endpoint has for the head of its response.
func (x *exchange) expect() {
	now := x.shard.loop.Now()
	if x.req.Body.Kind != h1.NoBody {
		x.waited = now
	}
	x.setExpiry(&x.try, now)
	x.up.conn.SetReadTimeout(x.nextLook(now))
}

// setExpiry sets when the time of a try is over that has just been sent.
func (x *exchange) setExpiry(t *try, now time.Duration) {
	t.expires = 0
	if d := x.patience(now); d > 0 {
		t.expires = now + d
	}
}

// patience is how long an endpoint has from the request's end to the response's head: all
// tries together RequestTimeout, this one PerTry.
func (x *exchange) patience(now time.Duration) time.Duration {
	set := x.shard.set
	if x.asked == 0 {
		x.asked = now
	}
	d := set.RequestTimeout
	if d > 0 {
		d = max(d-(now-x.asked), 1) // 0 would be no bound at all
	}
	if try := set.Retry.PerTry; try > 0 && (d == 0 || try < d) {
		d = try
	}
	return x.within(d)
}

// late reports whether there is no time left for another try.
func (x *exchange) late() bool { return x.outlasts(0) }

// outlasts reports whether no time would be left for another try after a wait.
func (x *exchange) outlasts(wait time.Duration) bool {
	at := x.shard.loop.Now() + wait
	if x.deadline > 0 && at >= x.deadline {
		return true
	}
	limit := x.shard.set.RequestTimeout
	return limit > 0 && x.asked > 0 && at-x.asked >= limit
}

// interim passes a 1xx response on, to clients that know such.
func (x *exchange) interim() error {
	if x.req.Minor == 0 {
		return nil
	}
	x.head = x.appendResponse(x.head[:0])
	if x.tell(x.head) != nil {
		return x.gone()
	}
	return nil
}
