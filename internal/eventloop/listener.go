package eventloop

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptBatch is how many connections a loop takes from a listener before it turns to
// what else is ready.
const acceptBatch = 16

// A loop with more connections than another one by a quarter and this many hands new ones
// over. Below that the loop that woke up first keeps them, on the cache that is warm.
const loadSlack = 16

// When descriptors or memory run out, accepting pauses for minPause, doubling to maxPause.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// An Acceptor is given the connections of a listener. Accepted is called on the loop that
// the connection belongs to from now on, outside of any task, and must not block: it
// starts a task or makes the connection idle. Different loops call it at the same time.
type Acceptor interface {
	Accepted(c *Conn)
}

// ListenOptions configure a Listener. The zero value is useful.
type ListenOptions struct {
	// OnError is told why accepting pauses, from any loop; it must not block. May be nil.
	OnError func(error)
}

// A Listener is a listening socket that all loops of a group accept from. Its methods may
// be called from any goroutine but a loop's.
type Listener struct {
	group    *Group
	fd       int32
	addr     net.Addr
	acceptor Acceptor
	opts     ListenOptions
	gates    []*gate
	once     sync.Once
	unlink   string // path of a Unix socket that we made
	accepted atomic.Uint64
	errors   atomic.Uint64
}

// Listen opens a listening socket, network "tcp" (address host:port, the host an IP
// literal or empty) or "unix" (address a path), and has all loops accept from it.
// Keep-alive and no-delay are set here once and inherited by the connections.
func (g *Group) Listen(network, address string, a Acceptor, opts ListenOptions) (*Listener, error) {
	fd, err := openListener(network, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	ln, err := g.serve(fd, a, opts)
	if err != nil {
		sysClose(fd)
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if network == "unix" {
		ln.unlink = address
	}
	return ln, nil
}

// Serve has all loops accept from a listening socket that was made elsewhere, such as one
// inherited from systemd. It duplicates the descriptor; the file stays the caller's.
func (g *Group) Serve(f *os.File, a Acceptor, opts ListenOptions) (*Listener, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", f.Name(), err)
	}
	ln, err := g.serve(int32(fd), a, opts)
	if err != nil {
		sysClose(int32(fd))
	}
	return ln, err
}

func (g *Group) serve(fd int32, a Acceptor, opts ListenOptions) (*Listener, error) {
	ln := &Listener{group: g, fd: fd, addr: localAddr(fd), acceptor: a, opts: opts}
	for _, l := range g.loops {
		ln.gates = append(ln.gates, newGate(ln, l))
	}
	failed := make(chan error, len(g.loops))
	err := g.EachWait(context.Background(), func(l *Loop) { failed <- ln.gates[l.index].open() })
	for range len(failed) {
		if e := <-failed; e != nil && err == nil {
			err = e
		}
	}
	if err != nil {
		ln.shut()
		return nil, err
	}
	return ln, nil
}

// Addr is where it listens; the port that was chosen if port 0 was asked for.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Accepted is the number of connections accepted so far, and Errors how often accepting
// had to pause.
func (ln *Listener) Accepted() uint64 { return ln.accepted.Load() }

// Errors is how often accepting had to pause because accept failed.
func (ln *Listener) Errors() uint64 { return ln.errors.Load() }

// Close stops accepting and closes the socket; when it returns, no loop accepts from it
// any more. The accepted connections live on. Closing twice does nothing.
func (ln *Listener) Close() {
	ln.once.Do(func() {
		ln.shut()
		if ln.unlink != "" {
			os.Remove(ln.unlink)
		}
		sysClose(ln.fd)
	})
}

func (ln *Listener) shut() {
	ln.group.EachWait(context.Background(), func(l *Loop) { ln.gates[l.index].shut() })
}

// A gate is a listener's registration on one loop.
type gate struct {
	listener *Listener
	loop     *Loop
	id, gen  uint32
	isOpen   bool
	pause    time.Duration
	timer    timer
}

func newGate(ln *Listener, l *Loop) *gate {
	g := &gate{listener: ln, loop: l}
	g.timer.owner = g
	return g
}

// open registers the socket: exclusively, so that a connection wakes one loop and not all.
func (g *gate) open() error {
	if g.loop.closing {
		return ErrClosed
	}
	g.id, g.gen = g.loop.use(slot{gate: g})
	if err := g.loop.watch(g.listener.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, g.id, g.gen); err != nil {
		g.loop.vacate(g.id)
		return err
	}
	g.isOpen = true
	return nil
}

// shut ends accepting on this loop, for good or until open.
func (g *gate) shut() {
	g.loop.wheel.stop(&g.timer)
	if g.isOpen {
		g.isOpen = false
		unix.EpollCtl(int(g.loop.epfd), unix.EPOLL_CTL_DEL, int(g.listener.fd), nil)
		g.loop.vacate(g.id)
	}
}

func (g *gate) accept() {
	var sa unix.RawSockaddrAny
	for range acceptBatch {
		fd, e := sysAccept(g.listener.fd, &sa)
		switch e {
		case 0:
			g.pause = 0
			g.listener.accepted.Add(1)
			g.hand(fd, endpointOf(&sa))
		case syscall.EAGAIN:
			return
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			g.backOff(e)
			return
		default: // the connection died in the queue, or a network error of its own (accept(2))
		}
	}
}

// hand gives an accepted socket to the least busy loop.
func (g *gate) hand(fd int32, peer endpoint) {
	to := g.loop
	least := to.counts.conns.Load()
	limit := least
	for _, l := range g.listener.group.loops {
		if n := l.counts.conns.Load(); n+n/4+loadSlack < limit && n < least {
			to, least = l, n
		}
	}
	if to == g.loop {
		g.admit(to, fd, peer)
	} else if !to.Post(func() { g.admit(to, fd, peer) }) {
		sysClose(fd)
	}
}

func (g *gate) admit(l *Loop, fd int32, peer endpoint) {
	if l.closing {
		sysClose(fd)
		return
	}
	c, err := l.adopt(fd, peer)
	if err != nil {
		sysClose(fd)
		g.report(err)
		return
	}
	g.listener.acceptor.Accepted(c)
}

// backOff leaves the queue alone for a while: the event is level-triggered and would
// otherwise come back at once.
func (g *gate) backOff(e syscall.Errno) {
	g.pause = min(max(2*g.pause, minPause), maxPause)
	g.shut()
	g.loop.wheel.set(&g.timer, g.loop.now+int64(g.pause))
	g.report(fmt.Errorf("accept on %s pauses for %v: %w", g.listener.addr, g.pause, e))
}

func (g *gate) report(err error) {
	g.listener.errors.Add(1)
	if g.listener.opts.OnError != nil {
		g.listener.opts.OnError(err)
	}
}

// expired ends a pause.
func (g *gate) expired() {
	if err := g.open(); err != nil && err != ErrClosed {
		g.report(err)
		g.loop.wheel.set(&g.timer, g.loop.now+int64(maxPause))
	}
}

func openListener(network, address string) (int32, error) {
	sa, family, err := listenAddress(network, address)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if family != unix.AF_UNIX {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	// The kernel bounds the queue by net.core.somaxconn.
	if err := unix.Listen(fd, math.MaxUint16); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("listen", err)
	}
	return int32(fd), nil
}

func listenAddress(network, address string) (unix.Sockaddr, int, error) {
	switch network {
	case "unix":
		return &unix.SockaddrUnix{Name: address}, unix.AF_UNIX, nil
	case "tcp":
		ap, err := parseAddrPort(address)
		if err != nil {
			return nil, 0, err
		}
		return sockaddr(ap)
	}
	return nil, 0, net.UnknownNetworkError(network)
}

// parseAddrPort understands an empty host as every address, IPv6 and IPv4, and localhost
// as 127.0.0.1.
func parseAddrPort(address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch host {
	case "":
		host = "::"
	case "localhost":
		host = "127.0.0.1"
	}
	ap, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return ap, fmt.Errorf("%q is not an address of the form ip:port", address)
	}
	return ap, nil
}
