package secure

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"sidecar/internal/eventloop"
)

const (
	// farewellTime and farewellBytes bound how long and for how much a peer whose handshake was
	// refused may go on sending what nobody reads.
	farewellTime  = time.Second
	farewellBytes = 256 << 10
)

// A shaker is the task of a client's handshake.
type shaker Conn

// Run waits for the connection, and then for the handshake.
func (s *shaker) Run(t *eventloop.Task) {
	c := (*Conn)(s)
	for {
		made, err := c.under.Established()
		if !made && err == nil {
			err = t.Wait(-1, eventloop.Interest{Conn: c.under, Events: eventloop.Writable})
		}
		switch {
		case c.stage != shaking:
			return
		case err != nil:
			c.refuse(err)
			return
		case made:
			_ = c.Handshake(t, 0) // Established tells
			return
		}
	}
}

// clearServer is clear in the midst of crypto/tls, which has read the ClientHello. A client that has
// gone while it waited, or whose time has run out, is not worth a signature: in a storm they are
// many.
func clearServer(hello *tls.ClientHelloInfo) error {
	w, ok := hello.Conn.(*wire)
	if !ok {
		return nil // not on a loop
	}
	c := (*Conn)(w)
	c.clear()
	if c.stage != shaking {
		return net.ErrClosed
	}
	if c.under.Has(eventloop.HalfClosed | eventloop.Broken) {
		return io.EOF
	}
	if _, err := c.under.TryRead(nil); err != nil && !is(err, eventloop.ErrWouldBlock) {
		return err
	}
	return nil
}

// A farewell lets the peer read why its handshake was refused before the connection is closed:
// with unread bytes the kernel would answer with a reset, and that can destroy what the peer
// has not read yet.
type farewell Conn

// Run sends what is left, and then reads to the end.
func (f *farewell) Run(t *eventloop.Task) {
	c := (*Conn)(f)
	defer c.under.Close()
	defer c.out.drop()
	c.under.SetReadTimeout(farewellTime)
	c.under.SetWriteTimeout(farewellTime)
	for c.send(); c.out.size > 0; c.send() {
		if t.Wait(-1, eventloop.Interest{Conn: c.under, Events: eventloop.Writable}) != nil {
			return
		}
	}
	if c.writeErr != nil || c.under.CloseWrite() != nil {
		return
	}
	b := t.Loop().Buffer()
	defer t.Loop().Release(b)
	for left := farewellBytes; left > 0; {
		n, err := c.under.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
}

// advice is for who has taken the port for one without TLS.
const advice = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 45\r\nConnection: close\r\n\r\n" +
	"sidecar: this port speaks TLS: use https://\r\n"

// advise answers a client that speaks plain HTTP so that it understands.
func (c *Conn) advise(err error) {
	var strange tls.RecordHeaderError
	if !c.isClient && c.out.size == 0 && errors.As(err, &strange) && speaksHTTP(strange.RecordHeader[:]) {
		c.out.add([]byte(advice))
	}
}
