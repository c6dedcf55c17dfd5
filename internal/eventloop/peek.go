package eventloop

import (
	"io"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TryPeek copies what is there to b and leaves it to be read, or returns ErrWouldBlock. A Wait
// for Readable behind it lasts until more has come. It is for sockets.
func (c *Conn) TryPeek(b []byte) (int, error) {
	if err := c.usable(readLate); err != nil || len(b) == 0 {
		return 0, err
	}
	// From here on the kernel tells of more, and not before the loop's next turn.
	if c.ready&HalfClosed == 0 {
		c.ready &^= Readable
	}
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		switch {
		case e == 0 && n == 0:
			return 0, io.EOF
		case e == 0:
			return int(n), nil
		case e == syscall.EAGAIN:
			return 0, ErrWouldBlock
		case e != syscall.EINTR:
			return 0, c.opError("recvfrom", e)
		}
	}
}

// Take reads the n bytes that TryPeek has shown, and no more. Others may be behind them.
//
// Without bytes it says that what was shown is to be read now, by whoever comes next.
func (c *Conn) Take(b []byte) error {
	c.ready |= Readable
	if len(b) == 0 {
		return nil
	}
	n, err := c.TryRead(b)
	c.ready |= Readable
	if err == nil && n < len(b) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Attribute makes the connection one between others: the client that somebody who passes it on has
// named, and the address that this one has connected to. It changes what RemoteAddr and LocalAddr say,
// and nothing else.
func (c *Conn) Attribute(source, destination netip.AddrPort) {
	c.peer = endpointOfAddrPort(source)
	local := endpointOfAddrPort(destination)
	c.local = &local
}
