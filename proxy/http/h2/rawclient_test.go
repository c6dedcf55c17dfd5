package h2

import (
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"sidecar/internal/eventloop"
)

const getRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// open opens streams and sends the head of a request on each.
func (r *raw) open(k *Client, n int, text string) []*eventloop.Conn {
	r.Helper()
	var out []*eventloop.Conn
	r.on(func() {
		for range n {
			c, err := k.Open()
			if err != nil {
				r.Error(err)
				return
			}
			if _, err := c.TryWrite([]byte(text)); err != nil {
				r.Error(err)
			}
			out = append(out, c)
		}
	})
	if len(out) < n {
		r.FailNow()
	}
	return out
}

// readAll reads a stream to its end, in a task.
func (t *tester) readAll(c *eventloop.Conn) (text string, err error) {
	t.run(func(*eventloop.Task) {
		var b []byte
		b, err = io.ReadAll(c)
		text = string(b)
	})
	return text, err
}

// serveRaw is a raw server and a client that have greeted each other.
func (t *tester) serveRaw(settings ...http2.Setting) (*Client, *raw) {
	k, r := t.listen()
	r.check(r.fr.WriteSettings(settings...))
	r.greet()
	t.until("the settings are there", func() bool { return k.c.settled && k.c.acked })
	return k, r
}

func TestStreamsThatTheServerHasNotProcessed(t *testing.T) {
	tt := newTester(t)
	k, r := tt.serveRaw()
	s := r.open(k, 4, getRequest)
	var unsent *eventloop.Conn
	tt.on(func() { unsent, _ = k.Open() })
	r.check(r.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream))
	r.check(r.fr.WriteRSTStream(3, http2.ErrCodeInternal))
	r.check(r.fr.WriteGoAway(5, http2.ErrCodeNo, nil))
	r.headers(5, false, r.block(":status", "200", "content-length", "2"))
	r.check(r.fr.WriteData(5, true, []byte("ok")))
	if _, err := tt.readAll(s[0]); !errors.Is(err, ErrUnprocessed) {
		t.Error("refused:", err)
	}
	var e *Error
	if _, err := tt.readAll(s[1]); errors.Is(err, ErrUnprocessed) || !errors.As(err, &e) || e.Code != InternalError || !e.Stream || !e.Remote {
		t.Error("reset:", err)
	}
	if text, err := tt.readAll(s[2]); err != nil || !strings.HasSuffix(text, "\r\n\r\nok") {
		t.Errorf("the last one before GOAWAY: %q, %v", text, err)
	}
	if _, err := tt.readAll(s[3]); !errors.Is(err, ErrUnprocessed) {
		t.Error("behind GOAWAY:", err)
	}
	tt.run(func(*eventloop.Task) {
		if _, err := unsent.Write([]byte(getRequest)); !errors.Is(err, ErrUnprocessed) {
			t.Error("opened before GOAWAY, sent after it:", err)
		}
		if _, err := k.Open(); !errors.Is(err, ErrUnprocessed) || !k.GoAway() || k.Free() || k.Usable() {
			t.Error("opened after GOAWAY:", err)
		}
		for _, c := range append(s, unsent) {
			c.Close()
		}
	})
	// The connection ends by itself.
	if _, err := r.fr.ReadFrame(); err == nil {
		for err == nil {
			_, err = r.fr.ReadFrame()
		}
		if err != io.EOF {
			t.Error(err)
		}
	}
	r.conn.Close()
	tt.quiet()
}

func TestTheConnectionBreaks(t *testing.T) {
	tt := newTester(t)
	k, r := tt.serveRaw()
	s := r.open(k, 1, getRequest)
	changed := 0
	var unsent *eventloop.Conn
	tt.on(func() {
		k.OnChange(func() { changed++ })
		unsent, _ = k.Open()
	})
	for {
		if f, ok := r.next().(*http2.MetaHeadersFrame); ok && f.StreamID == 1 {
			break
		}
	}
	r.conn.Close()
	if _, err := tt.readAll(s[0]); err == nil || errors.Is(err, ErrUnprocessed) {
		t.Error("sent:", err)
	}
	if _, err := tt.readAll(unsent); !errors.Is(err, ErrUnprocessed) {
		t.Error("not sent:", err)
	}
	tt.on(func() {
		if k.Err() == nil || changed == 0 {
			t.Errorf("error %v, %d changes", k.Err(), changed)
		}
		s[0].Close()
		unsent.Close()
	})
	tt.quiet()
}

// Streams of which nothing has left our buffer may be sent again on another connection.
func TestTheConnectionBreaksBeforeTheHeadIsSent(t *testing.T) {
	tt := newTester(t)
	k, r := tt.serveRaw()
	var c *eventloop.Conn
	tt.on(func() {
		c, _ = k.Open()
		c.TryWrite([]byte(getRequest))
		k.c.sock.Abort(io.ErrClosedPipe) // before the end of the turn
	})
	if _, err := tt.readAll(c); !errors.Is(err, ErrUnprocessed) || !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	tt.on(func() { c.Close() })
	r.conn.Close()
	tt.quiet()
}

func TestTheServerNeedsNoMoreOfTheRequest(t *testing.T) {
	tt := newTester(t)
	k, r := tt.serveRaw()
	s := r.open(k, 1, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
	r.headers(1, true, r.block(":status", "413"))
	r.check(r.fr.WriteRSTStream(1, http2.ErrCodeNo))
	text, err := tt.readAll(s[0])
	if err != nil || !strings.HasPrefix(text, "HTTP/1.1 413 ") {
		t.Errorf("%q, %v", text, err)
	}
	tt.until("the rest is refused", func() bool {
		_, err := s[0].TryWrite([]byte("6"))
		return err != nil
	})
	tt.on(func() { s[0].Close() })
	r.check(r.fr.WritePing(false, [8]byte{}))
	for {
		switch f := r.read().(type) {
		case *http2.RSTStreamFrame:
			t.Fatal("a reset of a stream that has been reset")
		case *http2.PingFrame:
			return
		default:
			_ = f
		}
	}
}

func TestInterimResponsesAndTrailers(t *testing.T) {
	tt := newTester(t)
	k, r := tt.serveRaw()
	s := r.open(k, 1, getRequest)
	r.headers(1, false, r.block(":status", "103", "link", "x"))
	r.headers(1, false, r.block(":status", "200"))
	r.check(r.fr.WriteData(1, false, []byte("ok")))
	r.headers(1, true, r.block("grpc-status", "14", "grpc-message", "away"))
	text, err := tt.readAll(s[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"HTTP/1.1 103 ", "link: x\r\n", "HTTP/1.1 200 ", "\r\n\r\n2\r\nok\r\n0\r\n", "grpc-status: 14\r\n"} {
		i := strings.Index(text, part)
		if i < 0 {
			t.Fatalf("%q is not in what is left: %q", part, text)
		}
		text = text[i:]
	}
	tt.on(func() {
		if code, ended := Status(s[0]); code != 14 || !ended {
			t.Errorf("status %d, ended %v", code, ended)
		}
		if code, ended := Status(k.c.sock); code != -1 || ended {
			t.Errorf("of a socket: status %d, ended %v", code, ended)
		}
		s[0].Close()
	})
	if tt.all.ResetsOut.Load() != 0 {
		t.Error("a complete stream was reset")
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(r *raw)
		code  int
		ended bool
	}{
		{"only the head", func(r *raw) { r.headers(1, true, r.block(":status", "200", "grpc-status", "5")) }, 5, true},
		{"none", func(r *raw) { r.headers(1, true, r.block(":status", "200")) }, -1, true},
		{"in the head, and data follows", func(r *raw) {
			r.headers(1, false, r.block(":status", "200", "grpc-status", "5"))
			r.fr.WriteData(1, true, []byte("x"))
		}, -1, true},
		{"no number", func(r *raw) { r.headers(1, true, r.block(":status", "200", "grpc-status", "OK")) }, -1, true},
		{"reset", func(r *raw) {
			r.headers(1, false, r.block(":status", "200", "grpc-status", "5"))
			r.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		}, -1, false},
		{"negative", func(r *raw) { r.headers(1, true, r.block(":status", "200", "grpc-status", "-1")) }, -1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := newTester(t)
			k, r := tt.serveRaw()
			s := r.open(k, 1, getRequest)
			c.do(r)
			tt.readAll(s[0])
			tt.on(func() {
				if code, ended := Status(s[0]); code != c.code || ended != c.ended {
					t.Errorf("status %d, ended %v", code, ended)
				}
				s[0].Close()
			})
		})
	}
}

func TestMistakesOfAServer(t *testing.T) {
	for _, c := range []struct {
		name string
		code http2.ErrCode
		do   func(r *raw)
	}{
		{"push", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteRawFrame(http2.FramePushPromise, 4, 1, make([]byte, 4)) }},
		{"it allows push", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1}) }},
		{"a stream of its own", http2.ErrCodeProtocol, func(r *raw) { r.headers(2, true, r.block(":status", "200")) }},
		{"a stream that was not opened", http2.ErrCodeProtocol, func(r *raw) { r.headers(3, true, r.block(":status", "200")) }},
		{"data on a stream that has ended", http2.ErrCodeStreamClosed, func(r *raw) {
			r.headers(1, true, r.block(":status", "200"))
			r.fr.WriteData(1, true, []byte("x"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := newTester(t)
			k, r := tt.serveRaw()
			s := r.open(k, 1, getRequest)
			c.do(r)
			r.wantGoaway(c.code)
			tt.on(func() { s[0].Close() })
			r.conn.Close()
			tt.quiet()
		})
	}
	for name, do := range map[string]func(r *raw){
		"data before the head":     func(r *raw) { r.fr.WriteData(1, true, []byte("x")) },
		"switching protocols":      func(r *raw) { r.headers(1, true, r.block(":status", "101")) },
		"an end with 1xx":          func(r *raw) { r.headers(1, true, r.block(":status", "103")) },
		"less data than announced": func(r *raw) { r.headers(1, true, r.block(":status", "200", "content-length", "1")) },
	} {
		t.Run(name, func(t *testing.T) {
			tt := newTester(t)
			k, r := tt.serveRaw()
			s := r.open(k, 1, getRequest)
			do(r)
			r.wantReset(1, http2.ErrCodeProtocol)
			r.wantAlive()
			if _, err := tt.readAll(s[0]); err == nil || errors.Is(err, ErrUnprocessed) {
				t.Error(err)
			}
			tt.on(func() { s[0].Close() })
		})
	}
}

// Data may still come on streams that we have reset, and counts against the window.
func TestDataOfAStreamThatWasReset(t *testing.T) {
	tt := newTester(t)
	tt.opts.ConnWindow = firstWindow
	k, r := tt.serveRaw()
	for i := range uint32(3 * keepDeparted) {
		s := r.open(k, 1, getRequest)
		tt.on(func() { s[0].Close() })
		r.wantReset(1+2*i, http2.ErrCodeCancel)
		r.headers(1+2*i, false, r.block(":status", "200"))
		r.check(r.fr.WriteData(1+2*i, false, make([]byte, 1000)))
	}
	r.check(r.fr.WriteData(1, true, []byte("x"))) // it is long forgotten
	r.wantAlive()
}

func TestAServerThatSaysNothing(t *testing.T) {
	tt := newTester(t)
	k, r := tt.listen()
	tt.on(func() {
		if k.Limit() != assumedMax {
			t.Error(k.Limit())
		}
	})
	r.open(k, assumedMax, getRequest)
	tt.on(func() {
		if _, err := k.Open(); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
	})
	r.check(r.fr.WriteSettings()) // and does not say how many
	tt.until("the settings are there", func() bool { return k.Limit() == int(k.c.opts.MaxStreams) })
	tt.on(k.Close)
}
