package eventloop

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// TryRead reads what is there, as Read does, or returns ErrWouldBlock.
func (c *Conn) TryRead(b []byte) (int, error) {
	if c.ready&(Readable|Broken|readLate) != Readable || c.fd < 0 {
		if err := c.usable(readLate); err != nil {
			return 0, err
		}
		if c.ready&Readable == 0 {
			return 0, ErrWouldBlock
		}
	}
	if len(b) == 0 {
		return 0, nil
	}
	c.use()
	if c.layer != nil {
		return c.layerRead(b)
	}
	for {
		n, e := sysRead(c.fd, b)
		switch {
		case e == 0 && n == 0:
			return 0, io.EOF
		case e == 0:
			// Less than asked: the socket is drained, the next edge tells of more. Behind
			// a FIN there is no further edge, and the end is still to be read.
			if n < len(b) && c.ready&HalfClosed == 0 {
				c.ready &^= Readable
			}
			c.spend(n)
			return n, nil
		case e == syscall.EAGAIN:
			c.ready &^= Readable
			return 0, ErrWouldBlock
		case e != syscall.EINTR:
			return 0, c.opError("read", e)
		}
	}
}

// TryWrite writes what fits, as Write does but perhaps less, or returns ErrWouldBlock.
func (c *Conn) TryWrite(b []byte) (int, error) {
	if err := c.writable(); err != nil || len(b) == 0 {
		return 0, err
	}
	if c.layer != nil {
		return c.layerWrite(b)
	}
	for {
		n, e := sysWrite(c.fd, b)
		if e != syscall.EINTR {
			return c.wrote(n, len(b), e)
		}
	}
}

// Quiet asks the kernel whether there is nothing to read on a connection that ought to have
// nothing to say: false means bytes, an end or an error, perhaps such that the loop has not
// been told of yet.
func (c *Conn) Quiet() bool {
	if c.usable(readLate) != nil {
		return false
	}
	if c.layer != nil {
		return c.ready&(Readable|HalfClosed|Broken) == 0 && c.under.Quiet()
	}
	return sysPeek(c.fd) == syscall.EAGAIN
}

// unsentMost bounds what may wait in a send buffer without having been sent. The window of a
// fast path is far below it; more would only be memory that waits for a slow receiver.
const unsentMost = 512 << 10

// Room is how many bytes the kernel takes now without a write coming up short. The first call
// bounds what the kernel lets wait (TCP_NOTSENT_LOWAT, tcp(7)): the send buffer's own size says
// little, since memory for all sockets together may run short before. 0 for Unix sockets, of
// which it is not known.
func (c *Conn) Room() int {
	if c.fd < 0 || c.layer != nil || c.peer.fam == unix.AF_UNIX {
		return 0
	}
	if !c.bounded {
		c.bounded = true
		if unix.SetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMost) != nil {
			return 0
		}
	}
	unsent, e := sysUnsent(c.fd)
	if e != 0 {
		return 0
	}
	return max(unsentMost-unsent, 0)
}

// maxVector is how many slices one Writev call hands to the kernel.
const maxVector = 16

// TryWritev is TryWrite for several slices, of which it writes a prefix of their
// concatenation in one system call; of more than 16 slices it takes the first 16.
func (c *Conn) TryWritev(bufs ...[]byte) (int, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	if c.layer != nil {
		return c.layerWritev(bufs)
	}
	var iov [maxVector]unix.Iovec
	n, size := 0, 0
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		if n == maxVector {
			break
		}
		iov[n].Base = &b[0]
		iov[n].SetLen(len(b))
		size += len(b)
		n++
	}
	if n == 0 {
		return 0, nil
	}
	for {
		m, e := sysWritev(c.fd, iov[:n])
		if e != syscall.EINTR {
			return c.wrote(m, size, e)
		}
	}
}

func (c *Conn) writable() error {
	if c.ready&(Writable|Broken|writeLate) != Writable || c.fd < 0 {
		if err := c.usable(writeLate); err != nil {
			return err
		}
		if c.ready&Writable == 0 {
			return ErrWouldBlock
		}
	}
	c.use()
	return nil
}

// wrote interprets the result of a write of size bytes.
func (c *Conn) wrote(n, size int, e syscall.Errno) (int, error) {
	switch e {
	case 0:
		if n < size {
			c.ready &^= Writable
		}
		c.spend(n)
		return n, nil
	case syscall.EAGAIN:
		c.ready &^= Writable
		return 0, ErrWouldBlock
	}
	return 0, c.opError("write", e)
}

// Read reads up to len(b) bytes, parking the task until there are some. io.EOF is the
// peer's end; os.ErrDeadlineExceeded a passed deadline; system call errors come as
// *net.OpError.
func (c *Conn) Read(b []byte) (int, error) {
	c.rest()
	for {
		n, err := c.TryRead(b)
		if err != ErrWouldBlock {
			return n, err
		}
		if err := c.wait(Readable); err != nil {
			return 0, err
		}
	}
}

// Write writes all of b, parking the task while there is no room.
func (c *Conn) Write(b []byte) (int, error) {
	c.rest()
	done := 0
	for {
		n, err := c.TryWrite(b[done:])
		done += n
		if err != nil && err != ErrWouldBlock {
			return done, err
		}
		if done == len(b) {
			return done, nil
		}
		if err := c.wait(Writable); err != nil {
			return done, err
		}
	}
}

// Writev writes all slices one after the other, parking the task while there is no room.
// The slices of bufs are cut as they are written; the caller's arrays stay as they are.
func (c *Conn) Writev(bufs ...[]byte) (int64, error) {
	c.rest()
	var done int64
	for {
		n, err := c.TryWritev(bufs...)
		done += int64(n)
		bufs = advance(bufs, n)
		if err != nil && err != ErrWouldBlock {
			return done, err
		}
		if len(bufs) == 0 {
			return done, nil
		}
		if err == nil && c.ready&Writable != 0 {
			continue
		}
		if err := c.wait(Writable); err != nil {
			return done, err
		}
	}
}

// advance drops the first n bytes, and every empty slice in front.
func advance(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

// CloseWrite tells the peer that nothing more will be sent; reading goes on.
func (c *Conn) CloseWrite() error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	if c.layer != nil {
		return c.layer.CloseWrite()
	}
	if e := sysShutdown(c.fd, unix.SHUT_WR); e != 0 {
		return c.opError("shutdown", e)
	}
	return nil
}

// use notes the running task as the one that the connection goes down with, unless it is its
// watcher's: whichever task has a layer read or write passes by only.
func (c *Conn) use() {
	c.owner = 0
	if t := c.loop.running; t != nil && c.watcher == nil {
		c.owner = t.number
	}
}

func (c *Conn) spend(n int) {
	if t := c.loop.running; t != nil {
		t.spend(n)
	}
}

func (c *Conn) rest() {
	if t := c.loop.running; t != nil {
		t.rest()
	}
}

func (c *Conn) opError(op string, e syscall.Errno) error {
	network := "tcp"
	if c.peer.fam == unix.AF_UNIX {
		network = "unix"
	}
	return &net.OpError{Op: op, Net: network, Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, e)}
}
