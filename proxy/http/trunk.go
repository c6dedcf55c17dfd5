package http

import (
	"errors"
	"net/http"
	"os"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h2"
	"sidecar/upstream"
)

// A trunk is an HTTP/2 connection to an endpoint, on which the streams of many requests lie. It
// counts as one of the endpoint's connections, for as long as it lasts.
type trunk struct {
	*h2.Client
	fresh bool // it is being made for a request, which is to have the first stream
}

// multiplexed tells whether the request goes by HTTP/2.
func (x *exchange) multiplexed() bool {
	switch x.shard.set.Upstream {
	case UpstreamH2C:
		return true
	case UpstreamAuto:
		return x.grpc
	}
	return false
}

// openStream gets a stream to the endpoint of the pool: on a connection that has one to give, or
// on a new one. Of one loop one request at a time connects to an endpoint; the others wait for
// what that leads to.
func (x *exchange) openStream(p *pool) *failure {
	x.reused = false
	began := x.shard.loop.Now()
	for by := x.by(); ; {
		k, err := p.stream()
		if err != nil {
			return refusedFailure(err)
		}
		if k != nil {
			x.up = k
			return nil
		}
		if p.connecting {
			if f := x.awaitPool(p, by); f != nil {
				return x.outwaited(f)
			}
			continue
		}
		now := x.shard.loop.Now()
		if by > 0 && now >= by {
			return x.outwaited(dialFailure(os.ErrDeadlineExceeded))
		}
		f := x.layTrunk(p, by)
		if f != nil && f.cause == metrics.CauseConnectTimeout && now > began {
			f.spared = true // it had only what the wait for another one has left
		}
		return f
	}
}

// outwaited is the failure of a request whose time was over while another one connected. How that
// ends is for the other one to say: here it would count a second time.
func (x *exchange) outwaited(f *failure) *failure {
	if f.cause != metrics.CauseConnectTimeout {
		return f
	}
	x.attempts++
	f.spared = true
	f.text = "another request has been connecting to the endpoint, and has not got there in time"
	if x.deadline > 0 && x.shard.loop.Now() >= x.deadline {
		f.cause, f.err = metrics.CauseTimeout, errNoTime
	}
	return f
}

// layTrunk makes a trunk and opens its first stream. A trunk that has none to give is as good as
// no connection: another one to the same endpoint would not be better.
func (x *exchange) layTrunk(p *pool, by time.Duration) *failure {
	p.connecting = true
	defer func() { // also if something panics, or nobody would ever connect again
		p.connecting = false
		p.wake()
	}()
	f := x.dial(p, x.until(by))
	if f == nil {
		t := p.lay(x.up)
		x.up = nil
		f = x.awaitSettings(p, t, by)
		t.fresh = false
		if f == nil {
			conn, err := t.Open()
			if err == nil {
				x.up = x.shard.strand(conn, p, t)
				return nil
			}
			p.cut(t)
			f = refusedFailure(err)
		}
	}
	if f.cause != metrics.CauseOverLimit {
		x.attempts++
	}
	return f
}

// awaitSettings waits until the server speaks HTTP/2, which is a part of connecting. A connection that ends before has not been
// made, as far as requests go: none was sent on it, and any may go elsewhere. A server that
// stops accepts connections for a moment and resets them.
func (x *exchange) awaitSettings(p *pool, t *trunk, by time.Duration) *failure {
	for !t.Settled() {
		if err := t.Err(); err != nil {
			return dialFailure(err)
		}
		if f := x.awaitPool(p, by); f != nil {
			p.cut(t)
			return f
		}
	}
	return nil
}

// by is the loop's time at which connecting has taken too long, 0: never.
func (x *exchange) by() time.Duration {
	limit := x.within(x.shard.set.ConnectTimeout)
	if limit <= 0 {
		return 0
	}
	return x.shard.loop.Now() + limit
}

// until is how long it is up to a time that by has named, as a bound: 0 is none.
func (x *exchange) until(by time.Duration) time.Duration {
	if by == 0 {
		return 0
	}
	return max(by-x.shard.loop.Now(), 1)
}

// awaitPool waits for something to happen in a pool.
func (x *exchange) awaitPool(p *pool, by time.Duration) *failure {
	p.waiting = append(p.waiting, x.task)
	limit := time.Duration(-1)
	if by > 0 {
		limit = max(by-x.shard.loop.Now(), 0)
	}
	err := x.task.Wait(limit, eventloop.Interest{Conn: x.conn})
	p.forget(x.task)
	switch {
	case err != nil:
		return dialFailure(err)
	case x.conn.Has(eventloop.Broken):
		return clientFailure(x.gone())
	}
	return nil
}

// lay makes a trunk of a connection.
func (p *pool) lay(k *link) *trunk {
	t := &trunk{fresh: true}
	k.conn.SetWriteTimeout(0)
	t.Client = h2.NewClient(k.conn, p.shard.http2(&p.shard.requests.Endpoints, p.shard.set.UpstreamIdle))
	t.OnChange(func() { p.changed(t) })
	p.trunks = append(p.trunks, t)
	return t
}

// stream opens a stream on the trunk that has the fewest, or returns nil if none has one to give.
func (p *pool) stream() (*link, error) {
	best := p.freest()
	if best == nil {
		return nil, nil
	}
	conn, err := best.Open()
	if err != nil {
		return nil, err
	}
	p.shard.requests.Reused.Add(1)
	return p.shard.strand(conn, p, best), nil
}

// strand returns the link of a stream.
func (s *shard) strand(conn *eventloop.Conn, p *pool, t *trunk) *link {
	n := len(s.strands)
	if n == 0 {
		return &link{conn: conn, pool: p, trunk: t}
	}
	k := s.strands[n-1]
	s.strands = s.strands[:n-1]
	*k = link{conn: conn, pool: p, trunk: t}
	return k
}

// changed looks after a trunk of which something has changed. One that nobody uses stays for
// UpstreamIdle, which it looks to itself, unless no connection is to be kept at all.
func (p *pool) changed(t *trunk) {
	if t.Err() != nil || t.Streams() == 0 && !t.fresh && (!t.Usable() || p.left || p.shard.draining || p.shard.set.PoolPerEndpoint == 0) {
		p.cut(t)
	}
	p.wake()
}

// cut takes a trunk out, and closes it; its own task closes the socket.
func (p *pool) cut(t *trunk) {
	for i, other := range p.trunks {
		if other == t {
			p.trunks = append(p.trunks[:i], p.trunks[i+1:]...)
			t.Close()
			p.endpoint.Disconnect()
			p.shard.requests.Closed.Add(1)
			if kind, yes := t.Abuse(); yes {
				p.abused(kind)
			}
			return
		}
	}
}

// leave closes the trunks on which nothing is; the others follow when the last stream has ended.
func (p *pool) leave(gone bool) {
	p.left = p.left || gone
	for i := len(p.trunks) - 1; i >= 0; i-- {
		if t := p.trunks[i]; t.Streams() == 0 && !t.fresh {
			p.cut(t)
		}
	}
}

// wake lets those look again who wait for a trunk.
func (p *pool) wake() {
	for _, t := range p.waiting {
		t.Interrupt()
	}
}

func (p *pool) forget(t *eventloop.Task) {
	for i, other := range p.waiting {
		if other == t {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return
		}
	}
}

// refusedFailure is a stream that the endpoint has said it did not process, or that could not be
// opened: sending it again is always safe.
func refusedFailure(err error) *failure {
	return &failure{cause: metrics.CauseReset, status: http.StatusBadGateway, text: "the endpoint did not take the request", err: err, retry: metrics.RetryRefused}
}

// settle tells the endpoint how a call of gRPC has ended whose head promised well: its status
// stands behind the messages.
func (x *exchange) settle() {
	if !x.grpc || x.resp.Status != http.StatusOK {
		return
	}
	if _, told := x.grpcHead(); told {
		return
	}
	code := x.grpcEnd()
	x.countGRPC(code)
	r := grpcResult(code)
	if x.pending {
		if r.Outcome == upstream.Success {
			r = x.unjudged
		}
		x.pending = false
		x.lease.Report(r)
	} else if r.Outcome.Failure() {
		x.lease.Break(r)
	}
}

// grpcEnd is the status behind the messages.
func (x *exchange) grpcEnd() metrics.GRPCCode {
	var n int
	var told bool
	if x.up.trunk != nil {
		n, told = h2.Status(x.up.conn)
	} else {
		n, told = x.back.body.GRPCStatus()
	}
	if !told || n < 0 || n >= int(metrics.GRPCMissing) {
		return metrics.GRPCMissing
	}
	return metrics.GRPCCode(n)
}

// promiseAfter is how long a call of gRPC may last before its head counts: it says how a short one
// has ended only with its trailers, and a stream may last for hours.
const promiseAfter = time.Second

// openEnded tells whether the response is a call of gRPC of which the end is still to come. One that
// decides about an endpoint that has been ejected counts by its head.
func (x *exchange) openEnded() bool {
	if !x.grpc || x.resp.Status != http.StatusOK || x.lease.Probe() {
		return false
	}
	_, ended := x.grpcHead()
	return !ended
}

// promise tells the endpoint's account of a call that lasts: so far it is a success.
func (x *exchange) promise() {
	if x.shard.loop.Now() >= x.started+x.firstByte+promiseAfter {
		x.pending = false
		x.lease.Report(x.unjudged)
	}
}

var errNoTrunk = errors.New("no connection to the endpoint has a stream to give")
