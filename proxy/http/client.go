package http

import (
	"sidecar/internal/eventloop"
	"sidecar/internal/secure"
	"sidecar/proxy/http/h2"
	"sidecar/proxy/preamble"
	"sidecar/upstream"
)

// A client is a client's connection. There may be very many that wait for a request, so
// what a request needs is in its exchange.
type client struct {
	shard      *shard
	conn       *eventloop.Conn
	next, prev *client
	tunnel     *upstream.Endpoint // what it is connected with for good, or nil
	h2         *h2.Server         // if it speaks HTTP/2; the streams are clients of their own
	busy       bool               // a task serves it
	stream     bool               // it is a stream of HTTP/2
	met        bool               // what comes before its first request has been asked for
	known      bool               // … or is known to speak HTTP/1.1
	leaving    bool               // nothing more is served; it only gets what it was sent
}

// await leaves the connection idle until there is something to read.
func (c *client) await() {
	if !c.conn.Idle(c) {
		c.start()
	}
}

func (c *client) start() {
	c.busy = true
	c.shard.loop.Go(c)
}

// Ready is called by the loop when an idle connection is not idle any more.
func (c *client) Ready(_ *eventloop.Conn, why eventloop.Cause) {
	if why != eventloop.CauseReadable {
		c.dismiss()
		return
	}
	c.start()
}

// Run serves requests until nothing more is there to be read.
func (c *client) Run(t *eventloop.Task) {
	defer c.leave()
	if c.leaving {
		c.empty()
		return
	}
	if !c.stream && !c.met {
		c.met = true
		if !c.introduced(t) || c.shard.set.TLS != nil && !c.secure(t) {
			return
		}
	}
	if first, yes := c.serve(t); yes {
		c.multiplex(t, first)
	}
	if c.busy && !c.stream {
		c.empty()
	}
}

// empty waits until all that the client was sent has left, which TLS may hold: unlike the kernel, the
// layer does not go on when it is closed. Whoever reads nothing for ClientIdle has lost the rest.
func (c *client) empty() { _ = c.conn.Flush(c.shard.set.ClientIdle) }

// dismiss ends an idle connection, as soon as the client has all that it was sent.
func (c *client) dismiss() {
	if left, err := c.conn.TryFlush(); left == 0 || err != nil {
		c.close()
		return
	}
	c.conn.Busy()
	c.leaving = true
	c.start()
}

// introduced takes the PROXY header of those who send one. It is false if that is no header.
func (c *client) introduced(t *eventloop.Task) bool {
	s := c.shard
	if !s.set.AcceptFrom.Has(c.conn) {
		return true
	}
	err := preamble.Receive(t, c.conn, s.set.HeadTimeout)
	if err == nil {
		return true
	}
	s.refused(complaintPreamble, "no PROXY header from one who has to send it", c.conn, err)
	return false
}

// secure makes the client's connection one with TLS. It is false if that has failed, or if all
// that was to be done is done: a client that has agreed on HTTP/2 has been served to its end.
func (c *client) secure(t *eventloop.Task) bool {
	s := c.shard
	conn := secure.Server(c.conn, s.set.TLS)
	c.conn = conn.Upper()
	if err := conn.Handshake(t, s.set.HeadTimeout); err != nil {
		s.accepts.Refused.Add(1)
		s.refused(complaintHandshake, "TLS handshake failed", c.conn, err)
		return false
	}
	if conn.Protocol() == "h2" {
		c.multiplex(t, nil)
		return false
	}
	c.known = true
	return true
}

// serve serves requests of HTTP/1.1. It tells instead what has come if that begins HTTP/2.
func (c *client) serve(t *eventloop.Task) (first []byte, yes bool) {
	x := c.shard.exchange()
	defer x.end()
	x.begin(c, t)
	for {
		if !x.blank() {
			if !c.known && !c.stream && x.prefaced() {
				first, yes = append(first, x.in[x.r:x.w]...), true
				break
			}
			if !x.serve() {
				break
			}
		} else if err := x.read(); err != nil {
			if err == eventloop.ErrWouldBlock && c.idle() {
				c.busy = false
			}
			break
		}
	}
	x.sound = true // nothing has panicked
	return first, yes
}

// prefaced tells whether the client begins with HTTP/2's preface, and reads on while it may.
func (x *exchange) prefaced() bool {
	for {
		yes, more := h2.Preface(x.in[x.r:x.w])
		if yes || !more {
			x.client.known = !yes
			return yes
		}
		x.conn.SetReadTimeout(x.shard.set.HeadTimeout)
		n, err := x.conn.Read(x.in[x.w:])
		if err != nil {
			return false // serve finds it again, and what to say
		}
		x.w += n
	}
}

// multiplex serves a connection of HTTP/2 to its end.
func (c *client) multiplex(t *eventloop.Task, first []byte) {
	c.conn.SetReadTimeout(0)
	s := c.shard
	c.h2 = h2.NewServer(c.conn, s.http2(&s.requests.Clients, s.set.ClientIdle), s.acceptStream)
	if s.draining {
		c.h2.Drain()
	}
	_ = c.h2.Serve(t, first) // how it has ended is in the counters
	if kind, yes := c.h2.Abuse(); yes {
		s.abused(c.conn, kind)
	}
}

// leave closes the connection unless it is idle again.
func (c *client) leave() {
	if c.busy {
		c.close()
	}
}

// idle leaves the connection to the loop; false if it has something to say.
func (c *client) idle() bool {
	limit := c.shard.set.ClientIdle
	if c.shard.draining { // and its last response has not said so
		limit = c.shard.grace
	}
	c.conn.SetReadTimeout(limit)
	return c.conn.Idle(c)
}

func (c *client) close() {
	c.conn.Close()
	c.shard.remove(c)
}
