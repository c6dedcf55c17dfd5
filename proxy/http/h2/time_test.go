package h2

import (
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sidecar/internal/eventloop"
)

const short = 20 * time.Millisecond

func TestAPeerThatDoesNotAnswerPings(t *testing.T) {
	tt := newTester(t)
	tt.opts.Ping = short
	tt.prep = func(c *conn) { c.pingTime = short }
	k, r := tt.serveRaw()
	tt.on(func() {
		if k.c.pinged != 0 || k.c.armed != 0 && k.c.due() != 0 {
			t.Error("it is asked although there is no stream")
		}
	})
	s := r.open(k, 1, getRequest)
	for {
		if f, ok := r.next().(*http2.PingFrame); ok && !f.IsAck() {
			break
		}
	}
	if _, err := tt.readAll(s[0]); !errors.Is(err, errSilent) || errors.Is(err, ErrUnprocessed) {
		t.Error(err)
	}
	if tt.all.PingsLost.Load() != 1 {
		t.Error("it was not counted")
	}
	tt.on(func() { s[0].Close() })
	r.conn.Close()
	tt.quiet()
}

func TestAPeerThatAnswersPings(t *testing.T) {
	tt := newTester(t)
	tt.opts.Ping = short
	tt.prep = func(c *conn) { c.quietTime = short }
	k, r := tt.serveRaw()
	s := r.open(k, 1, getRequest)
	for range 3 {
		for {
			if f, ok := r.next().(*http2.PingFrame); ok && !f.IsAck() {
				r.check(r.fr.WritePing(true, f.Data))
				break
			}
		}
	}
	r.headers(1, true, r.block(":status", "200"))
	if _, err := tt.readAll(s[0]); err != nil {
		t.Error(err)
	}
	tt.on(func() {
		s[0].Close()
		k.Close()
	})
	r.conn.Close()
	tt.quiet()
}

// A stream on which nothing moves for hours is no reason to ask often.
func TestPingsOfAQuietStream(t *testing.T) {
	tt := newTester(t)
	tt.opts.Ping = short
	k, r := tt.serveRaw()
	s := r.open(k, 1, getRequest)
	for {
		if f, ok := r.next().(*http2.PingFrame); ok && !f.IsAck() {
			r.check(r.fr.WritePing(true, f.Data))
			break
		}
	}
	tt.until("the answer is there", func() bool { return k.c.pinged == 0 })
	tt.on(func() {
		if next := k.c.due() - k.c.heard; next != quietTime {
			t.Errorf("the next ping comes after %v", next)
		}
	})
	r.headers(1, false, r.block(":status", "200"))
	tt.until("the head is there", func() bool { return s[0].Has(eventloop.Readable) })
	tt.on(func() {
		if next := k.c.nextPing() - k.c.heard; next != short {
			t.Errorf("when something has moved the next ping comes after %v", next)
		}
	})
	for { // and it does
		if f, ok := r.next().(*http2.PingFrame); ok && !f.IsAck() {
			break
		}
	}
	tt.on(k.Close)
	r.conn.Close()
}

func TestSettingsThatAreNotAcknowledged(t *testing.T) {
	tt := newTester(t)
	tt.prep = func(c *conn) { c.settingsTime = short }
	r := tt.connect(tt.serve(ok))
	r.check(r.fr.WriteSettings())
	r.wantGoaway(http2.ErrCodeSettingsTimeout)
	r.conn.Close()
	tt.quiet()
}

func TestAClientThatSaysNothing(t *testing.T) {
	tt := newTester(t)
	tt.prep = func(c *conn) { c.settingsTime = short }
	r := tt.connect(tt.serve(ok))
	r.wantGoaway(http2.ErrCodeSettingsTimeout)
	r.conn.Close()
	tt.quiet()
}

// An idle connection is ended in two steps: a stream that crosses the first GOAWAY is served.
func TestAnIdleConnection(t *testing.T) {
	tt := newTester(t)
	tt.opts.Idle = short
	r := tt.dial(tt.serve(ok))
	r.headers(1, true, r.get())
	r.wantAnswer(1)
	first, isGoaway := r.next().(*http2.GoAwayFrame)
	if !isGoaway || first.LastStreamID != maxStreamID || first.ErrCode != http2.ErrCodeNo {
		t.Fatal(first)
	}
	ping, isPing := r.next().(*http2.PingFrame)
	if !isPing || ping.IsAck() {
		t.Fatal(ping)
	}
	r.headers(3, true, r.get())
	r.wantAnswer(3)
	r.check(r.fr.WritePing(true, ping.Data))
	last, isGoaway := r.next().(*http2.GoAwayFrame)
	if !isGoaway || last.LastStreamID != 3 || last.ErrCode != http2.ErrCodeNo {
		t.Fatal(last)
	}
	r.headers(5, true, r.get()) // too late
	if _, err := r.fr.ReadFrame(); err != io.EOF {
		t.Error(err)
	}
	if err := <-tt.errs; err != nil {
		t.Error(err)
	}
	r.conn.Close()
	tt.quiet()
}

// A client that does not answer the ping is not waited for.
func TestDrainWithoutAnAnswer(t *testing.T) {
	tt := newTester(t)
	tt.prep = func(c *conn) { c.pingTime = short }
	r := tt.dial(tt.serve(hang))
	r.headers(1, true, r.get())
	r.wantAlive()
	tt.on(tt.server(0).Drain)
	tt.on(tt.server(0).Drain)
	for last := uint32(maxStreamID); last != 1; {
		if f, ok := r.next().(*http2.GoAwayFrame); ok {
			last = f.LastStreamID
		}
	}
	r.check(r.fr.WriteRSTStream(1, http2.ErrCodeCancel))
	if _, err := r.fr.ReadFrame(); err != io.EOF {
		t.Error(err)
	}
	r.conn.Close()
	tt.quiet()
}

// A stream that is complete for both sides but for the word of the peer is not reset at once,
// and not waited for without end.
func TestAStreamThatThePeerDoesNotEnd(t *testing.T) {
	tt := newTester(t)
	tt.prep = func(c *conn) { c.orphanTime = short }
	k, r := tt.serveRaw()
	s := r.open(k, 3, getRequest)
	for i := range s {
		r.headers(uint32(1+2*i), false, r.block(":status", "200", "content-length", "0"))
	}
	tt.until("the heads are there", func() bool { return s[0].Has(1) && s[1].Has(1) && s[2].Has(1) })
	tt.on(func() {
		for _, c := range s {
			c.Close()
		}
		if k.Streams() != 3 || tt.all.ResetsOut.Load() != 0 {
			t.Errorf("%d streams, %d resets", k.Streams(), tt.all.ResetsOut.Load())
		}
	})
	r.check(r.fr.WriteData(1, true, nil))
	r.check(r.fr.WriteData(3, false, []byte("x"))) // more than it has announced
	r.wantReset(3, http2.ErrCodeProtocol)
	r.wantReset(5, http2.ErrCodeNo)
	tt.on(func() {
		if k.Streams() != 0 || k.c.orphans != 0 || k.c.recvWindow+k.c.owed != k.c.opts.ConnWindow {
			t.Errorf("%d streams, %d orphans, %d octets of window", k.Streams(), k.c.orphans, k.c.recvWindow+k.c.owed)
		}
		k.Close()
	})
	r.conn.Close()
	tt.quiet()
}

// Servers of gRPC take it for abuse if they are pinged again without having sent anything.
func TestWhatAClientSendsIsNoReasonToPingAgain(t *testing.T) {
	tt := newTester(t)
	tt.opts.Ping = short
	k, r := tt.serveRaw()
	s := r.open(k, 1, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	for {
		if f, ok := r.next().(*http2.PingFrame); ok && !f.IsAck() {
			r.check(r.fr.WritePing(true, f.Data))
			break
		}
	}
	tt.until("the answer is there", func() bool { return k.c.heard > k.c.pinged })
	tt.on(func() {
		if _, err := s[0].TryWrite([]byte("5\r\nhello\r\n")); err != nil {
			t.Error(err)
		}
		if at := k.c.nextPing(); at < k.c.heard+quietTime {
			t.Errorf("it is pinged again after %v", at-k.c.heard)
		}
	})
	r.headers(1, false, r.block(":status", "200"))
	tt.until("it has been heard", func() bool { return s[0].Has(eventloop.Readable) })
	tt.on(func() {
		if at := k.c.nextPing(); at > k.c.heard+short {
			t.Errorf("when something has come it is pinged after %v", at-k.c.heard)
		}
		s[0].Close()
	})
}

func TestAClientLeavesWhenItIsNotUsed(t *testing.T) {
	tt := newTester(t)
	tt.opts.Idle = short
	k, r := tt.serveRaw()
	r.wantGoaway(http2.ErrCodeNo)
	tt.until("it has ended", func() bool { return k.Err() != nil && !k.Usable() })
	r.conn.Close()
	tt.quiet()
}
