package h2

import (
	"errors"
	"os"

	"sidecar/internal/eventloop"
)

const (
	// outMost is how many octets may wait to be sent on a connection before its streams have to
	// wait.
	outMost = 256 << 10
	// quantum is how much data of one stream is taken before others have their turn.
	quantum = 64 << 10
)

// waiting is how many octets wait to be sent.
func (c *conn) waiting() int { return len(c.out) - c.sent }

// schedule has all that is ready sent at the end of this turn, in one write.
func (c *conn) schedule() {
	if !c.scheduled && !c.ended {
		c.scheduled = true
		c.loop.AtTurnEnd(c)
	}
}

// answer is schedule for answers to frames, which are never held back. Who makes us answer
// without end and does not read is not worth the memory.
func (c *conn) answer() {
	if c.waiting() > outMost+backlogMost {
		c.flood(FloodBacklog)
	}
	c.schedule()
}

// Flush is called by the loop at the end of the turn.
func (c *conn) Flush() {
	c.scheduled = false
	if c.ended || c.sent == len(c.out) || c.err != nil && isFinal(c.err) {
		return
	}
	n, err := c.sock.TryWrite(c.out[c.sent:])
	if err != nil && err != eventloop.ErrWouldBlock {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			c.fail(err)
		}
		c.Changed(c.sock) // the task finds out
		return
	}
	c.sent += n
	c.flushed += uint64(n)
	if n > 0 {
		c.round++
	}
	if c.sent < len(c.out) {
		if n > 0 || !c.stalling {
			c.stalling = true
			c.sock.SetWriteTimeout(c.opts.Stall)
		}
		c.compact()
	} else {
		if c.stalling {
			c.stalling = false
			c.sock.SetWriteTimeout(0)
		}
		c.empty()
	}
	if n > 0 {
		c.grant()
	}
}

// isFinal tells whether nothing can be sent any more.
func isFinal(err error) bool {
	var told *Error
	return !errors.As(err, &told)
}

// stalled tells whether the peer has taken nothing for too long.
func (c *conn) stalled() bool {
	_, err := c.sock.TryWrite(nil)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// compact moves what is left to the front when most has been sent.
func (c *conn) compact() {
	if c.sent >= len(c.out)/2 {
		c.out = c.out[:copy(c.out, c.out[c.sent:])]
		c.sent = 0
	}
}

// empty gives the buffer back, all of which has been sent. One that had to grow is kept as long
// as there are streams, which will need it again.
func (c *conn) empty() {
	c.sent = 0
	if cap(c.out) <= eventloop.BufferSize || c.live == 0 {
		c.loop.Release(c.out)
		c.out = nil
		return
	}
	c.out = c.out[:0]
}

// room makes sure that there is a buffer to append to.
func (c *conn) room() {
	if c.out == nil {
		c.out = c.loop.Buffer()[:0]
	}
}

// capacity is how much data may be sent now, of all streams.
func (c *conn) capacity() int { return min(c.sendWindow, outMost-c.waiting()) }

// enqueue has the stream wait for its turn to send.
func (c *conn) enqueue(s *stream) {
	if s.in[inLine] {
		return
	}
	if s.turn && (s.round != c.round || s.burst == 0) {
		c.line.unshift(s) // its turn came to nothing
	} else {
		c.line.push(s)
	}
	s.turn = false
	c.blocked()
	if c.waiting() == 0 && c.sendWindow > 0 && c.task != nil {
		c.task.Wake() // nothing else will tell
	}
}

// grant tells those that wait that they may send, in turn, as many as there is room for. They
// may not make use of it; so if others are left, the task looks again when they have run. If it
// is the task that asks, again tells it to.
func (c *conn) grant() (again bool) {
	if c.line.first == nil || c.err != nil {
		return false
	}
	some := false
	for left := c.capacity(); left > 0; {
		s := c.line.shift()
		if s == nil {
			break
		}
		s.turn, some = true, true
		left -= max(min(quantum, s.window), 1)
		c.told = append(c.told, s.conn)
	}
	c.tell(eventloop.Writable)
	again = some && c.line.first != nil
	if again && c.task != nil {
		c.task.Wake()
	}
	return again
}

// tell signals what has become true to those that were noted. One may be closed by what another
// one's user does, which it knows itself.
func (c *conn) tell(what eventloop.Events) {
	told := c.told
	c.told = nil // who is told may tell others
	for i, s := range told {
		told[i] = nil
		s.Signal(what)
	}
	c.told = told[:0]
}
