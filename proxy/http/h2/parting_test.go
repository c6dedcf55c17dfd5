package h2

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sidecar/internal/eventloop"
)

// Streams that have ended are as good as over, but what they have sent is not with a client that reads
// slowly.
func TestADrainLeavesTheClientTimeToReadWhatWasSent(t *testing.T) {
	const size = 8 << 10
	tt := newTester(t)
	tt.prep = func(c *conn) { c.pingTime = short }
	r := tt.dial(tt.serve(func(_ *eventloop.Task, c *eventloop.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n"+strings.Repeat("x", size))
	}))
	if err := r.conn.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
		t.Fatal(err)
	}
	r.check(r.fr.WriteWindowUpdate(0, 1<<30))
	c, streams := tt.server(0).c, 0
	for waits := false; !waits; {
		streams++
		r.headers(uint32(2*streams-1), true, r.get())
		tt.until("the stream has ended", func() bool {
			waits = c.sent < len(c.out)
			return c.lastPeer == uint32(2*streams-1) && c.live == 0
		})
	}
	tt.on(tt.server(0).Drain)
	tt.until("it takes its leave", func() bool { return c.ended })
	var start time.Duration
	tt.on(func() { start = tt.l.Now() })
	tt.until("another one would be given up", func() bool { return tt.l.Now() > start+partTime+partTime/2 })
	ended, octets := 0, 0
	for {
		f, err := r.fr.ReadFrame()
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		if d, ok := f.(*http2.DataFrame); ok {
			octets += len(d.Data())
			if d.StreamEnded() {
				ended++
			}
		}
	}
	if ended != streams || octets != streams*size {
		t.Errorf("%d octets of %d, %d streams of %d have ended", octets, streams*size, ended, streams)
	}
	r.conn.Close()
	tt.quiet()
}
