package h2

import (
	"io"
	"strings"
	"time"

	"sidecar/internal/eventloop"
)

const (
	// keepStreams is how many streams a connection keeps for later, and keepIdle how many of these
	// one that has had none for spareTime.
	keepStreams = 256
	keepIdle    = 8
	spareTime   = 5 * time.Second
)

// A stream is one request and its response. It is the layer of a connection of which the bytes
// are HTTP/1.1: as a server it is read the request from and written the response to, as a
// client the other way round.
type stream struct {
	c      *conn
	conn   *eventloop.Conn // what its user has; nil when that is closed
	id     uint32          // 0 until a client has sent the head
	links  [lists]links
	in     [lists]bool
	kind   listKind // of what is received
	status int      // grpc-status of the list that ended the response, -1: none

	inbox      inbox
	frame      framing
	unread     int // octets of data that are in the inbox
	owed       int // octets read that the peer has not been told of
	recvWindow int
	headed     bool          // the head has been received, of a response the final one
	peerDone   bool          // the peer has ended it
	ended      bool          // … and we have: END_STREAM is on its way
	opened     time.Duration // server: loop time at which it came
	orphan     bool          // nobody uses it any more, but the peer has not ended it yet
	err        error
	stop       error // why nothing can be sent any more, although there is nothing wrong

	text    encoder
	window  int    // what may be sent
	headAt  uint64 // octets sent on the connection in front of its head
	round   uint32 // that burst is of
	burst   int    // data sent since others had a turn
	starved bool   // waits for its own window
	turn    bool   // it has waited, and may send now
}

var _ eventloop.Layer = (*stream)(nil)

// signal tells the stream's user what has become true, if there is one.
func (s *stream) signal(now eventloop.Events) {
	if s.conn != nil {
		s.conn.Signal(now)
	}
}

// newStream returns a stream of which nothing is known.
func (c *conn) newStream() *stream {
	if n := len(c.spare); n > 0 {
		s := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return s
	}
	return &stream{c: c, status: -1}
}

// begin counts a stream that somebody will use.
func (c *conn) begin(s *stream) {
	c.opts.Counters.Streams.Add(1)
	c.all.push(s)
	if c.live++; c.live == 1 && c.client {
		c.arm()
	}
}

// discard keeps the stream for later. Nobody may use it any more.
func (c *conn) discard(s *stream) {
	s.inbox.clear(c.loop)
	*s = stream{c: c, status: -1, inbox: s.inbox, text: s.text}
	if len(c.spare) < keepStreams {
		c.spare = append(c.spare, s)
	}
}

// shrink gives back the memory that only many streams, or large ones, need.
func (c *conn) shrink() {
	c.spare, c.lines = append([]*stream(nil), c.spare[:keepIdle]...), nil
	for _, s := range c.spare {
		*s = stream{c: c, status: -1}
	}
	if len(c.streams) == 0 {
		c.streams = make(map[uint32]*stream)
	}
}

// forget makes the stream one that the peer cannot reach any more.
func (c *conn) forget(s *stream) {
	if s.id != 0 {
		delete(c.streams, s.id)
	}
	c.line.remove(s)
	c.sate(s)
	if c.frame.s == s {
		c.frame.s = nil
	}
	if c.block.s == s {
		c.block.s, c.block.ignore = nil, true
	}
}

// done forgets the stream if both sides have ended it.
func (c *conn) done(s *stream) {
	if s.peerDone && s.ended {
		c.forget(s)
	}
}

// lose ends a stream before its time.
func (c *conn) lose(s *stream, err error) {
	if s.err == nil {
		s.err = err
	}
	c.forget(s)
	if s.orphan {
		c.release(s)
		return
	}
	s.signal(ends)
}

// reset tells the peer that nothing more happens on a stream.
func (c *conn) reset(id uint32, code Code) {
	c.opts.Counters.ResetsOut.Add(1)
	c.gone.add(id)
	c.room()
	c.out = appendReset(c.out, id, code)
	c.answer()
}

// refuse resets a stream, which may not exist, because of what the peer has sent on it.
func (c *conn) refuse(id uint32, code Code) { c.refuseFor(id, code, "") }

// refuseFor is refuse with a reason, which only the stream's user is told.
func (c *conn) refuseFor(id uint32, code Code, reason string) {
	c.reset(id, code)
	if s := c.streams[id]; s != nil {
		c.lose(s, &Error{Code: code, Stream: true, Reason: reason})
	}
	c.resetting()
}

// malformed is the end of a stream of which a message is none, or too large.
func (c *conn) malformed(s *stream, why error) {
	c.refuseFor(s.id, ProtocolError, strings.TrimPrefix(why.Error(), "h2: "))
}

// peerEnded is END_STREAM, with the lines of trailers if there were such.
func (s *stream) peerEnded(c *conn, trailers []byte) {
	s.peerDone = true
	text, err := s.frame.end(s.inbox.open(c.loop, len(trailers)+dataOverhead), trailers)
	s.inbox.put(text)
	if err != nil {
		c.malformed(s, err)
		return
	}
	c.done(s)
	switch {
	case s.orphan:
		c.release(s)
	case c.client:
		s.signal(eventloop.Readable | eventloop.HalfClosed)
	default:
		s.signal(eventloop.Readable)
	}
}

// TryRead reads what has come. A server's stream ends for who reads it when the response is
// complete: as on a connection of HTTP/1.1, the client might still have had something to say.
func (s *stream) TryRead(b []byte) (int, error) {
	c := s.c
	if s.inbox.size > 0 && (s.err == nil || c.client) {
		n := s.inbox.take(c.loop, b)
		// Text is never shorter than its data, so this much has been read for sure; small pieces of
		// data make several times as much text, and may not count as read before that is.
		data := max(s.unread-s.inbox.size, 0)
		if s.unread -= data; data > 0 {
			c.taken(data)
			s.give(c, data)
		}
		if s.inbox.size == 0 && s.err == nil && !s.over() {
			return n, eventloop.ErrWouldBlock // spares the call that would find nothing
		}
		return n, nil
	}
	switch {
	case s.err != nil:
		return 0, s.err
	case s.over():
		return 0, io.EOF
	}
	return 0, eventloop.ErrWouldBlock
}

// over tells whether the stream's user will read no more than there is.
func (s *stream) over() bool {
	if s.c.client {
		return s.peerDone
	}
	return s.ended
}

// TryWrite takes text as far as the windows and what already waits to be sent allow.
func (s *stream) TryWrite(b []byte) (int, error) {
	c := s.c
	if err := s.unwritable(); err != nil {
		return 0, err
	}
	if c.waiting() >= outMost {
		c.enqueue(s)
		return 0, eventloop.ErrWouldBlock
	}
	n, err := s.text.write(b, s)
	if err != nil {
		c.abandon(s, InternalError)
		s.err = err
		return n, err
	}
	if n < len(b) {
		if s.window <= 0 {
			c.starve(s)
		} else {
			c.enqueue(s)
		}
		if n == 0 {
			return 0, eventloop.ErrWouldBlock
		}
	}
	return n, nil
}

// unwritable is why nothing can be sent, or nil.
func (s *stream) unwritable() error {
	switch {
	case s.err != nil:
		return s.err
	case s.stop != nil:
		return s.stop
	case s.c.err != nil:
		return s.c.err
	case s.c.client && s.id == 0 && s.c.next > maxStreamID:
		return ErrUnprocessed
	}
	return nil
}

// headers is for the encoder: HEADERS and what belongs to it.
func (s *stream) headers(block []byte, end bool) {
	c := s.c
	if s.id == 0 {
		// Not before: streams must be opened in the order of their numbers.
		s.id, s.window, s.recvWindow, s.headAt = c.next, c.peerWindow, c.ourWindow, c.flushed+uint64(c.waiting())
		c.next += 2
		c.streams[s.id] = s
	}
	c.room()
	c.out = appendBlock(c.out, block, s.id, end, c.peerFrame)
	c.pushing(0)
	c.schedule()
	if end {
		s.weEnded()
	}
}

// data is for the encoder: DATA, as much as may be sent now.
func (s *stream) data(p []byte, end bool) int {
	c := s.c
	if len(p) == 0 && end {
		c.room()
		c.out = appendHeader(c.out, 0, frameData, flagEndStream, s.id)
		c.schedule()
		s.weEnded()
		return 0
	}
	if c.line.first != nil && !s.turn {
		return 0
	}
	if s.round != c.round {
		s.round, s.burst = c.round, 0
	}
	n := min(len(p), s.window, c.capacity(), quantum-s.burst)
	if n <= 0 {
		return 0
	}
	c.room()
	for rest := p[:n]; len(rest) > 0; {
		k := min(len(rest), c.peerFrame)
		flags := uint8(0)
		if end && n == len(p) && k == len(rest) {
			flags = flagEndStream
		}
		c.out = append(appendHeader(c.out, k, frameData, flags, s.id), rest[:k]...)
		rest = rest[k:]
	}
	s.window -= n
	s.burst += n
	if c.stuck != 0 {
		c.stuck = c.loop.Now()
	}
	c.sendWindow -= n
	c.pushing(n)
	c.schedule()
	if end && n == len(p) {
		s.weEnded()
	}
	return n
}

// weEnded notes that END_STREAM is on its way.
func (s *stream) weEnded() {
	s.ended = true
	if s.peerDone {
		s.c.forget(s)
	}
	if !s.c.client {
		s.signal(eventloop.Readable | eventloop.HalfClosed)
	}
}

// CloseWrite ends what is sent, where only the end tells so. A message that is not complete is
// broken off.
func (s *stream) CloseWrite() error {
	if err := s.unwritable(); err != nil {
		return err
	}
	err := s.text.end(s)
	if err != nil {
		s.c.abandon(s, Cancel)
		s.err = err
	}
	return err
}

// Established tells whether the connection is still there: it was made before its streams.
func (s *stream) Established() (bool, error) {
	if err := s.unwritable(); err != nil {
		return false, err
	}
	return true, nil
}

// abandon resets a stream that is open for either side.
func (c *conn) abandon(s *stream, code Code) {
	if s.id != 0 && c.streams[s.id] == s {
		c.reset(s.id, code)
	}
	c.forget(s)
}
