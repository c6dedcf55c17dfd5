package http

import (
	"errors"
	"time"

	"sidecar/internal/eventloop"
)

// wait parks until one of the flows can move, or the client is gone.
func (x *exchange) wait(out, back state) *failure {
	client, up := wants(out, back)
	if x.mayProbe() && out == finished && !x.conn.Has(eventloop.HalfClosed) {
		client |= eventloop.HalfClosed
	}
	if out == unfinished || back == unfinished {
		x.bound(0, 0)
	} else {
		x.bound(client, up)
		if err := x.park(-1, client, up); err != nil {
			return clientFailure(err)
		}
	}
	if x.conn.Has(eventloop.Broken) && client&eventloop.Readable == 0 {
		return clientFailure(x.gone())
	}
	return nil
}

// wants says what has to happen on the client's connection and on the endpoint's for flows
// in these states to go on.
func wants(out, back state) (client, up eventloop.Events) {
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
	return client, up
}

// park waits for events, for limit at most unless that is negative. The client is waited
// for in any case, since it may go away. The endpoint's connection is not: one that is broken
// while nobody wants anything of it would end each wait at once.
func (x *exchange) park(limit time.Duration, client, up eventloop.Events) error {
	if c := x.second; c != nil && c.live {
		return x.task.Wait(limit, eventloop.Interest{Conn: x.conn, Events: client}, eventloop.Interest{Conn: x.up.conn, Events: up},
			eventloop.Interest{Conn: c.up.conn, Events: c.wants()})
	}
	if up == 0 {
		return x.task.Wait(limit, eventloop.Interest{Conn: x.conn, Events: client})
	}
	return x.task.Wait(limit, eventloop.Interest{Conn: x.conn, Events: client}, eventloop.Interest{Conn: x.up.conn, Events: up})
}

// mayProbe reports whether an end that the client sends while the endpoint thinks is looked
// into: see probe.
func (x *exchange) mayProbe() bool { return !x.begun && !x.probed && x.req.Minor > 0 }

// probe finds out whether a client that has said it will send no more is still there. Its end
// looks the same whether it waits for the answer, which it shall get then, or has closed the
// connection, and then the endpoint works for nobody. An interim response settles it: who
// waits has to pass over any number of these (RFC 9110 §15.2), and for who is gone the
// kernel answers with a reset, which ends the exchange.
func (x *exchange) probe() {
	if x.mayProbe() && x.conn.Has(eventloop.HalfClosed) {
		x.probed = true
		n, _ := x.conn.TryWrite(stillThere)
		if n > 0 && n < len(stillThere) {
			// What has begun must be whole, or the next response would begin within it.
			_ = x.tell(stillThere[n:])
		}
		x.sent += int64(n)
		x.shard.requests.BytesOut.Add(uint64(n))
	}
}

var stillThere = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// gone says why the client's connection is broken: it went away, or we have cut it.
func (x *exchange) gone() error {
	if _, err := x.conn.TryRead(nil); errors.Is(err, errDraining) || errors.Is(err, eventloop.ErrClosed) {
		return err
	}
	return errClientGone
}

// bound sets deadlines for what is waited for: a client that sends no body, or takes no
// response, has ClientIdle, an endpoint that takes no request RequestTimeout, one that sends
// no more of its response StreamIdle. So has the client of a call of gRPC that sends nothing: a stream
// in both directions may be there to listen. It takes back those for what is not waited for any
// more: time that one side lets pass must not be held against the other. What an endpoint
// has for the head of its response is set by converse.
func (x *exchange) bound(client, up eventloop.Events) {
	set := x.shard.set
	if client|x.bounded != 0 {
		read := set.ClientIdle
		if x.grpc {
			read = set.StreamIdle
		}
		deadlines(x.conn, x.bounded, client, read, set.ClientIdle)
		x.bounded = client
	}
	write := set.RequestTimeout
	if !x.begun {
		up &^= eventloop.Readable
		write = x.within(write)
	}
	if up|x.upBounded != 0 {
		deadlines(x.up.conn, x.upBounded, up, set.StreamIdle, write)
		x.upBounded = up
	}
}

func deadlines(c *eventloop.Conn, before, now eventloop.Events, read, write time.Duration) {
	switch {
	case now&eventloop.Readable != 0:
		c.SetReadTimeout(read)
	case before&eventloop.Readable != 0:
		c.SetReadTimeout(0)
	}
	switch {
	case now&eventloop.Writable != 0:
		c.SetWriteTimeout(write)
	case before&eventloop.Writable != 0:
		c.SetWriteTimeout(0)
	}
}

// tell writes something of our own to the client.
func (x *exchange) tell(b []byte) error {
	x.bounded |= eventloop.Writable
	x.conn.SetWriteTimeout(x.shard.set.ClientIdle)
	n, err := x.conn.Write(b)
	x.sent += int64(n)
	x.shard.requests.BytesOut.Add(uint64(n))
	return err
}
