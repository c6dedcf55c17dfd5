package http

import (
	"net/http"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

// maxTried bounds the attempts of one request whatever is configured, and so the list of
// endpoints not to try again.
const maxTried = 16

// keepBody is up to how many bytes of a request's body are kept so that it can be sent again.
const keepBody = 64 << 10

// An exchange is one request of a client and its response. It is used again for the next
// one; what it has allocated once stays with it.
type exchange struct {
	try            // the one that counts
	second *second // one that runs beside it, if live; kept once there was one

	shard  *shard
	client *client
	conn   *eventloop.Conn // the client's
	task   *eventloop.Task

	in   []byte // from the client: in[r:w] has not been used; nil while there is nothing
	r, w int

	req      h1.Request
	complete bool   // its head has been parsed
	size     int    // of its head
	first    int    // where its body begins in in
	reqHead  []byte // to send on
	untimed  int    // of reqHead, without what each try adds: see endHead
	out      flow   // the request to the endpoint

	unjudged upstream.Result // what the endpoint is told when the call has ended well
	pending  bool            // … which it has not been yet

	key     upstream.PickKey
	address [16]byte             // of the client, where it makes the key
	next    upstream.Lease       // for the next try, if again has acquired it
	tried   []*upstream.Endpoint // not to be tried again while there are others

	head []byte // of an answer of our own
	back flow   // the response to the client

	bounded eventloop.Events // what there are deadlines for on conn

	attempts int
	fresh    bool          // do not take connections from the pool any more
	probed   bool          // the client has been asked whether it is still there
	hedged   bool          // a second copy has been thought of because the first took longer than most
	rescued  bool          // … because its endpoint was silent
	looks    int           // for a trunk that such a copy could be sent on
	secondAt time.Duration // … loop time of the next one, 0: there is no need
	begun    bool          // bytes of a final response have gone to the client
	last     bool          // the client's connection is closed behind this exchange
	status   int
	sent     int64         // to the client
	record   *record       // for the access log and who watches; nil without either
	trace    *trace        // nil until there was tracing once
	traced   bool          // there is tracing, for this request
	sampled  bool          // … and spans of it are made
	retraced h1.KindSet    // fields of the request that do not pass, because others take their place
	sound    bool          // a panic has not left it in any state
	started  time.Duration // when its head was complete
	asked    time.Duration // when it had been sent for the first time, 0: not yet
	deadline time.Duration // until when the client waits, as it has said, 0: it has not
	waitForm waitForm      // … and how it has said so
	waitName string        // … and in which field
	grpc     bool          // it is a call of gRPC

	firstByte time.Duration // from started to the head of the response, 0: none came
}

// begin gives the exchange to a client.
func (x *exchange) begin(c *client, t *eventloop.Task) {
	x.client, x.conn, x.task = c, c.conn, t
	x.out.task, x.back.task = t, t
	x.r, x.w = 0, 0
	x.sound, x.complete = false, false
}

// end gives back what the exchange has borrowed. It is also reached when the task panics:
// then nobody gets the exchange or its buffers again.
func (x *exchange) end() {
	if !x.sound {
		x.in, x.ub = nil, nil
		if x.second != nil {
			x.second.ub = nil
		}
		x.abandon()
	}
	x.letGo()
	x.next.Release()
	x.next = upstream.Lease{}
	x.shard.loop.Release(x.in)
	x.in, x.client, x.conn, x.task = nil, nil, nil, nil
	clear(x.tried[:cap(x.tried)])
	if x.sound {
		x.shard.recycle(x)
	}
}

// abandon counts a request that a panic has ended.
func (x *exchange) abandon() {
	if x.complete {
		x.shard.requests.Error(metrics.CauseInternal)
		x.sampled = false // a span would be made of what nobody knows the state of
		x.flag(metrics.CauseInternal.String())
		x.count()
	}
}

// count counts the end of a request.
func (x *exchange) count() {
	m, took := x.shard.requests, x.shard.loop.Now()-x.started
	in := int64(x.size) + x.out.body.Seen()
	m.Finish(x.status, took)
	m.BytesIn.Add(uint64(in))
	x.complete = false
	x.endTrace()
	x.endRecord(took, in)
}

// blank reports whether the client has sent nothing that begins a request: some send an
// empty line behind a body.
func (x *exchange) blank() bool {
	if h1.Blank(x.in[x.r:x.w]) < x.w-x.r {
		return false
	}
	x.r, x.w = 0, 0
	return true
}

// read takes what the client has sent, or returns ErrWouldBlock.
func (x *exchange) read() error {
	if _, err := x.conn.TryRead(nil); err != nil {
		return err // and no buffer for a client that has nothing to say
	}
	x.take()
	n, err := x.conn.TryRead(x.in)
	x.w = n
	return err
}

// take sees to it that there is a buffer to read into.
func (x *exchange) take() {
	if x.in == nil {
		x.in = x.shard.loop.Buffer()
		x.r, x.w = 0, 0
	}
}

// shelve gives the request's buffer back while the endpoint is waited for. The head to send
// has been made from it, and if nothing else is in it, it would only push what others use
// out of the processor's caches.
func (x *exchange) shelve() {
	if x.in != nil && x.req.Body.Kind == h1.NoBody && x.out.next == x.out.end && !x.req.Upgrade {
		x.shard.loop.Release(x.in)
		x.in, x.first = nil, 0
		x.out.empty()
	}
}

// serve serves one request, and reports whether another one may follow on the connection.
func (x *exchange) serve() bool {
	x.reset()
	if f := x.readHead(); f != nil {
		if f.status == 0 {
			return false
		}
		x.beginRecord(false)
		x.fail(f)
		x.endRecord(0, int64(x.w))
	} else {
		x.forward()
		x.letGo()
		x.count()
		x.in, x.r, x.w = x.out.buf, x.out.next, x.out.end
	}
	x.bound(0, 0)
	if x.last && x.begun && !x.tunneled() && !x.client.stream {
		x.linger()
	}
	return !x.last
}

func (x *exchange) reset() {
	x.req.Reset()
	x.complete, x.fresh, x.begun, x.last, x.heard, x.probed = false, false, false, false, false, false
	x.hedged, x.rescued, x.grpc, x.pending = false, false, false, false
	x.attempts, x.status, x.uw, x.asked, x.deadline = 0, 0, 0, 0, 0
	x.looks, x.secondAt = 0, 0
	x.traced, x.sampled, x.retraced = false, false, 0
	x.sent, x.firstByte = 0, 0
	x.tried = x.tried[:0]
	x.out.reset()
	x.back.reset()
}

// readHead reads up to the end of a request's head. The failure's status is 0 if nobody is
// there to be told.
func (x *exchange) readHead() *failure {
	if x.r > 0 {
		x.w = copy(x.in, x.in[x.r:x.w])
		x.r = 0
	}
	set := x.shard.set
	for bounded := false; ; {
		n, err := x.req.Parse(x.in[:x.w], &set.Limits)
		if err != nil {
			return clientFailure(err)
		}
		if n > 0 {
			x.size, x.first, x.complete = n, n, true
			x.started = x.shard.loop.Now()
			x.shard.requests.Started.Add(1)
			x.beginTrace()
			x.beginRecord(true)
			x.conn.SetReadTimeout(0)
			return nil
		}
		if !bounded {
			x.conn.SetReadTimeout(set.HeadTimeout)
			bounded = true
		}
		x.in = x.grow(x.in, x.w)
		n, err = x.conn.Read(x.in[x.w:])
		if err != nil {
			return clientFailure(err)
		}
		x.w += n
	}
}

// grow returns a buffer with the same content and room behind it. The parser's limit ends
// its growth.
func (x *exchange) grow(b []byte, used int) []byte {
	if used < len(b) {
		return b
	}
	larger := make([]byte, 2*len(b))
	copy(larger, b[:used])
	x.shard.loop.Release(b)
	return larger
}

// forward sends the request on and the response back, and tries again where that is right.
func (x *exchange) forward() {
	x.out.start(x.conn, nil, nil, x.req.Body, x.in, x.first, x.w, false)
	x.out.limit = x.shard.set.MaxBody
	x.grpc = isGRPC(&x.req)
	if (x.idempotent() || x.multiplexed()) && x.req.Body.Kind != h1.NoBody {
		x.out.keep = x.first + keepBody
	}
	if f := x.refuse(); f != nil {
		x.fail(f)
		return
	}
	set := x.shard.set
	set.Service.Budget().DepositAt(x.shard.now())
	if set.hedges != nil {
		set.hedges.DepositAt(x.shard.now())
	}
	x.key = upstream.PickKey{Hash: x.hash(), Repeatable: x.idempotent()}
	x.takeDeadline()
	x.reqHead = x.appendRequest(x.reqHead[:0])
	x.untimed = len(x.reqHead)
	if x.late() {
		x.fail(&failure{cause: metrics.CauseTimeout, status: http.StatusGatewayTimeout, text: "nothing was sent", err: errNoTime})
		return
	}
	for {
		f := x.attempt()
		if f == nil {
			return
		}
		x.judge(f)
		x.lease.Release() // the next try must not have to compete with this one for a limit
		if !x.again(f) {
			x.fail(f)
			return
		}
		x.letGo()
	}
}

// attempt makes one try. No failure means that the exchange has come to its end.
func (x *exchange) attempt() *failure {
	if f := x.connect(); f != nil {
		return f
	}
	x.attempts++
	x.endHead(&x.try)
	x.out.rewind(x.up.conn, x.reqHead, x.first)
	if f := x.converse(); f != nil {
		return f
	}
	if f := x.unwanted(); f != nil {
		return f
	}
	if x.resp.Status == http.StatusSwitchingProtocols {
		return x.tunnel()
	}
	if f := x.answer(); f != nil {
		return f
	}
	return x.relay()
}

// relay moves the response, and what is left of the request, to their ends.
func (x *exchange) relay() *failure {
	for {
		seen := x.back.body.Seen()
		back := x.back.step()
		switch back {
		case failedRead:
			return upstreamFailure(x.expired(x.back.err))
		case failedWrite:
			return clientFailure(x.back.err)
		case finished:
			x.finish()
			return nil
		}
		if x.pending {
			x.promise()
		}
		if x.back.body.Seen() > seen {
			x.shard.silence.heardFrom(x.up.pool, x.shard.loop.Now(), x.shard.set.Retry.Stalled)
		}
		out := finished
		if x.out.err == nil && (!x.out.body.Done() || x.out.pending()) {
			if out = x.out.step(); out == failedRead {
				return clientFailure(x.out.err)
			}
		}
		if f := x.wait(out, back); f != nil {
			return f
		}
	}
}

// finish keeps the endpoint's connection if nothing is left on it of this exchange.
func (x *exchange) finish() {
	x.settle()
	clean := x.resp.KeepAlive && x.out.err == nil && x.out.body.Done() && !x.out.pending() &&
		x.back.next == x.back.end && x.resp.Body.Kind != h1.UntilClose
	if clean {
		x.lease.Release()
		x.giveBack()
	}
	if !x.out.body.Done() {
		x.last = true
	}
}

// giveBack puts the endpoint's connection back into the pool.
func (x *exchange) giveBack() {
	if x.resp.Seen.Has(h1.KindKeepAlive) {
		if seconds, ok := x.resp.KeepAliveTimeout(); ok {
			x.up.pool.limit.name(seconds)
		}
	}
	x.bound(0, 0)
	x.up.pool.put(x.up)
	x.up = nil
}

// letGo ends what is left of an attempt.
func (x *exchange) letGo() {
	x.out.releasePipe()
	x.back.releasePipe()
	x.leaveSecond()
	x.let(x.shard.loop)
	x.shard.requests.BytesOut.Add(uint64(x.back.written))
	x.sent += x.back.written
	x.back.written = 0
}
