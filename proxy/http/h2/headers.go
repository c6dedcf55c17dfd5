package h2

import (
	"errors"
	"net/http"
	"strconv"

	"golang.org/x/net/http2/hpack"

	"sidecar/internal/eventloop"
)

// tableSize is the size of HPACK's table, either way.
const tableSize = 4 << 10

// A block is the header block that is being received: HEADERS and its CONTINUATIONs.
type block struct {
	id     uint32
	open   bool
	end    bool // the stream ends with it
	self   bool // it makes the stream depend on itself
	ignore bool // it is decoded because of the table only
	refuse Code // what its stream is reset with then, NoError: it is not
	kind   listKind
	s      *stream // nil if it opens one
	frames int
	size   int
	status int // grpc-status, -1: none
}

// beginBlock decides what a header block is for, if it is HEADERS that begins.
func (c *conn) beginBlock(f *frame) *Error {
	b := &c.block
	if f.kind == frameHeaders {
		if f.id == 0 {
			return broken(ProtocolError, "HEADERS without a stream")
		}
		*b = block{id: f.id, open: true, end: f.flags&flagEndStream != 0, status: -1}
		if err := c.assign(b); err != nil {
			return err
		}
		c.list.begin(b.kind, c.opts.HeaderList)
		c.dec.SetEmitEnabled(!b.ignore)
		if f.flags&flagPadded != 0 {
			f.prefix++
		}
		if f.flags&flagPriority != 0 {
			f.prefix += 5
		}
		if f.prefix > f.length {
			return broken(FrameSizeError, "HEADERS")
		}
	} else if !b.open {
		return broken(ProtocolError, "CONTINUATION without HEADERS")
	}
	f.body = f.length - f.prefix
	b.frames++
	b.size += f.body
	if b.frames > 1+maxContinuations || b.size > 2*c.opts.HeaderList+blockSlack {
		c.flood(FloodHeaders)
	}
	return nil
}

// assign finds the stream of a header block.
func (c *conn) assign(b *block) *Error {
	b.s = c.streams[b.id]
	if s := b.s; s != nil {
		switch {
		case s.peerDone:
			b.ignore, b.refuse = true, StreamClosed
		case s.headed:
			b.kind = trailerList
		default:
			b.kind = responseList
		}
		return nil
	}
	b.ignore = true
	idle := c.isIdle(b.id)
	switch {
	case idle && (c.client || b.id%2 == 0):
		return broken(ProtocolError, "a stream that the peer may not open")
	case !idle && !c.gone.has(b.id):
		return broken(StreamClosed, "HEADERS on a closed stream")
	case !idle:
		return nil
	}
	c.lastPeer = b.id
	switch {
	case c.drain == draining:
		c.gone.add(b.id)
	case c.live >= int(c.opts.MaxStreams):
		b.refuse = RefusedStream
	default:
		b.ignore = false
	}
	return nil
}

// takeBlock decodes a part of a header block.
func (c *conn) takeBlock(p []byte) *Error {
	if _, err := c.dec.Write(p); err != nil {
		return c.undecodable(err)
	}
	return nil
}

func (c *conn) undecodable(err error) *Error {
	if errors.Is(err, hpack.ErrStringLength) {
		c.flood(FloodHeaders)
		return nil
	}
	return broken(CompressionError, "")
}

// field is called by the decoder.
func (c *conn) field(f hpack.HeaderField) {
	c.list.field(f)
	if c.client && f.Name == "grpc-status" {
		if n, err := strconv.ParseUint(f.Value, 10, 31); err == nil {
			c.block.status = int(n)
		}
	}
}

// endBlock handles a header list that is complete.
func (c *conn) endBlock() *Error {
	b := &c.block
	b.open = false
	if err := c.dec.Close(); err != nil {
		return c.undecodable(err)
	}
	switch {
	case b.refuse != NoError:
		if b.refuse == RefusedStream {
			c.opts.Counters.Refused.Add(1)
		}
		c.refuse(b.id, b.refuse)
	case b.ignore:
	case b.self:
		c.refuse(b.id, ProtocolError)
	case b.kind == requestList:
		c.takeRequest(b)
	case b.kind == responseList:
		c.takeResponse(b)
	default:
		c.takeTrailers(b)
	}
	b.s = nil
	return nil
}

func (c *conn) takeRequest(b *block) {
	s := c.newStream()
	text, body, method, err := c.list.request(s.inbox.open(c.loop, 0), b.end)
	s.inbox.put(text)
	switch {
	case err == nil:
	case errors.Is(err, errListTooLarge):
		c.discard(s)
		c.tooLarge(b)
		return
	default:
		c.discard(s)
		c.refuse(b.id, ProtocolError)
		return
	}
	c.moving(0)
	c.begin(s)
	s.id, s.kind, s.headed, s.peerDone, s.frame = b.id, requestList, true, b.end, body
	s.window, s.recvWindow, s.opened = c.peerWindow, c.ourWindow, c.loop.Now()
	c.streams[s.id] = s
	s.text.begin(c.packer, responseList, method)
	s.conn = eventloop.Layered(s, c.sock)
	s.signal(eventloop.Readable)
	c.accept(s.conn)
}

// tooLarge answers a request with too large a head by itself.
func (c *conn) tooLarge(b *block) {
	c.room()
	c.out = appendBlock(c.out, c.packer.answer(http.StatusRequestHeaderFieldsTooLarge), b.id, true, c.peerFrame)
	c.answer()
	if !b.end {
		c.refuse(b.id, NoError)
		return
	}
	c.resetting()
}

func (c *conn) takeResponse(b *block) {
	s := b.s
	if s.inbox.size > c.opts.HeaderList {
		c.refuse(s.id, EnhanceYourCalm) // interim responses that nobody reads count against no window
		return
	}
	text, status, body, err := c.list.response(s.inbox.open(c.loop, 0), b.end, s.text.method())
	s.inbox.put(text)
	if err != nil {
		c.malformed(s, err)
		return
	}
	c.moving(0)
	s.frame = body
	s.headed = status >= http.StatusOK
	if b.end {
		s.status = b.status
		s.peerDone = true
		c.done(s) // an orphan it is not: it has had its response
		s.signal(eventloop.Readable | eventloop.HalfClosed)
		return
	}
	s.signal(eventloop.Readable)
}

func (c *conn) takeTrailers(b *block) {
	s := b.s
	if !b.end {
		c.malformed(s, errTrailersOpen)
		return
	}
	lines, err := c.list.trailers(c.lines[:0])
	if err != nil {
		c.malformed(s, err)
		return
	}
	if c.lines = lines; cap(lines) > keepLines {
		c.lines = nil
	}
	s.status = b.status
	s.peerEnded(c, lines)
}
