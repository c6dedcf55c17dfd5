package http

import (
	"errors"
	"os"
	"time"

	"sidecar/internal/eventloop"
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
				x.up.conn.SetReadTimeout(x.patience())
			}
		}
		switch got, err := x.hear(); {
		case err != nil:
			return x.unheard(err)
		case got:
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

// patience is how long the endpoint has from the request's end to the response's head: all
// tries together RequestTimeout, this one PerTry.
func (x *exchange) patience() time.Duration {
	p, now := x.shard.proxy, x.shard.loop.Now()
	if x.req.Body.Kind != h1.NoBody {
		x.waited = now
	}
	if x.asked == 0 {
		x.asked = now
	}
	d := p.RequestTimeout
	if d > 0 {
		d = max(d-(now-x.asked), 1) // 0 would be no bound at all
	}
	if try := p.Retry.PerTry; try > 0 && (d == 0 || try < d) {
		d = try
	}
	return d
}

// late reports whether there is no time left for another try.
func (x *exchange) late() bool {
	limit := x.shard.proxy.RequestTimeout
	return limit > 0 && x.asked > 0 && x.shard.loop.Now()-x.asked >= limit
}

// hear reads from the endpoint up to the end of a final response's head. Interim responses
// go to the client as they come.
func (x *exchange) hear() (bool, error) {
	for {
		if x.uw > 0 {
			n, err := x.resp.Parse(x.ub[:x.uw], x.req.MethodID, &x.shard.proxy.Limits)
			switch {
			case err != nil:
				return false, err
			case n > 0 && !x.resp.Interim():
				x.back.next = n
				return true, nil
			case n > 0:
				if err := x.interim(); err != nil {
					return false, err
				}
				x.uw = copy(x.ub, x.ub[n:x.uw])
				continue
			}
		}
		if !x.up.conn.Has(eventloop.Readable) && x.uw == 0 {
			if _, err := x.up.conn.TryRead(nil); err != nil && err != eventloop.ErrWouldBlock {
				return false, err
			}
			return false, nil // and no buffer while there is nothing to put into it
		}
		if x.ub == nil {
			x.ub = x.shard.loop.Buffer()
		}
		x.ub = x.grow(x.ub, x.uw+chunkBack)
		n, err := x.up.conn.TryRead(x.ub[x.uw : len(x.ub)-chunkBack])
		if err == eventloop.ErrWouldBlock {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		x.heard = true
		x.uw += n
	}
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
