package eventloop

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds what must come true but is not said when; no test passes because of it.
const patience = 30 * time.Second

// A tester runs a group for one test and checks at its end that nothing is left over: no
// connection, task or timer on a loop, no descriptor, no goroutine, no unexpected panic.
type tester struct {
	*testing.T
	g *Group

	mu       sync.Mutex
	panics   []any
	expected int
}

func newTester(t *testing.T, loops int) *tester {
	t.Helper()
	tt := &tester{T: t}
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()
	g, err := NewGroup(Options{Loops: loops, OnPanic: tt.panicked})
	if err != nil {
		t.Fatal(err)
	}
	tt.g = g
	t.Cleanup(func() {
		g.Close()
		for _, l := range g.Loops() {
			if s := l.Stats(); s.Conns != 0 || s.Sockets != 0 || s.Tasks != 0 {
				t.Errorf("loop %d after Close: %+v", l.Index(), s)
			}
		}
		eventually(t, "all descriptors are closed", func() bool { return openDescriptors(t) <= descriptors })
		eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
		tt.mu.Lock()
		defer tt.mu.Unlock()
		if len(tt.panics) != tt.expected {
			t.Errorf("%d panics, want %d: %v", len(tt.panics), tt.expected, tt.panics)
		}
	})
	return tt
}

func (t *tester) panicked(v any, stack []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.panics = append(t.panics, v)
	if len(t.panics) > t.expected {
		t.Errorf("panic: %v\n%s", v, stack)
	}
}

// expectPanics says how many panics the test will cause in all.
func (t *tester) expectPanics(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expected = n
}

func (t *tester) loop() *Loop { return t.g.Loops()[0] }

// on runs fn on a loop, outside of any task, and waits for it.
func (t *tester) on(l *Loop, fn func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { defer close(done); fn() }) {
		t.Fatal("the loop has ended")
	}
	<-done
}

// start starts a task and returns a channel that closes at its end.
func (t *tester) start(l *Loop, fn func(*Task)) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	t.on(l, func() { l.Go(RunFunc(func(task *Task) { defer close(done); fn(task) })) })
	return done
}

// run runs a task to its end.
func (t *tester) run(l *Loop, fn func(*Task)) {
	t.Helper()
	<-t.start(l, fn)
}

// until asks on the loop, turn after turn, until cond is true there.
func (t *tester) until(l *Loop, what string, cond func() bool) {
	t.Helper()
	eventually(t.T, what, func() (ok bool) {
		t.on(l, func() { ok = cond() })
		return ok
	})
}

// untilParked waits until n tasks are parked on the loop and no task is doing anything else.
func (t *tester) untilParked(l *Loop, n int) {
	t.Helper()
	t.until(l, "tasks are parked", func() bool {
		parked := 0
		for _, task := range l.tasks {
			switch task.state {
			case taskParked:
				parked++
			case taskQueued, taskRunning:
				return false
			}
		}
		return parked == n
	})
}

// quiet waits until the loops have nothing open, running or set.
func (t *tester) quiet() {
	t.Helper()
	for _, l := range t.g.Loops() {
		t.until(l, "the loop is quiet", func() bool {
			s := l.Stats()
			return s.Conns == 0 && s.Sockets == 0 && s.Tasks == 0 && l.wheel.count == 0
		})
	}
}

// listen opens a listener of the group on a free port, closed at the end of the test.
func (t *tester) listen(a Acceptor) *Listener {
	t.Helper()
	ln, err := t.g.Listen("tcp", "127.0.0.1:0", a, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ln.Close)
	return ln
}

// serve is listen with a task for each connection, which is closed at the task's end.
func (t *tester) serve(fn func(*Task, *Conn)) *Listener {
	t.Helper()
	return t.listen(acceptFunc(func(c *Conn) {
		c.Loop().Go(RunFunc(func(task *Task) { defer c.Close(); fn(task, c) }))
	}))
}

// dial connects to a listener by the net package.
func (t *tester) dial(ln *Listener) *net.TCPConn {
	t.Helper()
	c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// meet returns the two ends of a TCP connection: a Conn on l and one of the net package.
func (t *tester) meet(l *Loop) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var near *Conn
	t.run(l, func(*Task) { near, err = l.Dial(addrPort(ln.Addr()), patience) })
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near, far.(*net.TCPConn)
}

// twins returns the two ends of a Unix connection, both on l.
func (t *tester) twins(l *Loop) (a, b *Conn) {
	t.Helper()
	t.on(l, func() { a, b = twins(t, l) })
	return a, b
}

// twins is for use on the loop.
func twins(tb testing.TB, l *Loop) (a, b *Conn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Error(err)
		return nil, nil
	}
	a, errA := l.adopt(int32(fds[0]), endpoint{fam: unix.AF_UNIX})
	b, errB := l.adopt(int32(fds[1]), endpoint{fam: unix.AF_UNIX})
	if errA != nil || errB != nil {
		tb.Error(errA, errB)
	}
	return a, b
}

// eventually gives up after patience; the condition, not the time, decides.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for giveUp := time.Now().Add(patience); !cond(); runtime.Gosched() {
		if time.Now().After(giveUp) {
			buf := make([]byte, 1<<20)
			t.Fatalf("still not so: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

func openDescriptors(t testing.TB) int {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

type acceptFunc func(c *Conn)

func (f acceptFunc) Accepted(c *Conn) { f(c) }

type readyFunc func(c *Conn, why Cause)

func (f readyFunc) Ready(c *Conn, why Cause) { f(c, why) }

// echo sends back what it reads until the end, and then its own end.
func echo(_ *Task, c *Conn) {
	b := c.Loop().Buffer()
	defer c.Loop().Release(b)
	for {
		n, err := c.Read(b)
		if err == io.EOF {
			c.CloseWrite()
			return
		}
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	// The net package's poller opens descriptors of its own when it is first used.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	net.DefaultResolver.LookupNetIP(context.Background(), "ip", "localhost")
	os.Exit(m.Run())
}
