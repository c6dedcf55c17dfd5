package http

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

// again decides whether another attempt is made after f. It is asked once per failure, and
// a yes has been paid for from the retry budget.
func (x *exchange) again(f *failure) bool {
	p := x.shard.proxy
	if x.begun || f.status == 0 {
		return false // there is no way back, or nobody to answer
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
			return true
		}
		f.cause = metrics.CauseIdleRace
		f.text = "the endpoint closed an idle connection while the request was sent on it; it may have been processed or not"
		return false
	}
	if x.attempts > p.Retry.Attempts || !p.Retry.covers(f.retry) {
		return false
	}
	if f.retry != metrics.RetryConnect && !x.repeatable() {
		return false // it may have been processed
	}
	if !p.Service.Budget().Withdraw() {
		x.shard.requests.BudgetDenied.Add(1)
		return false
	}
	x.shard.requests.Retry(f.retry)
	return true
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
	}
	return false
}

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
	x.previous = f
	x.recordFailure(f)
	e := x.lease.Endpoint()
	if e == nil {
		return
	}
	var waited time.Duration
	if f.cause == metrics.CauseClientGone {
		waited = x.shard.loop.Now() - x.waited
	}
	x.lease.Report(upstream.Result{Outcome: f.outcome(), Latency: waited})
	x.tried = append(x.tried, e)
}

// unheard judges the end of a connection on which no head of a response has come.
func (x *exchange) unheard(err error) *failure {
	if err == errClientGone || errors.Is(err, errDraining) || errors.Is(err, eventloop.ErrClosed) {
		return clientFailure(err)
	}
	f := upstreamFailure(err)
	f.stale = x.reused && !x.heard && f.cause == metrics.CauseReset
	return f
}

// unwanted is a failure if the response cannot be passed on, or is one of those that are
// tried again and this has been agreed on.
func (x *exchange) unwanted() *failure {
	status := x.resp.Status
	retry := &x.shard.proxy.Retry
	if status == http.StatusSwitchingProtocols {
		if x.switches() {
			return nil
		}
		return &failure{cause: metrics.CauseBadResponse, status: http.StatusBadGateway, text: "the endpoint's answer is not HTTP", err: errNotAsked}
	}
	if status < 500 || status > 599 || !retry.Status[status-500] || x.attempts > retry.Attempts || x.late() || !x.repeatable() {
		return nil
	}
	if !x.shard.proxy.Service.Budget().Withdraw() {
		x.shard.requests.BudgetDenied.Add(1)
		return nil
	}
	f := &failure{status: status, text: "the endpoint answered", err: fmt.Errorf("status %d", status), retry: metrics.RetryOn(status), granted: true}
	x.shard.requests.Retry(f.retry)
	return f
}

var errNotAsked = errors.New("it switches protocols, which it was not asked to")

// refuse says which requests are not forwarded at all.
func (x *exchange) refuse() *failure {
	switch x.req.MethodID {
	case h1.MethodConnect, h1.MethodTrace:
		return &failure{cause: metrics.CauseBadRequest, status: http.StatusNotImplemented,
			text: "the method is not forwarded", err: fmt.Errorf("method %s", x.req.Method)}
	}
	if limit := x.shard.proxy.MaxBody; limit > 0 && x.req.Body.Kind == h1.Length && x.req.Body.Remaining() > limit {
		return requestFailure(errBodyTooLarge)
	}
	if n, ok := x.req.MaxForwards(); ok && n == 0 {
		return &failure{cause: metrics.CauseBadRequest, status: http.StatusNotImplemented,
			text: "the request is for the sidecar itself", err: errors.New("Max-Forwards is 0")}
	}
	return nil
}
