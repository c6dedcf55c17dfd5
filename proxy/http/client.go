package http

import (
	"sidecar/internal/eventloop"
	"sidecar/upstream"
)

// A client is a client's connection. There may be very many that wait for a request, so
// what a request needs is in its exchange.
type client struct {
	shard      *shard
	conn       *eventloop.Conn
	next, prev *client
	tunnel     *upstream.Endpoint // what it is connected with for good, or nil
	busy       bool               // a task serves it
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
		c.close()
		return
	}
	c.start()
}

// Run serves requests until nothing more is there to be read.
func (c *client) Run(t *eventloop.Task) {
	defer c.leave()
	x := c.shard.exchange()
	defer x.end()
	x.begin(c, t)
	for {
		if !x.blank() {
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
}

// leave closes the connection unless it is idle again.
func (c *client) leave() {
	if c.busy {
		c.close()
	}
}

// idle leaves the connection to the loop; false if it is not wanted any more.
func (c *client) idle() bool {
	if c.shard.draining {
		return false
	}
	c.conn.SetReadTimeout(c.shard.proxy.ClientIdle)
	return c.conn.Idle(c)
}

func (c *client) close() {
	c.conn.Close()
	c.shard.remove(c)
}
