package eventloop

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestPostsOfManyGoroutinesRunOnceAndInOrder(t *testing.T) {
	tt := newTester(t, 2)
	const writers, posts = 16, 2000
	var wg sync.WaitGroup
	for _, l := range tt.g.Loops() {
		last := make([]int, writers)
		for w := range writers {
			wg.Go(func() {
				done := make(chan struct{})
				for i := range posts {
					l.Post(func() {
						if last[w] != i {
							t.Errorf("post %d of writer %d came as number %d", i, w, last[w])
						}
						if last[w]++; last[w] == posts {
							close(done)
						}
					})
				}
				<-done
			})
		}
	}
	wg.Wait()
	for _, l := range tt.g.Loops() {
		if s := l.Stats(); s.Posts < writers*posts {
			t.Errorf("%+v", s)
		}
	}
}

func TestAPostMayPost(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	done := make(chan struct{})
	var again func(n int)
	again = func(n int) {
		if n == 0 {
			close(done)
			return
		}
		l.Post(func() { again(n - 1) })
	}
	l.Post(func() { again(1000) })
	<-done
}

func TestEachWait(t *testing.T) {
	tt := newTester(t, 3)
	seen := make([]bool, 3)
	if err := tt.g.EachWait(context.Background(), func(l *Loop) { seen[l.Index()] = true }); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(seen, false) {
		t.Errorf("not everywhere: %v", seen)
	}

	ctx, cancel := context.WithCancel(context.Background())
	block := make(chan struct{})
	tt.loop().Post(func() { <-block })
	cancel()
	if err := tt.g.EachWait(ctx, func(*Loop) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(block)

	tt.expectPanics(3)
	if err := tt.g.EachWait(context.Background(), func(*Loop) { panic("each") }); err != nil {
		t.Error(err)
	}

	each := make(chan int, 3)
	tt.g.Each(func(l *Loop) { each <- l.Index() })
	if a, b, c := <-each, <-each, <-each; a+b+c != 3 {
		t.Error("Each did not run once on each loop")
	}

	tt.g.Close()
	if err := tt.g.EachWait(context.Background(), func(*Loop) { t.Error("ran on a closed loop") }); err != nil {
		t.Error(err)
	}
	if tt.loop().Post(func() { t.Error("ran on a closed loop") }) {
		t.Error("a closed loop took a post")
	}
}

func TestCloseEndsWhateverIsParked(t *testing.T) {
	tt := newTester(t, 2)
	for _, l := range tt.g.Loops() {
		near, _ := tt.meet(l)
		x, y := tt.twins(l)
		w, _ := tt.meet(l)
		idle, _ := tt.meet(l)
		told := make(chan Cause, 1)
		tt.on(l, func() { idle.Idle(readyFunc(func(c *Conn, why Cause) { told <- why; c.Close() })) })
		in := make(chan struct{})
		block := make(chan struct{})
		parked := []func(*Task) error{
			func(*Task) error { _, err := near.Read(make([]byte, 1)); return err },
			func(*Task) error { _, err := w.Write(make([]byte, 64<<20)); return err },
			func(task *Task) error { return task.Wait(-1) },
			func(task *Task) error {
				err := task.Wait(time.Hour, Interest{x, Readable}, Interest{y, Readable})
				if err == nil {
					_, err = x.Read(make([]byte, 1))
				}
				return err
			},
			func(task *Task) error { return task.Sleep(time.Hour) },
			func(task *Task) error { return task.Park() },
			func(task *Task) error { task.Do(func() { close(in); <-block }); return task.Park() },
		}
		for i, fn := range parked {
			tt.start(l, func(task *Task) {
				if err := fn(task); err != ErrClosed {
					t.Errorf("task %d ended with %v", i, err)
				}
				if err := task.Sleep(time.Hour); err != ErrClosed {
					t.Errorf("task %d could sleep on a closing loop: %v", i, err)
				}
				if _, err := l.DialAddress("127.0.0.1:1", 0); !errors.Is(err, ErrClosed) {
					t.Errorf("task %d could dial on a closing loop: %v", i, err)
				}
				task.Yield()
			})
		}
		<-in
		tt.untilParked(l, len(parked))
		defer func() {
			if why := <-told; why != CauseBroken {
				t.Errorf("the idle connection was told %d", why)
			}
		}()
		tt.on(l, func() { l.Post(func() { close(block) }) })
	}
	tt.g.Close()
	tt.g.Close()
}

func TestCloseRunsWhatWasPostedInTime(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	var posted, ran, inTask sync.WaitGroup
	block := make(chan struct{})
	l.Post(func() { <-block })
	posted.Go(tt.g.Close)
	accepted := 0
	for range 100 {
		ran.Add(1)
		inTask.Add(1)
		if !l.Post(func() {
			l.Go(RunFunc(func(task *Task) { task.Yield(); inTask.Done() }))
			l.Post(func() { l.Go(RunFunc(func(*Task) { ran.Done() })) })
		}) {
			t.Error("refused while it was running")
		}
		accepted++
	}
	close(block)
	posted.Wait()
	ran.Wait()
	inTask.Wait()
}

func TestPostsRaceWithClose(t *testing.T) {
	for range 50 {
		tt := newTester(t, 1)
		l := tt.loop()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					done := make(chan struct{})
					if !l.Post(func() { close(done) }) {
						return
					}
					<-done
				}
			})
		}
		tt.g.Close()
		wg.Wait()
	}
}

func TestIdleHandlerThatPanicsDoesNotKeepTheLoopFromClosing(t *testing.T) {
	tt := newTester(t, 1)
	tt.expectPanics(3)
	l := tt.loop()
	for range 3 {
		x, y := tt.twins(l)
		tt.on(l, func() { x.Idle(readyFunc(func(*Conn, Cause) { panic("ready") })) })
		tt.start(l, func(*Task) { y.Read(make([]byte, 1)) })
	}
	tt.untilParked(l, 3)
}
