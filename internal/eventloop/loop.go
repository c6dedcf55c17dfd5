package eventloop

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxEvents is how many events one wait may return.
const maxEvents = 256

// wakeSlot marks the event of the descriptor by which other goroutines wake the loop.
const wakeSlot = math.MaxUint32

// A Loop is one event loop. All methods but Post, Index and Stats are for the loop itself:
// for its tasks, handlers and posted functions.
type Loop struct {
	group *Group
	index int
	epfd  int32
	wakes int32 // eventfd

	now     int64 // nanoseconds since the group was started, as of this turn
	wheel   wheel
	running *Task
	offered *Conn // what a handler is being told of; goes down with it or with the task it starts
	runq    taskQueue
	held    taskQueue // those in Heavy
	tasks   []*Task   // all that there are, free ones included
	started uint64    // tasks ever
	free    []*Task
	buffers [][]byte
	pipes   []*Pipe
	slots   []slot
	vacant  []uint32

	events  []unix.EpollEvent
	pending int // events of this turn
	cursor  int // the next of them; outlives a panic in a handler

	flushers []Flusher // for the end of this turn
	flushed  int       // the next of them

	pausing  []*gate // do not accept for now
	unspared int64   // until then nobody is asked for what could be spared

	unsparedIdle int64 // … for what has been idle for some time

	unlayered []*Conn // closed ones that had a layer, for the next
	shed      []*Conn // … that were closed in this turn

	posts   []func() // taken from inbox, being run
	posted  int      // the next of them
	closing bool
	counts  counters
	delays  delays
	sampled bool // this turn is timed

	inbox struct {
		sync.Mutex
		queue  []func()
		closed bool
		filled atomic.Bool // queue is not empty
	}
	asleep atomic.Bool  // about to wait or waiting: a post must write to wakes
	waking atomic.Int32 // posts that are about to write; wakes stays open for them
}

// A slot is what an epoll event refers to: by number and generation, since the kernel
// must not hold Go pointers and an event may be older than the slot's present user.
type slot struct {
	conn *Conn
	gate *gate
	gen  uint32
}

func newLoop(g *Group, index int) (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakes, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	l := &Loop{group: g, index: index, epfd: int32(epfd), wakes: int32(wakes)}
	l.events = make([]unix.EpollEvent, maxEvents)
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&math.MaxUint32}
	setEventData(&ev, wakeSlot, 0)
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakes, &ev); err != nil {
		l.closeDescriptors()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return l, nil
}

func (l *Loop) closeDescriptors() {
	sysClose(l.epfd)
	sysClose(l.wakes)
}

// Index is the loop's place in its group, from 0.
func (l *Loop) Index() int { return l.index }

// Group returns the group that the loop belongs to.
func (l *Loop) Group() *Group { return l.group }

// Now is the time since the group was started, as of the beginning of this turn.
func (l *Loop) Now() time.Duration { return time.Duration(l.now) }

// Stats may be called from any goroutine.
func (l *Loop) Stats() Stats {
	c := &l.counts
	return Stats{
		Turns: c.turns.Load(), Events: c.events.Load(), Posts: c.posts.Load(), Panics: c.panics.Load(),
		Conns: c.conns.Load(), Sockets: c.sockets.Load(), Tasks: c.tasks.Load(),
		Delays: l.delays.load(), Busy: time.Duration(sampleEvery * l.delays.busy.Load()),
	}
}

// Post has fn run on the loop, between tasks. It may be called from any goroutine and
// never blocks; it returns false, and fn will not run, if the loop has ended.
func (l *Loop) Post(fn func()) bool {
	l.inbox.Lock()
	if l.inbox.closed {
		l.inbox.Unlock()
		return false
	}
	l.inbox.queue = append(l.inbox.queue, fn)
	l.inbox.filled.Store(true)
	wake := l.asleep.CompareAndSwap(true, false)
	if wake {
		l.waking.Add(1)
	}
	l.inbox.Unlock()
	if wake {
		one := uint64(1)
		syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.wakes), uintptr(unsafe.Pointer(&one)), 8)
		l.waking.Add(-1)
	}
	return true
}

func (l *Loop) run() {
	defer l.group.wg.Done()
	done := false
	defer func() {
		if !done {
			panic("eventloop: runtime.Goexit in a handler, timer or posted function") //nolint:forbidigo // only a programmer's mistake leads here
		}
	}()
	runtime.LockOSThread() // for good: the thread ends with the loop
	for !l.ended() {
		l.turns()
	}
	l.end()
	done = true
}

// turns runs until the loop has ended or something outside of a task has panicked; what
// was in progress goes on in the next call behind the point of the panic.
func (l *Loop) turns() {
	defer func() {
		if v := recover(); v != nil {
			if _, fatal := v.(brokenLoop); fatal {
				panic(v) //nolint:forbidigo // passes on what ends the process
			}
			if t := l.running; t != nil {
				l.forget(t) // its coroutine is gone: see Task.run
			}
			l.caught(v)
		}
	}()
	for !l.ended() {
		l.dispatch()
		l.runPosts()
		l.wheel.advance(l.now)
		l.runTasks()
		l.flush()
		l.runHeld()
		l.wait()
	}
}

// brokenLoop is the one panic that is not caught.
type brokenLoop struct{ error }

// caught counts and reports a panic. The connection of a handler that panicked has nobody
// to close it any more, unless a task or another handler has been found for it.
func (l *Loop) caught(v any) {
	l.running = nil
	if c := l.offered; c != nil {
		l.offered = nil
		if c.owner == 0 && c.idle == nil {
			c.Close()
		}
	}
	add(&l.counts.panics, 1)
	if l.group.opts.OnPanic != nil {
		l.group.opts.OnPanic(v, debug.Stack())
	}
}

// wait lets the kernel collect the events of the next turn, and blocks if there is nothing
// else to do.
func (l *Loop) wait() {
	var n int
	var e syscall.Errno
	if l.sampled {
		add(&l.delays.busy, l.passed())
	}
	if l.runq.len > 0 || l.held.len > 0 || l.posted < len(l.posts) || l.ended() {
		n, e = sysPoll(l.epfd, l.events)
	} else {
		n, e = l.block()
	}
	add(&l.counts.turns, 1)
	l.now = int64(time.Since(l.group.start))
	l.sampled = l.counts.turns.Load()%sampleEvery == 0
	if e != 0 {
		if e != syscall.EINTR {
			// Somebody has closed a descriptor that is ours: there is nothing to go on with.
			panic(brokenLoop{os.NewSyscallError("epoll_wait", e)}) //nolint:forbidigo // see above
		}
		n = 0
	}
	l.cursor, l.pending = 0, n
	add(&l.counts.events, uint64(n))
}

func (l *Loop) block() (int, syscall.Errno) {
	l.asleep.Store(true)
	defer l.asleep.Store(false)
	if l.inbox.filled.Load() {
		return sysPoll(l.epfd, l.events)
	}
	ms := -1
	if d := l.wheel.until(l.now); d >= 0 {
		ms = int(min((d+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
	}
	if ms == 0 {
		return sysPoll(l.epfd, l.events)
	}
	return sysWait(l.epfd, l.events, ms)
}

// dispatch hands the events of this turn to connections and listeners. The cursor moves
// before each, so that a panic loses no other's event: being edges they do not come again.
func (l *Loop) dispatch() {
	for l.cursor < l.pending {
		ev := &l.events[l.cursor]
		l.cursor++
		id, gen := eventData(ev)
		if id == wakeSlot {
			continue // each write is an edge, so the counter need not be read
		}
		s := &l.slots[id]
		switch {
		case s.gen != gen: // closed earlier in this turn
		case s.conn != nil:
			s.conn.event(ev.Events)
		case s.gate != nil:
			s.gate.accept()
		}
	}
}

func (l *Loop) runPosts() {
	if l.posted == len(l.posts) {
		if !l.inbox.filled.Load() {
			return
		}
		l.inbox.Lock()
		l.posts, l.inbox.queue = l.inbox.queue, l.posts[:0]
		l.inbox.filled.Store(false)
		l.inbox.Unlock()
		l.posted = 0
		add(&l.counts.posts, uint64(len(l.posts)))
	}
	for l.posted < len(l.posts) {
		fn := l.posts[l.posted]
		l.posts[l.posted] = nil
		l.posted++
		fn()
	}
}

// runTasks gives one run to each task that is in the queue now; those that come back to
// it meanwhile wait for the next turn, so that sockets and timers get theirs.
func (l *Loop) runTasks() {
	for n := l.runq.len; n > 0 && l.runq.len > 0; n-- {
		t := l.runq.pop()
		if l.sampled {
			l.delays.waited(l.passed())
		}
		t.step()
	}
}

// runHeld lets some of the tasks in Heavy go on, when what the others had to say has left.
func (l *Loop) runHeld() {
	if l.held.len == 0 {
		return
	}
	for range min(heavyPerTurn, l.held.len) {
		l.held.pop().step()
	}
	l.flush()
}

// use takes a slot for what epoll shall report on.
func (l *Loop) use(s slot) (id, gen uint32) {
	if n := len(l.vacant); n > 0 {
		id = l.vacant[n-1]
		l.vacant = l.vacant[:n-1]
	} else {
		id = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	s.gen = l.slots[id].gen
	l.slots[id] = s
	return id, s.gen
}

func (l *Loop) vacate(id uint32) {
	l.slots[id] = slot{gen: l.slots[id].gen + 1}
	l.vacant = append(l.vacant, id)
}

func (l *Loop) watch(fd int32, events, id, gen uint32) error {
	ev := unix.EpollEvent{Events: events}
	setEventData(&ev, id, gen)
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(int(l.epfd), unix.EPOLL_CTL_ADD, int(fd), &ev))
}

func setEventData(ev *unix.EpollEvent, id, gen uint32) { ev.Fd, ev.Pad = int32(id), int32(gen) }

func eventData(ev *unix.EpollEvent) (id, gen uint32) { return uint32(ev.Fd), uint32(ev.Pad) }

// beginClose aborts every connection and wakes every task; the loop ends when the last
// task has.
func (l *Loop) beginClose() {
	if l.closing {
		return
	}
	l.closing = true
	for id := range l.slots {
		if c := l.slots[id].conn; c != nil {
			c.Abort(ErrClosed)
		} else if g := l.slots[id].gate; g != nil {
			g.shut()
		}
	}
	for _, t := range l.tasks {
		t.Wake()
	}
}

// ended reports whether nothing is left to do, and if so refuses further posts: what was
// posted in time may start tasks, and those are run to their end as well.
func (l *Loop) ended() bool {
	if !l.closing || l.counts.tasks.Load() != 0 || l.posted != len(l.posts) {
		return false
	}
	l.inbox.Lock()
	defer l.inbox.Unlock()
	l.inbox.closed = len(l.inbox.queue) == 0
	return l.inbox.closed
}

// end gives everything back.
func (l *Loop) end() {
	for id := range l.slots {
		if c := l.slots[id].conn; c != nil {
			c.Close()
		}
	}
	for _, t := range l.free {
		t.stop()
	}
	for _, p := range l.pipes {
		p.close()
	}
	for l.waking.Load() != 0 {
		runtime.Gosched()
	}
	l.closeDescriptors()
}

// shielded calls fn as from outside of any task, wherever it is called from: no panic gets
// through, and nothing in fn can park.
func (l *Loop) shielded(fn func()) {
	running, offered := l.running, l.offered
	l.running, l.offered = nil, nil
	defer func() {
		if v := recover(); v != nil {
			l.caught(v)
		}
		l.running, l.offered = running, offered
	}()
	fn()
}
