package eventloop

import (
	"io"
	"net"
	"slices"
	"testing"
)

func TestHeavyWorkLeavesRoomForTheRest(t *testing.T) {
	tt := newTester(t, 1)
	const tasks = 9
	var order []int // of heavy work
	var after []int // how much of it has been done, as each turn begins for a light task
	tt.on(tt.loop(), func() {
		for i := range tasks {
			tt.loop().Go(RunFunc(func(task *Task) {
				task.Heavy()
				order = append(order, i)
			}))
		}
		tt.loop().Go(RunFunc(func(task *Task) {
			for len(order) < tasks {
				after = append(after, len(order))
				task.Yield()
			}
		}))
	})
	tt.quiet()
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(order, want) {
		t.Errorf("the work was done in the order %v, want %v", order, want)
	}
	if want := []int{0, 2, 4, 6, 8}; heavyPerTurn != 2 || !slices.Equal(after, want) {
		t.Errorf("at the turns' beginnings %v were done, want %v", after, want)
	}
}

func TestATaskInHeavyIsNotWokenBeforeItsTurn(t *testing.T) {
	tt := newTester(t, 1)
	var order []int
	tt.on(tt.loop(), func() {
		var last *Task
		for i := range 2 * heavyPerTurn {
			tt.loop().Go(RunFunc(func(task *Task) {
				last = task
				task.Heavy()
				order = append(order, i)
			}))
		}
		tt.loop().Go(RunFunc(func(*Task) { last.Wake(); last.Interrupt() }))
	})
	tt.quiet()
	if !slices.Equal(order, []int{0, 1, 2, 3}) {
		t.Errorf("the order was %v", order)
	}
}

// What was written in a turn leaves before heavy work, and what heavy work writes leaves though
// there is nothing more to do.
func TestHeavyWorkHoldsBackNoWrites(t *testing.T) {
	tt := newTester(t, 1)
	near, far := tt.meet(tt.loop())
	var m *mask
	flushed := -1
	tt.on(tt.loop(), func() {
		m = masked(t, near)
		tt.loop().Go(RunFunc(func(task *Task) {
			task.Heavy()
			flushed = m.flushes
			m.upper.Write([]byte("two"))
		}))
		tt.loop().Go(RunFunc(func(*Task) { m.upper.Write([]byte("one ")) }))
	})
	got := make([]byte, len("one two"))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	turn(got)
	tt.on(tt.loop(), func() {
		if string(got) != "one two" || flushed != 1 {
			t.Errorf("%q; %d flushes before the heavy work, want 1", got, flushed)
		}
		m.upper.Close()
	})
	far.Close()
	tt.quiet()
}

func TestALoopThatClosesLetsHeavyWorkEnd(t *testing.T) {
	tt := newTester(t, 1)
	x, _ := tt.twins(tt.loop())
	done, failed := 0, 0
	tt.on(tt.loop(), func() {
		for range 3 * heavyPerTurn {
			tt.loop().Go(RunFunc(func(task *Task) {
				task.Heavy()
				done++
				if _, err := x.TryRead(make([]byte, 1)); err == ErrClosed {
					failed++
				}
			}))
		}
		tt.loop().Go(RunFunc(func(*Task) { tt.loop().beginClose() }))
	})
	tt.g.Close()
	if done != 3*heavyPerTurn || failed != done {
		t.Errorf("%d ended, %d of them with an error", done, failed)
	}
}

func TestSocketsAreCountedApartFromWhatLiesOnThem(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	want := func(conns, sockets int64) {
		t.Helper()
		if s := l.Stats(); s.Conns != conns || s.Sockets != sockets {
			t.Errorf("%d connections, %d of them sockets, want %d and %d", s.Conns, s.Sockets, conns, sockets)
		}
	}
	tt.on(l, func() {
		x, y := twins(t, l)
		want(2, 2)
		a, b := masked(t, x), masked(t, y)
		want(4, 2)
		a.upper.Close()
		want(2, 1)
		b.upper.Reset()
		want(0, 0)
		y.Close()
		want(0, 0)
	})
	tt.quiet()
}

// Connections of few clients with many streams each weigh no more than others with one.
func TestWhatLiesOnSocketsIsNoLoad(t *testing.T) {
	tt := newTester(t, 2)
	busy := tt.loop()
	near, far := tt.meet(busy)
	var uppers []*Conn
	tt.on(busy, func() {
		for range 4 * loadSlack {
			uppers = append(uppers, masked(t, near).upper)
		}
	})
	to := make(chan *Loop, 1)
	ln := tt.listen(acceptFunc(func(c *Conn) { to <- c.Loop(); c.Close() }))
	// The other loop cannot accept now.
	hold, held := make(chan struct{}), make(chan struct{})
	tt.g.Loops()[1].Post(func() { close(held); <-hold })
	<-held
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "it is accepted", func() bool { return ln.Accepted() == 1 })
	close(hold)
	if l := <-to; l != busy {
		t.Errorf("the connection went to loop %d", l.Index())
	}
	tt.on(busy, func() {
		for _, u := range uppers {
			u.Close()
		}
		near.Close()
	})
	far.Close()
	tt.quiet()
}
