package eventloop

import (
	"io"
	"net"
	"testing"
	"time"
)

// benchmark runs fn in a task of a group of one loop.
func benchmark(b *testing.B, fn func(l *Loop, task *Task)) {
	b.Helper()
	g, err := NewGroup(Options{Loops: 1, OnPanic: func(v any, stack []byte) { b.Errorf("%v\n%s", v, stack) }})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	l := g.Loops()[0]
	done := make(chan struct{})
	b.ReportAllocs()
	l.Post(func() { l.Go(RunFunc(func(task *Task) { defer close(done); fn(l, task) })) })
	<-done
}

// A message goes to a task of the same loop and back: four system calls, and a wait for
// events for each way.
func BenchmarkRoundTrip(b *testing.B) {
	benchmark(b, func(l *Loop, _ *Task) {
		x, y := twins(b, l)
		defer x.Close()
		l.Go(RunFunc(func(task *Task) { defer y.Close(); echo(task, y) }))
		message, answer := make([]byte, 128), make([]byte, 1024)
		for b.Loop() {
			x.Write(message)
			if _, err := x.Read(answer); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// Sixty-four connections over TCP, as a busy proxy has them: a turn of the loop serves
// whatever is ready. The figure is for one round trip.
func BenchmarkRoundTrip64(b *testing.B) {
	benchmark(b, func(l *Loop, task *Task) {
		ln, err := l.group.listenHere(task, acceptFunc(func(c *Conn) {
			c.Loop().Go(RunFunc(func(task *Task) { defer c.Close(); echo(task, c) }))
		}))
		if err != nil {
			b.Error(err)
			return
		}
		defer task.Do(ln.Close)
		const conns = 64
		var near []*Conn
		for range conns {
			x, err := l.Dial(addrPort(ln.Addr()), 0)
			if err != nil {
				b.Error(err)
				return
			}
			near = append(near, x)
		}
		left, running := b.N, conns
		b.ResetTimer()
		for _, x := range near {
			l.Go(RunFunc(func(*Task) {
				defer x.Close()
				defer func() { running--; task.Wake() }()
				message, answer := make([]byte, 128), make([]byte, 1024)
				for ; left > 0; left-- {
					x.Write(message)
					if _, err := x.Read(answer); err != nil {
						b.Error(err)
						return
					}
				}
			}))
		}
		for running > 0 {
			task.Park()
		}
	})
}

func BenchmarkParkAndWake(b *testing.B) {
	benchmark(b, func(l *Loop, task *Task) {
		stop := false
		var other *Task
		l.Go(RunFunc(func(t *Task) {
			other = t
			for !stop {
				task.Wake()
				t.Park()
			}
		}))
		task.Park()
		for b.Loop() {
			other.Wake()
			task.Park()
		}
		stop = true
		other.Wake()
	})
}

// Of sixty-four tasks that yield, each turn of the loop runs each once.
func BenchmarkYield(b *testing.B) {
	benchmark(b, func(l *Loop, task *Task) {
		const tasks = 64
		stop := false
		for range tasks - 1 {
			l.Go(RunFunc(func(t *Task) {
				for !stop {
					t.Yield()
				}
			}))
		}
		b.ResetTimer()
		for range (b.N + tasks - 1) / tasks {
			task.Yield()
		}
		stop = true
	})
}

func BenchmarkGo(b *testing.B) {
	benchmark(b, func(l *Loop, task *Task) {
		var r Runner = RunFunc(func(*Task) { task.Wake() })
		for b.Loop() {
			l.Go(r)
			task.Park()
		}
	})
}

func BenchmarkDeadline(b *testing.B) {
	benchmark(b, func(l *Loop, _ *Task) {
		x, y := twins(b, l)
		defer x.Close()
		defer y.Close()
		b.Run("later", func(b *testing.B) {
			b.ReportAllocs()
			d := time.Second
			for b.Loop() {
				d++
				x.SetReadTimeout(d)
			}
		})
		b.Run("sooner and later", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.SetReadTimeout(time.Second)
				x.SetReadTimeout(time.Minute)
			}
		})
	})
}

func BenchmarkPost(b *testing.B) {
	g, err := NewGroup(Options{Loops: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	l := g.Loops()[0]
	b.Run("and wait", func(b *testing.B) {
		b.ReportAllocs()
		done := make(chan struct{})
		fn := func() { done <- struct{}{} }
		for b.Loop() {
			l.Post(fn)
			<-done
		}
	})
	b.Run("stream", func(b *testing.B) {
		b.ReportAllocs()
		done := make(chan struct{})
		last := func() { done <- struct{}{} }
		fn := func() {}
		for b.Loop() {
			l.Post(fn)
		}
		l.Post(last)
		<-done
	})
}

func BenchmarkAcceptAndClose(b *testing.B) {
	benchmark(b, func(l *Loop, task *Task) {
		var accepted *Conn
		ln, err := l.group.listenHere(task, acceptFunc(func(c *Conn) { accepted = c; task.Wake() }))
		if err != nil {
			b.Error(err)
			return
		}
		for b.Loop() {
			x, err := l.Dial(addrPort(ln.Addr()), 0)
			if err != nil {
				b.Error(err)
				break
			}
			for accepted == nil {
				task.Park()
			}
			accepted.Reset() // no TIME_WAIT: ports would run out
			accepted = nil
			x.Close()
		}
		task.Do(ln.Close)
	})
}

// listenHere is Listen for a task.
func (g *Group) listenHere(task *Task, a Acceptor) (ln *Listener, err error) {
	task.Do(func() { ln, err = g.Listen("tcp", "127.0.0.1:0", a, ListenOptions{}) })
	return ln, err
}

func BenchmarkSplice(b *testing.B) {
	g, err := NewGroup(Options{Loops: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	l := g.Loops()[0]
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	var near [2]*Conn
	var far [2]net.Conn
	dialled := make(chan error)
	for i := range near {
		l.Post(func() {
			l.Go(RunFunc(func(*Task) {
				var err error
				near[i], err = l.Dial(addrPort(ln.Addr()), 0)
				dialled <- err
			}))
		})
		if err := <-dialled; err != nil {
			b.Fatal(err)
		}
		if far[i], err = ln.Accept(); err != nil {
			b.Fatal(err)
		}
	}
	l.Post(func() {
		l.Go(RunFunc(func(task *Task) {
			defer near[0].Close()
			defer near[1].Close()
			if _, err := splice(task, near[0], near[1], func() int { return PipeSize }); err != nil {
				b.Error(err)
			}
		}))
	})
	block := make([]byte, 1<<20)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			far[0].Write(block)
		}
		far[0].Close()
	}()
	sink := make([]byte, 1<<20)
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{far[1]}, sink); n != int64(b.N)<<20 || err != nil {
		b.Errorf("%d bytes, %v", n, err)
	}
	far[1].Close()
}
