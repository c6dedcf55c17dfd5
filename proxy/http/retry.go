package http

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/proxy/http/h2"
	"sidecar/upstream"
)

// again decides whether another attempt is made after f. It is asked once per failure. A yes
// has been paid for from the retry budget, has a lease for the next attempt, and has waited
// for as long as is right.
func (x *exchange) again(f *failure) bool {
	set := x.shard.set
	if x.begun || f.status == 0 {
		return false // there is no way back, or nobody to answer
	}
	if f.granted {
		return x.pause(f)
	}
	if len(x.tried) >= maxTried || x.late() {
		return false
	}
	if f.stale {
		// The endpoint closed a connection that it had kept for us, as any server may. A
		// new connection settles it; that is no second helping, so the budget is not asked.
		x.fresh = true
		if x.repeatable() {
			x.attempts--
			return x.anywhere(f)
		}
		f.cause = metrics.CauseIdleRace
		f.text = "the endpoint closed an idle connection while the request was sent on it; it may have been processed or not"
		return false
	}
	if x.attempts > set.Retry.Attempts || !set.Retry.covers(f.retry) {
		return false
	}
	if f.retry == metrics.RetryRefused {
		// It was not processed; all of it must still be here.
		return x.out.kept() && x.grant(f) && x.pause(f)
	}
	if f.retry != metrics.RetryConnect && !x.repeatable() {
		return false // it may have been processed
	}
	return x.grant(f) && x.pause(f)
}

// anywhere acquires a lease for the next attempt, on an endpoint that has failed only if there
// is no other.
func (x *exchange) anywhere(f *failure) bool {
	service := x.shard.set.Service
	var err error
	if x.next, err = service.Acquire(x.key, x.tried...); err == nil {
		return true
	}
	if f.retry == metrics.RetryConnect {
		return false // there is no other, and this one has just refused
	}
	f.same = true
	x.next, err = service.Acquire(x.key)
	return err == nil
}

// grant pays for the next attempt and acquires a lease for it, or neither: budget without a lease
// would be spent for nothing. The budget comes first, because a lease counts as an attempt.
func (x *exchange) grant(f *failure) bool {
	set := x.shard.set
	budget := set.Service.Budget()
	if !budget.Withdraw() {
		x.shard.requests.BudgetDenied.Add(1)
		return false
	}
	if !x.anywhere(f) {
		budget.Refund()
		return false
	}
	f.wait = x.backoff(f)
	if f.same && f.after > set.Retry.RetryAfterMax || x.outlasts(f.wait) {
		// The only endpoint there is has asked to be left alone for longer than is waited, or
		// nobody would be there any more.
		x.forgo()
		budget.Refund()
		return false
	}
	x.shard.requests.Retry(f.retry)
	return true
}

// forgo gives back the lease of an attempt that is not made.
func (x *exchange) forgo() {
	x.next.Release()
	x.next = upstream.Lease{}
}

// backoff is how long is waited before the next attempt: up to Backoff at random, twice as
// long with each further attempt up to BackoffMax ("full jitter", Brooker, Exponential Backoff
// And Jitter, 2015). An endpoint that has not been reached is left for another one at once.
func (x *exchange) backoff(f *failure) time.Duration {
	if !f.same && f.retry == metrics.RetryConnect {
		return 0
	}
	retry := &x.shard.set.Retry
	wait := min(retry.Backoff<<min(max(x.attempts-1, 0), 16), retry.BackoffMax)
	if wait > 0 {
		wait = rand.N(wait + 1)
	}
	if f.same {
		wait = max(wait, f.after)
	}
	return wait
}

// pause waits before the next attempt, while the client is there.
func (x *exchange) pause(f *failure) bool {
	if f.wait == 0 {
		return true
	}
	x.letGo()
	for by := x.shard.loop.Now() + f.wait; ; {
		left := by - x.shard.loop.Now()
		if left <= 0 {
			return true
		}
		if x.conn.Has(eventloop.Broken) {
			*f = *clientFailure(x.gone())
			break
		}
		if err := x.task.Wait(left, eventloop.Interest{Conn: x.conn}); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			*f = *clientFailure(err)
			break
		}
	}
	x.forgo()
	return false
}

// covers reports whether the configuration has retries for the reason.
func (r *Retry) covers(reason metrics.RetryReason) bool {
	switch reason {
	case metrics.RetryConnect:
		return r.Connect
	case metrics.RetryReset:
		return r.Reset
	case metrics.RetryTimeout:
		return r.Timeout
	case metrics.RetryRefused:
		return r.Refused
	}
	return false
}

// grants tells whether a status of gRPC is tried again.
func (r *Retry) grants(c metrics.GRPCCode) bool { return c <= metrics.GRPCUnauthenticated && r.GRPC[c] }

// idempotent reports whether sending the request twice is meant to be the same as once: by
// its method (RFC 9110 §9.2.2), or because the client has given it a key by which the server
// knows it again (Idempotency-Key).
func (x *exchange) idempotent() bool {
	return x.req.MethodID.Idempotent() || x.req.Seen.Has(h1.KindIdempotencyKey)
}

// repeatable reports whether the request may be sent again and all of it is still here.
func (x *exchange) repeatable() bool { return x.idempotent() && x.out.kept() }

// judge tells the endpoint's account what became of the attempt, and remembers not to try
// it again while there is another one.
func (x *exchange) judge(f *failure) {
	x.recordFailure(f)
	e := x.lease.Endpoint()
	if e == nil {
		return
	}
	r := x.verdict(&x.try, f)
	if x.begun && x.pending {
		x.pending = false
		x.lease.Report(r)
		return
	}
	if x.begun {
		if !x.tunneled() { // how those who speak through a tunnel part is theirs
			x.lease.Break(r)
		}
		return
	}
	x.lease.Report(r)
	if f.cause != metrics.CauseOverLimit {
		x.tried = append(x.tried, e)
	}
}

// verdict is what the endpoint of a try is told of its failure.
func (x *exchange) verdict(t *try, f *failure) upstream.Result {
	r := f.result()
	if f.cause == metrics.CauseClientGone || r.Outcome == upstream.TimedOut && x.hurried(t) {
		r = x.canceled(t)
	}
	return r
}

// hurried reports whether it was the client's own time that was over, before the endpoint had
// as long as nearly all answers take: a client that is in a hurry makes no failure of it.
func (x *exchange) hurried(t *try) bool {
	now := x.shard.loop.Now()
	return !x.begun && x.deadline > 0 && now >= x.deadline && now-t.waited < x.shard.latencies.percentile(now, nearlyAll)
}

// unheard judges the end of a connection on which no head of a response has come.
func (x *exchange) unheard(err error) *failure {
	if err == errClientGone || errors.Is(err, errDraining) || errors.Is(err, eventloop.ErrClosed) {
		return clientFailure(err)
	}
	f := upstreamFailure(x.expired(err))
	f.stale = x.reused && !x.heard && f.cause == metrics.CauseReset
	return f
}

// expired tells an endpoint that has given up because the client's time is over, as servers of
// gRPC do a moment before ours is, from one that has broken off.
func (x *exchange) expired(err error) error {
	var e *h2.Error
	if x.deadline > 0 && x.shard.loop.Now()+deadlineGrain >= x.deadline && errors.As(err, &e) && e.Remote && e.Stream && e.Code == h2.Cancel {
		return os.ErrDeadlineExceeded
	}
	return err
}

// deadlineGrain is how much earlier than ours an endpoint's clock may say that the time is over: it
// is told in milliseconds, rounded down.
const deadlineGrain = 2 * time.Millisecond

// unwanted is a failure if the response cannot be passed on, or is one of those that are
// tried again and this has been agreed on.
func (x *exchange) unwanted() *failure {
	status := x.resp.Status
	if x.grpc && status == http.StatusOK {
		return x.unwantedStatus()
	}
	retry := &x.shard.set.Retry
	if status == http.StatusSwitchingProtocols {
		if x.switches() {
			return nil
		}
		return upgradeFailure()
	}
	if status < 500 || status > 599 || !retry.Status[status-500] || x.attempts > retry.Attempts || x.late() || !x.repeatable() || len(x.tried) >= maxTried {
		return nil
	}
	f := statusFailure(&x.try)
	x.tried = append(x.tried, x.lease.Endpoint())
	granted := x.grant(f)
	x.tried = x.tried[:len(x.tried)-1] // judge adds it
	if !granted {
		return nil
	}
	x.keep()
	return f
}

// statusFailure is a response that is tried again.
func statusFailure(t *try) *failure {
	status := t.resp.Status
	f := &failure{status: status, text: "the endpoint answered", err: fmt.Errorf("status %d", status), retry: metrics.RetryOn(status), granted: true}
	if status == http.StatusServiceUnavailable {
		f.after = t.retryAfter()
	}
	return f
}

func upgradeFailure() *failure {
	return &failure{cause: metrics.CauseBadResponse, status: http.StatusBadGateway, text: "the endpoint's answer is not HTTP", err: errNotAsked}
}

// keep puts the connection of a response that is not passed on back into the pool, if all of
// it is there already. Its lease goes on until the attempt is judged.
func (x *exchange) keep() {
	body := x.resp.Body
	if !x.resp.KeepAlive || !x.out.body.Done() || x.out.pending() || x.out.err != nil || body.Kind == h1.UntilClose {
		return
	}
	at := x.headEnd
	for !body.Done() {
		skip, take, err := body.Next(x.ub[at:x.uw])
		if err != nil || skip+take == 0 {
			return
		}
		at += skip + take
	}
	if at < x.uw {
		return // bytes that nobody has asked for
	}
	x.giveBack()
}

var errNotAsked = errors.New("it switches protocols, which it was not asked to")

// refuse says which requests are not forwarded at all.
func (x *exchange) refuse() *failure {
	switch x.req.MethodID {
	case h1.MethodConnect, h1.MethodTrace:
		return &failure{cause: metrics.CauseBadRequest, status: http.StatusNotImplemented,
			text: "the method is not forwarded", err: fmt.Errorf("method %s", x.req.Method)}
	}
	if limit := x.shard.set.MaxBody; limit > 0 && x.req.Body.Kind == h1.Length && x.req.Body.Remaining() > limit {
		return requestFailure(errBodyTooLarge)
	}
	if n, ok := x.req.MaxForwards(); ok && n == 0 {
		return &failure{cause: metrics.CauseBadRequest, status: http.StatusNotImplemented,
			text: "the request is for the sidecar itself", err: errors.New("Max-Forwards is 0")}
	}
	return nil
}
