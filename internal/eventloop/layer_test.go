package eventloop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// A mask is a layer that changes bytes: what it reads and writes is the socket's with one bit
// turned. Writes gather until the end of the turn, at most maskMost bytes.
type mask struct {
	t       testing.TB
	under   *Conn
	upper   *Conn
	out     []byte
	shut    bool
	queued  bool
	unmade  bool // Established is false
	unmadeE error
	writes  int // on the socket
	flushes int
	closed  []bool // calls of Close
}

const (
	maskBit  = 0x80
	maskMost = 10_000
)

// masked puts a mask on a connection.
func masked(t testing.TB, c *Conn) *mask {
	m := &mask{t: t, under: c}
	m.upper = Layered(m, c)
	c.Watch(m)
	if c.Has(Readable) {
		m.upper.Signal(Readable)
	}
	return m
}

func (m *mask) TryRead(b []byte) (int, error) {
	n, err := m.under.TryRead(b)
	turn(b[:n])
	if err == nil && !m.under.Has(Readable) {
		err = ErrWouldBlock // with bytes: these, and no more
	}
	return n, err
}

func (m *mask) TryWrite(b []byte) (int, error) {
	n := min(len(b), maskMost-len(m.out))
	if n == 0 {
		return 0, ErrWouldBlock
	}
	m.out = append(m.out, b[:n]...)
	turn(m.out[len(m.out)-n:])
	m.later()
	return n, nil
}

func (m *mask) later() {
	if !m.queued {
		m.queued = true
		m.upper.Loop().AtTurnEnd(m)
	}
}

func (m *mask) Flush() {
	if m.under.Loop().running != nil {
		m.t.Error("Flush is called within a task")
	}
	m.queued = false
	m.flushes++
	m.send()
}

func (m *mask) send() {
	if len(m.out) > 0 {
		n, err := m.under.TryWrite(m.out)
		if n > 0 {
			m.writes++
		}
		m.out = append(m.out[:0], m.out[n:]...)
		if err != nil && err != ErrWouldBlock {
			m.upper.Signal(Readable | Writable | HalfClosed | Broken)
			return
		}
		if len(m.out) < maskMost {
			m.upper.Signal(Writable)
		}
	}
	if m.shut && len(m.out) == 0 {
		m.shut = false
		m.under.CloseWrite()
	}
}

func (m *mask) Changed(c *Conn) {
	if c != m.under || c.Loop().running != nil {
		m.t.Error("Changed is called with another connection, or within a task")
	}
	m.send()
	m.upper.Signal(c.ready & (Readable | HalfClosed | Broken))
}

func (m *mask) CloseWrite() error {
	m.shut = true
	m.later()
	return nil
}

func (m *mask) Established() (bool, error) { return !m.unmade, m.unmadeE }

func (m *mask) Close(reset bool) {
	m.closed = append(m.closed, reset)
	if !reset && m.under.fd >= 0 {
		m.send()
	}
	m.under.close(reset)
}

func turn(b []byte) {
	for i := range b {
		b[i] ^= maskBit
	}
}

// masks are two ends of a connection on one loop, each with a mask, whose bytes thus are the
// same at both.
func (t *tester) masks() (a, b *mask) {
	t.on(t.loop(), func() {
		x, y := twins(t, t.loop())
		a, b = masked(t, x), masked(t, y)
	})
	return a, b
}

func TestALayerCarriesBytesBothWays(t *testing.T) {
	tt := newTester(t, 1)
	a, b := tt.masks()
	data := randomBytes(11, 3<<20)
	echoed := tt.start(tt.loop(), func(task *Task) { echo(task, b.upper); b.upper.Close() })
	tt.run(tt.loop(), func(*Task) {
		got := make([]byte, 40_000)
		for rest, size := data, 1; len(rest) > 0; size = min(3*size, len(got)) {
			part := rest[:min(size, len(rest))]
			rest = rest[len(part):]
			if n, err := a.upper.Write(part); n != len(part) || err != nil {
				t.Errorf("wrote %d of %d: %v", n, len(part), err)
			}
			if _, err := io.ReadFull(a.upper, got[:len(part)]); err != nil || !bytes.Equal(got[:len(part)], part) {
				t.Errorf("read %d bytes: %v", len(part), err)
				break
			}
		}
		a.upper.CloseWrite()
		if n, err := a.upper.Read(got); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d, %v", n, err)
		}
		a.upper.Close()
	})
	<-echoed
	tt.quiet()
	tt.on(tt.loop(), func() {
		if len(tt.loop().unlayered) != 2 {
			t.Errorf("%d connections are kept for the next", len(tt.loop().unlayered))
		}
		for _, c := range tt.loop().unlayered {
			if c.layer != nil || c.under != nil {
				t.Error("one that is kept keeps what it lay on")
			}
		}
	})
}

func TestWhatManyTasksWriteLeavesAtOnce(t *testing.T) {
	tt := newTester(t, 1)
	var m *mask
	near, far := tt.meet(tt.loop())
	tt.on(tt.loop(), func() {
		m = masked(t, near)
		for _, word := range []string{"one ", "two ", "three"} {
			tt.loop().Go(RunFunc(func(*Task) { m.upper.Write([]byte(word)) }))
		}
	})
	got := make([]byte, len("one two three"))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	turn(got)
	tt.on(tt.loop(), func() {
		if string(got) != "one two three" || m.writes != 1 || m.flushes != 1 {
			t.Errorf("%q in %d writes and %d flushes", got, m.writes, m.flushes)
		}
		m.upper.Close()
	})
	tt.quiet()
}

func TestWritevThroughALayerTellsHowMuch(t *testing.T) {
	tt := newTester(t, 1)
	a, b := tt.masks()
	tt.run(tt.loop(), func(*Task) {
		part := make([]byte, maskMost/2+1)
		n, err := a.upper.TryWritev(part, nil, part, part)
		if n != maskMost || err != nil || a.upper.Has(Writable) {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := a.upper.TryWritev(part); n != 0 || err != ErrWouldBlock {
			t.Errorf("full: %d, %v", n, err)
		}
		if n, err := a.upper.Writev(part[:3], part[:4]); n != 7 || err != nil { // parks until the turn's end
			t.Errorf("%d, %v", n, err)
		}
		a.upper.Close()
		b.upper.Close()
	})
	tt.quiet()
}

func TestAnIdleHandlerOfALayeredConnection(t *testing.T) {
	tt := newTester(t, 1)
	var whys []Cause
	var m *mask
	near, far := tt.meet(tt.loop())
	tt.on(tt.loop(), func() {
		m = masked(t, near)
		idle := func() bool {
			return m.upper.Idle(readyFunc(func(c *Conn, why Cause) {
				if c != m.upper || tt.loop().running != nil {
					t.Error("another connection, or within a task")
				}
				whys = append(whys, why)
			}))
		}
		if !idle() {
			t.Error("cannot be idle")
		}
	})
	far.Write([]byte("x"))
	tt.until(tt.loop(), "the handler is called", func() bool { return len(whys) == 1 })
	tt.on(tt.loop(), func() {
		b := make([]byte, 10)
		if m.upper.Idle(nil) {
			t.Error("idle with bytes to read")
		}
		if n, err := m.upper.TryRead(b); n != 1 || err != nil || b[0] != 'x'^maskBit {
			t.Errorf("%d, %v, %q", n, err, b[:n])
		}
		// The layer has said that this is all there is.
		m.upper.SetReadTimeout(time.Millisecond)
		if !m.upper.Idle(readyFunc(func(_ *Conn, why Cause) { whys = append(whys, why) })) {
			t.Error("not idle behind the last byte")
		}
	})
	tt.until(tt.loop(), "its deadline passes", func() bool { return len(whys) == 2 })
	tt.on(tt.loop(), func() {
		m.upper.SetReadTimeout(0)
		m.upper.Idle(readyFunc(func(_ *Conn, why Cause) { whys = append(whys, why) }))
		m.upper.Abort(net.ErrClosed)
		if len(whys) != 3 || whys[0] != CauseReadable || whys[1] != CauseDeadline || whys[2] != CauseBroken {
			t.Errorf("%v", whys)
		}
		m.upper.Close()
	})
	tt.quiet()
}

func TestDeadlinesAndAbortOfALayeredConnection(t *testing.T) {
	tt := newTester(t, 1)
	a, b := tt.masks()
	why := errors.New("why")
	tt.run(tt.loop(), func(*Task) {
		a.upper.SetReadTimeout(time.Millisecond)
		if _, err := a.upper.Read(make([]byte, 1)); err != os.ErrDeadlineExceeded {
			t.Errorf("a read that is late: %v", err)
		}
		a.upper.SetReadTimeout(0)
		a.upper.SetWriteTimeout(10 * time.Millisecond)
		if _, err := a.upper.Write(make([]byte, 16<<20)); err != os.ErrDeadlineExceeded {
			t.Errorf("a write that is late: %v", err)
		}
	})
	done := tt.start(tt.loop(), func(*Task) {
		if _, err := a.upper.Read(make([]byte, 1)); err != why {
			t.Errorf("%v, want %v", err, why)
		}
		if _, err := a.upper.Write([]byte("x")); err != why {
			t.Errorf("%v, want %v", err, why)
		}
	})
	tt.untilParked(tt.loop(), 1)
	tt.on(tt.loop(), func() { a.upper.Abort(why) })
	<-done
	tt.on(tt.loop(), func() { a.upper.Reset(); a.upper.Close(); b.upper.Close(); b.upper.Close() })
	if len(a.closed) != 1 || !a.closed[0] || len(b.closed) != 1 || b.closed[0] {
		t.Errorf("Close was called with %v and %v", a.closed, b.closed)
	}
	tt.quiet()
}

func TestALayerThatIsNotEstablished(t *testing.T) {
	tt := newTester(t, 1)
	a, b := tt.masks()
	why := errors.New("why")
	tt.run(tt.loop(), func(task *Task) {
		a.unmade = true
		a.upper.Retract(Writable)
		if _, err := a.upper.TryWrite([]byte("x")); err != ErrWouldBlock {
			t.Errorf("a write: %v", err)
		}
		if made, err := a.upper.Established(); made || err != nil {
			t.Errorf("%v, %v", made, err)
		}
		a.upper.SetWriteTimeout(time.Millisecond)
		if err := settled(task, a.upper); err != os.ErrDeadlineExceeded {
			t.Errorf("behind the deadline: %v", err)
		}
		a.upper.SetWriteTimeout(0)
		a.unmadeE = why
		if err := settled(task, a.upper); err != why {
			t.Errorf("%v, want %v", err, why)
		}
		a.unmade, a.unmadeE = false, nil
		a.upper.Signal(Writable)
		if err := settled(task, a.upper); err != nil {
			t.Error(err)
		}
		a.upper.Retract(Readable | Broken)
		a.under.Retract(Writable) // a socket knows for itself
		if !a.upper.Has(Writable) || !a.under.Has(Writable) {
			t.Error("more has been taken back than was said")
		}
		a.upper.Close()
		b.upper.Close()
		a.upper.Signal(Readable)
		if a.upper.Has(Readable) {
			t.Error("a signal behind the end")
		}
	})
	tt.quiet()
}

func TestALayeredConnectionIsWhatItLiesOn(t *testing.T) {
	tt := newTester(t, 1)
	near, far := tt.meet(tt.loop())
	tt.on(tt.loop(), func() {
		m := masked(t, near)
		u := m.upper
		if u.Under() != near || near.Under() != nil || u.Splices() || !near.Splices() {
			t.Error("which is which is not told")
		}
		if u.RemoteAddrPort() != addrPort(far.LocalAddr()) || u.LocalAddr().String() != far.RemoteAddr().String() {
			t.Error("they have other addresses")
		}
		if !u.Quiet() || u.Room() != 0 {
			t.Error("it is not quiet, or has room")
		}
		u.Mute()
		u.Unmute()
		u.Close()
		if u.Quiet() {
			t.Error("a closed one is quiet")
		}
		if err := u.CloseWrite(); err != net.ErrClosed {
			t.Error(err)
		}
	})
	tt.quiet()
}

func TestLayersEndWithTheLoops(t *testing.T) {
	tt := newTester(t, 1)
	a, b := tt.masks()
	done := tt.start(tt.loop(), func(*Task) {
		if _, err := a.upper.Read(make([]byte, 1)); err != ErrClosed {
			t.Errorf("%v", err)
		}
		a.upper.Close()
	})
	tt.untilParked(tt.loop(), 1)
	tt.g.Close() // b is left open, and closed with the loop
	<-done
	if len(a.closed) != 1 || len(b.closed) != 1 {
		t.Errorf("Close was called with %v and %v", a.closed, b.closed)
	}
}

func TestAPanicAboveALayerClosesIt(t *testing.T) {
	tt := newTester(t, 1)
	tt.expectPanics(2)
	a, b := tt.masks()
	tt.run(tt.loop(), func(*Task) {
		a.upper.Write([]byte("x"))
		panic("on purpose")
	})
	tt.until(tt.loop(), "it is closed", func() bool { return len(a.closed) == 1 })
	tt.run(tt.loop(), func(*Task) {
		var buf [2]byte
		for _, want := range []error{nil, io.EOF} {
			if _, err := b.upper.Read(buf[:]); err != want {
				t.Errorf("%v, want %v", err, want)
			}
		}
	})
	// One flusher's panic does not keep the others from their turn.
	tt.on(tt.loop(), func() {
		tt.loop().AtTurnEnd(flushFunc(func() { panic("on purpose") }))
		tt.loop().AtTurnEnd(flushFunc(func() { b.upper.Close() }))
	})
	tt.quiet()
}

type flushFunc func()

func (f flushFunc) Flush() { f() }
