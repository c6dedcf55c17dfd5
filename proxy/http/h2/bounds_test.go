package h2

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"sidecar/internal/eventloop"
)

// A server that is told of a request may do it, so nobody may then be told that it has not.
func TestAHeadIsNotSentOnceItsUserIsToldSo(t *testing.T) {
	for name, end := range map[string]func(*Client){
		"because of the server": func(k *Client) { k.c.quit(broken(ProtocolError, "what it has sent in the same turn")) },
		"by us":                 func(k *Client) { k.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			tt := newTester(t)
			k, r := tt.serveRaw()
			first := r.open(k, 1, getRequest)
			for {
				if f, ok := r.next().(*http2.MetaHeadersFrame); ok && f.StreamID == 1 {
					break
				}
			}
			var second, third *eventloop.Conn
			tt.on(func() { // within one turn
				first[0].TryWrite(nil)
				for _, s := range []**eventloop.Conn{&second, &third} {
					var err error
					if *s, err = k.Open(); err == nil {
						_, err = (*s).TryWrite([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"))
					}
					if err != nil {
						t.Error(err)
					}
				}
				end(k)
			})
			for _, s := range []*eventloop.Conn{second, third} {
				if _, err := tt.readAll(s); !errors.Is(err, ErrUnprocessed) {
					t.Errorf("its user is told: %v", err)
				}
			}
			if _, err := tt.readAll(first[0]); err == nil || errors.Is(err, ErrUnprocessed) {
				t.Errorf("the user of the one that was sent is told: %v", err)
			}
			away := false
			for !away {
				f, err := r.fr.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch f := f.(type) {
				case *http2.MetaHeadersFrame, *http2.DataFrame:
					t.Fatalf("the server hears %v", f)
				case *http2.GoAwayFrame:
					away = true
				}
			}
			tt.on(func() { first[0].Close(); second.Close(); third.Close() })
			r.conn.Close()
			tt.quiet()
		})
	}
}

// Data in small pieces becomes several times as much text; that counts as read when it is.
func TestTheWindowBoundsWhatWaitsAlsoInSmallPieces(t *testing.T) {
	const window = 64 << 10
	tt := newTester(t)
	tt.opts.Window = window
	accepted := make(chan *eventloop.Conn, 1)
	r := tt.dial(tt.serve(func(task *eventloop.Task, c *eventloop.Conn) {
		accepted <- c
		hang(task, c)
	}))
	r.headers(1, false, r.post())
	conn := <-accepted
	left, most, read := window, 0, 0
	for range 50 {
		var b bytes.Buffer
		for w := http2.NewFramer(&b, nil); left > 0; left-- {
			r.check(w.WriteData(1, false, []byte("x")))
		}
		r.check(http2.NewFramer(&b, nil).WritePing(false, [8]byte{1}))
		_, err := r.conn.Write(b.Bytes())
		r.check(err)
		for acked := false; !acked; {
			switch f := r.read().(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 1 {
					left += int(f.Increment)
				}
			case *http2.PingFrame:
				acked = f.IsAck()
			case *http2.GoAwayFrame:
				t.Fatal(f)
			}
		}
		tt.on(func() { // it is read more slowly than it comes
			most = max(most, conn.Layer().(*stream).inbox.size)
			n, _ := conn.TryRead(make([]byte, 32<<10))
			read += n
		})
	}
	if frame := len("1\r\nx\r\n"); most > window*frame+1024 || most < window || read < window {
		t.Errorf("%d octets have waited, %d were read, with a window of %d", most, read, window)
	}
	var rest int
	tt.on(func() { // what has been read to its end is given back to its end
		for b := make([]byte, 32<<10); ; {
			n, err := conn.TryRead(b)
			if rest += n; err != nil {
				break
			}
		}
		if s := conn.Layer().(*stream); s.unread != 0 || s.inbox.size != 0 {
			t.Errorf("%d of %d octets count as unread", s.unread, s.inbox.size)
		}
	})
	if rest == 0 {
		t.Error("nothing was left to be read")
	}
}

// RFC 9113 §6.8: the last stream that is named does not grow.
func TestASecondGoawayNamesNoHigherStream(t *testing.T) {
	tt := newTester(t)
	r := tt.dial(tt.serve(hang))
	r.headers(1, true, r.get())
	r.wantAlive()
	tt.on(func() {
		tt.server(0).Drain()
		tt.server(0).c.drainLast()
	})
	r.headers(3, true, r.get())           // is passed over
	r.check(r.fr.WriteData(5, true, nil)) // and that ends the connection
	last := uint32(maxStreamID)
	for n := 0; n < 3; {
		if g, is := r.read().(*http2.GoAwayFrame); is {
			if g.LastStreamID > last {
				t.Errorf("after %d it names %d", last, g.LastStreamID)
			}
			last = g.LastStreamID
			n++
		}
	}
	if last != 1 {
		t.Errorf("the last one names %d", last)
	}
	r.conn.Close()
	tt.quiet()
}

func TestOnlyTheLastWindowOfAFrameCounts(t *testing.T) {
	tt := newTester(t)
	r := tt.dial(tt.serve(hang))
	r.headers(1, false, r.post())
	r.wantAlive()
	var settings []http2.Setting
	for _, v := range []uint32{1<<31 - 1, 0, 1000} {
		settings = append(settings, http2.Setting{ID: http2.SettingInitialWindowSize, Val: v})
	}
	r.check(r.fr.WriteSettings(settings...))
	r.wantAlive()
	tt.on(func() {
		c := tt.server(0).c
		if s := c.streams[1]; c.peerWindow != 1000 || s.window != 1000 {
			t.Errorf("windows of %d and %d", c.peerWindow, s.window)
		}
	})
	r.check(r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	r.wantGoaway(http2.ErrCodeFlowControl)
	r.conn.Close()
	tt.quiet()
}

// Small pieces of data buy no frames that move nothing.
func TestSmallDataEarnsNothing(t *testing.T) {
	tt := newTester(t)
	r := tt.dial(tt.serve(hang))
	r.headers(1, false, r.post())
	r.wantAlive()
	var before int
	tt.on(func() { before = tt.server(0).c.frames.left })
	for range 100 {
		r.check(r.fr.WriteData(1, false, make([]byte, bonusFrom-1)))
	}
	r.wantAlive()
	tt.on(func() {
		if n := tt.server(0).c.frames.left; n > before {
			t.Errorf("%d frames, before %d", n, before)
		}
	})
	for range 100 {
		r.check(r.fr.WriteData(1, false, make([]byte, bonusFrom)))
	}
	r.wantAlive()
	tt.on(func() {
		if n := tt.server(0).c.frames.left; n < before+100*frameBonus-10 {
			t.Errorf("%d frames, before %d", n, before)
		}
	})
}

// What many streams have needed is given back when for a time there was none.
func TestAnIdleConnectionKeepsLittle(t *testing.T) {
	const streams = 100
	tt := newTester(t)
	r := tt.dial(tt.serve(func(task *eventloop.Task, c *eventloop.Conn) {
		for text, b := "", make([]byte, 4<<10); !strings.HasSuffix(text, "\r\n0\r\n\r\n"); {
			n, err := c.Read(b)
			if text += string(b[:n]); err != nil {
				break
			}
		}
		ok(task, c)
	}))
	for i := range uint32(streams) {
		r.headers(1+2*i, false, r.post("x", strings.Repeat("a", 3000)))
	}
	r.wantAlive() // all are there
	for i := range uint32(streams) {
		r.check(r.fr.WriteData(1+2*i, true, nil))
	}
	tt.until("all have ended", func() bool { return tt.server(0).c.live == 0 && tt.all.Streams.Load() == streams })
	tt.on(func() {
		c := tt.server(0).c
		if len(c.spare) <= keepIdle {
			t.Errorf("%d streams are kept, which says nothing", len(c.spare))
			return
		}
		if at := c.due(); at == 0 || at > c.idleSince+spareTime {
			t.Errorf("it is looked at in %v", at-c.idleSince)
		}
		c.tick()
		if len(c.spare) <= keepIdle {
			t.Error("they are given back at once")
		}
		c.idleSince -= spareTime
		c.tick()
		if len(c.spare) != keepIdle {
			t.Errorf("%d streams are kept", len(c.spare))
		}
		for _, s := range c.spare {
			if cap(s.inbox.own)+cap(s.text.buf)+cap(s.text.line) > 0 {
				t.Error("a stream keeps its memory")
			}
		}
	})
	r.headers(1+2*streams, false, r.post())
	r.check(r.fr.WriteData(1+2*streams, true, nil))
	for {
		if f, is := r.read().(*http2.MetaHeadersFrame); is && f.StreamID == 1+2*streams {
			break
		}
	}
}

// Who uses a stream is told what was wrong with its message.
func TestTheReasonOfAMalformedMessage(t *testing.T) {
	for want, do := range map[string]func(r *raw){
		"header list is too large": func(r *raw) {
			r.headers(1, false, r.block(":status", "200"))
			r.headers(1, true, r.block("x", strings.Repeat("a", 5000)))
		},
		"does not end the stream": func(r *raw) {
			r.headers(1, false, r.block(":status", "200"))
			r.headers(1, false, r.block("x", "y"))
		},
		"Content-Length is not": func(r *raw) { r.headers(1, true, r.block(":status", "200", "content-length", "x")) },
	} {
		t.Run(want, func(t *testing.T) {
			tt := newTester(t)
			tt.opts.HeaderList = 4 << 10
			k, r := tt.serveRaw()
			s := r.open(k, 1, getRequest)
			do(r)
			r.wantReset(1, http2.ErrCodeProtocol)
			if _, err := tt.readAll(s[0]); err == nil || !strings.Contains(err.Error(), want) {
				t.Error(err)
			}
			tt.on(func() { s[0].Close() })
			if n := tt.all.ResetsOut.Load(); n != 1 {
				t.Errorf("%d resets are counted", n)
			}
		})
	}
}
