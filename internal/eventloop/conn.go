package eventloop

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Events are what may be true of a connection.
type Events uint8

// What a task can wait for. Readable and Writable include every reason for which a read or
// a write would not block: data or room, an end, an error, a passed deadline.
const (
	Readable Events = 1 << iota
	Writable
	// HalfClosed: the peer has said that it will send no more; bytes may still be there.
	HalfClosed
	// Broken: the connection is gone in both directions, or was aborted.
	Broken
	readLate
	writeLate
)

// causes is the set of events that end a wait for e.
func (e Events) causes() Events { return e | e&(Readable|Writable)<<4 | Broken }

var errNoTask = errors.New("eventloop: a connection can only wait within a task of its loop")

// An IdleHandler is told when something happens to an idle connection. Ready is called on
// the loop, outside of any task, once for each call of Conn.Idle, and must not block. The
// connection is not idle any more: Ready closes it, starts a task for it, or makes it idle
// again.
type IdleHandler interface {
	Ready(c *Conn, why Cause)
}

// A Cause is why a connection is not idle any more.
type Cause uint8

// Causes for which an IdleHandler is called.
const (
	CauseReadable Cause = iota // bytes, an end or a reset are there (or were: TryRead tells)
	CauseDeadline              // the read deadline has passed
	CauseBroken                // aborted by Abort
)

// A Conn is a stream socket on a loop: TCP or Unix. It is a net.Conn for the tasks of its
// loop: a call that cannot go on parks the running task, so at most one task at a time may
// be in Read and Write of one connection. No method may be called from elsewhere.
type Conn struct {
	loop    *Loop
	waiter  *Task
	owner   uint64 // number of the task that used it last, 0: none; closed if that panics
	idle    IdleHandler
	err     error // why it was aborted
	timer   timer // the earlier of both deadlines
	readBy  int64 // loop time, 0: none
	writeBy int64
	fd      int32
	id      uint32 // slot
	ready   Events
	awaited Events
	muted   bool
	bounded bool // see Room
	peer    endpoint
	local   *endpoint // if Attribute has said so
	layer   Layer     // carries the bytes; nil for a socket
	under   *Conn     // what the layer lies on
	watcher Watcher
}

var _ net.Conn = (*Conn)(nil)

// adopt makes fd, a connected or connecting non-blocking stream socket, a connection of
// this loop. On error fd is still the caller's.
func (l *Loop) adopt(fd int32, peer endpoint) (*Conn, error) {
	c := &Conn{loop: l, fd: fd, peer: peer, ready: Writable}
	c.timer.owner = c
	id, gen := l.use(slot{conn: c})
	c.id = id
	const events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&(1<<32-1)
	if err := l.watch(fd, events, id, gen); err != nil {
		l.vacate(id)
		return nil, err
	}
	l.counts.sockets.Add(1)
	l.countConn(1)
	return c, nil
}

// countConn is a plain store for the reason that add is.
func (l *Loop) countConn(n int64) { l.counts.conns.Store(l.counts.conns.Load() + n) }

// Loop returns the loop that the connection is on.
func (c *Conn) Loop() *Loop { return c.loop }

// event takes in what epoll says.
func (c *Conn) event(ev uint32) {
	r := c.ready
	if ev&unix.EPOLLIN != 0 {
		r |= Readable
	}
	if ev&unix.EPOLLOUT != 0 {
		r |= Writable
	}
	if ev&unix.EPOLLRDHUP != 0 {
		r |= Readable | HalfClosed
	}
	if ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		r |= Readable | Writable | HalfClosed | Broken
	}
	c.ready = r
	c.notify()
}

// notify wakes who waits for what has become true.
func (c *Conn) notify() {
	switch {
	case c.watcher != nil:
		c.watcher.Changed(c)
	case c.waiter != nil:
		if c.ready&c.awaited != 0 {
			c.waiter.Wake()
		}
	case c.idle != nil && c.ready&(Readable|Broken|readLate) != 0:
		h := c.idle
		c.idle = nil
		l := c.loop
		before := l.offered
		l.offered = c
		switch {
		case c.err != nil || c.ready&(Broken|Readable) == Broken:
			h.Ready(c, CauseBroken)
		case c.ready&Readable != 0:
			h.Ready(c, CauseReadable)
		default:
			h.Ready(c, CauseDeadline)
		}
		l.offered = before
	}
}

// has reports whether a wait for e would end at once.
func (c *Conn) has(e Events) bool { return c.fd < 0 || c.ready&e.causes() != 0 }

// Has reports whether one of the events is known to be true, without a system call.
func (c *Conn) Has(e Events) bool { return c.ready&e != 0 }

// Idle leaves the connection without a task until bytes, an end, an error or the read
// deadline arrive, of which h is told. It returns false, and does nothing, if one of them
// may be there already: then the caller reads first.
func (c *Conn) Idle(h IdleHandler) bool {
	if c.fd < 0 || c.ready&(Readable|Broken|readLate) != 0 {
		return false
	}
	c.idle, c.owner = h, 0
	return true
}

// Busy ends idleness without its handler being called; for who takes a connection from a
// pool.
func (c *Conn) Busy() {
	c.idle = nil
	c.use()
}

// Abort makes every present and future call on the connection return err, except Close.
// The task that waits for it wakes, an idle connection's handler is called. Unlike other
// methods it is meant for those who do not own the connection, on the same loop.
func (c *Conn) Abort(err error) {
	if c.fd < 0 || c.err != nil {
		return
	}
	c.err = err
	c.ready |= Broken
	if c.idle != nil || c.watcher != nil {
		c.loop.shielded(c.notify) // the caller may be a task of its own
		return
	}
	c.notify()
}

// Close closes the connection; unread bytes make the kernel answer with a reset. It is
// not an error to close twice.
func (c *Conn) Close() error {
	c.close(false)
	return nil
}

func (c *Conn) close(reset bool) {
	if c.fd < 0 {
		return
	}
	l := c.loop
	l.wheel.stop(&c.timer)
	l.vacate(c.id)
	fd := c.fd
	c.fd = -1
	switch {
	case c.layer != nil:
		c.layer.Close(reset)
	case reset:
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		sysClose(fd)
	default:
		sysClose(fd)
	}
	c.idle, c.watcher, c.owner = nil, nil, 0
	l.countConn(-1)
	if c.layer == nil {
		l.counts.sockets.Add(-1)
		if len(l.pausing) > 0 {
			l.refresh()
		}
	}
	if c.waiter != nil {
		c.waiter.Wake()
	} else if c.layer != nil {
		l.shed = append(l.shed, c)
	}
}

// Reset closes the connection with a reset, so that the peer cannot take the end of what
// it has received for a clean one.
func (c *Conn) Reset() { c.close(true) }

// RemoteAddrPort is the peer's address, zero for Unix sockets.
func (c *Conn) RemoteAddrPort() netip.AddrPort { return c.peer.addrPort() }

// RemoteAddr is the peer's address as the net package has it.
func (c *Conn) RemoteAddr() net.Addr { return netAddr(c.peer, "") }

// LocalAddr asks the kernel for the connection's own address, unless Attribute has named another.
func (c *Conn) LocalAddr() net.Addr {
	if c.fd < 0 {
		return netAddr(endpoint{}, "")
	}
	if c.local != nil {
		return netAddr(*c.local, "")
	}
	if c.under != nil {
		return c.under.LocalAddr()
	}
	return localAddr(c.fd)
}

// SetDeadline sets both deadlines; see SetReadDeadline.
func (c *Conn) SetDeadline(at time.Time) error {
	_ = c.SetReadDeadline(at)
	return c.SetWriteDeadline(at)
}

// SetReadDeadline bounds present and future reads as net.Conn has it; the zero time is
// none.
func (c *Conn) SetReadDeadline(at time.Time) error {
	c.setReadBy(c.loop.timeOf(at))
	return nil
}

// SetWriteDeadline bounds present and future writes; the zero time is none.
func (c *Conn) SetWriteDeadline(at time.Time) error {
	c.setWriteBy(c.loop.timeOf(at))
	return nil
}

// SetReadTimeout bounds reads by d from the beginning of this turn of the loop; 0 or less
// is no bound. It is what SetReadDeadline is, without asking the clock.
func (c *Conn) SetReadTimeout(d time.Duration) { c.setReadBy(c.loop.in(d)) }

// SetWriteTimeout is SetReadTimeout for writes.
func (c *Conn) SetWriteTimeout(d time.Duration) { c.setWriteBy(c.loop.in(d)) }

func (c *Conn) setReadBy(at int64) {
	c.readBy = at
	c.ready &^= readLate
	c.checkLate(at, readLate)
	c.rearm()
}

func (c *Conn) setWriteBy(at int64) {
	c.writeBy = at
	c.ready &^= writeLate
	c.checkLate(at, writeLate)
	c.rearm()
}

// checkLate has a deadline that is set in the past take effect at once. Only handlers wait
// for the timer, so that they are not called from within the setter.
func (c *Conn) checkLate(at int64, late Events) {
	if at != 0 && at <= c.loop.now && c.idle == nil {
		c.ready |= late
		c.notify()
	}
}

// rearm sets the timer for the earlier deadline that has not been told yet. Clearing a
// deadline leaves the timer where it is: it costs less to find nothing due once.
func (c *Conn) rearm() {
	if c.fd < 0 {
		return
	}
	var at int64
	if c.readBy != 0 && c.ready&readLate == 0 {
		at = c.readBy
	}
	if c.writeBy != 0 && c.ready&writeLate == 0 && (at == 0 || c.writeBy < at) {
		at = c.writeBy
	}
	if at != 0 {
		c.loop.wheel.set(&c.timer, at)
	}
}

// expired is the connection's timer.
func (c *Conn) expired() {
	now := c.loop.now
	if c.readBy != 0 && c.readBy <= now {
		c.ready |= readLate
	}
	if c.writeBy != 0 && c.writeBy <= now {
		c.ready |= writeLate
	}
	c.rearm()
	c.notify()
}

// timeOf turns a time into loop time; 0 for the zero time.
func (l *Loop) timeOf(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return max(int64(at.Sub(l.group.start)), 1)
}

func (l *Loop) in(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return l.after(d)
}

// after is the loop time d from the beginning of this turn, without overflow.
func (l *Loop) after(d time.Duration) int64 {
	if int64(d) > math.MaxInt64-l.now {
		return math.MaxInt64
	}
	return l.now + int64(d)
}

// usable tells why nothing can be read (late = readLate) or written (writeLate), or nil.
func (c *Conn) usable(late Events) error {
	switch {
	case c.fd < 0:
		return net.ErrClosed
	case c.err != nil:
		return c.err
	case c.ready&late != 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wait parks the running task until e may be true.
func (c *Conn) wait(e Events) error {
	t := c.loop.running
	if t == nil {
		return errNoTask
	}
	c.await(t, e)
	t.park()
	c.unawait()
	return nil
}

func (c *Conn) await(t *Task, e Events) {
	switch c.waiter {
	case nil:
		c.waiter, c.awaited = t, e.causes()
	case t:
		c.awaited |= e.causes()
	default:
		panic("eventloop: two tasks wait for one connection") //nolint:forbidigo // only a programmer's mistake leads here
	}
}

func (c *Conn) unawait() { c.waiter, c.awaited = nil, 0 }
