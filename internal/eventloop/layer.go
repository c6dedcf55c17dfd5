package eventloop

import "time"

// A Layer carries the bytes of a connection that is no socket of its own but lies on another
// one: what TLS makes of it, or one of the streams of an HTTP/2 connection. It is touched on
// its loop only.
//
// TryRead and TryWrite are those of Conn: io.EOF is the peer's end, and after ErrWouldBlock, or
// a write that took only a part, the layer calls Conn.Signal as soon as they may go on.
// ErrWouldBlock may come with bytes: these, and no more for now. They never park the task that
// calls them.
type Layer interface {
	TryRead(b []byte) (int, error)
	TryWrite(b []byte) (int, error)
	// CloseWrite tells the peer that nothing more will be sent.
	CloseWrite() error
	// Established tells how the way to the peer stands, as Conn.Established does.
	Established() (bool, error)
	// Close ends the connection. With reset the peer must not take the end of what it has
	// received for a clean one. It is called once.
	Close(reset bool)
}

// A Holder is a Layer that takes bytes before the socket below has room for them.
type Holder interface {
	// TryFlush hands on what it holds as far as that goes now, and returns how much is left. It
	// calls Conn.Signal with Writable as soon as that has become less, or cannot any more.
	TryFlush() (left int, err error)
}

// keepLayered is how many closed connections with a layer a loop keeps for the next ones: each
// request of HTTP/2 takes two.
const keepLayered = 1024

// layerFd is the descriptor of connections that have none: it only says that they are open.
const layerFd = 1<<31 - 1

// Layered returns a connection whose bytes a layer carries, on the loop of the connection that
// it lies on and with that one's addresses. It can be written to, and read from when the layer
// has said so by Signal. Once it is closed nobody may use it any more behind the end of the turn:
// the next call may return it again. For tasks it is a connection like any other, but for splice(2), which
// needs a socket: Splices tells.
func Layered(layer Layer, under *Conn) *Conn {
	l := under.loop
	var c *Conn
	if n := len(l.unlayered); n > 0 {
		c = l.unlayered[n-1]
		l.unlayered = l.unlayered[:n-1]
	} else {
		c = new(Conn)
	}
	*c = Conn{loop: l, fd: layerFd, peer: under.peer, ready: Writable, layer: layer, under: under}
	c.timer.owner = c
	c.id, _ = l.use(slot{conn: c})
	l.countConn(1)
	return c
}

// Under returns the connection that this one lies on, or nil for a socket.
func (c *Conn) Under() *Conn { return c.under }

// Layer returns what carries the connection's bytes, or nil for a socket.
func (c *Conn) Layer() Layer { return c.layer }

// Splices tells whether the connection is a socket, which a Pipe can be filled from and drained
// to.
func (c *Conn) Splices() bool { return c.layer == nil }

// Signal is for the connection's layer, which tells by it what has become true: that a read or
// a write may go on, that the peer has ended (HalfClosed, with Readable), that nothing goes on
// any more (Broken). It may run an IdleHandler, as from outside of any task.
func (c *Conn) Signal(now Events) {
	if c.fd < 0 || c.layer == nil {
		return
	}
	c.ready |= now & (Readable | Writable | HalfClosed | Broken)
	if c.idle != nil || c.watcher != nil {
		c.loop.shielded(c.notify)
		return
	}
	c.notify()
}

// Retract takes back what has been signalled, for a layer that cannot go on with it just now:
// a connection whose way to the peer is still being made begins without Writable.
func (c *Conn) Retract(now Events) {
	if c.layer != nil {
		c.ready &^= now & (Readable | Writable)
	}
}

// A Watcher is told what happens to a connection that has neither a task nor an IdleHandler,
// but a layer on it.
type Watcher interface {
	// Changed is called on the loop, outside of any task, whenever something has become true of
	// the connection, and must not block.
	Changed(c *Conn)
}

// Watch has w told of all that happens to the connection from now on; nil ends that. What is
// true already is not told again. No task may wait for the connection meanwhile, and it cannot
// be idle. It does not go down with a task that panics: who watches it closes it.
func (c *Conn) Watch(w Watcher) {
	c.watcher = w
	if w != nil {
		c.owner = 0
	}
}

// layerRead is TryRead for layers.
func (c *Conn) layerRead(b []byte) (int, error) {
	n, err := c.layer.TryRead(b)
	if err == ErrWouldBlock {
		c.ready &^= Readable
		if n > 0 {
			err = nil
		}
	}
	c.spend(n)
	return n, err
}

// layerWrite is TryWrite for layers.
func (c *Conn) layerWrite(b []byte) (int, error) {
	n, err := c.layer.TryWrite(b)
	if n < len(b) && (err == nil || err == ErrWouldBlock) {
		c.ready &^= Writable
		if n > 0 {
			err = nil
		}
	}
	c.spend(n)
	return n, err
}

// layerWritev is TryWritev for layers.
func (c *Conn) layerWritev(bufs [][]byte) (int, error) {
	done := 0
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		n, err := c.layerWrite(b)
		done += n
		if err == ErrWouldBlock && done > 0 {
			return done, nil
		}
		if err != nil || n < len(b) {
			return done, err
		}
	}
	return done, nil
}

// TryFlush returns how many of the written bytes the connection's layer still holds, having handed
// on what goes now. Whoever closes the connection may lose them. A socket holds none: they are the
// kernel's, which goes on behind Close.
func (c *Conn) TryFlush() (left int, err error) {
	h, ok := c.layer.(Holder)
	if !ok {
		return 0, nil
	}
	if err := c.usable(writeLate); err != nil {
		return 0, err
	}
	return h.TryFlush()
}

// Flush parks the task until the layer holds none of what was written. The write timeout is
// patience from the last time that some of it has left; 0 or less is no bound.
func (c *Conn) Flush(patience time.Duration) error {
	for before := 0; ; {
		left, err := c.TryFlush()
		if err != nil || left == 0 {
			return err
		}
		if left != before {
			before = left
			c.SetWriteTimeout(patience)
		}
		c.ready &^= Writable // until the layer says that it has become less
		if err := c.wait(Writable); err != nil {
			return err
		}
	}
}

// A Flusher is called at the end of a turn.
type Flusher interface {
	Flush()
}

// AtTurnEnd has f called once when all tasks of this turn have run: what many of them have to
// say on one connection leaves in one write. Flush is called outside of any task and must not
// block; what it wakes runs in the next turn.
func (l *Loop) AtTurnEnd(f Flusher) { l.flushers = append(l.flushers, f) }

// flush calls those that wait for the end of the turn. Those that a panic leaves are called in
// the next one.
func (l *Loop) flush() {
	for l.flushed < len(l.flushers) {
		f := l.flushers[l.flushed]
		l.flushers[l.flushed] = nil
		l.flushed++
		f.Flush()
	}
	l.flushers, l.flushed = l.flushers[:0], 0
	// Until now somebody may still have looked at them.
	for i, c := range l.shed {
		c.layer, c.under = nil, nil // or all that they hold would stay as long as it lies here
		if len(l.unlayered) < keepLayered {
			l.unlayered = append(l.unlayered, c)
		}
		l.shed[i] = nil
	}
	l.shed = l.shed[:0]
}
