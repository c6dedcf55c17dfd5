package eventloop

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of connections and tasks, besides those of the net package and of system calls.
var (
	// ErrClosed is returned by everything that parks once the loops are closing.
	ErrClosed = errors.New("eventloop: loop closed")
	// ErrWouldBlock is returned by the Try methods when nothing can be moved just now.
	ErrWouldBlock = errors.New("eventloop: would block")
)

// Options configure a Group. The zero value is useful.
type Options struct {
	// Loops is the number of loops; 0 means one for each CPU the process may use.
	Loops int
	// OnPanic is told of a panic that was caught on a loop, with the stack. It is called
	// on the loop and must not block. If nil, caught panics are only counted.
	OnPanic func(value any, stack []byte)
	// Spare is asked, on a loop that lacks descriptors or memory and outside of any task, to close a
	// connection of that loop that nobody has used for so long, and tells whether there was one. It
	// must not block. May be nil.
	Spare func(l *Loop, idle time.Duration) bool
}

// A Group is a fixed set of loops. All of its methods may be called from any goroutine
// that is not one of its own loops.
type Group struct {
	opts  Options
	loops []*Loop
	start time.Time
	room  room
	ctx   context.Context // ends with Close; for what tasks wait for on other goroutines
	end   context.CancelFunc
	wg    sync.WaitGroup
	once  sync.Once
}

// NewGroup opens the loops and starts them. Close ends them.
func NewGroup(opts Options) (*Group, error) {
	if opts.Loops <= 0 {
		opts.Loops = runtime.GOMAXPROCS(0)
	}
	g := &Group{opts: opts, start: time.Now()}
	g.room.measure()
	g.ctx, g.end = context.WithCancel(context.Background())
	for i := range opts.Loops {
		l, err := newLoop(g, i)
		if err != nil {
			g.end()
			for _, l := range g.loops {
				l.closeDescriptors()
			}
			return nil, fmt.Errorf("eventloop: open loop %d: %w", i, err)
		}
		g.loops = append(g.loops, l)
	}
	for _, l := range g.loops {
		g.wg.Add(1)
		go l.run()
	}
	return g, nil
}

// Loops returns the loops, in the order of their Index.
func (g *Group) Loops() []*Loop { return g.loops }

// Each posts fn to every loop; fn runs once on each, at the same time.
func (g *Group) Each(fn func(*Loop)) {
	for _, l := range g.loops {
		l.Post(func() { fn(l) })
	}
}

// EachWait posts fn to every loop and returns when it has run on all of them, or with
// ctx's error. Loops that are closed already are passed over.
func (g *Group) EachWait(ctx context.Context, fn func(*Loop)) error {
	done := make(chan struct{}, len(g.loops))
	posted := 0
	for _, l := range g.loops {
		if l.Post(func() {
			defer func() { done <- struct{}{} }() // a panic counts as done
			fn(l)
		}) {
			posted++
		}
	}
	for range posted {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Descriptors is how many the process may have open, as far as the loops know.
func (g *Group) Descriptors() int64 { return g.room.limit.Load() }

// Close ends the loops: every connection is aborted, whatever is parked returns ErrClosed,
// and Close returns when the last task has ended and every descriptor of the loops is
// closed. Listeners stop accepting, but their sockets are closed by Listener.Close alone.
// Close does not drain: who wants to, closes the listeners and waits for the connections
// first.
func (g *Group) Close() {
	g.once.Do(func() {
		g.end()
		for _, l := range g.loops {
			l.Post(l.beginClose)
		}
	})
	g.wg.Wait()
}

// Stats are the counts of one loop since it was started.
type Stats struct {
	Turns   uint64 // waits for events
	Events  uint64 // socket events
	Posts   uint64 // functions posted by other goroutines
	Panics  uint64 // panics caught
	Conns   int64  // connections open now, with those that lie on others
	Sockets int64  // … those that are sockets, which is what the load of loops is compared by
	Tasks   int64  // tasks running or parked now

	Delays Delays        // how long tasks waited for their runs
	Busy   time.Duration // between two waits for events, estimated from the turns that are timed
}

// counters are written by their loop alone and read by any goroutine; but who hands a
// connection over counts it at once, in sockets.
type counters struct {
	turns, events, posts, panics atomic.Uint64
	conns, sockets, tasks        atomic.Int64
}

// add is for counters with a single writer: a plain store is a fraction of the cost of a
// locked instruction, and readers still never see a torn value.
func add(c *atomic.Uint64, n uint64) { c.Store(c.Load() + n) }
