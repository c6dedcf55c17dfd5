package tcp

import (
	"io"

	"sidecar/internal/eventloop"
)

// When to change between reading into a buffer and splicing. A buffer filled to the brim
// says that more is waiting than is worth copying. Below smallFill a splice in and a splice
// out cost more than a read and a write; fewer than smallRun of them in a row are taken for
// a pause of the sender.
const (
	smallFill = 8 << 10
	smallRun  = 4
)

// A direction is what one side sends to the other. It is reading when it holds no bytes,
// flushing while it does, and done when it has passed on the end of the stream or broken.
type direction struct {
	src, dst *eventloop.Conn
	buf      []byte          // the loop's, as long as rest is in it
	rest     []byte          // read and not yet written
	pipe     *eventloop.Pipe // kept while there are bytes in it
	moved    uint64          // bytes that dst has taken
	small    uint8           // fills below smallFill in a row
	bulk     bool
	done     bool
}

// flushing tells whether bytes wait for room at the receiver.
func (d *direction) flushing() bool {
	return len(d.rest) > 0 || d.pipe != nil
}

// step moves what can be moved without waiting, one buffer or one pipe at the most, so that
// directions and sessions take turns. blame is the connection that err comes from.
func (d *direction) step(l *eventloop.Loop) (n int, blame *eventloop.Conn, err error) {
	switch {
	case d.done:
		return 0, nil, nil
	case d.flushing():
		n, err = d.flush(l)
		return n, d.dst, err
	case !d.src.Has(eventloop.Readable | eventloop.Broken):
		return 0, nil, nil
	case d.bulk:
		return d.splice(l)
	}
	return d.copy(l)
}

// copy reads a message and writes it at once, through a buffer that is the loop's again
// when step returns, unless the receiver was full.
func (d *direction) copy(l *eventloop.Loop) (n int, blame *eventloop.Conn, err error) {
	b := l.Buffer()
	got, err := d.src.TryRead(b)
	if err != nil {
		l.Release(b)
		return d.stopped(err)
	}
	d.bulk = got == len(b) && d.src.Splices() && d.dst.Splices()
	n, err = d.dst.TryWrite(b[:got])
	d.moved += uint64(n)
	if n == got {
		l.Release(b)
		return n, nil, nil
	}
	d.buf, d.rest = b, b[n:got]
	return n, d.dst, patient(err)
}

// splice fills a pipe and empties it at once.
func (d *direction) splice(l *eventloop.Loop) (n int, blame *eventloop.Conn, err error) {
	pipe, err := l.Pipe()
	if err != nil { // out of descriptors or of memory for pipes: buffers do as well
		d.bulk = false
		return d.copy(l)
	}
	got, err := pipe.Fill(d.src, eventloop.PipeSize)
	if err != nil {
		pipe.Release()
		return d.stopped(err)
	}
	if got >= smallFill {
		d.small = 0
	} else if d.small++; d.small == smallRun {
		d.small, d.bulk = 0, false
	}
	d.pipe = pipe
	n, err = d.flush(l)
	return n, d.dst, err
}

// flush writes what is left, and gives the buffer or the pipe back when that was all.
func (d *direction) flush(l *eventloop.Loop) (n int, err error) {
	if d.pipe != nil {
		for d.pipe.Buffered() > 0 && err == nil {
			var m int
			m, err = d.pipe.Drain(d.dst)
			n += m
		}
		if d.pipe.Buffered() == 0 {
			d.pipe.Release()
			d.pipe = nil
		}
	} else {
		n, err = d.dst.TryWrite(d.rest)
		if d.rest = d.rest[n:]; len(d.rest) == 0 {
			l.Release(d.buf)
			d.buf, d.rest = nil, nil
		}
	}
	d.moved += uint64(n)
	return n, patient(err)
}

// stopped says what it means that nothing could be read.
func (d *direction) stopped(err error) (int, *eventloop.Conn, error) {
	if err != io.EOF {
		return 0, d.src, patient(err)
	}
	d.done = true
	return 0, d.dst, d.dst.CloseWrite()
}

// drop ends the direction and throws away what it holds.
func (d *direction) drop(l *eventloop.Loop) {
	d.done = true
	if d.buf != nil {
		l.Release(d.buf)
		d.buf, d.rest = nil, nil
	}
	if d.pipe != nil {
		d.pipe.Release()
		d.pipe = nil
	}
}

// patient passes over the error that only says to come again.
func patient(err error) error {
	if err == eventloop.ErrWouldBlock {
		return nil
	}
	return err
}
