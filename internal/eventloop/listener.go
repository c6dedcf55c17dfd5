package eventloop

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
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

// When descriptors or memory run out, accepting pauses for minPause, doubling to maxPause, or until a
// connection of the loop ends. Clients wait in the socket's queue meanwhile, as they do with nginx and
// HAProxy: most of such times are short, and to accept who cannot be served, only to close the
// connection, would turn each into failures.
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
	// OnError is told why accepting pauses, each time that a loop begins to, from any loop; it must
	// not block. May be nil.
	OnError func(error)
}

// A Listener is a listening socket that all loops of a group accept from. Its methods may
// be called from any goroutine but a loop's.
type Listener struct {
	group    *Group
	fd       int32
	addr     net.Addr
	acceptor atomic.Pointer[Acceptor]
	opts     ListenOptions
	gates    []*gate
	once     sync.Once
	unlink   string // path of a Unix socket that we made
	accepted atomic.Uint64
	errors   atomic.Uint64
	paused   atomic.Int64
}

// Listen opens a listening socket, network "tcp" (address host:port, the host an IP
// literal or empty) or "unix" (address a path), and has all loops accept from it.
func (g *Group) Listen(network, address string, a Acceptor, opts ListenOptions) (*Listener, error) {
	s, err := Bind(network, address)
	if err != nil {
		return nil, err
	}
	ln, err := g.Accept(s, a, opts)
	if err != nil {
		s.Close()
		return nil, err
	}
	return ln, nil
}

// Accept has all loops accept from a socket, which is the Listener's from then on, unless there is
// an error.
func (g *Group) Accept(s *Socket, a Acceptor, opts ListenOptions) (*Listener, error) {
	ln, err := g.serve(s.fd, a, opts)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.Addr(), err)
	}
	ln.unlink = s.unlink
	return ln, nil
}

// Serve has all loops accept from a listening socket that was made elsewhere; see Adopt.
func (g *Group) Serve(f *os.File, a Acceptor, opts ListenOptions) (*Listener, error) {
	s, err := Adopt(f)
	if err != nil {
		return nil, err
	}
	ln, err := g.Accept(s, a, opts)
	if err != nil {
		s.Close()
		return nil, err
	}
	return ln, nil
}

func (g *Group) serve(fd int32, a Acceptor, opts ListenOptions) (*Listener, error) {
	ln := &Listener{group: g, fd: fd, addr: localAddr(fd), opts: opts}
	ln.SetAcceptor(a)
	if ln.addr.Network() == "tcp" {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	for _, l := range g.loops {
		ln.gates = append(ln.gates, newGate(ln, l))
	}
	failed := make(chan error, len(g.loops))
	err := g.EachWait(context.Background(), func(l *Loop) { failed <- ln.gates[l.index].open() })
	if err == nil && len(failed) < len(g.loops) {
		err = ErrClosed
	}
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

// SetAcceptor gives the connections that are accepted from now on to another Acceptor. The one
// before may still be called for a moment, by loops that are about to.
func (ln *Listener) SetAcceptor(a Acceptor) { ln.acceptor.Store(&a) }

// Keep leaves the file of a unix socket where it is when the Listener closes, because another
// process goes on with it.
func (ln *Listener) Keep() { ln.unlink = "" }

// Own has the file of a unix socket removed when the Listener closes, as if it had been made here.
func (ln *Listener) Own() {
	if ln.addr.Network() == "unix" && !strings.HasPrefix(ln.addr.String(), "@") {
		ln.unlink = ln.addr.String()
	}
}

// File returns a duplicate of the socket, for handing it over. The caller closes it, soon: as long
// as it is open each connection wakes one thread more.
func (ln *Listener) File() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(ln.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), ln.addr.String()), nil
}

// Addr is where it listens; the port that was chosen if port 0 was asked for.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Accepted is the number of connections accepted so far.
func (ln *Listener) Accepted() uint64 { return ln.accepted.Load() }

// Errors is how often accepting had to pause because accept failed.
func (ln *Listener) Errors() uint64 { return ln.errors.Load() }

// Paused is how many loops leave the queue alone just now, because accept has failed.
func (ln *Listener) Paused() int { return int(ln.paused.Load()) }

// Close stops accepting and closes the socket. Who waits in its queue is given to the Acceptor
// first; when it returns, no loop accepts from it and the Acceptor is not called any more. The accepted connections live on. Closing twice
// does nothing.
func (ln *Listener) Close() {
	ln.once.Do(func() {
		ln.shut()
		if ln.unlink != "" {
			os.Remove(ln.unlink)
		}
		ln.end()
	})
}

// shut closes the gates. The second round passes behind what the first has found on its
// way from one loop to another.
func (ln *Listener) shut() {
	_ = ln.group.EachWait(context.Background(), func(l *Loop) { ln.gates[l.index].shut() })
	_ = ln.group.EachWait(context.Background(), func(*Loop) {})
}

// mostQueued is how many connections Close takes at most that wait: more than most queues hold.
const mostQueued = 1 << 13

// end closes the socket, behind those who wait in its queue: they would be reset otherwise.
func (ln *Listener) end() {
	var once sync.Once
	_ = ln.group.EachWait(context.Background(), func(l *Loop) {
		if l.index != 0 || l.closing {
			return
		}
		g := ln.gates[l.index]
		for range mostQueued / acceptBatch {
			before := ln.accepted.Load()
			if g.accept(); g.isPaused || ln.accepted.Load() == before {
				break
			}
		}
		g.shut()
		once.Do(func() { sysClose(ln.fd) })
	})
	once.Do(func() { sysClose(ln.fd) })
	_ = ln.group.EachWait(context.Background(), func(*Loop) {}) // behind what was handed to other loops
}

// A gate is a listener's registration on one loop.
type gate struct {
	listener *Listener
	loop     *Loop
	id, gen  uint32
	isOpen   bool
	isPaused bool
	pause    time.Duration
	timer    timer // of the pause
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
	if g.isPaused {
		g.isPaused = false
		g.listener.paused.Add(-1)
		g.loop.pausing = slices.DeleteFunc(g.loop.pausing, func(o *gate) bool { return o == g })
	}
	if g.isOpen {
		g.isOpen = false
		_ = unix.EpollCtl(int(g.loop.epfd), unix.EPOLL_CTL_DEL, int(g.listener.fd), nil)
		g.loop.vacate(g.id)
	}
}

func (g *gate) accept() {
	var sa unix.RawSockaddrAny
	room := &g.loop.group.room
	for range acceptBatch {
		entry := room.enter(g.loop)
		if entry == entryBusy {
			return // the event comes again
		}
		if entry == entryFull && !g.loop.spare(idleForClient) {
			g.backOff(room.full())
			return
		}
		fd, e := sysAccept(g.listener.fd, &sa)
		room.leave(entry)
		switch e {
		case 0:
			g.pause = 0
			g.listener.accepted.Add(1)
			g.hand(fd, endpointOf(&sa))
			if !room.forClient(fd) {
				room.tighten(g.loop)
			}
			if entry == entryTaken {
				return // the event comes again, when this one has begun to connect to an endpoint
			}
		case syscall.EAGAIN:
			return
		case syscall.ECONNABORTED, syscall.EINTR, syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN,
			syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENONET,
			syscall.ENOPROTOOPT, syscall.EOPNOTSUPP:
			// The connection died in the queue, or has an error of its own (accept(2)).
		default: // no descriptors, no memory, or a socket that somebody else has shut down
			if !exhausted(e) || !g.loop.spare(idleForClient) {
				g.backOff(e)
				return
			}
		}
	}
}

// hand gives an accepted socket to the least busy loop. Only sockets count, or one client's
// connection of TLS would weigh as much as two, and one of HTTP/2 as much as its streams.
func (g *gate) hand(fd int32, peer endpoint) {
	to := g.loop
	least := to.counts.sockets.Load()
	limit := least
	for _, l := range g.listener.group.loops {
		if n := l.counts.sockets.Load(); n+n/4+loadSlack < limit && n < least {
			to, least = l, n
		}
	}
	if to == g.loop {
		g.admit(to, fd, peer)
		return
	}
	to.counts.sockets.Add(1) // at once, or all of a burst would go to the same loop
	if !to.Post(func() { to.counts.sockets.Add(-1); g.admit(to, fd, peer) }) {
		to.counts.sockets.Add(-1)
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
	l.offered = c
	(*g.listener.acceptor.Load()).Accepted(c)
	l.offered = nil
}

// backOff leaves the queue alone for a while, twice as long as the last time: the event is
// level-triggered and would otherwise come back at once.
func (g *gate) backOff(err error) {
	g.pause = min(max(2*g.pause, minPause), maxPause)
	g.shut()
	g.isPaused = true
	g.listener.paused.Add(1)
	g.loop.pausing = append(g.loop.pausing, g)
	g.loop.wheel.set(&g.timer, g.loop.now+int64(g.pause))
	g.report(fmt.Errorf("accept on %s pauses: %w", g.listener.addr, err))
}

func (g *gate) report(err error) {
	g.listener.errors.Add(1)
	if g.listener.opts.OnError != nil {
		g.listener.opts.OnError(err)
	}
}

// expired ends a pause. Whether there is room for a client is asked when there is one.
func (g *gate) expired() {
	g.shut()
	if err := g.open(); err != nil && err != ErrClosed {
		g.backOff(err)
	}
}
