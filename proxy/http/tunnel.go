package http

import (
	"bytes"
	"errors"
	"net/http"
	"os"

	"sidecar/accesslog"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

// errEndpointDown is why a tunnel was cut that had an endpoint which is gone or down.
var errEndpointDown = errors.New("the endpoint was retired or marked down")

// switches reports whether the response is the switch of protocols that the client has asked
// for (RFC 9110 §7.8): to one of those that it has named.
func (x *exchange) switches() bool {
	if !x.req.Upgrade || !x.resp.Upgrade {
		return false
	}
	to := x.resp.Get(h1.KindUpgrade)
	for _, offer := range bytes.Split(x.req.Get(h1.KindUpgrade), []byte(",")) {
		if bytes.EqualFold(bytes.TrimSpace(offer), to) {
			return true
		}
	}
	return false
}

// tunneled reports whether the exchange became a tunnel.
func (x *exchange) tunneled() bool { return x.status == http.StatusSwitchingProtocols }

// appendUpgrade passes the Upgrade field on, which is between neighbours and therefore our
// own here.
func appendUpgrade(out []byte, h *h1.Head) []byte {
	out = append(out, "Connection: Upgrade\r\n"...)
	return h1.AppendField(out, "Upgrade", h.Get(h1.KindUpgrade))
}

// tunnel turns the pair of connections into a tunnel: behind the head of the response, bytes
// pass both ways until both have ended. What came early on either side goes first.
func (x *exchange) tunnel() *failure {
	s := x.shard
	now := s.loop.Now()
	x.begun, x.last, x.status = true, true, x.resp.Status
	x.lease.Report(upstream.Result{Outcome: upstream.Success, Latency: now - x.waited})
	x.firstByte = now - x.started
	s.requests.FirstByte.Observe(x.firstByte)
	x.recordResponse()
	x.recordTry(accesslog.OutcomeOK, x.status)
	s.requests.Tunnels.Add(1)
	x.client.tunnel = x.lease.Endpoint()
	defer func() {
		x.client.tunnel = nil
		s.requests.TunnelsEnded.Add(1)
	}()

	x.bound(0, 0)
	x.up.conn.SetReadTimeout(0) // set by converse
	var stream h1.Body
	stream.Init(h1.UntilClose, 0)
	x.head = x.appendResponse(x.head[:0])
	x.back.start(x.up.conn, x.conn, x.head, stream, x.ub, x.headEnd, x.uw, false)
	x.out.start(x.conn, x.up.conn, nil, stream, x.out.buf, x.out.next, x.out.end, false)
	f := x.carry()
	x.in, x.ub = x.out.buf, x.back.buf
	if f != nil {
		x.up.conn.Reset() // neither side may take what it has got for the whole
	}
	return f
}

// carry moves both directions until both have ended, one has broken, or nothing has moved for
// StreamIdle.
func (x *exchange) carry() *failure {
	var ended [2]bool
	for {
		out, back := x.out.step(), x.back.step()
		for i, f := range []*flow{&x.out, &x.back} {
			if st := [2]state{out, back}[i]; st == finished && !ended[i] {
				ended[i] = true
				if err := f.to.CloseWrite(); err != nil {
					return x.torn(f.to, err)
				}
			} else if st == failedRead {
				return x.torn(f.from, f.err)
			} else if st == failedWrite {
				return x.torn(f.to, f.err)
			}
		}
		if ended[0] && ended[1] {
			return x.emptied()
		}
		if out == unfinished || back == unfinished {
			continue
		}
		x.out.lighten()
		x.back.lighten()
		if f := x.idle(out, back); f != nil {
			return f
		}
	}
}

// emptied waits until both sides have got what TLS may still hold for them.
func (x *exchange) emptied() *failure {
	for _, side := range [...]*eventloop.Conn{x.conn, x.up.conn} {
		if err := side.Flush(x.shard.set.StreamIdle); errors.Is(err, os.ErrDeadlineExceeded) {
			return &failure{cause: metrics.CauseIdleTimeout, err: err}
		} else if err != nil {
			return x.torn(side, err)
		}
	}
	return nil
}

// idle waits until something can be moved.
func (x *exchange) idle(out, back state) *failure {
	client, up := wants(out, back)
	limit := x.shard.set.StreamIdle
	if limit <= 0 {
		limit = -1
	}
	var err error
	switch {
	case client != 0 || !x.conn.Has(eventloop.Broken):
		err = x.park(limit, client, up)
	case !x.back.body.Done():
		return x.torn(x.conn, x.gone())
	default: // both have ended it; only the endpoint is waited for
		err = x.task.Wait(limit, eventloop.Interest{Conn: x.up.conn, Events: up})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &failure{cause: metrics.CauseIdleTimeout, err: err}
	}
	if err != nil {
		return clientFailure(err)
	}
	return nil
}

// torn is the end of a tunnel of which one side has broken.
func (x *exchange) torn(side *eventloop.Conn, err error) *failure {
	switch {
	case errors.Is(err, errDraining), errors.Is(err, eventloop.ErrClosed):
		return &failure{cause: metrics.CauseDraining, err: err}
	case errors.Is(err, errEndpointDown):
		return &failure{cause: metrics.CauseEndpointDown, err: err}
	case side == x.conn:
		return &failure{cause: metrics.CauseClientGone, err: err}
	}
	return &failure{cause: metrics.CauseReset, err: err}
}

// lighten gives the buffer back while there is nothing in it: tunnels may be many, and silent
// for hours.
func (f *flow) lighten() {
	if f.buf != nil && !f.pending() && f.next == f.end {
		f.task.Loop().Release(f.buf)
		f.empty()
	}
}

// cutTunnels ends the tunnels of an endpoint.
func (s *shard) cutTunnels(e *upstream.Endpoint) {
	for c := s.clients; c != nil; {
		next := c.next
		if t := c.tunnel; t == e || t != nil && t.Retired() && t.Address() == e.Address() {
			c.conn.Abort(errEndpointDown)
		}
		c = next
	}
}
