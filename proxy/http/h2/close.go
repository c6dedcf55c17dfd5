package h2

import "time"

// orphanTime is how long a peer has to end a stream that is complete.
const orphanTime = 5 * time.Second

// Close ends the stream. What is missing of it the peer learns by a reset. But if both messages
// are complete and the peer only has not said so yet, with a frame of its own behind the last
// octet that Content-Length has announced, it will, and need not be disturbed.
func (s *stream) Close(reset bool) {
	c := s.c
	code := Cancel
	switch {
	case s.complete() && c.err == nil && c.streams[s.id] == s:
		s.orphan, s.conn = true, nil
		c.taken(s.unread)
		s.unread = 0
		s.inbox.clear(c.loop)
		if c.orphans++; c.orphans == 1 {
			c.orphaned = c.loop.Now()
			c.arm()
		}
		return
	case c.client:
	case s.ended:
		code = NoError // the rest of the request is not needed (RFC 9113 §8.1)
	case reset:
		code = InternalError
	}
	if c.err == nil {
		c.abandon(s, code)
	}
	c.forget(s)
	c.release(s)
}

// complete reports whether we have ended the stream, and all has come that the peer has announced.
func (s *stream) complete() bool {
	return s.ended && !s.peerDone && s.headed && !s.frame.chunked && !s.frame.discard && s.frame.left == 0
}

// release takes back a stream that neither its user nor the peer will touch any more.
func (c *conn) release(s *stream) {
	if s.orphan {
		c.orphans--
	}
	if s.unread > 0 && c.err == nil {
		c.taken(s.unread)
	}
	c.all.remove(s)
	c.discard(s)
	c.left()
}

// expire resets the orphans if there were any all the time that one has: a peer that ends its
// streams leaves none.
func (c *conn) expire(now time.Duration) {
	if c.orphans == 0 || now-c.orphaned < c.orphanTime {
		return
	}
	c.orphaned = now
	for s := c.all.first; s != nil; {
		next := s.links[inAll].next
		if s.orphan {
			c.abandon(s, NoError)
			c.release(s)
		}
		s = next
	}
}

// left counts a stream that is not there any more.
func (c *conn) left() {
	c.live--
	if c.ended || c.err != nil {
		return
	}
	if c.live == 0 {
		c.idleSince = c.loop.Now()
		c.arm()
		if c.over() && c.task != nil {
			c.task.Wake()
		}
	}
	if c.live == 0 || c.live == c.limit()-1 {
		c.notify()
	}
}
