package preamble

import (
	"io"
	"net/netip"
	"time"

	"sidecar/internal/eventloop"
)

// Senders are those who must begin their connections with a PROXY header. From others none is
// taken: whoever could send one could be anybody.
type Senders []netip.Prefix

// Has reports whether a connection comes from a sender.
func (s Senders) Has(c *eventloop.Conn) bool {
	if len(s) == 0 {
		return false
	}
	return s.contain(c.RemoteAddrPort().Addr())
}

// contain tells whether one of the networks has an address. A zone says on which link it is, and is in
// no network's name.
func (s Senders) contain(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range s {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Receive reads the header at the beginning of a connection, and nothing behind it, in the task
// t, which parks until all of it has come or timeout is over. The connection is attributed to the
// client and the destination that the header names, if it names them.
func Receive(t *eventloop.Task, c *eventloop.Conn, timeout time.Duration) error {
	b := make([]byte, MaxV2)
	c.SetReadTimeout(timeout)
	for {
		n, err := c.TryPeek(b)
		if err == eventloop.ErrWouldBlock {
			n, err = 0, nil
		}
		if err != nil {
			return err
		}
		if n > 0 {
			h, size, err := Parse(b[:n])
			if err != nil {
				return err
			}
			if size > 0 {
				c.SetReadTimeout(0)
				if h.Source.IsValid() {
					c.Attribute(h.Source, h.Destination)
				}
				return c.Take(b[:size])
			}
			if c.Has(eventloop.HalfClosed) {
				return io.ErrUnexpectedEOF
			}
		}
		if err := t.Wait(-1, eventloop.Interest{Conn: c, Events: eventloop.Readable}); err != nil {
			return err
		}
	}
}
