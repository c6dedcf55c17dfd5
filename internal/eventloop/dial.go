package eventloop

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Unix socket whose queue is full lets nobody wait in line: who connects asks again after
// minRetry, doubling to maxRetry.
const (
	minRetry = time.Millisecond
	maxRetry = 50 * time.Millisecond
)

// Dial connects to an address within timeout (0: the kernel's own), parking the running
// task. Errors are *net.OpError; os.ErrDeadlineExceeded within it means the timeout.
func (l *Loop) Dial(to netip.AddrPort, timeout time.Duration) (*Conn, error) {
	sa, family, err := sockaddr(to)
	if err != nil {
		return nil, err
	}
	c, err := l.connect(family, sa, endpointOfAddrPort(to), timeout)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return c, nil
}

// DialUnix connects to a Unix socket, as Dial does.
func (l *Loop) DialUnix(path string, timeout time.Duration) (*Conn, error) {
	c, err := l.connect(unix.AF_UNIX, &unix.SockaddrUnix{Name: path}, endpoint{fam: unix.AF_UNIX}, timeout)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: err}
	}
	return c, nil
}

// DialAddress connects to "ip:port", "host:port" or "unix:/path". A host name is resolved
// by the system's rules on another goroutine, and its addresses are tried in their order;
// timeout bounds the whole and is shared out among them, so that one which does not answer
// leaves time for the next.
func (l *Loop) DialAddress(address string, timeout time.Duration) (*Conn, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return l.DialUnix(path, timeout)
	}
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return l.Dial(ap, timeout)
	}
	if l.running == nil {
		return nil, errNoTask
	}
	start := time.Now()
	addrs, err := l.resolve(address, timeout)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	for i, ap := range addrs {
		left := time.Duration(0)
		if timeout > 0 {
			if left = timeout - time.Since(start); left <= 0 {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
			}
		}
		var c *Conn
		if c, err = l.Dial(ap, left/time.Duration(len(addrs)-i)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func (l *Loop) resolve(address string, timeout time.Duration) (addrs []netip.AddrPort, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := l.group.ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	l.running.Do(func() {
		var port int
		if port, err = net.DefaultResolver.LookupPort(ctx, "tcp", service); err != nil {
			return
		}
		var ips []netip.Addr
		if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			return
		}
		for _, ip := range ips {
			addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		}
	})
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	return addrs, err
}

// StartDial begins to connect to an address and does not wait for the handshake. Until it has
// ended the connection is not Writable, and nothing may be done with it but to wait for that,
// to ask Established, and to close it.
func (l *Loop) StartDial(to netip.AddrPort) (*Conn, error) {
	sa, family, err := sockaddr(to)
	if err != nil {
		return nil, err
	}
	c, pending, err := l.begin(family, sa, endpointOfAddrPort(to), 0)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	if pending {
		c.ready &^= Writable
	}
	return c, nil
}

// Established tells how the handshake of a connection of StartDial stands: false and no error
// while it lasts. The write deadline bounds it, as it bounds what waits for Writable: then the
// error is os.ErrDeadlineExceeded. Errors are *net.OpError, as those of Dial.
func (c *Conn) Established() (bool, error) {
	made, err := c.established()
	if err != nil && c.layer == nil {
		err = &net.OpError{Op: "dial", Net: "tcp", Addr: c.RemoteAddr(), Err: err}
	}
	return made, err
}

func (c *Conn) established() (bool, error) {
	switch {
	case c.fd < 0:
		return false, net.ErrClosed
	case c.err != nil:
		return false, c.err
	case c.layer != nil:
		made, err := c.layer.Established()
		if !made && err == nil && c.ready&writeLate != 0 {
			err = os.ErrDeadlineExceeded
		}
		return made, err
	case c.ready&Broken != 0:
		if err := c.connectError(); err != nil {
			return false, err
		}
		return false, os.NewSyscallError("connect", syscall.ECONNRESET)
	case c.ready&(Writable|writeLate) == 0:
		return false, nil
	case c.ready&Writable == 0:
		return false, os.ErrDeadlineExceeded
	case c.selfConnected():
		return false, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	return true, nil
}

// connectError is what the kernel says of a handshake that has failed, or nil.
func (c *Conn) connectError() error {
	e, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && e != 0 {
		return os.NewSyscallError("connect", syscall.Errno(e))
	}
	return nil
}

func (l *Loop) connect(family int, sa unix.Sockaddr, peer endpoint, timeout time.Duration) (*Conn, error) {
	c, pending, err := l.begin(family, sa, peer, timeout)
	if err != nil {
		return nil, err
	}
	if pending {
		err = c.connected(timeout)
	}
	if err == nil && c.selfConnected() {
		err = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// begin makes a socket and has it connect; pending says that the handshake goes on.
func (l *Loop) begin(family int, sa unix.Sockaddr, peer endpoint, timeout time.Duration) (c *Conn, pending bool, err error) {
	if l.closing {
		return nil, false, ErrClosed
	}
	if l.running == nil {
		return nil, false, errNoTask
	}
	fd, err := l.socket(family)
	if err != nil {
		return nil, false, os.NewSyscallError("socket", err)
	}
	if family != unix.AF_UNIX {
		// Without them it works as well, only not as fast or as long.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	}
	err = unix.Connect(fd, sa)
	if family == unix.AF_UNIX && err == syscall.EAGAIN {
		err = l.connectAgain(fd, sa, timeout)
	}
	pending = err == syscall.EINPROGRESS
	if err != nil && !pending {
		unix.Close(fd)
		if e, ok := err.(syscall.Errno); ok {
			err = os.NewSyscallError("connect", e)
		}
		return nil, false, err
	}
	if c, err = l.adopt(int32(fd), peer); err != nil {
		unix.Close(fd)
		return nil, false, err
	}
	c.use()
	return c, pending, nil
}

// socket makes a socket, giving up another one for it where there is no room.
func (l *Loop) socket(family int) (int, error) {
	const kind = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	fd, err := unix.Socket(family, kind, 0)
	if err != nil && exhausted(err) && l.spare(idleForEndpoint) {
		fd, err = unix.Socket(family, kind, 0)
	}
	if err == nil && !l.group.room.forEndpoint(int32(fd)) && !l.spare(idleForEndpoint) {
		unix.Close(fd)
		return -1, syscall.EMFILE
	}
	return fd, err
}

func (l *Loop) connectAgain(fd int, sa unix.Sockaddr, timeout time.Duration) error {
	giveUp := l.after(timeout)
	for pause := minRetry; ; pause = min(2*pause, maxRetry) {
		if timeout > 0 {
			if l.now >= giveUp {
				return os.ErrDeadlineExceeded
			}
			pause = min(pause, time.Duration(giveUp-l.now))
		}
		if err := l.running.Sleep(pause); err != nil {
			return err
		}
		if err := unix.Connect(fd, sa); err != syscall.EAGAIN {
			return err
		}
	}
}

// connected waits for the end of the handshake.
func (c *Conn) connected(timeout time.Duration) error {
	c.ready &^= Writable
	c.SetWriteTimeout(timeout)
	for c.ready&(Writable|Broken|writeLate) == 0 {
		if err := c.wait(Writable); err != nil {
			return err
		}
	}
	if c.err != nil {
		return c.err
	}
	if c.ready&(Broken|Writable) == 0 {
		return os.ErrDeadlineExceeded
	}
	if c.ready&Broken != 0 {
		if err := c.connectError(); err != nil {
			return err
		}
	}
	c.SetWriteTimeout(0)
	return nil
}

// selfConnected finds the connection that a dial to a free port of this host may make with
// itself, when the kernel happens to choose that port for the near end as well.
func (c *Conn) selfConnected() bool {
	if c.peer.fam == unix.AF_UNIX {
		return false
	}
	var sa unix.RawSockaddrAny
	if sysName(c.fd, &sa) != 0 {
		return false
	}
	near := endpointOf(&sa)
	return near.port == c.peer.port && near.ip == c.peer.ip
}
