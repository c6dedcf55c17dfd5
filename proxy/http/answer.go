package http

import (
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

// answer begins the response: from here on there is no second attempt.
func (x *exchange) answer() {
	r, now := &x.resp, x.shard.loop.Now()
	x.status = r.Status
	took := now - x.started
	x.shard.requests.FirstByte.Observe(took)
	outcome := upstream.Success
	if r.Status >= 500 {
		outcome = upstream.ServerError
	}
	x.lease.Report(upstream.Result{Outcome: outcome, Latency: took})

	body := r.Body
	x.last = !x.req.KeepAlive || x.shard.draining || !x.out.body.Done()
	old := x.req.Minor == 0
	switch {
	case body.Kind == h1.Chunked && old:
		body.Decode, x.last = true, true
	case body.Kind == h1.UntilClose && old:
		x.last = true
	}
	x.back.start(x.up.conn, x.conn, nil, body, x.ub, x.back.next, x.uw, body.Kind == h1.UntilClose && !old)
	x.head = x.appendResponse(x.head[:0])
	x.join()
	x.back.head = x.head
	x.begun = true
}

// joinable is up to how many bytes of a body are copied behind their head: one write of one
// piece costs the kernel less than one of two.
const joinable = 2 << 10

// join puts the beginning of a small body behind its head.
func (x *exchange) join() {
	f := &x.back
	if f.encode || f.end-f.next > joinable {
		return
	}
	f.check()
	x.head = append(x.head, f.buf[f.sent:f.ready]...)
	f.sent = f.ready
}
