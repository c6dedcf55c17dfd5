package eventloop

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
)

// splice moves everything from one connection to the other and then the end.
func splice(task *Task, from, to *Conn, limit func() int) (int, error) {
	p, err := from.Loop().Pipe()
	if err != nil {
		return 0, err
	}
	defer p.Release()
	moved := 0
	for {
		_, err := p.Fill(from, limit())
		switch err {
		case nil:
		case ErrWouldBlock:
			if err := task.Wait(-1, Interest{from, Readable}); err != nil {
				return moved, err
			}
		case io.EOF:
			return moved, to.CloseWrite()
		default:
			return moved, err
		}
		for p.Buffered() > 0 {
			n, err := p.Drain(to)
			moved += n
			if err == ErrWouldBlock {
				err = task.Wait(-1, Interest{to, Writable})
			}
			if err != nil {
				return moved, err
			}
		}
	}
}

func TestSpliceIsExactToTheByte(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 6))
		a, farA := tt.meet(l)
		b, farB := tt.meet(l)
		there := randomBytes(seed, random.IntN(4<<20))
		back := randomBytes(seed+100, random.IntN(1<<20))
		limit := func() int { return 1 + random.IntN(1<<random.IntN(21)) }
		one := tt.start(l, func(task *Task) {
			if n, err := splice(task, a, b, limit); n != len(there) || err != nil {
				t.Errorf("moved %d of %d, %v", n, len(there), err)
			}
			// The other direction is open still: its end comes after ours.
			if n, err := splice(task, b, a, limit); n != len(back) || err != nil {
				t.Errorf("moved %d of %d back, %v", n, len(back), err)
			}
			a.Close()
			b.Close()
		})
		go func() {
			for rest := there; len(rest) > 0; {
				n, _ := farA.Write(rest[:min(len(rest), 1+rand.IntN(100_000))])
				rest = rest[n:]
			}
			farA.CloseWrite()
		}()
		if got, err := io.ReadAll(farB); err != nil || !bytes.Equal(got, there) {
			t.Errorf("got %d bytes of %d, or others: %v", len(got), len(there), err)
		}
		go func() { farB.Write(back); farB.CloseWrite() }()
		if got, err := io.ReadAll(farA); err != nil || !bytes.Equal(got, back) {
			t.Errorf("got %d bytes of %d back, or others: %v", len(got), len(back), err)
		}
		<-one
	}
	tt.on(l, func() {
		if len(l.pipes) != 1 {
			t.Errorf("%d pipes kept, want the one that served all", len(l.pipes))
		}
	})
	tt.quiet()
}

func TestAResetInTheMiddleOfASplice(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	all := func() int { return PipeSize }

	a, farA := tt.meet(l)
	b, farB := tt.meet(l)
	done := tt.start(l, func(task *Task) {
		defer a.Close()
		defer b.Close()
		if _, err := splice(task, a, b, all); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("from who resets: %v", err)
		}
	})
	farA.Write(make([]byte, 100_000))
	io.ReadFull(farB, make([]byte, 100_000))
	farA.SetLinger(0)
	farA.Close()
	<-done

	a, farA = tt.meet(l)
	b, farB = tt.meet(l)
	done = tt.start(l, func(task *Task) {
		defer a.Close()
		defer b.Close()
		_, err := splice(task, a, b, all)
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("to who resets: %v", err)
		}
	})
	go farA.Write(make([]byte, 32<<20))
	io.ReadFull(farB, make([]byte, 100_000))
	farB.SetLinger(0)
	farB.Close()
	<-done
	tt.on(l, func() {
		for _, p := range l.pipes {
			if p.buffered != 0 {
				t.Error("a pipe was kept with bytes of others in it")
			}
		}
	})
	tt.quiet()
}

func TestFillAndDrainTellWhatAReadAndAWriteWould(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	a, farA := tt.meet(l)
	tt.run(l, func(task *Task) {
		p, err := l.Pipe()
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Release()
		if _, err := p.Fill(a, 100); err != ErrWouldBlock {
			t.Errorf("nothing there: %v", err)
		}
		farA.Write([]byte("12345"))
		task.Wait(-1, Interest{a, Readable})
		if n, err := p.Fill(a, 0); n != 0 || err != nil {
			t.Errorf("limit 0: %d, %v", n, err)
		}
		if n, err := p.Fill(a, 3); n != 3 || err != nil || p.Buffered() != 3 {
			t.Errorf("limit 3: %d, %v", n, err)
		}
		if n, err := p.Drain(a); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		farA.CloseWrite()
		task.Wait(-1, Interest{a, HalfClosed})
		if n, err := p.Fill(a, 100); n != 2 || err != nil {
			t.Errorf("the rest: %d, %v", n, err)
		}
		if n, err := p.Drain(a); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if _, err := p.Fill(a, 100); err != io.EOF {
			t.Errorf("the end: %v", err)
		}
		a.Abort(errAborted)
		if _, err := p.Fill(a, 100); err != errAborted {
			t.Errorf("aborted: %v", err)
		}
		if _, err := p.Drain(a); err != errAborted {
			t.Errorf("aborted: %v", err)
		}
		a.Close()
	})
	if got, _ := io.ReadAll(farA); string(got) != "12345" {
		t.Errorf("%q", got)
	}
}

func TestPipesAndBuffersAreKeptUpToALimit(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	before := openDescriptors(t)
	tt.on(l, func() {
		var pipes []*Pipe
		for range keepPipes + 10 {
			p, err := l.Pipe()
			if err != nil {
				t.Error(err)
				return
			}
			pipes = append(pipes, p)
		}
		for _, p := range pipes {
			p.Release()
		}
		if len(l.pipes) != keepPipes {
			t.Errorf("%d pipes are kept", len(l.pipes))
		}
		var buffers [][]byte
		for range keepBuffers + 10 {
			buffers = append(buffers, l.Buffer())
		}
		for _, b := range buffers {
			l.Release(b[:7])
		}
		l.Release(make([]byte, 10))
		if len(l.buffers) != keepBuffers {
			t.Errorf("%d buffers are kept", len(l.buffers))
		}
		if b := l.Buffer(); len(b) != BufferSize {
			t.Errorf("a buffer of %d bytes", len(b))
		}
	})
	if n := openDescriptors(t) - before; n != 2*keepPipes {
		t.Errorf("%d descriptors for %d pipes", n, keepPipes)
	}
}
