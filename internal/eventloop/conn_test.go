package eventloop

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var errAborted = errors.New("aborted by the test")

// randomBytes are the same for the same seed.
func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func TestThePeerSendsItsEndFirst(t *testing.T) {
	tt := newTester(t, 1)
	answer := randomBytes(1, 1<<20)
	ln := tt.serve(func(_ *Task, c *Conn) {
		question, err := io.ReadAll(c)
		if err != nil || string(question) != "question" {
			t.Errorf("read %q, %v", question, err)
		}
		if !c.Has(HalfClosed) {
			t.Error("the peer's end has not been noticed")
		}
		if n, err := c.Write(answer); n != len(answer) || err != nil {
			t.Errorf("wrote %d, %v, behind the peer's end", n, err)
		}
	})
	c := tt.dial(ln)
	c.Write([]byte("question"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	tt.quiet()
}

func TestWeSendOurEndFirst(t *testing.T) {
	tt := newTester(t, 1)
	answer := randomBytes(2, 1<<20)
	ln := tt.serve(func(_ *Task, c *Conn) {
		c.Write([]byte("question"))
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, answer) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write behind our own end: %v", err)
		}
	})
	c := tt.dial(ln)
	if question, err := io.ReadAll(c); err != nil || string(question) != "question" {
		t.Errorf("read %q, %v", question, err)
	}
	c.Write(answer)
	c.Close()
	tt.quiet()
}

func TestTheEndIsReadAsOftenAsOneLikes(t *testing.T) {
	tt := newTester(t, 1)
	near, far := tt.meet(tt.loop())
	far.Write([]byte("last words"))
	far.Close()
	tt.run(tt.loop(), func(*Task) {
		defer near.Close()
		if got, err := io.ReadAll(near); string(got) != "last words" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		for range 3 {
			if n, err := near.Read(make([]byte, 10)); n != 0 || err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
		}
	})
}

func TestAResetIsAnErrorOfBothDirections(t *testing.T) {
	tt := newTester(t, 1)
	near, far := tt.meet(tt.loop())
	far.SetLinger(0)
	done := tt.start(tt.loop(), func(*Task) {
		defer near.Close()
		_, err := near.Read(make([]byte, 10))
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &op) || op.Op != "read" {
			t.Errorf("read: %v", err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write: %v", err)
		}
	})
	tt.untilParked(tt.loop(), 1)
	far.Close()
	<-done
}

func TestResetIsSeenByThePeer(t *testing.T) {
	tt := newTester(t, 1)
	near, far := tt.meet(tt.loop())
	tt.on(tt.loop(), func() { near.Reset(); near.Reset() })
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

func TestASlowReaderHoldsTheWriterBack(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	data := randomBytes(3, 32<<20)
	done := tt.start(l, func(*Task) {
		defer near.Close()
		if n, err := near.Write(data); n != len(data) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	})
	// Nobody reads: what does not fit into the sockets stays in the task, which is parked.
	tt.untilParked(l, 1)
	got := make([]byte, 0, len(data))
	random := rand.New(rand.NewPCG(3, 3))
	buf := make([]byte, 1<<20)
	for {
		n, err := far.Read(buf[:1+random.IntN(len(buf))])
		got = append(got, buf[:n]...)
		if err != nil {
			break
		}
	}
	<-done
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes came through, or others", len(got))
	}
}

func TestCloseWakesWhoWaits(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	for what, call := range map[string]func(*Task, *Conn) error{
		"read":  func(_ *Task, c *Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"write": func(_ *Task, c *Conn) error { _, err := c.Write(make([]byte, 32<<20)); return err },
		"wait": func(task *Task, c *Conn) error {
			if err := task.Wait(-1, Interest{c, Readable}); err != nil {
				return err
			}
			_, err := c.TryRead(make([]byte, 1))
			return err
		},
	} {
		for how, end := range map[string]struct {
			do   func(*Conn)
			want error
		}{
			"Close": {func(c *Conn) { c.Close() }, net.ErrClosed},
			"Abort": {func(c *Conn) { c.Abort(errAborted) }, errAborted},
		} {
			near, _ := tt.meet(l)
			done := tt.start(l, func(task *Task) {
				if err := call(task, near); err != end.want {
					t.Errorf("%s in %s: %v, want %v", how, what, err, end.want)
				}
				near.Close()
			})
			tt.untilParked(l, 1)
			tt.on(l, func() { end.do(near) })
			<-done
		}
	}
	tt.quiet()
}

func TestAfterCloseAndAfterAbort(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	calls := map[string]func(*Conn) error{
		"Read":      func(c *Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"TryRead":   func(c *Conn) error { _, err := c.TryRead(make([]byte, 1)); return err },
		"Write":     func(c *Conn) error { _, err := c.Write([]byte("x")); return err },
		"TryWrite":  func(c *Conn) error { _, err := c.TryWrite([]byte("x")); return err },
		"Writev":    func(c *Conn) error { _, err := c.Writev([]byte("x")); return err },
		"TryWritev": func(c *Conn) error { _, err := c.TryWritev([]byte("x")); return err },
	}
	closed, _ := tt.meet(l)
	aborted, far := tt.meet(l)
	far.Write([]byte("never read"))
	tt.run(l, func(task *Task) {
		closed.Close()
		aborted.Abort(errAborted)
		aborted.Abort(io.ErrUnexpectedEOF) // the first one counts
		for name, call := range calls {
			if err := call(closed); err != net.ErrClosed {
				t.Errorf("%s after Close: %v", name, err)
			}
			if err := call(aborted); err != errAborted {
				t.Errorf("%s after Abort: %v", name, err)
			}
		}
		for _, c := range []*Conn{closed, aborted} {
			if err := task.Wait(-1, Interest{c, Writable}); err != nil {
				t.Error(err)
			}
			if c.Idle(nil) {
				t.Error("idle")
			}
		}
		if err := closed.CloseWrite(); err != net.ErrClosed {
			t.Error(err)
		}
		closed.SetDeadline(time.Now())
		closed.Abort(errAborted)
		closed.Reset()
		closed.LocalAddr()
		if err := closed.Close(); err != nil {
			t.Error(err)
		}
		aborted.Close()
	})
	tt.quiet()
}

func TestSpuriousWakesEndNoRead(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	var reader *Task
	done := tt.start(l, func(task *Task) {
		defer near.Close()
		reader = task
		if n, err := near.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
	tt.untilParked(l, 1)
	for _, ev := range []uint32{unix.EPOLLIN, unix.EPOLLOUT, unix.EPOLLIN | unix.EPOLLOUT, 0} {
		tt.on(l, func() { near.event(ev); reader.Wake() })
		tt.untilParked(l, 1)
	}
	far.Write([]byte("x"))
	<-done
}

func TestAReadThatFillsTheBufferLosesNoEdge(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	data := randomBytes(4, 100_000)
	var got []byte
	done := tt.start(l, func(*Task) {
		defer near.Close()
		random := rand.New(rand.NewPCG(4, 4))
		for b := make([]byte, 5000); ; {
			n, err := near.Read(b[:1+random.IntN(len(b))])
			got = append(got, b[:n]...)
			if err != nil {
				return
			}
		}
	})
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 1+rand.IntN(3000))
		far.Write(rest[:n])
		rest = rest[n:]
	}
	far.CloseWrite()
	<-done
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes, or others", len(got))
	}
}

func TestWritingNothing(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, _ := tt.meet(l)
	tt.run(l, func(*Task) {
		defer near.Close()
		for { // until the socket takes no more
			if _, err := near.TryWrite(make([]byte, 1<<20)); err != nil {
				break
			}
		}
		if n, err := near.Write(nil); n != 0 || err != nil {
			t.Errorf("Write: %d, %v", n, err)
		}
		if n, err := near.Writev(nil, []byte{}); n != 0 || err != nil {
			t.Errorf("Writev: %d, %v", n, err)
		}
	})
}

func TestWritevInPieces(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	near, far := tt.meet(l)
	random := rand.New(rand.NewPCG(5, 5))
	var bufs [][]byte
	var want []byte
	for i := range 300 { // more than one call takes, empty ones among them, far more than fits
		n := random.IntN(100_000)
		if random.IntN(4) == 0 {
			n = 0
		}
		b := randomBytes(uint64(i), n)
		bufs = append(bufs, b)
		want = append(want, b...)
	}
	done := tt.start(l, func(*Task) {
		defer near.Close()
		if n, err := near.Writev(bufs...); n != int64(len(want)) || err != nil {
			t.Errorf("wrote %d of %d, %v", n, len(want), err)
		}
	})
	tt.untilParked(l, 1)
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, or others: %v", len(got), len(want), err)
	}
	<-done
}

func TestAddresses(t *testing.T) {
	tt := newTester(t, 1)
	near, far := tt.meet(tt.loop())
	tt.run(tt.loop(), func(*Task) {
		defer near.Close()
		if near.LocalAddr().String() != far.RemoteAddr().String() || near.LocalAddr().Network() != "tcp" {
			t.Errorf("local %v, the peer sees %v", near.LocalAddr(), far.RemoteAddr())
		}
		if near.RemoteAddr().String() != far.LocalAddr().String() || near.RemoteAddrPort() != addrPort(far.LocalAddr()) {
			t.Errorf("remote %v, the peer says %v", near.RemoteAddr(), far.LocalAddr())
		}
		x, y := twins(t, tt.loop())
		if x.RemoteAddr().Network() != "unix" || x.LocalAddr().Network() != "unix" || x.RemoteAddrPort().IsValid() {
			t.Errorf("%v %v %v", x.RemoteAddr(), x.LocalAddr(), x.RemoteAddrPort())
		}
		x.Close()
		y.Close()
	})
}

func TestOnlyATaskCanPark(t *testing.T) {
	tt := newTester(t, 1)
	near, far := tt.meet(tt.loop())
	far.Write([]byte("x"))
	tt.until(tt.loop(), "the byte is there", func() bool { return near.Has(Readable) })
	tt.on(tt.loop(), func() {
		defer near.Close()
		b := make([]byte, 10)
		if n, err := near.Read(b); n != 1 || err != nil {
			t.Errorf("a read that need not wait: %d, %v", n, err)
		}
		if _, err := near.Read(b); err != errNoTask {
			t.Errorf("a read that has to: %v", err)
		}
		if _, err := tt.loop().Dial(near.RemoteAddrPort(), 0); !errors.Is(err, errNoTask) {
			t.Errorf("dial: %v", err)
		}
		if _, err := tt.loop().DialAddress("localhost:1", 0); !errors.Is(err, errNoTask) {
			t.Errorf("dial by name: %v", err)
		}
	})
}
