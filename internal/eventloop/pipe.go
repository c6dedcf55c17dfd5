package eventloop

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// PipeSize is the capacity asked for: what one splice can move at the most. The kernel may
// grant less, to users without privilege above all (pipe-user-pages-soft in pipe(7)).
const PipeSize = 1 << 20

// A Pipe carries bytes from one connection to another inside the kernel (splice(2)). It
// serves one direction at a time and is used on its loop only.
type Pipe struct {
	loop     *Loop
	r, w     int32
	size     int
	buffered int
}

// Pipe returns an empty pipe. Give it back with Release.
func (l *Loop) Pipe() (*Pipe, error) {
	if n := len(l.pipes); n > 0 {
		p := l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
		return p, nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	p := &Pipe{loop: l, r: int32(fds[0]), w: int32(fds[1])}
	if !l.group.room.forClient(max(p.r, p.w)) { // buffers do as well, a socket has nothing else
		p.close()
		return nil, os.NewSyscallError("pipe2", syscall.EMFILE)
	}
	size, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, PipeSize)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil {
		p.close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	p.size = size
	return p, nil
}

// Release gives the pipe back to its loop. One that still holds bytes is closed.
func (p *Pipe) Release() {
	if p.buffered > 0 || len(p.loop.pipes) >= keepPipes || p.loop.closing {
		p.close()
		return
	}
	p.loop.pipes = append(p.loop.pipes, p)
}

func (p *Pipe) close() {
	sysClose(p.r)
	sysClose(p.w)
}

// Buffered is the number of bytes in the pipe.
func (p *Pipe) Buffered() int { return p.buffered }

// Fill moves up to limit bytes from c into the pipe, which must be empty: whatever cannot
// be moved then is not there yet, which is ErrWouldBlock. io.EOF is the peer's end. With a
// limit of 0 or less it does nothing.
func (p *Pipe) Fill(c *Conn, limit int) (int, error) {
	if limit <= 0 {
		return 0, nil // of a splice of nothing the kernel says what it says of the end
	}
	if c.ready&(Readable|Broken|readLate) != Readable || c.fd < 0 {
		if err := c.usable(readLate); err != nil {
			return 0, err
		}
		if c.ready&Readable == 0 {
			return 0, ErrWouldBlock
		}
	}
	c.use()
	for {
		n, e := sysSplice(c.fd, p.w, min(limit, p.size))
		switch {
		case e == 0 && n == 0:
			return 0, io.EOF
		case e == 0:
			p.buffered += n
			c.spend(n)
			return n, nil
		case e == syscall.EAGAIN:
			c.ready &^= Readable
			return 0, ErrWouldBlock
		case e != syscall.EINTR:
			return 0, c.opError("splice", e)
		}
	}
}

// Drain moves what fits from the pipe to c, or returns ErrWouldBlock.
func (p *Pipe) Drain(c *Conn) (int, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	for {
		n, e := sysSplice(p.r, c.fd, p.buffered)
		switch e {
		case 0:
			p.buffered -= n
			c.spend(n)
			return n, nil
		case syscall.EAGAIN:
			c.ready &^= Writable
			return 0, ErrWouldBlock
		case syscall.EINTR:
		default:
			return 0, c.opError("splice", e)
		}
	}
}
