package http

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"sidecar/accesslog"
	"sidecar/internal/eventloop"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

// answer begins the response: from here on there is no second attempt. It fails while that
// can still be told, which is when the framing of the body is wrong from the start.
func (x *exchange) answer() *failure {
	r, body := &x.resp, x.resp.Body
	x.last = !x.req.KeepAlive || x.shard.draining || !x.out.body.Done()
	old := x.req.Minor == 0
	switch {
	case body.Kind == h1.Chunked && old:
		body.Decode, x.last = true, true
	case body.Kind == h1.UntilClose && old:
		x.last = true
	}
	f := &x.back
	f.start(x.up.conn, x.conn, nil, body, x.ub, x.headEnd, x.uw, body.Kind == h1.UntilClose && !old)
	s := x.shard
	s.scratch = x.appendResponse(s.scratch[:0])
	if f.check(); f.broken {
		return upstreamFailure(f.err)
	}
	f.head = x.join()
	x.begun, x.status = true, r.Status
	x.upBounded |= eventloop.Readable // by converse

	now := x.shard.loop.Now()
	took := now - x.waited
	if r := x.judgement(took); x.openEnded() {
		x.unjudged, x.pending = r, true
	} else {
		x.lease.Report(r)
	}
	x.shard.latencies.add(now, took)
	x.firstByte = now - x.started
	x.shard.requests.FirstByte.Observe(x.firstByte)
	x.recordResponse()
	x.recordTry(accesslog.OutcomeOK, r.Status)
	return nil
}

// joinable is up to how many bytes of a body are copied behind their head: one write of one
// piece costs the kernel less than one of two.
const joinable = 2 << 10

// join puts the beginning of a small body behind its head.
func (x *exchange) join() []byte {
	f, s := &x.back, x.shard
	if f.ready-f.sent <= joinable {
		s.scratch = append(s.scratch, f.buf[f.sent:f.ready]...)
		f.sent = f.ready
	}
	return s.scratch
}

// judgement is what the endpoint is told of a response that is passed on.
func (x *exchange) judgement(took time.Duration) upstream.Result {
	r := upstream.Result{Outcome: upstream.Success, Latency: took, At: x.shard.now()}
	if x.grpc && x.resp.Status == http.StatusOK {
		return x.grpcJudgement(r)
	}
	switch status := x.resp.Status; {
	case status >= 500:
		r.Outcome, r.Status = upstream.ServerError, status
		if status == http.StatusServiceUnavailable {
			r.RetryAfter = x.retryAfter()
		}
	case status == http.StatusTooManyRequests:
		if after := x.retryAfter(); after > 0 {
			r.Outcome, r.Status, r.RetryAfter = upstream.Overloaded, status, after
		}
	}
	return r
}

// retryAfter is for how long the endpoint wants to be left alone (RFC 9110 §10.2.3), 0 if it
// has not said.
func (t *try) retryAfter() time.Duration {
	if !t.resp.Seen.Has(h1.KindRetryAfter) {
		return 0
	}
	value := string(t.resp.Get(h1.KindRetryAfter))
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	for _, form := range [...]string{http.TimeFormat, time.RFC850, time.ANSIC} { // RFC 9110 §5.6.7
		if at, err := time.Parse(form, value); err == nil {
			return max(time.Until(at), 0)
		}
	}
	return 0
}
