package eventloop

import (
	"errors"
	"os"
	"testing"
	"time"
)

// A hoard is a layer that says of itself how much it holds.
type hoard struct {
	mask
	holds int
	err   error
	asked int
}

func (h *hoard) TryFlush() (int, error) {
	h.asked++
	return h.holds, h.err
}

// hoarding makes one that holds n bytes, and has a task flush it.
func (t *tester) hoarding(n int, patience time.Duration) (h *hoard, ended chan error) {
	t.Helper()
	l := t.loop()
	near, _ := t.meet(l)
	h, ended = &hoard{mask: mask{t: t, under: near}, holds: n}, make(chan error, 1)
	t.on(l, func() { h.upper = Layered(h, near) })
	t.start(l, func(*Task) {
		defer h.upper.Close()
		ended <- h.upper.Flush(patience)
	})
	t.until(l, "it waits", func() bool { return h.asked > 0 })
	return h, ended
}

func TestFlushWaitsForWhatALayerHolds(t *testing.T) {
	tt := newTester(t, 1)
	h, ended := tt.hoarding(100, 0)
	for _, left := range []int{70, 30, 0} {
		var asked int
		tt.on(tt.loop(), func() {
			if len(ended) > 0 {
				t.Errorf("%d bytes are held, and it has ended", h.holds)
			}
			if h.upper.Has(Writable) {
				t.Error("it can be written to while bytes wait")
			}
			asked, h.holds = h.asked, left
			h.upper.Signal(Writable)
		})
		tt.until(tt.loop(), "it looks again", func() bool { return h.asked > asked })
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFlushEndsForOtherReasons(t *testing.T) {
	cut, gone := errors.New("cut"), errors.New("gone")
	for name, c := range map[string]struct {
		patience time.Duration
		happens  func(*hoard)
		want     error
	}{
		"nothing leaves for too long": {time.Millisecond, func(*hoard) {}, os.ErrDeadlineExceeded},
		"somebody aborts it":          {0, func(h *hoard) { h.upper.Abort(cut) }, cut},
		"nothing can leave any more":  {0, func(h *hoard) { h.holds, h.err = 0, gone; h.upper.Signal(Writable) }, gone},
	} {
		t.Run(name, func(t *testing.T) {
			tt := newTester(t, 1)
			h, ended := tt.hoarding(1, c.patience)
			tt.on(tt.loop(), func() { c.happens(h) })
			if err := <-ended; !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestASocketHoldsNothing(t *testing.T) {
	tt := newTester(t, 1)
	near, _ := tt.meet(tt.loop())
	tt.on(tt.loop(), func() {
		if left, err := near.TryFlush(); left != 0 || err != nil {
			t.Errorf("%d, %v", left, err)
		}
		near.Close()
	})
}

// The task that read last from the socket below is nobody's owner: the connection may be in a pool.
func TestAPanicLeavesWhatAnotherConnectionLiesOn(t *testing.T) {
	tt := newTester(t, 1)
	tt.expectPanics(1)
	l := tt.loop()
	near, far := tt.meet(l)
	told := make(chan Cause, 1)
	var m *mask
	far.Write([]byte{'x'})
	tt.run(l, func(*Task) {
		m = masked(t, near)
		b := make([]byte, 1)
		m.upper.Read(b)
		for !m.upper.Idle(readyFunc(func(_ *Conn, why Cause) { told <- why })) {
			m.upper.TryRead(b)
		}
		panic("for another reason")
	})
	tt.on(l, func() {
		if near.fd < 0 {
			t.Error("the socket is closed, and nobody has been told")
		}
		if !m.upper.Quiet() {
			t.Error("the connection has something to say")
		}
	})
	if !t.Failed() {
		far.Close()
		if why := <-told; why != CauseReadable {
			t.Errorf("told %v", why)
		}
	}
	tt.on(l, func() { m.upper.Close() })
}

func TestNothingLiesQuietOnAClosedSocket(t *testing.T) {
	tt := newTester(t, 1)
	near, _ := tt.meet(tt.loop())
	tt.on(tt.loop(), func() {
		m := masked(t, near)
		if !m.upper.Quiet() {
			t.Error("not quiet at the beginning")
		}
		near.Close()
		if m.upper.Quiet() {
			t.Error("quiet, and its socket is closed")
		}
		m.upper.Close()
	})
}
