package eventloop

import (
	"testing"
	"time"
)

// wantNoAllocs runs what prepare returns in a task, over and over, then done.
func (t *tester) wantNoAllocs(what string, prepare func(l *Loop, task *Task) (fn, done func())) {
	t.Helper()
	l := t.loop()
	t.run(l, func(task *Task) {
		fn, done := prepare(l, task)
		if n := testing.AllocsPerRun(200, fn); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
		done()
	})
	t.quiet()
}

func TestNothingIsAllocatedInTheSteadyState(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	tt := newTester(t, 1)
	b := make([]byte, 1000)

	tt.wantNoAllocs("write, park, wake, read", func(l *Loop, task *Task) (fn, done func()) {
		x, y := twins(tt, l)
		l.Go(RunFunc(func(task *Task) { defer y.Close(); echo(task, y) }))
		return func() {
			x.Write(b[:100])
			if _, err := x.Read(b); err != nil {
				t.Error(err)
			}
		}, func() { x.Close() }
	})

	tt.wantNoAllocs("writev, wait for two, splice", func(l *Loop, task *Task) (fn, done func()) {
		x, y := twins(tt, l)
		p, err := l.Pipe()
		if err != nil {
			t.Error(err)
		}
		return func() {
			x.Writev(b[:10], b[:20])
			if err := task.Wait(time.Second, Interest{x, Readable}, Interest{y, Readable}); err != nil {
				t.Error(err)
			}
			p.Fill(y, PipeSize)
			p.Drain(x)
			y.Read(b)
		}, func() { p.Release(); x.Close(); y.Close() }
	})

	tt.wantNoAllocs("deadlines", func(l *Loop, task *Task) (fn, done func()) {
		x, y := twins(tt, l)
		at := time.Now().Add(time.Hour)
		return func() {
			x.SetReadTimeout(time.Minute)
			x.SetWriteTimeout(time.Second)
			x.SetDeadline(at)
			x.SetReadTimeout(time.Nanosecond)
			x.Read(b)
			x.SetReadTimeout(0)
		}, func() { x.Close(); y.Close() }
	})

	tt.wantNoAllocs("go, park, wake, yield, sleep", func(l *Loop, task *Task) (fn, done func()) {
		var waker Runner = RunFunc(func(other *Task) { other.Yield(); task.Wake() })
		return func() {
			l.Go(waker)
			task.Park()
			task.Yield()
			task.Sleep(time.Nanosecond)
		}, func() {}
	})

	tt.wantNoAllocs("idle, busy, buffers, pipes", func(l *Loop, task *Task) (fn, done func()) {
		x, y := twins(tt, l)
		var handler IdleHandler = readyFunc(func(*Conn, Cause) { t.Error("told") })
		return func() {
			if !x.Idle(handler) {
				t.Error("not idle")
			}
			x.Busy()
			l.Release(l.Buffer())
			p, _ := l.Pipe()
			p.Release()
		}, func() { x.Close(); y.Close() }
	})

	tt.wantNoAllocs("post", func(l *Loop, task *Task) (fn, done func()) {
		wake := func() { task.Wake() }
		return func() {
			l.Post(wake)
			task.Park()
		}, func() {}
	})
}
