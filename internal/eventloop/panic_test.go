package eventloop

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
)

func TestAPanicOfATaskClosesItsConnectionsAndNothingElse(t *testing.T) {
	tt := newTester(t, 1)
	tt.expectPanics(1)
	l := tt.loop()
	mine, far := tt.meet(l)
	others, otherFar := tt.meet(l)
	pooled, pooledFar := tt.meet(l)
	reader := tt.start(l, func(*Task) {
		defer others.Close()
		if n, err := others.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("a task beside it: %d, %v", n, err)
		}
	})
	tt.untilParked(l, 1)
	told := make(chan struct{})
	tt.run(l, func(*Task) {
		mine.Write([]byte("x"))
		pooled.Write([]byte("x"))
		pooled.Idle(readyFunc(func(c *Conn, _ Cause) { c.Close(); close(told) }))
		panic("task")
	})
	if got, err := io.ReadAll(far); string(got) != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	otherFar.Write([]byte("y"))
	<-reader
	pooledFar.Write([]byte("z"))
	<-told
	tt.quiet()
	if n := l.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

func TestAPanicBeforeTheFirstReadClosesTheConnectionToo(t *testing.T) {
	tt := newTester(t, 1)
	tt.expectPanics(3)
	starts := tt.listen(acceptFunc(func(c *Conn) {
		c.Loop().Go(RunFunc(func(*Task) { panic("before the first read") }))
	}))
	panics := tt.listen(acceptFunc(func(c *Conn) { panic("acceptor") }))
	wakes := tt.listen(acceptFunc(func(c *Conn) {
		c.Idle(readyFunc(func(c *Conn, _ Cause) {
			c.Loop().Go(RunFunc(func(*Task) { panic("before the first read") }))
		}))
	}))
	for _, ln := range []*Listener{starts, panics, wakes} {
		c := tt.dial(ln)
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("still open")
		}
	}
	tt.quiet()
}

func TestAReusedTaskDoesNotInheritConnections(t *testing.T) {
	tt := newTester(t, 1)
	tt.expectPanics(1)
	l := tt.loop()
	near, far := tt.meet(l)
	tt.run(l, func(*Task) { near.Write([]byte("x")) }) // ends, and leaves it to somebody else
	tt.run(l, func(*Task) { panic("somebody unrelated") })
	tt.run(l, func(*Task) {
		if _, err := near.Write([]byte("y")); err != nil {
			t.Error(err)
		}
		near.Close()
	})
	if got, err := io.ReadAll(far); string(got) != "xy" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestGoexitInATaskIsContained(t *testing.T) {
	tt := newTester(t, 1)
	tt.expectPanics(2)
	l := tt.loop()
	for range 2 {
		near, far := tt.meet(l)
		tt.run(l, func(*Task) {
			near.Write([]byte("x"))
			runtime.Goexit()
		})
		if got, err := io.ReadAll(far); string(got) != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		tt.run(l, func(task *Task) { task.Yield() })
	}
	tt.quiet()
	if len(tt.panics) > 0 && tt.panics[0] != errGoexit {
		t.Error(tt.panics)
	}
}

// Every kind of callback panics, in a turn in which others have something to be told of:
// theirs are edges, which do not come again.
func TestOthersOfTheSameTurnAreServedAfterAPanic(t *testing.T) {
	tt := newTester(t, 1)
	const each = 20
	tt.expectPanics(3*each + 1)
	l := tt.loop()
	var far []*net.TCPConn
	told, posted, fired := 0, 0, 0
	for i := range 2 * each {
		near, f := tt.meet(l)
		far = append(far, f)
		tt.on(l, func() {
			near.Idle(readyFunc(func(c *Conn, _ Cause) {
				told++
				if i%2 == 0 {
					panic("handler")
				}
				c.Close()
			}))
		})
	}
	hold, held := make(chan struct{}), make(chan struct{})
	l.Post(func() { close(held); <-hold })
	<-held
	timers := make([]timer, 2*each)
	l.Post(func() {
		for i := range timers {
			timers[i].owner = firing(func() {
				fired++
				if i%2 == 0 {
					panic("timer")
				}
			})
			l.wheel.set(&timers[i], l.now)
		}
	})
	for i := range 2 * each {
		l.Post(func() {
			posted++
			if i%2 == 0 {
				panic("post")
			}
		})
	}
	for _, f := range far {
		f.Write([]byte("x"))
	}
	tasks := 0
	l.Post(func() {
		for range 10 {
			l.Go(RunFunc(func(*Task) { tasks++ }))
		}
		l.Go(RunFunc(func(*Task) { panic(errors.New("task")) }))
		for range 10 {
			l.Go(RunFunc(func(*Task) { tasks++ }))
		}
	})
	close(hold)
	tt.until(l, "everybody has been called", func() bool {
		return told == 2*each && posted == 2*each && fired == 2*each && tasks == 20
	})
	tt.quiet()
	s := l.Stats()
	if s.Panics != 3*each+1 {
		t.Errorf("%+v", s)
	}
}
