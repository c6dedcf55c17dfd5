package eventloop

import (
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWaitForWhicheverComesFirst(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	for first := range 2 {
		var near [2]*Conn
		var far [2]interface {
			Write([]byte) (int, error)
			Close() error
		}
		for i := range near {
			near[i], far[i] = tt.meet(l)
		}
		done := tt.start(l, func(task *Task) {
			defer near[0].Close()
			defer near[1].Close()
			b := make([]byte, 10)
			for _, i := range []int{first, 1 - first} {
				if err := task.Wait(time.Hour, Interest{near[0], Readable}, Interest{near[1], Readable}); err != nil {
					t.Error(err)
				}
				if _, err := near[1-i].TryRead(b); err != ErrWouldBlock {
					t.Errorf("the other one: %v", err)
				}
				if n, err := near[i].TryRead(b); n != 1 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
			if near[0].waiter != nil || near[1].waiter != nil || task.timer.active() {
				t.Error("Wait has left something set")
			}
		})
		tt.untilParked(l, 1)
		far[first].Write([]byte("x"))
		tt.until(l, "the first one has been read", func() bool { return !near[first].Has(Readable) && near[first].waiter != nil })
		tt.untilParked(l, 1)
		far[1-first].Write([]byte("x"))
		<-done
	}
	tt.quiet()
}

func TestWaitForOneConnectionTwice(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	done := tt.start(l, func(task *Task) {
		defer near.Close()
		for near.Has(Writable) {
			near.TryWrite(make([]byte, 1<<20))
		}
		if err := task.Wait(-1, Interest{near, Readable}, Interest{near, Writable}); err != nil {
			t.Error(err)
		}
		if !near.Has(Readable) {
			t.Error("woke without a reason")
		}
	})
	tt.untilParked(l, 1)
	far.Write([]byte("x"))
	<-done
}

func TestWaitTimesOut(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	tt.run(l, func(task *Task) {
		for _, d := range []time.Duration{0, 1, time.Millisecond} {
			if err := task.Wait(d, Interest{near, Readable}); err != os.ErrDeadlineExceeded {
				t.Errorf("%v: %v", d, err)
			}
		}
	})
	// One that timed out is not woken by what comes after it.
	other := tt.start(l, func(task *Task) { task.Park() })
	far.Write([]byte("x"))
	tt.until(l, "the byte is there", func() bool { return near.Has(Readable) })
	tt.untilParked(l, 1)
	tt.on(l, func() {
		near.Close()
		for _, task := range l.tasks {
			task.Wake()
		}
	})
	<-other
	tt.quiet()
}

func TestWaitForThePeersEndWithoutReading(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	done := tt.start(l, func(task *Task) {
		defer near.Close()
		if err := task.Wait(-1, Interest{near, HalfClosed}); err != nil {
			t.Error(err)
		}
		if n, err := near.Read(make([]byte, 100)); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
	far.Write([]byte("bytes"))
	tt.until(l, "the bytes are there", func() bool { return near.Has(Readable) })
	tt.untilParked(l, 1)
	far.CloseWrite()
	<-done
}

func TestASecondTaskThatWaitsIsAPanic(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	tt.expectPanics(1)
	near, far := tt.meet(l)
	first := tt.start(l, func(*Task) {
		defer near.Close()
		if _, err := near.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
	tt.untilParked(l, 1)
	tt.run(l, func(task *Task) { task.Wait(-1, Interest{near, Readable}) })
	far.Write([]byte("x"))
	<-first
}

func TestIdleIsToldOnceWhatHappens(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	var causes []Cause
	told := make(chan struct{}, 10)
	handler := readyFunc(func(c *Conn, why Cause) { causes = append(causes, why); told <- struct{}{} })
	idle := func(c *Conn) {
		tt.on(l, func() {
			if !c.Idle(handler) {
				t.Error("not idle")
			}
		})
	}
	near, far := tt.meet(l)
	idle(near)
	far.Write([]byte("x"))
	<-told
	tt.on(l, func() {
		near.event(unix.EPOLLIN) // not idle any more: nobody is told
		if near.Idle(handler) {
			t.Error("idle with a byte to be read")
		}
		if n, err := near.TryRead(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		near.SetReadTimeout(time.Millisecond)
	})
	idle(near)
	<-told
	tt.on(l, func() { near.SetReadTimeout(0) })
	idle(near)
	tt.on(l, func() { near.SetReadDeadline(time.Unix(1, 0)) }) // past, but not from within the setter
	<-told
	tt.on(l, func() { near.SetReadTimeout(0) })
	idle(near)
	tt.on(l, func() { near.Abort(errAborted) })
	<-told
	tt.on(l, func() {
		near.Close()
		want := []Cause{CauseReadable, CauseDeadline, CauseDeadline, CauseBroken}
		if !slices.Equal(causes, want) {
			t.Errorf("told %v, want %v", causes, want)
		}
	})
	tt.quiet()
}

func TestIdleIsToldOfTheEndAndOfAReset(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	for _, linger := range []int{-1, 0} {
		near, far := tt.meet(l)
		told := make(chan Cause, 1)
		tt.on(l, func() { near.Idle(readyFunc(func(c *Conn, why Cause) { told <- why; c.Close() })) })
		far.SetLinger(linger)
		far.Close()
		if why := <-told; why != CauseReadable {
			t.Errorf("linger %d: told %d", linger, why)
		}
	}
	tt.quiet()
}

func TestBusyEndsIdlenessSilently(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	tt.on(l, func() { near.Idle(readyFunc(func(*Conn, Cause) { t.Error("told") })) })
	tt.run(l, func(*Task) {
		near.Busy()
		go far.Write([]byte("x"))
		if n, err := near.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		near.Close()
	})
}

func TestAHandlerCalledByAbortDoesNotRunAsTheTaskThatAborts(t *testing.T) {
	tt := newTester(t, 1)
	tt.expectPanics(1)
	l := tt.loop()
	idle, _ := tt.meet(l)
	broken, _ := tt.meet(l)
	mine, far := tt.meet(l)
	tt.on(l, func() {
		idle.Idle(readyFunc(func(c *Conn, _ Cause) {
			if _, err := mine.Read(make([]byte, 1)); err != errNoTask {
				t.Errorf("a handler could park: %v", err)
			}
			c.Close()
		}))
		broken.Idle(readyFunc(func(*Conn, Cause) { panic("handler") }))
	})
	tt.run(l, func(*Task) {
		idle.Abort(errAborted)
		broken.Abort(errAborted)
		go far.Write([]byte("x"))
		if n, err := mine.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("the task that aborted others reads %d, %v", n, err)
		}
		mine.Close()
	})
	tt.quiet()
}
