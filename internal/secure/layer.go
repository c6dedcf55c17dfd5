package secure

import (
	"errors"
	"io"

	"sidecar/internal/eventloop"
)

var (
	errAgain error = again{}
	errFlood       = errors.New("secure: the peer has too much answered and does not read it")
)

// A layer is what carries the bytes of Upper, and watches the socket for it.
type layer Conn

var (
	_ eventloop.Layer   = (*layer)(nil)
	_ eventloop.Holder  = (*layer)(nil)
	_ eventloop.Watcher = (*layer)(nil)
	_ eventloop.Flusher = (*layer)(nil)
)

// TryRead fills b from as many records as there are.
func (y *layer) TryRead(b []byte) (int, error) {
	switch y.stage {
	case shaking:
		return 0, eventloop.ErrWouldBlock
	case refused:
		return 0, y.why
	}
	done := 0
	for {
		n, err := y.tls.Read(b[done:])
		done += n
		switch {
		case is(err, errAgain):
			y.frames.whole = 0
			return done, eventloop.ErrWouldBlock
		case done == len(b):
			return done, nil // the error, if there is one, comes again
		case err == nil:
			if y.drained() {
				y.frames.whole = 0
				return done, eventloop.ErrWouldBlock
			}
		case done > 0:
			return done, nil
		case is(err, io.EOF) && y.ended:
			return 0, io.ErrUnexpectedEOF
		default:
			return 0, later(err, y.isClient)
		}
	}
}

// drained tells, after a read that came up short, whether it is certain that there is no more:
// it saves the read that would only find that out. The one record that has come since there was
// nothing is the one that was read.
func (y *layer) drained() bool {
	return y.frames.whole == 1 && y.frames.between() && !y.under.Has(eventloop.Readable|eventloop.HalfClosed|eventloop.Broken)
}

// TryWrite encrypts as much of b as may wait.
func (y *layer) TryWrite(b []byte) (int, error) {
	switch y.stage {
	case shaking:
		return 0, eventloop.ErrWouldBlock // Upper is writable as soon as the handshake has ended
	case refused:
		return 0, y.why
	}
	c := (*Conn)(y)
	done := 0
	for done < len(b) {
		if c.out.size >= outMost {
			c.send()
			if c.out.size >= outMost {
				c.held = true
				return done, nil
			}
		}
		if c.writeErr != nil {
			return done, c.writeErr
		}
		n, err := c.tls.Write(b[done:min(len(b), done+piece)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// CloseWrite sends close_notify and the socket's own end behind all that was written.
func (y *layer) CloseWrite() error {
	switch y.stage {
	case shaking:
		return eventloop.ErrWouldBlock
	case refused:
		return y.why
	}
	if err := y.tls.CloseWrite(); err != nil {
		return err
	}
	y.shut = true
	(*Conn)(y).flushLater()
	return nil
}

// TryFlush tells how much ciphertext waits for the socket.
func (y *layer) TryFlush() (left int, err error) {
	c := (*Conn)(y)
	switch c.stage {
	case shaking:
		return 0, nil // nothing of Upper's is in the queue
	case refused:
		return 0, c.why
	}
	c.told = 0
	c.send()
	c.settle()
	c.told = c.out.size
	return c.told, c.writeErr
}

// Established tells how the handshake stands.
func (y *layer) Established() (bool, error) {
	switch y.stage {
	case shaking:
		return false, nil
	case refused:
		return false, y.why
	}
	return true, nil
}

// Close ends the connection: with close_notify behind what is still to be sent, or at once.
func (y *layer) Close(reset bool) {
	c := (*Conn)(y)
	switch {
	case c.stage == refused: // it is closed, or the farewell does that
	case c.stage == shaking || reset:
		c.stage = closed
		c.out.drop()
		if reset {
			c.under.Reset()
		} else {
			c.under.Close()
		}
	default:
		_ = c.tls.CloseWrite() // it was sent, or nothing can be sent any more
		c.stage = parting
		c.send()
		if c.out.size > 0 {
			c.under.SetWriteTimeout(y.partFor)
		}
		c.settle()
	}
}

// Changed is called when something has become true of the socket.
func (y *layer) Changed(under *eventloop.Conn) {
	c := (*Conn)(y)
	before := c.out.size
	if before > 0 {
		c.send()
	}
	if c.stage == parting && c.out.size > 0 && c.out.size < before {
		under.SetWriteTimeout(y.partFor)
	}
	c.settle()
	if c.stage != open {
		return
	}
	var now eventloop.Events
	for _, e := range [...]eventloop.Events{eventloop.Readable, eventloop.HalfClosed, eventloop.Broken} {
		if under.Has(e) {
			now |= e
		}
	}
	if now&eventloop.Broken != 0 || c.writeErr != nil {
		now |= eventloop.Writable // the next write tells
	}
	if now != 0 {
		c.upper.Signal(now)
	}
}

// Flush is called at the end of the turn.
func (y *layer) Flush() {
	c := (*Conn)(y)
	c.queued = false
	if c.stage == open || c.stage == parting {
		c.send()
		c.settle()
	}
}

// is compares errors that are made here or come from crypto/tls as they are, at each read:
// errors.Is would walk a chain that is not there.
func is(err, what error) bool { return err == what } //nolint:errorlint // see above
