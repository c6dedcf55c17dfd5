package eventloop

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestTasksRunInTheOrderTheyWereStarted(t *testing.T) {
	tt := newTester(t, 1)
	var got []int
	tt.on(tt.loop(), func() {
		for i := range 100 {
			tt.loop().Go(RunFunc(func(*Task) { got = append(got, i) }))
		}
	})
	tt.quiet()
	if len(got) != 100 || !slices.IsSorted(got) {
		t.Error(got)
	}
}

func TestMoreTasksThanAreKept(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	for range 2 {
		ran := 0
		tt.on(l, func() {
			for range 3 * keepTasks {
				l.Go(RunFunc(func(task *Task) { task.Yield(); ran++ }))
			}
		})
		tt.quiet()
		tt.on(l, func() {
			if ran != 3*keepTasks || len(l.tasks) != keepTasks || len(l.free) != keepTasks {
				t.Errorf("ran %d; %d tasks, %d free", ran, len(l.tasks), len(l.free))
			}
			for i, task := range l.tasks {
				if task.place != i {
					t.Errorf("task %d believes to be %d", i, task.place)
				}
			}
		})
	}
}

func TestParkUntilWoken(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	var sleeper *Task
	ready, rounds := false, 0
	done := tt.start(l, func(task *Task) {
		sleeper = task
		for !ready {
			if err := task.Park(); err != nil {
				t.Error(err)
			}
			rounds++
		}
	})
	tt.untilParked(l, 1)
	tt.on(l, func() { sleeper.Wake(); sleeper.Wake() }) // twice counts once
	tt.untilParked(l, 1)
	tt.on(l, func() { ready = true; sleeper.Wake() })
	<-done
	if rounds != 2 {
		t.Errorf("woke %d times, want 2", rounds)
	}
}

func TestTwoTasksWakeEachOther(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	const rounds = 1000
	var a, b *Task
	ball := 0
	player := func(self **Task, other **Task, mine int) func(*Task) {
		return func(task *Task) {
			*self = task
			for ball < rounds {
				if ball%2 == mine {
					ball++
				}
				if *other != nil {
					(*other).Wake()
				}
				if ball >= rounds {
					return
				}
				task.Park()
			}
		}
	}
	first := tt.start(l, player(&a, &b, 0))
	<-tt.start(l, player(&b, &a, 1))
	<-first
}

func TestABusyTaskDoesNotStarveOthers(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	x, y := tt.twins(l)
	moved, stop := 0, false
	busy := tt.start(l, func(*Task) { // never has to wait for anything
		defer x.Close()
		defer y.Close()
		b := make([]byte, 100)
		for !stop {
			x.Write(b)
			y.Read(b)
			moved++
		}
	})
	tt.run(l, func(task *Task) {
		for range 200 {
			before := moved
			task.Yield()
			if moved-before > shareCalls {
				t.Errorf("the busy task made %d rounds in one turn", moved-before)
			}
		}
		stop = true
	})
	<-busy
	if moved == 0 {
		t.Error("the polite task has starved the busy one")
	}
}

func TestLargeReadsAndWritesUseUpTheShareSooner(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	x, y := tt.twins(l)
	moved, stop := 0, false
	busy := tt.start(l, func(*Task) {
		defer x.Close()
		defer y.Close()
		b := make([]byte, 64<<10)
		for !stop {
			x.Write(b)
			n, _ := y.Read(b)
			moved += n
		}
	})
	tt.run(l, func(task *Task) {
		for range 50 {
			before := moved
			task.Yield()
			if moved-before > shareBytes {
				t.Errorf("the busy task moved %d bytes in one turn", moved-before)
			}
		}
		stop = true
	})
	<-busy
}

func TestWaitWithoutParkingYieldsToo(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	x, y := tt.twins(l)
	rounds, stop := 0, false
	busy := tt.start(l, func(task *Task) {
		defer x.Close()
		defer y.Close()
		b := make([]byte, 10)
		for !stop {
			x.TryWrite(b)
			if err := task.Wait(-1, Interest{y, Readable}, Interest{x, Writable}); err != nil {
				t.Error(err)
				return
			}
			y.TryRead(b)
			rounds++
		}
	})
	tt.run(l, func(task *Task) {
		for range 100 {
			before := rounds
			task.Yield()
			if rounds-before > shareCalls {
				t.Errorf("%d rounds in one turn", rounds-before)
			}
		}
		stop = true
	})
	<-busy
}

func TestSleep(t *testing.T) {
	tt := newTester(t, 1)
	tt.run(tt.loop(), func(task *Task) {
		for _, d := range []time.Duration{-time.Hour, 0, 1, time.Millisecond, 3 * time.Millisecond} {
			if err := task.Sleep(d); err != nil {
				t.Errorf("Sleep(%v): %v", d, err)
			}
		}
	})
	tt.quiet()
}

func TestSleepIsNotCutShortByWake(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	var sleeper *Task
	done := tt.start(l, func(task *Task) {
		sleeper = task
		if err := task.Sleep(1 << 62); err != ErrClosed {
			t.Error(err)
		}
	})
	tt.untilParked(l, 1)
	tt.on(l, func() { sleeper.Wake() })
	tt.untilParked(l, 1)
	tt.g.Close()
	<-done
}

func TestDoLeavesTheLoopToOthers(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	var doer *Task
	release := make(chan struct{})
	result := 0
	done := tt.start(l, func(task *Task) {
		doer = task
		task.Do(func() { <-release; result = 7 })
		if result != 7 {
			t.Error("Do returned before its function")
		}
		task.Do(runtime.Goexit) // as t.FailNow would
	})
	tt.untilParked(l, 1)
	tt.on(l, func() { doer.Wake() }) // does not end it
	tt.run(l, func(task *Task) { task.Yield() })
	tt.untilParked(l, 1)
	close(release)
	<-done
}

func TestTimeoutsBeyondTime(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	x, y := tt.twins(l)
	done := tt.start(l, func(task *Task) {
		defer x.Close()
		defer y.Close()
		x.SetReadTimeout(1<<63 - 1)
		x.SetWriteDeadline(time.Now().Add(1<<63 - 1))
		if err := task.Wait(1<<63-1, Interest{x, Readable}); err != nil {
			t.Error(err)
		}
		if _, err := x.Read(make([]byte, 10)); err != nil {
			t.Error(err)
		}
		if err := task.Wait(time.Millisecond, Interest{x, Readable}); err != os.ErrDeadlineExceeded {
			t.Error(err)
		}
	})
	tt.untilParked(l, 1)
	tt.on(l, func() { y.TryWrite([]byte("x")) })
	<-done
	tt.quiet()
}
