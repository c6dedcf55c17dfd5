package h2

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/net/http2/hpack"

	"sidecar/internal/eventloop"
)

const (
	// settingsTime is how long the peer has to send its settings, and to acknowledge ours.
	settingsTime = 10 * time.Second
	// pingTime is how long it has to answer a ping.
	pingTime = 5 * time.Second
	// quietTime is how long after a ping the next one is sent at the earliest when nothing has
	// moved meanwhile. Servers of gRPC take more than one in five minutes for abuse.
	quietTime = 5*time.Minute + 10*time.Second
	// partTime and partBytes are how long and for how many octets a connection that has ended
	// is still read: with unread octets the kernel would answer with a reset, which may destroy
	// what the peer has not read yet.
	partTime  = time.Second
	partBytes = 1 << 20
)

// A conn is what connections of both roles have in common. Everything is touched on the loop
// only: by the connection's task, which reads, and by whoever uses the streams.
type conn struct {
	sock    *eventloop.Conn
	loop    *eventloop.Loop
	task    *eventloop.Task
	opts    Options
	client  bool
	accept  func(*eventloop.Conn) // server
	changed func()                // client
	err     error                 // why the connection has ended
	abuse   Flood                 // … if it was this, FloodKinds: it was not
	ended   bool                  // nothing is sent any more by Flush

	buf     []byte // of the loop, while it holds a part of a frame or is read into: buf[:got]
	got     int
	preface int // octets of the client's preface that are still to come
	frame   frame
	block   block
	dec     *hpack.Decoder
	list    decoder

	packer    *packer
	out       []byte // frames to be sent; out[:sent] has been
	sent      int
	flushed   uint64 // octets ever sent
	scheduled bool   // Flush will be called
	stalling  bool   // the peer has not taken all, and has until Stall
	round     uint32 // of sending: see stream.burst
	line      list   // streams that wait for room to send
	starving  int    // streams that wait for their own windows

	sendWindow int // what the peer takes of data, of all streams
	peerWindow int // … of a stream when it begins
	peerFrame  int
	peerMax    uint32 // streams that it allows
	recvWindow int    // what it may still send
	owed       int    // octets taken that it has not been told of
	ourWindow  int    // recvWindow of a stream when it begins, as far as the peer knows

	streams  map[uint32]*stream // those that are open for either side
	all      list               // those that somebody uses, and orphans
	spare    []*stream
	told     []*eventloop.Conn // scratch: who is to be signalled
	lines    []byte            // scratch: of trailers
	orphans  int               // of these, those that wait for the peer alone
	live     int               // streams that somebody uses
	lastPeer uint32            // highest stream that the client has opened
	lastTold uint32            // … of which it has been told that it is looked at
	next     uint32            // the next one that we open
	gone     departed

	settled bool // the peer's settings have come
	acked   bool // … and ours are acknowledged
	away    bool // the peer has said GOAWAY
	drain   drainState

	settingsTime, pingTime, quietTime, orphanTime time.Duration // as the constants, but for tests

	began     time.Duration
	heard     time.Duration // when octets came last
	pinged    time.Duration // when a sign of life was asked for, 0: not
	moved     bool          // something has since the last ping: for a client, from the server
	drained   time.Duration // when draining began
	idleSince time.Duration
	stuck     time.Duration // since when many streams wait for windows, and none sends
	orphaned  time.Duration // when the first of the orphans became one
	armed     time.Duration // when the timer will fire, 0: it is not set
	resets    allowance
	frames    allowance
}

type drainState uint8

const (
	serving  drainState = iota
	warned              // GOAWAY has been said of no stream in particular
	draining            // … of the last one that was accepted
)

func newConn(sock *eventloop.Conn, o *Options) *conn {
	c := &conn{
		sock: sock, loop: sock.Loop(), opts: o.filled(),
		sendWindow: firstWindow, peerWindow: firstWindow, ourWindow: firstWindow, recvWindow: firstWindow,
		peerFrame: defaultFrame, streams: make(map[uint32]*stream),
	}
	c.settingsTime, c.pingTime, c.quietTime, c.orphanTime = settingsTime, pingTime, quietTime, orphanTime
	c.moved = true
	c.abuse, c.lastTold = FloodKinds, maxStreamID
	c.opts.Counters.Connections.Add(1)
	c.line.of = inLine
	c.peerMax = unknownMax
	c.packer = newPacker(c.opts.Scheme)
	c.dec = hpack.NewDecoder(tableSize, c.field)
	c.dec.SetMaxStringLength(2 * c.opts.HeaderList) // less than what ends the connection
	sock.SetReadTimeout(0)
	sock.SetWriteTimeout(0)
	c.began = c.loop.Now()
	c.heard, c.idleSince = c.began, c.began
	c.resets = allowance{resetBurst, c.began}
	c.frames = allowance{frameBurst, c.began}
	return c
}

// serve is the connection's task, from the first octet to the last. begun has already been
// read.
func (c *conn) serve(t *eventloop.Task, begun []byte) error {
	c.task = t
	defer c.end()
	c.sock.Watch(c)
	err := c.feed(begun)
	for !c.over() {
		if err == nil {
			err = c.receive()
		}
		switch {
		case err == eventloop.ErrWouldBlock:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.armed = 0
			c.sock.SetReadTimeout(0)
			err = nil
			continue // what is there says whether anything was late
		default:
			c.fail(err)
		}
		err = nil
		c.tick()
		again := c.grant()
		if c.over() {
			break
		}
		c.arm()
		switch {
		case again:
			t.Yield()
		case !c.sock.Has(eventloop.Readable):
			err = t.Park()
		}
	}
	c.fail(errClosed)
	c.part()
	return c.cause()
}

// Changed is called by the loop when something has become true of the connection.
func (c *conn) Changed(*eventloop.Conn) {
	if c.sent < len(c.out) && c.sock.Has(eventloop.Writable) {
		c.schedule()
	}
	if c.task != nil {
		c.task.Wake()
	}
}

// over tells whether the connection has ended, or has nothing left to do.
func (c *conn) over() bool {
	return c.err != nil || c.live == 0 && (c.away || c.drain == draining)
}

// cause is why the connection has ended, nil for an end that was meant.
func (c *conn) cause() error {
	if c.err == errClosed {
		return nil
	}
	return c.err
}

// fail ends the connection, of which the peer cannot be told.
func (c *conn) fail(err error) {
	if c.err != nil || err == nil {
		return
	}
	c.err = err
	if err == io.EOF {
		c.err = errClosed
		if c.live > 0 {
			c.err = io.ErrUnexpectedEOF // for streams it is no end that they were told of
		}
	}
	if c.task != nil {
		c.task.Wake()
	}
}

// quit ends the connection because of what the peer has done, and tells it.
func (c *conn) quit(err *Error) {
	if c.err == nil {
		c.goaway(c.lastPeer, err.Code, err.Reason)
		c.fail(err)
	}
}

// goaway says that no stream above last will be looked at, or above what was said before: streams
// that come behind that are not looked at (RFC 9113 §6.8).
func (c *conn) goaway(last uint32, code Code, reason string) {
	c.lastTold = min(c.lastTold, last)
	last = c.lastTold
	c.opts.Counters.GoawaysOut.Add(1)
	c.room()
	c.out = appendGoaway(c.out, last, code, reason)
	c.schedule()
}

// receive reads and handles frames until nothing is there.
func (c *conn) receive() error {
	for c.err == nil {
		if c.buf == nil {
			if _, err := c.sock.TryRead(nil); err != nil {
				return err
			}
			c.buf, c.got = c.loop.Buffer(), 0
		}
		n, err := c.sock.TryRead(c.buf[c.got:])
		if err != nil {
			c.shelve()
			return err
		}
		c.heard = c.loop.Now()
		c.got += n
		used, bad := c.consume(c.buf[:c.got])
		if bad != nil {
			c.quit(bad)
			break
		}
		c.got = copy(c.buf, c.buf[used:c.got])
		c.task.Rest()
	}
	return c.err
}

// feed handles what was read before the connection was ours.
func (c *conn) feed(p []byte) error {
	for len(p) > 0 && c.err == nil {
		if c.buf == nil {
			c.buf, c.got = c.loop.Buffer(), 0
		}
		n := copy(c.buf[c.got:], p)
		p = p[n:]
		c.got += n
		used, bad := c.consume(c.buf[:c.got])
		if bad != nil {
			c.quit(bad)
			break
		}
		c.got = copy(c.buf, c.buf[used:c.got])
	}
	return c.err
}

// shelve gives the buffer back while there is nothing in it.
func (c *conn) shelve() {
	if c.got == 0 && c.buf != nil {
		c.loop.Release(c.buf)
		c.buf = nil
	}
}

// part takes leave of the peer as far as that is of use: what is ready to be sent is sent, and
// what comes is thrown away until the peer has seen the end.
func (c *conn) part() {
	var told *Error
	if c.err != errClosed && !errors.As(c.err, &told) {
		return
	}
	c.withhold()
	c.breakStreams()
	c.ended = true
	c.sock.Watch(nil)
	patience := partTime
	if c.err == errClosed && !c.client {
		patience = c.opts.Stall // it is to have all of the streams that have ended
	}
	c.sock.SetWriteTimeout(patience)
	if _, err := c.sock.Write(c.out[c.sent:]); err != nil || c.sock.CloseWrite() != nil || c.sock.Flush(patience) != nil {
		return
	}
	b := c.loop.Buffer()
	defer c.loop.Release(b)
	by := c.loop.Now() + partTime
	for left := partBytes; left > 0; {
		wait := by - c.loop.Now()
		if wait <= 0 {
			return
		}
		c.sock.SetReadTimeout(wait)
		n, err := c.sock.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
}

// end closes the connection, and with it all of its streams. It is also reached when the task
// panics.
func (c *conn) end() {
	if c.err == nil {
		c.err = errClosed
	}
	c.ended = true
	c.breakStreams()
	c.sock.Close()
	c.loop.Release(c.buf)
	c.loop.Release(c.out)
	c.buf, c.out, c.sent, c.task = nil, nil, 0, nil
	c.notify()
}
