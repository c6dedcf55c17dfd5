package secure

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"sidecar/internal/eventloop"
)

const (
	// outMost is how much ciphertext may wait for the socket before Upper takes no more, and
	// outLow what is left when it takes more again.
	outMost = 4 * eventloop.BufferSize
	outLow  = outMost / 2
	// outBound is what may wait in all: answers to what the peer sends (key updates, alerts) are
	// no writes of ours, and a peer that has us answer and does not read is cut off.
	outBound = 2 * outMost
	// piece is how much plaintext is encrypted before the queue is looked at again.
	piece = 16 << 10
	// partingTime is how long what was written before Close may wait without the socket taking
	// any of it.
	partingTime = 10 * time.Second
)

type stage uint8

const (
	shaking stage = iota // the handshake has not ended
	open
	refused // the handshake has failed
	parting // closed, but something is still to be sent
	closed
)

// A Conn is TLS on a connection. It is touched on its loop only.
type Conn struct {
	under, upper *eventloop.Conn
	tls          *tls.Conn
	task         *eventloop.Task // of the handshake while it lasts
	why          error           // … and why it failed
	out          queue
	writeErr     error // of the socket; reading may go on
	frames       framing
	told         int           // what TryFlush has said was left; 0: nobody waits for that to become less
	partFor      time.Duration // partingTime
	stage        stage
	isClient     bool
	held         bool // Upper has been told that it cannot be written to
	cleared      bool // the handshake may do what takes long: see clear
	queued       bool // Flush will be called
	ended        bool // the socket's end has been read
	shut         bool // the socket's end is to be sent behind all else
}

// Server makes c, an accepted connection, one with TLS. The handshake is begun by Handshake;
// until then nothing is read from c, and nobody else may use it any more, or close it.
func Server(c *eventloop.Conn, cfg *tls.Config) *Conn {
	s := layered(c)
	s.tls = tls.Server((*wire)(s), cfg)
	return s
}

// Client makes c, a connection to an endpoint that may still be in the making
// (Loop.StartDial), one with TLS, and begins the handshake when it is established. It ends by
// Upper becoming writable or broken: Upper().Established tells why. Upper's write deadline
// bounds all of it, as it bounds StartDial; there is no other bound. Nobody else may use c any
// more, or close it.
//
// With a session cache in cfg, sessions are kept by the endpoint's address and the server name:
// one instance cannot resume what another one began.
func Client(c *eventloop.Conn, cfg *tls.Config) *Conn {
	s := layered(c)
	s.isClient = true
	s.tls = tls.Client((*wire)(s), ofEndpoint(cfg, c))
	c.Loop().Go((*shaker)(s))
	return s
}

func layered(c *eventloop.Conn) *Conn {
	s := &Conn{under: c, out: queue{loop: c.Loop()}, held: true, partFor: partingTime}
	s.upper = eventloop.Layered((*layer)(s), c)
	s.upper.Retract(eventloop.Writable)
	return s
}

// Upper returns the connection that carries the plaintext. Whoever has called Server or Client
// closes it, also after a handshake that failed; that closes what it lies on.
func (c *Conn) Upper() *eventloop.Conn { return c.upper }

// State tells what was agreed on. It is complete once the handshake has ended well.
func (c *Conn) State() tls.ConnectionState { return c.tls.ConnectionState() }

// Protocol is the protocol that was agreed on by ALPN, "" if none was.
func (c *Conn) Protocol() string { return c.tls.ConnectionState().NegotiatedProtocol }

// Handshake runs a server's handshake in the task t, which parks meanwhile; timeout bounds it
// from the beginning of this turn, 0 is no bound. An error is a *Refusal, or net.ErrClosed if
// Upper was closed meanwhile, or eventloop.ErrClosed; Upper is still to be closed then.
func (c *Conn) Handshake(t *eventloop.Task, timeout time.Duration) error {
	if c.stage != shaking {
		return c.ending()
	}
	survived := false
	defer func() {
		if !survived && c.stage == shaking { // a panic goes through, which nobody but the loop gets to know of
			c.upper.Reset()
		}
	}()
	c.task = t
	c.under.SetReadTimeout(timeout)
	c.under.SetWriteTimeout(timeout)
	err := c.tls.HandshakeContext(context.Background()) // it ends with the connection
	survived, c.task = true, nil
	if c.stage != shaking {
		return c.ending()
	}
	if err != nil {
		c.advise(err)
		c.refuse(Explain(err, c.isClient))
		return c.why
	}
	c.begin()
	return nil
}

// ending is what a handshake has come to that is not wanted any more.
func (c *Conn) ending() error {
	switch c.stage {
	case refused:
		return c.why
	case parting, closed:
		return net.ErrClosed
	}
	return nil
}

// clear waits for the loop to have room for what takes long in a handshake: for a server that is
// all from the ClientHello to its signature, for a client the check of what the server has shown.
// A storm of handshakes then holds up the other connections by one or two of them at a time.
func (c *Conn) clear() {
	if c.task != nil && !c.cleared {
		c.cleared = true
		c.task.Heavy()
	}
}

// begin is the end of the handshake. There may be plaintext already, behind its last message.
func (c *Conn) begin() {
	c.under.SetReadTimeout(0)
	c.under.SetWriteTimeout(0)
	c.stage, c.held = open, false
	c.under.Watch((*layer)(c))
	if c.out.size > 0 {
		c.flushLater()
	}
	now := eventloop.Readable | eventloop.Writable
	for _, e := range []eventloop.Events{eventloop.HalfClosed, eventloop.Broken} {
		if c.under.Has(e) {
			now |= e
		}
	}
	c.upper.Signal(now)
}

// refuse is the other end of the handshake. The peer is told why if there is something to tell.
func (c *Conn) refuse(why error) {
	c.stage, c.why = refused, why
	if c.out.size > 0 && c.writeErr == nil {
		c.under.Loop().Go((*farewell)(c))
	} else {
		c.out.drop()
		c.under.Close()
	}
	c.upper.Signal(eventloop.Readable | eventloop.Writable | eventloop.HalfClosed | eventloop.Broken)
}

// send writes as much as the socket takes now.
func (c *Conn) send() {
	if c.writeErr != nil {
		return
	}
	if err := c.out.send(c.under); err != nil {
		c.writeErr = err
		c.out.drop()
	}
}

func (c *Conn) flushLater() {
	if !c.queued {
		c.queued = true
		c.under.Loop().AtTurnEnd((*layer)(c))
	}
}

// settle draws the conclusions when something has been sent, or cannot be any more.
func (c *Conn) settle() {
	switch c.stage {
	case open:
		if c.shut && c.out.size == 0 {
			c.shut = false
			_ = c.under.CloseWrite() // if it is gone, reading tells
		}
		enough := c.held && c.out.size <= outLow
		if enough {
			c.held = false
		}
		if enough || c.out.size < c.told {
			c.told = 0
			c.upper.Signal(eventloop.Writable)
		}
	case parting:
		if c.out.size == 0 {
			// If that is because nothing can be sent any more, the peer misses a close_notify. A reset
			// would also take from it what the kernel has.
			c.stage = closed
			c.under.Close()
		}
	}
}

// A wire is the connection as crypto/tls sees it: in the handshake reads park its task, later
// they never wait. Writes always go to the queue.
type wire Conn

var _ net.Conn = (*wire)(nil)

func (w *wire) Read(b []byte) (int, error) {
	for {
		if w.task != nil && w.isClient && w.under.Has(eventloop.Readable) {
			(*Conn)(w).clear()
		}
		n, err := w.under.TryRead(b)
		w.frames.pass(b[:n])
		if !is(err, eventloop.ErrWouldBlock) {
			w.ended = w.ended || is(err, io.EOF)
			return n, err
		}
		if w.task == nil {
			return 0, errAgain
		}
		if err := (*Conn)(w).await(); err != nil {
			return 0, err
		}
	}
}

// await sends what is in the queue, and parks the handshake's task until there is something to
// read or to be sent.
func (c *Conn) await() error {
	c.send()
	if c.writeErr != nil {
		return c.writeErr
	}
	if !c.isClient {
		c.cleared = false // a client that is asked for another ClientHello has us begin again
	}
	what := eventloop.Readable
	if c.out.size > 0 {
		what |= eventloop.Writable
	}
	under := eventloop.Interest{Conn: c.under, Events: what}
	if c.isClient { // who waits for Upper closes it
		return c.task.Wait(-1, under)
	}
	err := c.task.Wait(-1, under, eventloop.Interest{Conn: c.upper})
	if err == nil && c.upper.Has(eventloop.Broken) { // somebody has aborted it
		_, err = c.upper.TryRead(nil)
	}
	return err
}

func (w *wire) Write(b []byte) (int, error) {
	switch {
	case w.writeErr != nil:
		return 0, w.writeErr
	case w.stage == closed:
		return 0, net.ErrClosed
	case w.out.size+len(b) > outBound:
		return 0, errFlood
	}
	w.out.add(b)
	if w.task == nil {
		(*Conn)(w).flushLater()
	}
	return len(b), nil
}

// Close is not called by crypto/tls but from its own Close, which we do without.
func (w *wire) Close() error { return nil }

func (w *wire) LocalAddr() net.Addr  { return w.under.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr { return w.under.RemoteAddr() }

// Deadlines are those of Upper; crypto/tls would set one for the time of a close_notify, which
// here does not wait.
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// again is the error that crypto/tls takes for one that passes: a read that met it can be
// repeated. (Of writes it knows none such, which is why they never fail for want of room.)
type again struct{}

func (again) Error() string   { return "secure: nothing to read yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }
