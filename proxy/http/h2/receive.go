package h2

import (
	"encoding/binary"

	"sidecar/internal/eventloop"
)

// A frame is the one that is being received. What must be seen in one piece, as the payloads of
// control frames, is its prefix; the body is handled as it comes; padding follows.
type frame struct {
	frameHeader
	open   bool
	prefix int // octets still to come, all at once
	body   int
	pad    int
	s      *stream // that DATA is for, nil: nobody's
}

// consume handles what is complete in p, and returns how many octets it was.
func (c *conn) consume(p []byte) (int, *Error) {
	used := 0
	if c.preface > 0 {
		n, err := c.takePreface(p)
		if err != nil || c.preface > 0 {
			return n, err
		}
		used = n
	}
	for c.err == nil {
		rest := p[used:]
		f := &c.frame
		switch {
		case !f.open:
			if len(rest) < headerSize {
				return used, nil
			}
			c.frame = frame{frameHeader: parseHeader(rest), open: true}
			used += headerSize
			if err := c.beginFrame(f); err != nil {
				return used, err
			}
		case f.prefix > 0:
			if len(rest) < f.prefix {
				return used, nil
			}
			used += f.prefix
			n := f.prefix
			f.prefix = 0
			if err := c.takePrefix(f, rest[:n]); err != nil {
				return used, err
			}
		case f.body > 0 || f.pad > 0:
			if len(rest) == 0 {
				return used, nil
			}
			n, err := c.takeBody(f, rest)
			used += n
			if err != nil {
				return used, err
			}
		default:
			f.open = false
			if err := c.endFrame(f); err != nil {
				return used, err
			}
		}
	}
	return used, nil
}

func (c *conn) takePreface(p []byte) (int, *Error) {
	n := min(len(p), c.preface)
	at := len(prefaceText) - c.preface
	if string(p[:n]) != prefaceText[at:at+n] {
		return n, broken(ProtocolError, "no preface")
	}
	c.preface -= n
	return n, nil
}

// beginFrame checks a frame's header and says in what pieces its payload is wanted.
func (c *conn) beginFrame(f *frame) *Error {
	switch {
	case f.length > defaultFrame:
		return broken(FrameSizeError, "the frame is too large")
	case c.block.open && (f.kind != frameContinuation || f.id != c.block.id):
		return broken(ProtocolError, "another frame comes before the end of a header block")
	case !c.settled && f.kind != frameSettings:
		return broken(ProtocolError, "the first frame is not SETTINGS")
	}
	switch f.kind {
	case frameData:
		return c.beginData(f)
	case frameHeaders, frameContinuation:
		return c.beginBlock(f)
	case framePush:
		return broken(ProtocolError, "PUSH_PROMISE was not allowed")
	case framePriority:
		return c.beginPriority(f)
	case frameSettings:
		return c.beginSettings(f)
	case frameReset, frameWindow:
		return c.beginControl(f, 4)
	case framePing:
		return c.beginControl(f, 8)
	case frameGoaway:
		if f.length < 8 {
			return broken(FrameSizeError, "GOAWAY")
		}
		f.prefix, f.pad = 8, f.length-8
		return onConnection(f)
	default:
		f.pad = f.length
		c.idling(FloodEmpty)
		return nil
	}
}

// beginControl checks a frame that has always the same size.
func (c *conn) beginControl(f *frame, size int) *Error {
	if f.length != size {
		return broken(FrameSizeError, "a control frame")
	}
	f.prefix = size
	switch {
	case f.kind == framePing:
		return onConnection(f)
	case f.kind == frameReset || f.id != 0:
		return c.onStream(f)
	}
	return nil
}

func onConnection(f *frame) *Error {
	if f.id != 0 {
		return broken(ProtocolError, "a frame of the connection names a stream")
	}
	return nil
}

// onStream checks that a frame names a stream that was opened at some time.
func (c *conn) onStream(f *frame) *Error {
	if f.id == 0 || c.isIdle(f.id) {
		return broken(ProtocolError, "the stream was not opened")
	}
	return nil
}

// isIdle reports whether a stream has never been open. Those that a server could open, but only
// by PUSH_PROMISE, are.
func (c *conn) isIdle(id uint32) bool {
	if c.client {
		return id%2 == 0 || id >= c.next
	}
	return id%2 == 0 || id > c.lastPeer
}

func (c *conn) takePrefix(f *frame, b []byte) *Error {
	switch f.kind {
	case frameData, frameHeaders:
		pad := 0
		if f.flags&flagPadded != 0 {
			if pad = int(b[0]); pad > f.body {
				return broken(ProtocolError, "there is more padding than payload")
			}
			f.body, f.pad, b = f.body-pad, pad, b[1:]
		}
		if f.kind == frameData {
			c.weigh(f)
			c.give(pad + 1)
			if f.s != nil {
				f.s.give(c, pad+1)
			}
			return nil
		}
		if f.flags&flagPriority != 0 {
			c.block.self = binary.BigEndian.Uint32(b)&maxStreamID == f.id
		}
		return nil
	case framePriority:
		if binary.BigEndian.Uint32(b)&maxStreamID == f.id {
			c.refuse(f.id, ProtocolError)
		}
		return nil
	case frameReset:
		c.takeReset(f.id, Code(binary.BigEndian.Uint32(b)))
		return nil
	case frameSettings:
		return c.takeSettings(b)
	case framePing:
		c.takePing(f, binary.BigEndian.Uint64(b))
		return nil
	case frameGoaway:
		c.takeGoaway(binary.BigEndian.Uint32(b)&maxStreamID, Code(binary.BigEndian.Uint32(b[4:])))
		return nil
	default:
		return c.takeWindow(f.id, int(binary.BigEndian.Uint32(b)&maxWindow))
	}
}

// takeBody handles the next piece of a body or of padding.
func (c *conn) takeBody(f *frame, p []byte) (int, *Error) {
	if f.body == 0 {
		n := min(f.pad, len(p))
		f.pad -= n
		return n, nil
	}
	p = p[:min(f.body, len(p))]
	f.body -= len(p)
	if f.kind == frameData {
		c.takeData(f, p)
		return len(p), nil
	}
	return len(p), c.takeBlock(p)
}

func (c *conn) endFrame(f *frame) *Error {
	switch f.kind {
	case frameData:
		if f.flags&flagEndStream != 0 && f.s != nil {
			f.s.peerEnded(c, nil)
		}
		f.s = nil
	case frameHeaders, frameContinuation:
		if f.flags&flagEndHeaders != 0 {
			return c.endBlock()
		}
	case frameSettings:
		if f.length == 0 && f.flags&flagAck == 0 {
			return c.takeSettings(nil)
		}
	}
	return nil
}

// beginData takes note of a frame with data: all of it counts against the windows, whoever it
// is for (RFC 9113 §6.9.1).
func (c *conn) beginData(f *frame) *Error {
	if f.flags&flagPadded != 0 {
		f.prefix = 1
		if f.length == 0 {
			return broken(FrameSizeError, "padding")
		}
	}
	f.body = f.length - f.prefix
	if err := c.onStream(f); err != nil {
		return err
	}
	if c.recvWindow -= f.length; c.recvWindow < 0 {
		return broken(FlowControlError, "more data than the connection's window")
	}
	if f.prefix == 0 {
		c.weigh(f)
	}
	s := c.streams[f.id]
	switch {
	case s == nil && !c.gone.has(f.id):
		return broken(StreamClosed, "data on a closed stream")
	case s == nil:
		return nil
	case s.peerDone:
		c.refuse(f.id, StreamClosed)
		return nil
	case s.kind == responseList && !s.headed:
		c.refuse(f.id, ProtocolError)
		return nil
	}
	// It may be negative, since we have said that it is smaller, and then nothing passes.
	if s.recvWindow -= f.length; s.recvWindow < 0 && f.length > 0 {
		c.refuse(f.id, FlowControlError)
		return nil
	}
	f.s = s
	return nil
}

// weigh counts a frame of DATA for what it is worth.
func (c *conn) weigh(f *frame) {
	switch ends := f.flags&flagEndStream != 0; {
	case f.body == 0 && !ends:
		c.idling(FloodEmpty)
	case f.body < bonusFrom && !ends:
		c.stir()
	default:
		c.moving(f.body)
	}
}

// takeData hands data to its stream. What nobody wants is given back at once.
func (c *conn) takeData(f *frame, p []byte) {
	if f.s == nil {
		c.give(len(p))
		return
	}
	if c.client {
		c.give(len(p))
	}
	s := f.s
	s.unread += len(p)
	for len(p) > 0 {
		text := s.inbox.open(c.loop, dataOverhead+min(len(p), keepOwn)) // in few pieces
		n := min(len(p), cap(text)-len(text)-dataOverhead)
		text, err := s.frame.data(text, p[:n])
		s.inbox.put(text)
		if err != nil {
			c.malformed(s, err)
			return
		}
		p = p[n:]
	}
	s.signal(eventloop.Readable)
}
