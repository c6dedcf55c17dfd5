package h2

import (
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sidecar/internal/eventloop"
)

// wantFlood waits for the end of the connection because of abuse of that kind, and only that.
func (r *raw) wantFlood(kind Flood) {
	r.Helper()
	r.wantGoaway(http2.ErrCodeEnhanceYourCalm)
	for f := range FloodKinds {
		want := uint64(0)
		if f == kind {
			want = 1
		}
		if n := r.all.Floods[f].Load(); n != want {
			r.Errorf("%d floods of %v, want %d", n, f, want)
		}
	}
	s := r.server(0)
	r.on(func() {
		if f, ok := s.Abuse(); f != kind || !ok {
			r.Errorf("abuse: %v, %v", f, ok)
		}
	})
	r.conn.Close()
	r.quiet()
}

func TestFloods(t *testing.T) {
	const many = frameBurst + frameBurst/2
	for _, c := range []struct {
		name string
		kind Flood
		do   func(r *raw)
	}{
		{"the client resets what it opens", FloodResets, func(r *raw) {
			for i := range uint32(many) {
				r.headers(1+2*i, true, r.get())
				r.fr.WriteRSTStream(1+2*i, http2.ErrCodeCancel)
			}
		}},
		{"it has us reset what it opens, by a window of nothing", FloodResets, func(r *raw) {
			for i := range uint32(many) {
				r.headers(1+2*i, false, r.post())
				r.fr.WriteWindowUpdate(1+2*i, 0)
			}
		}},
		{"… by data behind the end", FloodResets, func(r *raw) {
			for i := range uint32(many) {
				r.headers(1+2*i, true, r.get())
				r.fr.WriteData(1+2*i, true, []byte("x"))
			}
		}},
		{"… by PRIORITY of a wrong size", FloodResets, func(r *raw) {
			for i := range uint32(many) {
				r.headers(1+2*i, true, r.get())
				r.fr.WriteRawFrame(http2.FramePriority, 0, 1+2*i, nil)
			}
		}},
		{"it opens more than it may", FloodResets, func(r *raw) {
			for i := range uint32(many) {
				r.headers(1+2*i, true, r.get())
			}
		}},
		{"its requests are malformed", FloodResets, func(r *raw) {
			for i := range uint32(many) {
				r.headers(1+2*i, true, nil)
			}
		}},
		{"SETTINGS", FloodSettings, func(r *raw) {
			for range many {
				r.fr.WriteSettings()
			}
		}},
		{"acknowledgements of SETTINGS", FloodSettings, func(r *raw) {
			for range many {
				r.fr.WriteSettingsAck()
			}
		}},
		{"one SETTINGS with many parameters", FloodSettings, func(r *raw) {
			r.fr.WriteSettings(make([]http2.Setting, 2000)...)
		}},
		{"PING", FloodPings, func(r *raw) {
			for range many {
				r.fr.WritePing(false, [8]byte{})
			}
		}},
		{"PING that nobody has asked for", FloodPings, func(r *raw) {
			for range many {
				r.fr.WritePing(true, [8]byte{})
			}
		}},
		{"PRIORITY", FloodPriorities, func(r *raw) {
			for range many {
				r.fr.WritePriority(1, http2.PriorityParam{StreamDep: 3})
			}
		}},
		{"DATA without data", FloodEmpty, func(r *raw) {
			r.headers(1, false, r.post())
			for range many {
				r.fr.WriteData(1, false, nil)
			}
		}},
		{"DATA of padding", FloodEmpty, func(r *raw) {
			r.headers(1, false, r.post())
			for range many {
				r.fr.WriteDataPadded(1, false, nil, make([]byte, 10))
			}
		}},
		{"unknown frames", FloodEmpty, func(r *raw) {
			for range many {
				r.fr.WriteRawFrame(0x77, 0, 0, nil)
			}
		}},
		{"WINDOW_UPDATE", FloodWindows, func(r *raw) {
			r.headers(1, false, r.post())
			for range many {
				r.fr.WriteWindowUpdate(1, 1)
			}
		}},
		{"WINDOW_UPDATE of the connection", FloodWindows, func(r *raw) {
			for range many {
				r.fr.WriteWindowUpdate(0, 1)
			}
		}},
		{"CONTINUATION without content", FloodHeaders, func(r *raw) {
			r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.get()})
			for range 2 * maxContinuations {
				r.fr.WriteContinuation(1, false, nil)
			}
		}},
		{"CONTINUATION without end", FloodHeaders, func(r *raw) {
			r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.get()})
			for range maxContinuations {
				// Fields of a hundred octets, not to be indexed.
				r.fr.WriteContinuation(1, false, []byte(strings.Repeat("\x00\x01x\x60"+strings.Repeat("y", 96), 160)))
			}
		}},
		{"one field without end", FloodHeaders, func(r *raw) {
			r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x00\x01x\x7f\xff\xff\xff\x07")})
			for range maxContinuations {
				r.fr.WriteContinuation(1, false, []byte(strings.Repeat("y", 16000)))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := newTester(t)
			r := tt.dial(tt.serve(hang))
			c.do(r)
			r.wantFlood(c.kind)
		})
	}
}

// What a peer in good standing does is none: it moves something.
func TestFramesThatMoveSomethingAreNoFlood(t *testing.T) {
	tt := newTester(t)
	r := tt.dial(tt.serve(handler(echo)))
	for i := range uint32(3 * frameBurst) {
		id := 1 + 2*i
		r.headers(id, false, r.post())
		r.check(r.fr.WriteData(id, false, nil))
		r.check(r.fr.WriteData(id, true, []byte("x")))
		r.check(r.fr.WriteWindowUpdate(0, 1))
		r.check(r.fr.WritePing(false, [8]byte{}))
		if _, n := r.wantAnswer(id); n != 1 {
			t.Fatalf("%d octets", n)
		}
	}
	r.wantAlive()
}

func TestTimeFillsAnAllowance(t *testing.T) {
	a := allowance{left: 3}
	for range 3 {
		if !a.take(time.Hour, 3, 2) {
			t.Fatal("less than the burst")
		}
	}
	for range 3 {
		if !a.take(time.Hour, 3, 2) {
			t.Fatal("an hour has filled less than the burst")
		}
	}
	if a.take(time.Hour, 3, 2) || a.take(time.Hour+499*time.Millisecond, 3, 2) {
		t.Error("more than the burst")
	}
	if !a.take(time.Hour+500*time.Millisecond, 3, 2) || a.take(time.Hour+500*time.Millisecond, 3, 2) {
		t.Error("half a second must give one")
	}
}

func TestAHeaderListThatIsTooLarge(t *testing.T) {
	tt := newTester(t)
	tt.opts.HeaderList = 8 << 10
	r := tt.dial(tt.serve(ok))
	// A short block, and a long list: the same field again and again from the table.
	bomb := append(r.get("x", strings.Repeat("y", 1000)), make([]byte, 0)...)
	for range 3000 {
		bomb = append(bomb, 0x80|62)
	}
	r.headers(1, true, bomb)
	if status, _ := r.wantAnswer(1); status != "431" {
		t.Error("status", status)
	}
	r.headers(3, false, r.get("z", strings.Repeat("y", 9000)))
	if status, _ := r.wantAnswer(3); status != "431" {
		t.Error("status", status)
	}
	r.wantReset(3, http2.ErrCodeNo)
	r.headers(5, true, r.get()) // the tables still agree
	if status, _ := r.wantAnswer(5); status != "200" {
		t.Error("status", status)
	}
	if tt.all.Streams.Load() != 1 {
		t.Errorf("%d streams", tt.all.Streams.Load())
	}
}

// Who has us answer, and does not read, is cut off before the answers take much memory.
func TestAnswersThatNobodyReads(t *testing.T) {
	tt := newTester(t)
	tt.opts.Window, tt.opts.ConnWindow = 8<<20, 8<<20
	r := tt.dial(tt.serve(hang))
	r.headers(1, false, r.post())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var frames []byte
		for range 1000 {
			frames = append(appendHeader(frames, bonusFrom, frameData, 0, 1), make([]byte, bonusFrom)...)
			for range frameBonus {
				frames = appendPing(frames, 0, 1)
			}
		}
		for range 250 { // within the window
			if _, err := r.conn.Write(frames); err != nil {
				return
			}
		}
	}()
	tt.until("it is cut off", func() bool { return tt.all.Floods[FloodBacklog].Load() == 1 })
	tt.on(func() {
		if n := tt.server(0).c.waiting(); n > outMost+2*backlogMost {
			t.Errorf("%d octets wait", n)
		}
	})
	r.conn.Close()
	<-done
	tt.quiet()
}

// Who asks for much and reads nothing is cut off after a time, and meanwhile what waits for it
// is bounded.
func TestAPeerThatDoesNotRead(t *testing.T) {
	tt := newTester(t)
	tt.opts.Stall = 50 * time.Millisecond
	const streams = 100
	ended := make(chan error, streams)
	r := tt.dial(tt.serve(func(_ *eventloop.Task, c *eventloop.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
		var err error
		for b := make([]byte, 16<<10); err == nil; {
			_, err = c.Write(b)
		}
		ended <- err
	}), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	r.check(r.fr.WriteWindowUpdate(0, 1<<30))
	for i := range uint32(streams) {
		r.headers(1+2*i, true, r.get())
	}
	for range streams {
		most := 0
		select {
		case err := <-ended:
			if err != errStall {
				t.Error(err)
			}
			continue
		default:
		}
		tt.on(func() { most = tt.server(0).c.waiting() })
		if most > outMost+backlogMost {
			t.Errorf("%d octets wait", most)
		}
		<-ended
	}
	if tt.all.Floods[FloodStall].Load() != 1 {
		t.Error("it was not counted")
	}
	r.conn.Close()
	tt.quiet()
}

// A client that gives windows back in small pieces may do so also when all has been sent.
func TestWindowsOfWhatWasSentAreNoFlood(t *testing.T) {
	const size = 16 << 20
	tt := newTester(t)
	r := tt.dial(tt.serve(func(_ *eventloop.Task, c *eventloop.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n")
		c.Write(make([]byte, size))
	}), http2.Setting{ID: http2.SettingInitialWindowSize, Val: size})
	r.check(r.fr.WriteWindowUpdate(0, size))
	r.headers(1, false, r.get())
	if _, n := r.wantAnswer(1); n != size {
		t.Errorf("%d octets", n)
	}
	r.headers(3, false, r.post())
	for range size / 4096 {
		r.check(r.fr.WriteWindowUpdate(0, 4096))
		r.check(r.fr.WriteWindowUpdate(3, 4096))
	}
	r.wantAlive()
}

// Windows may be closed for a time, but not those of all streams without end.
func TestWindowsThatStayClosed(t *testing.T) {
	respond := func(task *eventloop.Task, c *eventloop.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
		io.WriteString(c, "hello")
	}
	t.Run("of the streams", func(t *testing.T) {
		tt := newTester(t)
		tt.opts.Stall, tt.opts.MaxStreams = 50*time.Millisecond, 4
		r := tt.dial(tt.serve(respond), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		r.headers(1, true, r.get())
		r.headers(3, true, r.get())
		r.wantFlood(FloodStall)
	})
	t.Run("of the connection", func(t *testing.T) {
		tt := newTester(t)
		tt.opts.Stall, tt.opts.MaxStreams = 50*time.Millisecond, 4
		r := tt.dial(tt.serve(func(_ *eventloop.Task, c *eventloop.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
			c.Write(make([]byte, 100000))
		}), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100000})
		r.headers(1, true, r.get())
		r.headers(3, true, r.get())
		r.wantFlood(FloodStall)
	})
	t.Run("of few", func(t *testing.T) {
		tt := newTester(t)
		tt.opts.Stall, tt.opts.MaxStreams = 50*time.Millisecond, 4
		r := tt.dial(tt.serve(respond), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		r.headers(1, true, r.get())
		r.next() // its head
		tt.on(func() {
			if c := tt.server(0).c; c.stuck != 0 || c.starving != 1 {
				t.Errorf("since %v, %d streams", c.stuck, c.starving)
			}
		})
		r.check(r.fr.WriteWindowUpdate(1, 5))
		if _, n := r.wantAnswer(1); n != 5 {
			t.Error(n)
		}
		tt.on(func() {
			if c := tt.server(0).c; c.starving != 0 || c.line.len != 0 {
				t.Errorf("%d streams starve, %d wait", c.starving, c.line.len)
			}
		})
	})
}

// Clients that have waited may give up as often as they like.
func TestOldStreamsMayBeReset(t *testing.T) {
	tt := newTester(t)
	r := tt.dial(tt.serve(hang))
	left := func() (n int) {
		tt.until("the streams are gone", func() bool { return tt.server(0).Streams() == 0 })
		tt.on(func() { n = tt.server(0).c.resets.left })
		return n
	}
	for i := range uint32(10) {
		r.headers(1+2*i, true, r.get())
	}
	tt.until("the streams are there", func() bool { return tt.server(0).Streams() == 10 })
	tt.on(func() {
		for s := tt.server(0).c.all.first; s != nil; s = s.links[inAll].next {
			s.opened -= resetAge
		}
	})
	for i := range uint32(10) {
		r.check(r.fr.WriteRSTStream(1+2*i, http2.ErrCodeCancel))
	}
	if n := left(); n != resetBurst {
		t.Errorf("%d resets of old streams count", resetBurst-n)
	}
	var both capture // in one piece
	fr := http2.NewFramer(&both, nil)
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 21, BlockFragment: r.get(), EndHeaders: true, EndStream: true})
	fr.WriteRSTStream(21, http2.ErrCodeCancel)
	r.conn.Write(both)
	tt.until("it is reset", func() bool { return tt.all.ResetsIn.Load() == 11 })
	if n := left(); n != resetBurst-1 {
		t.Errorf("%d resets of a new stream count", resetBurst-n)
	}
}
