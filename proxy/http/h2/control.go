package h2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"sidecar/internal/eventloop"
)

// Parameters of SETTINGS (RFC 9113 §6.5.2).
const (
	settingTable      = 1
	settingPush       = 2
	settingStreams    = 3
	settingWindow     = 4
	settingFrame      = 5
	settingHeaderList = 6
)

// sendSettings says what we allow: the first that is sent.
func (c *conn) sendSettings() {
	type setting struct {
		id    uint16
		value uint32
	}
	first := setting{settingStreams, c.opts.MaxStreams}
	if c.client {
		first = setting{settingPush, 0}
	}
	all := [...]setting{first, {settingWindow, uint32(c.opts.Window)}, {settingHeaderList, uint32(c.opts.HeaderList)}}
	c.room()
	c.out = appendHeader(c.out, 6*len(all), frameSettings, 0, 0)
	for _, s := range all {
		c.out = binary.BigEndian.AppendUint16(c.out, s.id)
		c.out = binary.BigEndian.AppendUint32(c.out, s.value)
	}
	if more := c.opts.ConnWindow - firstWindow; more > 0 {
		c.out = appendWindow(c.out, 0, more)
		c.recvWindow += more
	}
	c.schedule()
}

func (c *conn) beginSettings(f *frame) *Error {
	switch {
	case f.flags&flagAck != 0 && (f.length != 0 || !c.settled):
		return broken(FrameSizeError, "SETTINGS")
	case f.length%6 != 0:
		return broken(FrameSizeError, "SETTINGS")
	}
	if err := onConnection(f); err != nil {
		return err
	}
	if f.flags&flagAck != 0 {
		if c.acked {
			c.idling(FloodSettings)
			return nil
		}
		c.acked = true
		c.resizeOwn(c.opts.Window)
		return nil
	}
	c.idling(FloodSettings)
	if f.length > 6*maxSettings {
		c.flood(FloodSettings)
		return nil
	}
	f.prefix = f.length
	return nil
}

// takeSettings does what the peer's settings say, and says so. All windows are changed once only,
// however often a frame says how large they are.
func (c *conn) takeSettings(b []byte) *Error {
	window := c.peerWindow
	for ; len(b) >= 6; b = b[6:] {
		id, v := binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])
		if id == settingWindow {
			if v > maxWindow {
				return broken(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE")
			}
			window = int(v)
		} else if err := c.takeSetting(id, v); err != nil {
			return err
		}
	}
	if window != c.peerWindow {
		if err := c.resizeWindows(window); err != nil {
			return err
		}
	}
	first := !c.settled
	c.settled = true
	c.room()
	c.out = appendHeader(c.out, 0, frameSettings, flagAck, 0)
	c.answer()
	if first && c.client && c.peerMax == unknownMax {
		c.peerMax = maxStreamID
	}
	c.notify()
	return nil
}

func (c *conn) takeSetting(id uint16, v uint32) *Error {
	switch id {
	case settingTable:
		c.packer.tableSize(v)
	case settingPush:
		if v > 1 || v == 1 && c.client {
			return broken(ProtocolError, "SETTINGS_ENABLE_PUSH")
		}
	case settingStreams:
		c.peerMax = min(v, maxStreamID)
	case settingFrame:
		if v < defaultFrame || v > 1<<24-1 {
			return broken(ProtocolError, "SETTINGS_MAX_FRAME_SIZE")
		}
		c.peerFrame = int(v)
	}
	return nil
}

// beginPriority checks PRIORITY, which may name any stream, and is of no effect (RFC 9113 §5.3.2).
func (c *conn) beginPriority(f *frame) *Error {
	if f.id == 0 {
		return broken(ProtocolError, "PRIORITY without a stream")
	}
	c.idling(FloodPriorities)
	if f.length != 5 {
		f.pad = f.length
		c.refuse(f.id, FrameSizeError)
		return nil
	}
	f.prefix = 5
	return nil
}

func (c *conn) takePing(f *frame, data uint64) {
	c.idling(FloodPings)
	switch {
	case c.err != nil:
	case f.flags&flagAck == 0:
		c.room()
		c.out = appendPing(c.out, flagAck, data)
		c.answer()
	case data == pingDrain && c.drain == warned:
		c.drainLast()
	}
}

// takeReset is the end of a stream by the peer.
func (c *conn) takeReset(id uint32, code Code) {
	s := c.streams[id]
	if s == nil {
		c.idling(FloodResets)
		return
	}
	c.opts.Counters.ResetsIn.Add(1)
	if !c.client && !s.ended && c.loop.Now()-s.opened < resetAge {
		c.resetting()
	}
	err := &Error{Code: code, Stream: true, Remote: true}
	if c.client && s.peerDone {
		// The response is complete; the server only does not want the rest of the request.
		s.stop = err
		c.forget(s)
		s.signal(eventloop.Writable)
		return
	}
	err.unprocessed = code == RefusedStream && c.client && !s.headed
	if err.unprocessed {
		c.opts.Counters.Refused.Add(1)
	}
	c.lose(s, err)
}

// takeGoaway is the announcement that the peer looks at no stream above last any more.
func (c *conn) takeGoaway(last uint32, code Code) {
	c.opts.Counters.GoawaysIn.Add(1)
	c.idling(FloodEmpty)
	c.away = true
	if c.client {
		err := &Error{Code: code, Remote: true, unprocessed: true}
		for s := c.all.first; s != nil; s = s.links[inAll].next {
			if s.err == nil && !s.orphan && !s.peerDone && (s.id == 0 || s.id > last) {
				s.err = err
				c.forget(s)
				c.told = append(c.told, s.conn)
			}
		}
		c.tell(ends)
	}
	c.notify()
}

// withhold takes back the heads of which no octet has been sent, and all behind the first of them:
// the users of these streams hear that the server knows nothing of them, and may ask elsewhere.
func (c *conn) withhold() {
	first := uint64(math.MaxUint64)
	for s := c.all.first; s != nil && c.client; s = s.links[inAll].next {
		if s.id != 0 && s.headAt >= c.flushed {
			first = min(first, s.headAt)
		}
	}
	if first == math.MaxUint64 {
		return
	}
	told := new(Error)
	errors.As(c.err, &told)
	c.out = appendGoaway(c.out[:c.sent+int(first-c.flushed)], c.lastTold, told.Code, told.Reason)
}

// breakStreams ends all streams because the connection has ended. Of those of which not an octet
// was sent the peer knows nothing.
func (c *conn) breakStreams() {
	if c.all.first == nil {
		return
	}
	unsent := fmt.Errorf("%w: %w", ErrUnprocessed, c.err)
	var next *stream
	for s := c.all.first; s != nil; s = next {
		next = s.links[inAll].next
		c.forget(s)
		switch {
		case s.orphan:
			c.release(s)
			continue
		case s.err != nil || s.peerDone && (s.ended || c.client):
			continue // it has ended, or what it is still read from has
		case c.client && (s.id == 0 || c.flushed <= s.headAt):
			s.err = unsent
		default:
			s.err = c.err
		}
		c.told = append(c.told, s.conn)
	}
	c.tell(ends)
}

// ends is what is true of a stream that has ended before its time.
const ends = eventloop.Readable | eventloop.Writable | eventloop.HalfClosed | eventloop.Broken
