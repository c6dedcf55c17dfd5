package http

import "sidecar/internal/eventloop"

// wait parks until one of the flows can move, or the client is gone.
func (x *exchange) wait(out, back state) failure {
	var client, up eventloop.Events
	switch out {
	case needRead:
		client |= eventloop.Readable
	case needWrite:
		up |= eventloop.Writable
	}
	switch back {
	case needRead:
		up |= eventloop.Readable
	case needWrite:
		client |= eventloop.Writable
	}
	x.bound(client, up)
	if err := x.task.Wait(-1, eventloop.Interest{Conn: x.conn, Events: client}, eventloop.Interest{Conn: x.up.conn, Events: up}); err != nil {
		return clientFailure(err)
	}
	if x.conn.Has(eventloop.Broken) && client&eventloop.Readable == 0 {
		return clientFailure(errClientGone)
	}
	return failure{}
}

// bound sets the deadlines of what is waited for: a client that sends no body, or takes no
// response, for ClientIdle, an endpoint that takes no request for RequestTimeout. What the
// endpoint has to answer in is set by converse and answer.
func (x *exchange) bound(client, up eventloop.Events) {
	p := x.shard.proxy
	if client&eventloop.Readable != 0 {
		x.conn.SetReadTimeout(p.ClientIdle)
	}
	if client&eventloop.Writable != 0 {
		x.conn.SetWriteTimeout(p.ClientIdle)
	} else if x.bounded&eventloop.Writable != 0 {
		x.conn.SetWriteTimeout(0)
	}
	x.bounded |= client
	if up&eventloop.Writable != 0 {
		x.up.conn.SetWriteTimeout(p.RequestTimeout)
		x.upBounded = true
	} else if x.upBounded {
		x.up.conn.SetWriteTimeout(0)
		x.upBounded = false
	}
	if x.begun && up&eventloop.Readable != 0 {
		x.up.conn.SetReadTimeout(p.StreamIdle)
	}
}

// unbound takes the deadlines back behind an exchange.
func (x *exchange) unbound() {
	if x.bounded != 0 {
		x.conn.SetReadTimeout(0)
		x.conn.SetWriteTimeout(0)
		x.bounded = 0
	}
}
