package h2

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"sidecar/internal/eventloop"
)

// send writes a request with so much of a body on a stream of k, in a task, and closes it when
// done is called.
func (r *raw) send(k *Client, size int) *eventloop.Conn {
	r.Helper()
	var c *eventloop.Conn
	r.on(func() {
		var err error
		if c, err = k.Open(); err != nil {
			r.Error(err)
			return
		}
		r.l.Go(eventloop.RunFunc(func(*eventloop.Task) {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n")
			c.Write(make([]byte, size))
		}))
	})
	return c
}

// data reads frames until so much data has come on the stream, and returns that of other ones.
func (r *raw) data(id uint32, size int) (others map[uint32]int) {
	r.Helper()
	others = map[uint32]int{}
	for size > 0 {
		f, ok := r.next().(*http2.DataFrame)
		switch {
		case !ok:
		case f.StreamID == id:
			size -= len(f.Data())
		default:
			others[f.StreamID] += len(f.Data())
		}
	}
	if size < 0 {
		r.Fatalf("%d octets too many", -size)
	}
	return others
}

// wantNothing makes sure that nothing comes but an answer to a ping.
func (r *raw) wantNothing() {
	r.Helper()
	r.check(r.fr.WritePing(false, [8]byte{9}))
	if f, ok := r.next().(*http2.PingFrame); !ok || !f.IsAck() {
		r.Fatalf("got %v", f)
	}
}

func TestTheWindowOfAStream(t *testing.T) {
	tt := newTester(t)
	k, r := tt.serveRaw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	c := r.send(k, 100)
	r.data(1, 10)
	r.wantNothing()
	r.check(r.fr.WriteWindowUpdate(1, 5))
	r.data(1, 5)
	r.wantNothing()
	r.check(r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 30}))
	r.data(1, 20)
	r.wantNothing()
	r.check(r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})) // less than nothing is left
	r.check(r.fr.WriteWindowUpdate(1, 30))
	r.wantNothing()
	r.check(r.fr.WriteWindowUpdate(1, 65))
	r.data(1, 65)
	tt.on(func() { c.Close() })
}

func TestTheWindowOfTheConnectionIsShared(t *testing.T) {
	tt := newTester(t)
	k, r := tt.serveRaw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	first := r.send(k, 1<<20)
	r.data(1, firstWindow)
	r.wantNothing()
	second, third := r.send(k, 1<<20), r.send(k, 100)
	r.next()
	r.next() // their heads
	r.wantNothing()
	seen := 0
	for i := 0; seen < 100; i++ {
		if i == 20 {
			t.Fatal("a small stream gets no turn beside large ones")
		}
		r.check(r.fr.WriteWindowUpdate(0, 16<<10))
		for got := 0; got < 16<<10; {
			f, ok := r.next().(*http2.DataFrame)
			if !ok {
				continue
			}
			got += len(f.Data())
			if f.StreamID == 5 {
				seen += len(f.Data())
			}
		}
	}
	tt.on(func() {
		first.Close()
		second.Close()
		third.Close()
	})
}

// What large streams have ready does not keep a small one waiting for long.
func TestStreamsTakeTurns(t *testing.T) {
	tt := newTester(t)
	k, r := tt.serveRaw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	r.check(r.fr.WriteWindowUpdate(0, 1<<30))
	tt.until("the window has grown", func() bool { return k.c.sendWindow > 1<<30 })
	const large = 32 << 20 // far more than sockets hold
	a, b := r.send(k, large), r.send(k, large)
	got := map[uint32]int{}
	until := func(id uint32, size int) {
		t.Helper()
		for got[id] < size {
			if f, ok := r.next().(*http2.DataFrame); ok {
				got[f.StreamID] += len(f.Data())
			}
		}
	}
	until(3, 1)
	if got[1] > large/2 {
		t.Errorf("of the first large one %d octets came before the second had a turn", got[1])
	}
	until(1, 1<<20)
	c := r.send(k, 1000)
	until(5, 1000)
	if n := got[1] + got[3]; n > large {
		t.Errorf("of the large ones %d octets came before the small one", n)
	}
	tt.on(func() {
		a.Close()
		b.Close()
		c.Close()
	})
}

// The peer gets back what has been read, and no more may wait than the window.
func TestOurWindows(t *testing.T) {
	tt := newTester(t)
	tt.opts.Window, tt.opts.ConnWindow = 100_000, 150_000
	goOn := make(chan struct{})
	r := tt.dial(tt.serve(func(task *eventloop.Task, c *eventloop.Conn) {
		task.Do(func() { <-goOn })
		n, err := io.Copy(io.Discard, io.LimitReader(c, 100_000))
		if n != 100_000 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		hang(task, c)
	}))
	r.headers(1, false, r.post("content-length", "1000000"))
	for range 10 {
		r.check(r.fr.WriteData(1, false, make([]byte, 10_000)))
	}
	r.wantAlive()
	tt.on(func() {
		s := tt.server(0).c.all.first
		if s.recvWindow != 0 || s.unread != 100_000 {
			t.Errorf("window %d, %d octets wait", s.recvWindow, s.unread)
		}
	})
	close(goOn)
	grown := map[uint32]uint32{}
	for grown[0] < 75_000 || grown[1] < 50_000 {
		if f, ok := r.read().(*http2.WindowUpdateFrame); ok {
			grown[f.StreamID] += f.Increment
		}
	}
	if grown[0] > 100_000 || grown[1] > 100_000 {
		t.Errorf("windows have grown by %v", grown)
	}
	r.check(r.fr.WriteRSTStream(1, http2.ErrCodeCancel))
	tt.until("the stream is gone", func() bool { return tt.server(0).Streams() == 0 })
	tt.on(func() {
		if c := tt.server(0).c; c.recvWindow+c.owed != 150_000 {
			t.Errorf("%d octets of the connection's window are lost", 150_000-c.recvWindow-c.owed)
		}
	})
}

// Before our settings are acknowledged the peer may count with windows of 65,535 octets.
func TestASmallWindowBeforeItIsAcknowledged(t *testing.T) {
	tt := newTester(t)
	tt.opts.Window = 1000
	addr := tt.serve(handler(echo))
	r := tt.connect(addr)
	r.check(r.fr.WriteSettings())
	r.headers(1, false, r.post())
	for range 6 {
		r.check(r.fr.WriteData(1, false, make([]byte, 10_000)))
	}
	r.check(r.fr.WriteSettingsAck())
	r.check(r.fr.WriteData(1, true, nil))
	if status, n := r.wantAnswer(1); status != "200" || n != 60_000 {
		t.Error(status, n)
	}
	r.headers(3, false, r.post())
	r.check(r.fr.WriteData(3, false, make([]byte, 1001)))
	r.wantReset(3, http2.ErrCodeFlowControl)
}

func TestAHeadOfManyFrames(t *testing.T) {
	tt := newTester(t)
	value := strings.Repeat("0123456789", 5000)
	r := tt.dial(tt.serve(func(_ *eventloop.Task, c *eventloop.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Long: "+value+"\r\nContent-Length: 0\r\n\r\n")
	}))
	r.fr.SetMaxReadFrameSize(defaultFrame)
	r.fr.MaxHeaderListSize = 1 << 20
	r.fr.ReadMetaHeaders.SetMaxStringLength(1 << 20)
	r.headers(1, true, r.get())
	for {
		f, ok := r.next().(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		for _, h := range f.RegularFields() {
			if h.Name == "x-long" && h.Value == value {
				return
			}
		}
		t.Fatal(f)
	}
}
