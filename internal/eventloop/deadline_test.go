package eventloop

import (
	"os"
	"testing"
	"time"
)

func TestDeadlines(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	far.Write([]byte("some"))
	b := make([]byte, 10)
	tt.run(l, func(task *Task) {
		if err := task.Wait(-1, Interest{near, Readable}); err != nil {
			t.Error(err)
		}
		near.SetReadDeadline(time.Unix(1, 0)) // long past: at once, bytes or not
		if _, err := near.Read(b); err != os.ErrDeadlineExceeded {
			t.Errorf("read past the deadline: %v", err)
		}
		if _, err := near.Write([]byte("x")); err != nil {
			t.Errorf("a read deadline has stopped a write: %v", err)
		}
		near.SetReadDeadline(time.Time{})
		if n, err := near.Read(b); n != 4 || err != nil {
			t.Errorf("read without a deadline: %d, %v", n, err)
		}
		near.SetReadTimeout(2 * time.Millisecond)
		if _, err := near.Read(b); err != os.ErrDeadlineExceeded {
			t.Errorf("read until the deadline: %v", err)
		}
		if err := task.Wait(-1, Interest{near, Readable}); err != nil {
			t.Errorf("a passed deadline does not end Wait: %v", err)
		}
		if _, err := near.TryRead(b); err != os.ErrDeadlineExceeded {
			t.Errorf("the deadline is forgotten: %v", err)
		}
		near.SetDeadline(time.Now().Add(time.Millisecond))
		n, err := near.Write(make([]byte, 32<<20))
		if n == 0 || err != os.ErrDeadlineExceeded {
			t.Errorf("wrote %d, %v", n, err)
		}
		if !near.has(Readable) {
			t.Error("SetDeadline has set one only")
		}
		near.SetDeadline(time.Time{})
		if near.has(Readable) || near.has(Writable) {
			t.Error("SetDeadline has cleared one only")
		}
		near.Close()
	})
	tt.quiet()
}

func TestASlippingDeadlineIsTheLastOneSet(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	done := tt.start(l, func(task *Task) {
		defer near.Close()
		near.SetReadTimeout(time.Millisecond)
		near.SetReadTimeout(time.Hour)
		near.SetWriteTimeout(time.Millisecond) // of the other direction; nobody is waiting there
		if _, err := near.Read(make([]byte, 10)); err != nil {
			t.Error(err)
		}
	})
	tt.until(l, "the write deadline has passed", func() bool { return near.ready&writeLate != 0 })
	far.Write([]byte("x"))
	<-done
}

func TestADeadlineSetByAnotherTaskEndsTheRead(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, _ := tt.meet(l)
	done := tt.start(l, func(task *Task) {
		defer near.Close()
		if _, err := near.Read(make([]byte, 10)); err != os.ErrDeadlineExceeded {
			t.Error(err)
		}
	})
	tt.untilParked(l, 1)
	tt.on(l, func() { near.SetReadDeadline(time.Unix(1, 0)) })
	<-done
}
