package http

import (
	"errors"
	"net/http"
	"os"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

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

// wants is what the second try waits for.
func (c *second) wants() eventloop.Events {
	if c.sent {
		return eventloop.Readable
	}
	return eventloop.Writable
}

// beginSecond sends the request to another endpoint as well, if there is one and the budget
// allows it: hedges have one of their own, a rescue is a retry.
func (x *exchange) beginSecond(rescue bool) {
	s := x.shard
	budget, denied := s.set.hedges, &s.requests.HedgesDenied
	if rescue {
		budget, denied = s.set.Service.Budget(), &s.requests.BudgetDenied
	}
	if !budget.Withdraw() {
		denied.Add(1)
		return
	}
	x.tried = append(x.tried, x.lease.Endpoint())
	lease, err := s.set.Service.Acquire(x.key, x.tried...)
	x.tried = x.tried[:len(x.tried)-1]
	if err != nil {
		budget.Refund()
		return
	}
	if x.multiplexed() {
		if p := s.pool(lease.Endpoint()); !p.ready() {
			lease.Release()
			budget.Refund()
			x.postpone(p, rescue)
			return
		}
	}
	if x.second == nil {
		x.second = new(second)
	}
	c := x.second
	c.lease, c.rescue, c.live = lease, rescue, true
	x.attempts++
	if rescue {
		s.requests.Retry(metrics.RetryStalled)
	} else {
		s.requests.Hedges.Add(1)
	}
	x.endHead(&c.try)
	if err := x.startSecond(x.fresh); err != nil {
		x.loseSecond(dialFailure(err))
	}
}

// startSecond gets the second try a connection, from the pool unless a fresh one is wanted,
// and what is to be sent on it.
func (x *exchange) startSecond(fresh bool) (err error) {
	c, s := x.second, x.shard
	now := s.loop.Now()
	c.sent, c.heard, c.reused, c.uw, c.upBounded = false, false, false, 0, 0
	c.began, c.waited, c.expires = now, now, 0
	c.resp.Reset()
	pool := s.pool(c.lease.Endpoint())
	switch {
	case x.multiplexed():
		if c.up, err = pool.stream(); err != nil {
			return err
		}
		if c.up == nil {
			return errNoTrunk
		}
	case !fresh:
		c.up = pool.get(true)
	}
	c.reused = c.up != nil && c.up.trunk == nil
	if c.up != nil {
		c.up.conn.SetWriteTimeout(x.within(s.set.RequestTimeout))
	} else {
		if c.up, err = pool.startDial(false); err != nil {
			return err
		}
		c.up.conn.SetWriteTimeout(x.within(s.set.ConnectTimeout))
	}
	var none h1.Body // what there is of one is in the buffer of the first, to its end
	none.Init(h1.NoBody, 0)
	c.out.task = x.task
	c.out.start(nil, c.up.conn, x.reqHead, none, x.out.buf, x.out.ready, x.out.ready, false)
	c.out.sent = min(x.first, x.out.ready)
	return nil
}

// sendSecond moves the second try's request on, and reports whether all of it has been sent.
func (x *exchange) sendSecond() bool {
	c, s := x.second, x.shard
	if c.up.pending {
		made, err := c.up.established()
		if err != nil {
			x.loseSecond(dialFailure(err))
		}
		if !made {
			return false
		}
		c.up.conn.SetWriteTimeout(x.within(s.set.RequestTimeout))
	}
	switch c.out.step() {
	case finished:
		now := s.loop.Now()
		c.sent, c.waited = true, now
		c.out.empty()
		x.setExpiry(&c.try, now)
		c.up.conn.SetWriteTimeout(0)
		c.up.conn.SetReadTimeout(max(c.expires-now, 0))
		return true
	case failedWrite:
		x.failSecond(c.out.err)
	}
	return false
}

// hearSecond moves the second try on. It reports whether that has got an answer worth
// having.
func (x *exchange) hearSecond() bool {
	c := x.second
	if !c.sent && !x.sendSecond() {
		return false
	}
	got, err := x.hear(&c.try)
	if err != nil {
		x.failSecond(err)
		return false
	}
	if !got {
		return false
	}
	if f := x.unwantedSecond(); f != nil {
		x.loseSecond(f)
		return false
	}
	return true
}

// unwantedSecond is a failure if the second try's response is no better than none, as long as
// the first may still have another one.
func (x *exchange) unwantedSecond() *failure {
	c := x.second
	status := c.resp.Status
	switch {
	case x.grpc && status == http.StatusOK:
		if code, ended := c.grpcHead(); ended && x.shard.set.Retry.grants(code) {
			f := statusFailure(&c.try)
			f.err, f.retry, f.judged = grpcError(code), metrics.RetryGRPC, grpcResult(code)
			return f
		}
	case status == http.StatusSwitchingProtocols:
		return upgradeFailure()
	case status >= 500 && status <= 599 && x.shard.set.Retry.Status[status-500]:
		return statusFailure(&c.try)
	}
	return nil
}

// failSecond is the end of the second try's connection. If it came from the pool, where any
// server may close it, another one settles it.
func (x *exchange) failSecond(err error) {
	c := x.second
	f := upstreamFailure(err)
	if c.reused && !c.heard && f.cause == metrics.CauseReset {
		c.up.close()
		c.up = nil
		if err = x.startSecond(true); err == nil {
			return
		}
		f = dialFailure(err)
	}
	x.loseSecond(f)
}

// loseSecond gives the second try up because it has failed. There may be another one.
func (x *exchange) loseSecond(f *failure) {
	c := x.second
	x.recordLoss(&c.try, f)
	c.lease.Report(x.verdict(&c.try, f))
	x.tried = append(x.tried, c.lease.Endpoint())
	x.dropSecond()
	if c.rescue && len(x.tried) < maxTried {
		x.rescued = false
	}
	x.up.conn.SetReadTimeout(x.nextLook(x.shard.loop.Now()))
}

// leaveSecond gives the second try up because the first has been answered, or nobody waits
// any more.
func (x *exchange) leaveSecond() {
	if x.second != nil && x.second.live {
		x.recordEnd(&x.second.try, outcomeSlower, 0)
		x.second.lease.Report(x.canceled(&x.second.try))
		x.dropSecond()
	}
}

// dropSecond ends what is left of the second try.
func (x *exchange) dropSecond() {
	c := x.second
	c.live = false
	c.out.empty()
	c.let(x.shard.loop)
}

// canceled is the result of a try that was not waited for any longer: it would have taken at
// least as long.
func (x *exchange) canceled(t *try) upstream.Result {
	return upstream.Result{Outcome: upstream.Canceled, Latency: x.shard.loop.Now() - t.waited}
}

// adopt makes the second try, which has been sent, the exchange's. why is what the first one
// has come to; nil means that the second has been answered, and the first has not.
func (x *exchange) adopt(why *failure) {
	c := x.second
	switch {
	case why != nil:
		x.recordFailure(why)
		x.lease.Report(x.verdict(&x.try, why))
	case c.rescue:
		waited := x.shard.loop.Now() - x.waited
		x.recordTry(metrics.CauseStalled.String(), 0)
		x.lease.Report(upstream.Result{Outcome: upstream.TimedOut, Latency: waited, Err: &stalledError{waited.Round(100 * time.Millisecond)}})
	default:
		canceled := x.canceled(&x.try)
		x.recordTry(outcomeSlower, 0)
		x.lease.Report(canceled)
		// If those that are slow were left out, the percentile would sink with each of them.
		x.shard.latencies.add(x.shard.loop.Now(), canceled.Latency)
		x.shard.requests.HedgesWon.Add(1)
	}
	x.tried = append(x.tried, x.lease.Endpoint())
	x.try, c.try = c.try, x.try
	x.dropSecond()
	x.out.to = x.up.conn
	x.up.conn.SetReadTimeout(x.nextLook(x.shard.loop.Now()))
}

// A stalledError is what an endpoint is told of that was silent.
type stalledError struct{ waited time.Duration }

func (e *stalledError) Error() string {
	return "it has sent nothing to anyone for " + e.waited.String()
}

// replaceable reports whether a second try may go on where the first has failed: nobody
// needs to be told anything else, and there is time left.
func (x *exchange) replaceable(err error) bool {
	return x.second != nil && x.second.live && err != errClientGone && !errors.Is(err, errDraining) &&
		!errors.Is(err, eventloop.ErrClosed) && !(errors.Is(err, os.ErrDeadlineExceeded) && x.late())
}

// handOver has the second try go on in the place of the first, which has failed with why, as
// soon as it has been sent. Until then it may be lost as well; then why stands.
func (x *exchange) handOver(why *failure) *failure {
	for c := x.second; !c.sent; {
		if err := x.task.Wait(-1, eventloop.Interest{Conn: x.conn}, eventloop.Interest{Conn: c.up.conn, Events: c.wants()}); err != nil {
			return clientFailure(err)
		}
		if x.conn.Has(eventloop.Broken) {
			return clientFailure(x.gone())
		}
		if x.sendSecond(); !c.live {
			return why
		}
	}
	x.adopt(why)
	return nil
}
