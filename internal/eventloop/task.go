package eventloop

import (
	"errors"
	"iter"
	"os"
	"time"
)

// keepTasks is how many coroutines without work a loop keeps for the next ones. Making one
// costs a few microseconds and its stack must grow again.
const keepTasks = 512

// A task that has moved shareBytes, or made shareCalls reads and writes, since it was last
// given the thread goes to the back of the run queue before it may move more.
const (
	shareBytes = 1 << 20
	shareCalls = 64
	callShare  = shareBytes / shareCalls
)

// heavyPerTurn is how many tasks go on from Heavy in one turn: what they do holds the loop for
// up to a millisecond each.
const heavyPerTurn = 2

// A Runner is what a task runs. Run is called once per Loop.Go. It must not lock itself to a
// thread; runtime.Goexit in it counts as a panic.
type Runner interface {
	Run(t *Task)
}

// RunFunc is a function as a Runner.
type RunFunc func(t *Task)

// Run calls f.
func (f RunFunc) Run(t *Task) { f(t) }

type taskState uint8

const (
	taskFree taskState = iota
	taskQueued
	taskRunning
	taskParked
	taskHeld // in Heavy: nobody wakes it
)

var errGoexit = errors.New("eventloop: runtime.Goexit in a task")

// A Task is one coroutine on a loop. Its methods are for the code that it runs, except
// Wake, and are called on its loop only.
type Task struct {
	loop   *Loop
	runner Runner
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	next   *Task  // in the run queue, or among those in Heavy
	place  int    // in loop.tasks
	number uint64 // of the run: tells it from others of the same Task
	share  int    // what it may still move in this turn
	state  taskState
	late   bool // the time of Wait or Sleep is over
	broken bool // Wait is to return: see Interrupt
	timer  timer
}

// Go starts a task that runs r. It is queued, not run at once, so it may be called from
// tasks, handlers and posted functions alike. It allocates nothing once the loop has tasks
// to spare.
func (l *Loop) Go(r Runner) {
	var t *Task
	if n := len(l.free); n > 0 {
		t = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		t = l.newTask()
	}
	l.started++
	t.runner, t.number = r, l.started
	if c := l.offered; c != nil && c.owner == 0 {
		c.owner = t.number
	}
	l.counts.tasks.Store(l.counts.tasks.Load() + 1)
	t.enqueue()
}

func (l *Loop) newTask() *Task {
	t := &Task{loop: l, place: len(l.tasks)}
	t.timer.owner = t
	t.resume, t.stop = iter.Pull(t.main)
	l.tasks = append(l.tasks, t)
	return t
}

// main is the coroutine: one runner after the other until it is stopped between two.
func (t *Task) main(yield func(struct{}) bool) {
	t.yield = yield
	for {
		t.run()
		if !yield(struct{}{}) {
			return
		}
	}
}

func (t *Task) run() {
	returned := false
	defer func() {
		v := recover()
		if v != nil {
			t.loop.caught(v)
		}
		if !returned {
			t.loop.closeOwned(t)
		}
		t.runner = nil
		t.state = taskFree
		t.loop.wheel.stop(&t.timer)
		if !returned && v == nil {
			// Goexit would take the loop along; as a panic it ends only the coroutine.
			panic(errGoexit) //nolint:forbidigo // it is caught by the loop
		}
	}()
	t.runner.Run(t)
	returned = true
}

// step gives the thread to the task until it parks, yields or ends.
func (t *Task) step() {
	l := t.loop
	t.state = taskRunning
	t.share = shareBytes
	l.running = t
	t.resume()
	l.running = nil
	if t.state == taskFree {
		l.retire(t)
	}
}

// retire takes back a task that has ended.
func (l *Loop) retire(t *Task) {
	l.counts.tasks.Store(l.counts.tasks.Load() - 1)
	if len(l.free) < keepTasks {
		l.free = append(l.free, t)
		return
	}
	t.stop()
	l.drop(t)
}

// forget is retire for a task whose coroutine has ended by itself.
func (l *Loop) forget(t *Task) {
	l.counts.tasks.Store(l.counts.tasks.Load() - 1)
	l.drop(t)
}

func (l *Loop) drop(t *Task) {
	last := l.tasks[len(l.tasks)-1]
	l.tasks[t.place], last.place = last, t.place
	l.tasks[len(l.tasks)-1] = nil
	l.tasks = l.tasks[:len(l.tasks)-1]
}

// closeOwned closes what a task that panicked has left open.
func (l *Loop) closeOwned(t *Task) {
	for id := range l.slots {
		c := l.slots[id].conn
		if c == nil {
			continue
		}
		if c.waiter == t {
			c.unawait()
		}
		if c.owner == t.number {
			c.Close()
		}
	}
}

func (t *Task) enqueue() {
	t.state = taskQueued
	t.loop.runq.push(t)
}

// park gives the thread back until something wakes the task. Wakes may be spurious: who
// parks checks what it has waited for, and parks again.
func (t *Task) park() {
	t.state = taskParked
	t.yield(struct{}{})
}

// Wake has a parked task run again; it does nothing to a task that is not parked. It may
// be called by anything on the task's loop. What the task is parked in may then return
// early or park again, as its documentation says.
func (t *Task) Wake() {
	if t.state == taskParked {
		t.enqueue()
	}
}

// Loop returns the loop that the task runs on.
func (t *Task) Loop() *Loop { return t.loop }

// Park parks the task until Wake, or until the loop is closing, which returns ErrClosed.
// It may also return without either; callers check their condition again.
func (t *Task) Park() error {
	if t.loop.closing {
		return ErrClosed
	}
	t.park()
	if t.loop.closing {
		return ErrClosed
	}
	return nil
}

// Yield lets every other task that is ready run first.
func (t *Task) Yield() {
	t.enqueue()
	t.yield(struct{}{})
}

// Heavy is called before work that holds the loop for long, a tenth of a millisecond or more, and
// that many tasks may have at once. The task goes on behind all that is ready and has been
// written in this turn, with one other at the most; the rest have their turns in the order in which
// they have asked, and sockets, timers and other tasks get theirs between. It cannot be woken
// before; what has happened to its connections meanwhile their next calls tell.
func (t *Task) Heavy() {
	t.state = taskHeld
	t.loop.held.push(t)
	t.yield(struct{}{})
}

// Rest yields if the task has used up its share of this turn. Read, Write and Wait do so by
// themselves; a task that goes on with Try calls asks here.
func (t *Task) Rest() { t.rest() }

// spend counts n moved bytes against the task's share of this turn.
func (t *Task) spend(n int) {
	t.share -= n + callShare
}

// rest yields if the task's share is used up.
func (t *Task) rest() {
	if t.share <= 0 {
		t.Yield()
	}
}

// Sleep parks the task for d from the beginning of this turn of the loop; 0 or less is a
// Yield. It returns ErrClosed at once when the loop is closing.
func (t *Task) Sleep(d time.Duration) error {
	if d <= 0 && !t.loop.closing {
		t.Yield()
		return nil
	}
	if err := t.Wait(d); err != os.ErrDeadlineExceeded {
		return err
	}
	return nil
}

// Do runs fn on a goroutine of its own, where it may block, while the task is parked, and
// returns when fn has. A panic in fn is not caught.
func (t *Task) Do(fn func()) {
	done := false
	go func() {
		// The loop accepts posts as long as it has tasks, and this is one of them. Deferred
		// for a fn that ends its goroutine by runtime.Goexit.
		defer t.loop.Post(func() {
			done = true
			t.Wake()
		})
		fn()
	}()
	for !done {
		t.park()
	}
}

// An Interest is something to wait for on a connection.
type Interest struct {
	Conn   *Conn
	Events Events
}

// Wait parks the task until one of the connections has one of the events asked of it, or
// an error, or a passed deadline, all of which the next call on that connection tells; then
// it returns nil. A timeout of 0 or more bounds the wait: os.ErrDeadlineExceeded. ErrClosed
// is returned when the loop is closing. A connection may be listed more than once, but has
// one waiting task at the most: a second one panics.
func (t *Task) Wait(timeout time.Duration, in ...Interest) error {
	for i := range in {
		if in[i].Conn.has(in[i].Events) {
			t.rest()
			return nil
		}
	}
	l := t.loop
	if l.closing {
		return ErrClosed
	}
	for i := range in {
		in[i].Conn.await(t, in[i].Events)
	}
	t.late, t.broken = false, false
	if timeout >= 0 {
		l.wheel.stop(&t.timer)
		l.wheel.set(&t.timer, l.after(timeout))
	}
	var err error
	for {
		t.park()
		if l.closing {
			err = ErrClosed
			break
		}
		if t.broken || ready(in) {
			break
		}
		if t.late {
			err = os.ErrDeadlineExceeded
			break
		}
	}
	for i := range in {
		in[i].Conn.unawait()
	}
	if timeout >= 0 {
		l.wheel.stop(&t.timer)
	}
	return err
}

// Interrupt has the Wait that the task is in return nil, for a reason that the two who wait and
// interrupt know of. It is for others on the loop. A task that is not in Wait is only woken.
func (t *Task) Interrupt() {
	t.broken = true
	t.Wake()
}

func ready(in []Interest) bool {
	for i := range in {
		if in[i].Conn.has(in[i].Events) {
			return true
		}
	}
	return false
}

// expired is the task's timer: the bound of a Wait.
func (t *Task) expired() {
	t.late = true
	t.Wake()
}

// A taskQueue is a first-in first-out list through the tasks themselves.
type taskQueue struct {
	head, tail *Task
	len        int
}

func (q *taskQueue) push(t *Task) {
	t.next = nil
	if q.head == nil {
		q.head = t
	} else {
		q.tail.next = t
	}
	q.tail = t
	q.len++
}

func (q *taskQueue) pop() *Task {
	t := q.head
	q.head = t.next
	t.next = nil
	q.len--
	return t
}
