package h2

import "sidecar/internal/eventloop"

const (
	// firstWindow is the size of every window until something else is said (RFC 9113 §6.9.2).
	firstWindow = 65535
	maxWindow   = 1<<31 - 1
	maxStreamID = 1<<31 - 1
)

// give gives n octets of the connection's window back to the peer. It is told when half of the
// window has come together.
func (c *conn) give(n int) {
	c.owed += n
	if c.owed >= c.opts.ConnWindow/2 && c.err == nil {
		c.offer()
	}
}

// taken gives back n octets that the user of a stream has read. A client's connection has had
// them back when they came: it is shared by many, of whom some may not read for long, and what
// waits for these must not use up the window of the others. Their own windows bound it.
func (c *conn) taken(n int) {
	if !c.client {
		c.give(n)
	}
}

func (c *conn) offer() {
	c.room()
	c.out = appendWindow(c.out, 0, c.owed)
	c.recvWindow += c.owed
	c.owed = 0
	c.answer()
}

// give is the same for the stream's window, as long as the peer has something to send.
func (s *stream) give(c *conn, n int) {
	s.owed += n
	if s.owed >= c.opts.Window/2 && !s.peerDone && s.err == nil && c.err == nil {
		c.room()
		c.out = appendWindow(c.out, s.id, s.owed)
		s.recvWindow += s.owed
		s.owed = 0
		c.answer()
	}
}

// takeWindow handles WINDOW_UPDATE.
func (c *conn) takeWindow(id uint32, n int) *Error {
	c.idling(FloodWindows)
	if id == 0 {
		if n == 0 {
			return broken(ProtocolError, "a window grows by nothing")
		}
		if c.sendWindow += n; c.sendWindow > maxWindow {
			return broken(FlowControlError, "the connection's window is too large")
		}
		c.grant()
		return nil
	}
	s := c.streams[id]
	switch {
	case s == nil: // it was closed meanwhile
	case n == 0:
		c.refuse(id, ProtocolError)
	case s.window+n > maxWindow:
		c.refuse(id, FlowControlError)
	default:
		s.window += n
		s.windowGrown()
	}
	return nil
}

// windowGrown tells a stream that has waited for its window.
func (s *stream) windowGrown() {
	if s.starved && s.window > 0 {
		s.c.sate(s)
		s.signal(eventloop.Writable)
	}
}

// resizeWindows handles SETTINGS_INITIAL_WINDOW_SIZE, which changes the windows of all streams
// and may make them negative (RFC 9113 §6.9.2).
func (c *conn) resizeWindows(size int) *Error {
	by := size - c.peerWindow
	c.peerWindow = size
	for _, s := range c.streams {
		if s.window += by; s.window > maxWindow {
			return broken(FlowControlError, "a stream's window is too large")
		}
		if s.starved && s.window > 0 {
			c.sate(s)
			c.told = append(c.told, s.conn)
		}
	}
	c.tell(eventloop.Writable)
	return nil
}

// resizeOwn is the same for what we receive, as soon as the peer has acknowledged our settings.
func (c *conn) resizeOwn(size int) {
	by := size - c.ourWindow
	c.ourWindow = size
	for _, s := range c.streams {
		s.recvWindow += by
	}
}

// starve has the stream wait for its window.
func (c *conn) starve(s *stream) {
	if !s.starved {
		s.starved, s.turn = true, false
		c.starving++
	}
	c.blocked()
}

func (c *conn) sate(s *stream) {
	if s.starved {
		s.starved = false
		c.starving--
	}
}

// blocked takes note if by now half of the streams that a client may open wait for windows. It
// may have reason not to read a response, and the user of the stream says for how long; but
// not so many, and none of them.
func (c *conn) blocked() {
	if c.stuck == 0 && c.manyBlocked() {
		c.stuck = c.loop.Now()
		c.arm()
	}
}

func (c *conn) manyBlocked() bool {
	return !c.client && c.starving+c.line.len >= int(c.opts.MaxStreams+1)/2
}
