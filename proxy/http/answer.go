package http

import (
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
	f.start(x.up.conn, x.conn, nil, body, x.ub, f.next, x.uw, body.Kind == h1.UntilClose && !old)
	s := x.shard
	s.scratch = x.appendResponse(s.scratch[:0])
	if f.check(); f.broken {
		return upstreamFailure(f.err)
	}
	f.head = x.join()
	x.begun, x.status = true, r.Status
	x.upBounded |= eventloop.Readable // by converse

	now, outcome := x.shard.loop.Now(), upstream.Success
	if r.Status >= 500 {
		outcome = upstream.ServerError
	}
	x.lease.Report(upstream.Result{Outcome: outcome, Latency: now - x.waited})
	x.firstByte = now - x.started
	x.shard.requests.FirstByte.Observe(x.firstByte)
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
