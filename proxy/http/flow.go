package http

import (
	"io"
	"strconv"

	"sidecar/internal/eventloop"
	"sidecar/proxy/http/h1"
)

// spliceFrom is how much of a body must be left for splice(2) to be worth its pipe.
const spliceFrom = 64 << 10

// smallFill is what a splice must move for a stream without a length to stay with it: below,
// a read and a write cost less.
const smallFill = 8 << 10

// Room that a flow which writes chunks leaves around its data: in front for the chunk's
// size, behind for the line end.
const (
	chunkFront = 10
	chunkBack  = 2
)

// state is what a flow waits for.
type state uint8

const (
	needRead    state = iota // its source has nothing just now
	needWrite                // its destination has no room just now
	unfinished               // nothing: it has moved much, and lets others have a turn
	finished                 // the message has been written to its end
	failedRead               // the source broke off, or sent what is no message
	failedWrite              // the destination does not take any more
)

// A flow moves one message, of which the head is ready to be written, from one connection
// to another. Its buffer is read into at end; what lies in next..end has not been looked at
// yet, what lies in sent..ready may be written.
type flow struct {
	task     *eventloop.Task
	from, to *eventloop.Conn
	head     []byte
	body     h1.Body
	buf      []byte
	sent     int
	ready    int
	next     int
	end      int
	limit    int64 // bytes of data that the message may have, 0: any number
	keep     int   // up to this size the buffer grows, so that the message can be sent again
	spliced  bool  // bytes have gone through a pipe
	bulk     bool  // the source fills the buffer at each read
	encode   bool  // write chunks: the source delimits the body by its end
	reused   bool  // bytes that have been written are gone from buf
	pipe     *eventloop.Pipe
	spill    []byte // for what was not written of a head that is not its own
	written  int64
	broken   bool  // the source has sent what is no message
	err      error // why it failed
}

// maxMoves is how many reads and writes a flow makes in one step: an endpoint may answer
// while the request still comes faster than it can be passed on.
const maxMoves = 64

// start makes the flow one of a new message. buf[next:end] is what was read behind the
// head. With encode there is room for a chunk's size in front of next and for a line end
// behind end.
func (f *flow) start(from, to *eventloop.Conn, head []byte, body h1.Body, buf []byte, next, end int, encode bool) {
	*f = flow{task: f.task, spill: f.spill, from: from, to: to, head: head, body: body, buf: buf,
		sent: next, ready: next, next: next, end: end, encode: encode}
}

// reset makes the flow one of no message.
func (f *flow) reset() { *f = flow{task: f.task, spill: f.spill} }

// empty takes the buffer away, of which nothing is needed any more.
func (f *flow) empty() { f.buf, f.sent, f.ready, f.next, f.end = nil, 0, 0, 0, 0 }

// rewind begins again with another destination. It is for flows that have kept what they
// have written.
func (f *flow) rewind(to *eventloop.Conn, head []byte, first int) {
	f.to, f.head, f.sent, f.err = to, head, first, nil
}

// kept reports whether all that has been read of the body is still in the buffer.
func (f *flow) kept() bool { return !f.reused }

// bare reports whether the end of the connection is all that tells the receiver where the
// message ends.
func (f *flow) bare() bool {
	return f.body.Decode || f.body.Kind == h1.UntilClose && !f.encode
}

// pending reports whether something waits to be written.
func (f *flow) pending() bool {
	return len(f.head) > 0 || f.sent < f.ready || f.pipe != nil && f.pipe.Buffered() > 0
}

// step moves what can be moved now.
func (f *flow) step() state {
	for range maxMoves {
		at := f.next
		if f.sent == f.ready && at < f.end && !f.body.Done() {
			f.check()
		}
		if f.broken {
			return failedRead
		}
		s, ok := state(0), true
		switch {
		case f.pipe != nil && f.pipe.Buffered() > 0:
			s, ok = f.drain()
		case f.pending():
			s, ok = f.write()
		case f.body.Done():
			f.releasePipe()
			return finished
		case f.next == at: // what is there, if anything, is not enough
			s, ok = f.read()
		}
		if !ok {
			return s
		}
		f.task.Rest()
	}
	return unfinished
}

// write writes what it can of head and body. The head may lie in memory that the next task
// writes to, so what is left of it is put aside.
func (f *flow) write() (state, bool) {
	var n int
	var err error
	switch {
	case f.sent == f.ready:
		n, err = f.to.TryWrite(f.head)
	case len(f.head) == 0:
		n, err = f.to.TryWrite(f.buf[f.sent:f.ready])
	default:
		n, err = f.to.TryWritev(f.head, f.buf[f.sent:f.ready])
	}
	f.written += int64(n)
	h := min(n, len(f.head))
	if f.head = f.head[h:]; len(f.head) > 0 {
		f.spill = append(f.spill[:0], f.head...)
		f.head = f.spill
	}
	f.sent += n - h
	if err != nil {
		return f.failed(err, needWrite, failedWrite), false
	}
	return 0, true
}

// failed turns an error of a Try call into a state.
func (f *flow) failed(err error, again, failed state) state {
	if err == eventloop.ErrWouldBlock {
		return again
	}
	f.err = err
	return failed
}

// read takes more from the source; everything before it has been written.
func (f *flow) read() (state, bool) {
	if f.next == f.end && f.large() {
		// What is in a pipe waits in the kernel for its receiver, and a pipe may be large: no
		// more goes in than can go out. A slow receiver gets its bytes through the buffer.
		if room := f.to.Room(); room >= spliceFrom && f.spliceable() {
			return f.fill(room)
		}
	}
	if f.buf == nil {
		if _, err := f.from.TryRead(nil); err != nil && err != io.EOF {
			return f.failed(err, needRead, failedRead), false
		}
		f.buf = f.task.Loop().Buffer()
	}
	room := f.makeRoom()
	n, err := f.from.TryRead(room)
	if err == io.EOF {
		return f.eof()
	}
	if err != nil {
		return f.failed(err, needRead, failedRead), false
	}
	f.end += n
	f.bulk = n == len(room)
	return 0, true
}

// large reports whether what comes next is worth a pipe. Of a stream without a length only
// its pace tells.
func (f *flow) large() bool {
	if f.encode || f.body.Decode || !f.from.Splices() || !f.to.Splices() {
		return false
	}
	if f.spliced && f.body.Kind != h1.UntilClose && f.body.Remaining() >= smallFill {
		return true // the rest of what has begun so
	}
	return f.body.Remaining() >= spliceFrom && (f.body.Kind != h1.UntilClose || f.bulk)
}

// makeRoom returns the space behind what has not been looked at, after moving that to the
// front, or growing the buffer as long as its content is to be kept.
func (f *flow) makeRoom() []byte {
	if f.end < len(f.buf) && f.keep > 0 {
		return f.buf[f.end:]
	}
	if len(f.buf) < f.keep {
		larger := make([]byte, 2*len(f.buf))
		copy(larger, f.buf[:f.end])
		f.task.Loop().Release(f.buf)
		f.buf = larger
		return f.buf[f.end:]
	}
	f.keep = 0
	front, back := 0, 0
	if f.encode {
		front, back = chunkFront, chunkBack
	}
	if f.next != front {
		f.end = front + copy(f.buf[front:], f.buf[f.next:f.end])
		f.sent, f.ready, f.next = front, front, front
	}
	f.reused = true
	if f.end == len(f.buf)-back {
		// A trailer line passes whole, and h1 bounds it. Who has lent the buffer takes that back.
		larger := make([]byte, 2*len(f.buf))
		copy(larger, f.buf[:f.end])
		f.buf = larger
	}
	return f.buf[f.end : len(f.buf)-back]
}

func (f *flow) eof() (state, bool) {
	if err := f.body.End(); err != nil {
		f.err = io.ErrUnexpectedEOF
		return failedRead, false
	}
	if f.encode {
		f.sent, f.ready = 0, copy(f.buf, h1.LastChunk)
		f.next, f.end = f.ready, f.ready
	}
	return 0, true
}

// check looks at what has been read and makes ready what may pass. What was ready before
// has been written. Where the framing is wrong the flow ends: it is broken.
func (f *flow) check() {
	if f.keep == 0 {
		f.sent, f.ready = f.next, f.next
	}
	for f.next < f.end && !f.body.Done() {
		skip, take, err := f.body.Next(f.buf[f.next:f.end])
		if err != nil {
			f.err, f.broken = err, true
			return
		}
		if skip+take == 0 {
			break // the beginning of a trailer line
		}
		from := f.next + skip
		if from != f.ready {
			copy(f.buf[f.ready:], f.buf[from:from+take])
		}
		f.ready += take
		f.next = from + take
	}
	f.measure()
	if f.encode && f.sent < f.ready {
		f.wrap()
	}
}

// measure breaks a flow that has become too large. Nothing of what is too much has been
// passed on.
func (f *flow) measure() {
	if f.limit > 0 && f.body.Seen() > f.limit {
		f.err, f.broken = errBodyTooLarge, true
	}
}

// wrap makes a chunk of what is ready. There is room in front, since what stood there was
// a head or has been left free, and behind.
func (f *flow) wrap() {
	var size [chunkFront]byte
	line := append(strconv.AppendUint(size[:0], uint64(f.ready-f.sent), 16), '\r', '\n')
	f.sent -= len(line)
	copy(f.buf[f.sent:], line)
	f.ready += copy(f.buf[f.ready:], "\r\n")
	f.next, f.end = f.ready, f.ready
}

// spliceable finds a pipe; without one the bytes go through the buffer.
func (f *flow) spliceable() bool {
	if f.pipe == nil {
		f.pipe, _ = f.task.Loop().Pipe()
	}
	return f.pipe != nil
}

func (f *flow) fill(room int) (state, bool) {
	n, err := f.pipe.Fill(f.from, int(min(f.body.Remaining(), int64(room))))
	if err == io.EOF {
		return f.eof()
	}
	if err != nil {
		if err == eventloop.ErrWouldBlock {
			f.releasePipe()
		}
		return f.failed(err, needRead, failedRead), false
	}
	f.reused, f.spliced, f.keep = true, true, 0
	f.bulk = n >= smallFill
	f.body.Skip(int64(n))
	f.measure()
	return 0, true
}

func (f *flow) drain() (state, bool) {
	n, err := f.pipe.Drain(f.to)
	if err != nil {
		return f.failed(err, needWrite, failedWrite), false
	}
	f.written += int64(n)
	return 0, true
}

// releasePipe gives the pipe back while nothing moves through it.
func (f *flow) releasePipe() {
	if f.pipe != nil {
		f.pipe.Release()
		f.pipe = nil
	}
}
