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

// For how long nobody has used what is given up: for a connection to an endpoint that a request waits
// for, everything idle may go, but for another client not what those that are there will need again
// in a moment.
const (
	idleForEndpoint = 0
	idleForClient   = time.Second
)

// A room is what is known of the descriptors that the process may have. The kernel gives out the
// lowest number that is free, so that a number says how many are taken below it.
//
// That a client's socket has a number that is too high is seen when it has been accepted. So that this
// does not happen again and again, each time with one more, it is looked before from then on, by one
// loop at a time, until there are much fewer sockets.
type room struct {
	limit  atomic.Int64 // of descriptors
	accept atomic.Int32 // sockets of clients from this number on are too many
	dial   atomic.Int32 // those of endpoints are
	narrow atomic.Int64 // how many sockets there were when there were too many; 0: there is room
	taken  atomic.Bool  // a loop has looked, and accepts now
}

// An entry says whether a client may be accepted.
type entry uint8

const (
	entryFree  entry = iota // it may
	entryTaken              // it may, and the others wait for leave
	entryBusy               // another loop is about to
	entryFull               // it may not
)

// enter asks for a client, before it is accepted.
func (r *room) enter(l *Loop) entry {
	narrow := r.narrow.Load()
	if narrow == 0 {
		return entryFree
	}
	sockets := l.group.sockets()
	// Each loop may have accepted a batch before the first of it connects to an endpoint. Where there were
	// not so many, because the limit is low or something else has them, a quarter has to do.
	burst := int64(2 * pair * acceptBatch * len(l.group.loops))
	if sockets <= max(min(narrow/4*3, narrow-burst), narrow/4) {
		r.narrow.CompareAndSwap(narrow, 0)
		return entryFree
	}
	if !r.taken.CompareAndSwap(false, true) {
		return entryBusy
	}
	// With that many sockets it was full, unless many other descriptors have become free since.
	need := pair
	if sockets+pair > narrow {
		need = mostTried
	}
	if !r.free(l.wakes, need) {
		r.leave(entryTaken)
		return entryFull
	}
	return entryTaken
}

// leave is called when it has been accepted.
func (r *room) leave(e entry) {
	if e == entryTaken {
		r.taken.Store(false)
	}
}

// tighten has loops look before they accept.
func (r *room) tighten(l *Loop) {
	r.narrow.CompareAndSwap(0, max(l.group.sockets(), 1))
}

// sockets is how many there are, on all loops.
func (g *Group) sockets() (n int64) {
	for _, l := range g.loops {
		n += l.counts.sockets.Load()
	}
	return n
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

// pair is what a client takes: a descriptor for its socket, and one for that of an endpoint.
const pair = 2

// mostTried bounds how many descriptors are opened for finding out whether they are free.
const mostTried = 16

// free tells whether there are so many descriptors that clients may have, mostTried at the most. One
// that is open has to be duplicated for finding out.
func (r *room) free(open int32, need int) bool {
	var tried [mostTried]int32
	last, n := int32(-1), 0
	for ; n < need; n++ {
		fd, err := unix.FcntlInt(uintptr(open), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			break
		}
		last = int32(fd)
		tried[n] = last
	}
	for _, fd := range tried[:n] {
		sysClose(fd)
	}
	if n < need {
		r.measure()
		return false
	}
	return r.forClient(last)
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

// spare has a pipe or a connection given up that nobody uses, and tells whether there was one. Where this loop
// has none, the others are asked, too late for who has asked but not for the next.
func (l *Loop) spare(idle time.Duration) bool {
	if l.sparePipe() {
		return true
	}
	fn := l.group.opts.Spare
	until := &l.unspared
	if idle > 0 {
		until = &l.unsparedIdle
	}
	if fn == nil || l.now < *until {
		return false
	}
	ok := false
	l.shielded(func() { ok = fn(l, idle) })
	if ok {
		return true
	}
	*until = l.now + spareEvery
	for _, o := range l.group.loops {
		if o != l {
			o.Post(func() {
				o.sparePipe()
				fn(o, idle)
			})
		}
	}
	return false
}

func (l *Loop) sparePipe() bool {
	n := len(l.pipes)
	if n > 0 {
		l.pipes[n-1].close()
		l.pipes = l.pipes[:n-1]
	}
	return n > 0
}

// refresh has the listeners that pause look again, because a descriptor has become free.
func (l *Loop) refresh() {
	for _, g := range l.pausing {
		l.wheel.set(&g.timer, l.now)
	}
}
