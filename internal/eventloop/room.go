package eventloop

import (
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Of the descriptors that the process may have, an eighth is kept from clients, from leastKept to
// mostKept of them: half of that for connections to endpoints, without which those of clients are of
// no use, and half for everything else that has to go on, such as the admin interface, registries,
// names that are looked up and files.
const (
	leastKept = 8
	mostKept  = 1024
)

// spareEvery is how often at the most a loop asks in vain for what could be spared.
const spareEvery = int64(10 * time.Millisecond)

// A room is what is known of the descriptors that the process may have. The kernel gives out the
// lowest number that is free, so that a number says how many are taken below it.
type room struct {
	limit  atomic.Int64 // of descriptors
	accept atomic.Int32 // sockets of clients from this number on are too many
	dial   atomic.Int32 // those of endpoints are
}

// measure asks for the limit, which may be changed from outside (prlimit(1)).
func (r *room) measure() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		limit.Cur = math.MaxInt32
	}
	n := int64(min(limit.Cur, math.MaxInt32))
	kept := min(max(n/8, leastKept), mostKept)
	r.limit.Store(n)
	r.accept.Store(int32(max(n-kept, 0)))
	r.dial.Store(int32(max(n-kept/2, 0)))
}

// forClient tells whether a client's socket may have the number fd.
func (r *room) forClient(fd int32) bool {
	if fd < r.accept.Load() {
		return true
	}
	r.measure()
	return fd < r.accept.Load()
}

// forEndpoint tells whether the socket of an endpoint may have the number fd.
func (r *room) forEndpoint(fd int32) bool {
	if fd < r.dial.Load() {
		return true
	}
	r.measure()
	return fd < r.dial.Load()
}

// free tells whether the next client's socket would have a number that it may have. One that
// is open has to be duplicated for finding out.
func (r *room) free(open int32) bool {
	fd, err := unix.FcntlInt(uintptr(open), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		r.measure()
		return false
	}
	sysClose(int32(fd))
	return r.forClient(int32(fd))
}

// full is the error for too many sockets of clients.
func (r *room) full() error {
	n := r.limit.Load()
	return fmt.Errorf("of %d descriptors that the process may have, %d are left for what is not a client: %w",
		n, n-int64(r.accept.Load()), syscall.EMFILE)
}

// exhausted tells whether the process or the host lacks descriptors or memory.
func exhausted(err error) bool {
	return err == syscall.EMFILE || err == syscall.ENFILE || err == syscall.ENOBUFS || err == syscall.ENOMEM
}

// spare has a connection given up that nobody uses, and tells whether there was one. Where this loop
// has none, the others are asked, too late for who has asked but not for the next.
func (l *Loop) spare() bool {
	fn := l.group.opts.Spare
	if fn == nil || l.now < l.unspared {
		return false
	}
	ok := false
	l.shielded(func() { ok = fn(l) })
	if ok {
		return true
	}
	l.unspared = l.now + spareEvery
	for _, o := range l.group.loops {
		if o != l {
			o.Post(func() { fn(o) })
		}
	}
	return false
}

// refresh has the listeners that pause look again, because a descriptor has become free.
func (l *Loop) refresh() {
	for _, g := range l.pausing {
		l.wheel.set(&g.timer, l.now)
	}
}
