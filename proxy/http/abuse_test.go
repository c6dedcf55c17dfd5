package http

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sidecar/metrics"
	"sidecar/proxy/http/h2"
)

// frames makes what a client of HTTP/2 says: the preface, its settings, and whatever write adds.
func frames(write func(*http2.Framer)) []byte {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&b, nil)
	_ = fr.WriteSettings()
	write(fr)
	return b.Bytes()
}

// listOf makes a header block; nothing of it goes into a table.
func listOf(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSizeLimit(0)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// Who opens streams only to reset them is seen by the operator, with an address to block.
func TestAbuseByAClientIsCountedAndNamed(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	block := listOf(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/")
	const many = 3000 // three times what is let pass at once
	poured := c.pour(string(frames(func(fr *http2.Framer) {
		for i := range uint32(many) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true, EndStream: true})
			_ = fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}
	})))
	fr := http2.NewFramer(io.Discard, c.conn)
	for calm := false; !calm; {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if g, is := f.(*http2.GoAwayFrame); is {
			if g.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Fatal(g)
			}
			calm = true
		}
	}
	r.wantMetric(1, "sidecar_http2_abuse_total", "client", "resets")
	c.close()
	<-poured // it may have been cut off
	eventually(t, "the log tells", func() bool { return r.logs.FilterMessageSnippet("the client abuses it").Len() == 1 })
	line := r.logs.FilterMessageSnippet("the client abuses it").All()[0]
	got := line.ContextMap()
	if line.Level.String() != "warn" || got["service"] != "orders" || got["client"] != c.conn.LocalAddr().String() || got["kind"] != "resets" || got["advice"] == "" {
		t.Errorf("%s %v", line.Level, got)
	}
	if n := r.metric("sidecar_http2_abuse_total"); n != 1 {
		t.Errorf("%v kinds of abuse", n)
	}
	if n := r.metric("sidecar_http2_connections_total", "client"); n != 1 {
		t.Errorf("%v connections", n)
	}
	// While the requests of the first are still being ended no more are taken.
	streams, refused := r.metric("sidecar_http2_streams_total", "client"), r.metric("sidecar_http2_refused_streams_total", "client")
	if streams == 0 || streams+refused < 1000 || streams+refused > many {
		t.Errorf("%v streams, %v refused", streams, refused)
	}
	if n := r.metric("sidecar_http2_resets_total", "client", "received"); n == 0 || n > streams {
		t.Errorf("%v resets of %v streams", n, streams)
	}
	if n := r.metric("sidecar_http2_goaways_total", "client", "sent"); n != 1 {
		t.Errorf("%v GOAWAYs", n)
	}
	if n := r.metric("sidecar_http2_connections_total", "endpoint"); n != 0 {
		t.Errorf("%v connections of HTTP/2 to endpoints", n)
	}
}

func TestAbuseByAnEndpointIsCountedAndNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fr := http2.NewFramer(c, nil)
		for range 3000 {
			if fr.WriteSettings() != nil {
				break
			}
		}
		_, _ = io.Copy(io.Discard, c)
	}()
	r := newRig(t, setup{origins: []string{l.Addr().String()}, options: func(o *Options) { o.Upstream, o.Retry.Attempts = UpstreamH2C, 0 }})
	c := r.dial()
	c.say(get)
	c.head()
	r.wantMetric(1, "sidecar_http2_abuse_total", "endpoint", "settings")
	eventually(t, "the log tells", func() bool { return r.logs.FilterMessageSnippet("the endpoint abuses it").Len() == 1 })
	got := r.logs.FilterMessageSnippet("the endpoint abuses it").All()[0].ContextMap()
	if got["endpoint"] != l.Addr().String() || got["kind"] != "settings" || got["service"] != "orders" {
		t.Errorf("%v", got)
	}
}

func TestRefusedStreamsOfAnEndpointAreCounted(t *testing.T) {
	address, _ := refusing(t)
	r := newRig(t, setup{origins: []string{address}, options: func(o *Options) { o.Upstream, o.Retry.Attempts = UpstreamH2C, 0 }})
	c := r.dial()
	c.say(get)
	c.wantOwn(502, "reset")
	for _, name := range []string{"sidecar_http2_refused_streams_total", "sidecar_http2_streams_total", "sidecar_http2_connections_total"} {
		r.wantMetric(1, name, "endpoint")
		r.wantMetric(0, name, "client")
	}
	r.wantMetric(1, "sidecar_http2_resets_total", "endpoint", "received")
}

// The names of what h2 counts stand in metrics, which knows nothing of h2.
func TestFloodsAreCalledTheSame(t *testing.T) {
	if int(h2.FloodKinds) != int(metrics.FloodKinds) {
		t.Fatalf("%d kinds, %d names", h2.FloodKinds, metrics.FloodKinds)
	}
	for k := range h2.FloodKinds {
		if got := metrics.FloodKind(k).String(); got != k.String() || advice(k) == "" {
			t.Errorf("%v is called %s; advice: %s", k, got, advice(k))
		}
	}
}

func TestLinesOfTheLogHaveAQuota(t *testing.T) {
	var q quota
	at := 7 * time.Second
	for i := range linesPerSecond {
		if n, ok := q.take(at + time.Duration(i)); !ok || n != 0 {
			t.Errorf("line %d: %v, %d before", i, ok, n)
		}
	}
	for range 5 {
		if _, ok := q.take(at + time.Second - 1); ok {
			t.Error("one line too many")
		}
	}
	if n, ok := q.take(at + time.Second); !ok || n != 5 {
		t.Errorf("the next second: %v, %d before", ok, n)
	}
	if n, ok := q.take(at + time.Second); !ok || n != 0 {
		t.Errorf("… again: %v, %d before", ok, n)
	}
}

// Clients that fail to shake hands, as when a certificate has expired, come by the thousand.
func TestFailedHandshakesHaveAQuota(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	r.until("the client is there", func() bool { return r.shard.clients != nil })
	r.on(func() { // within one turn, so that it is the same second
		for i := range 3 * linesPerSecond {
			r.shard.refused(complaintHandshake, "TLS handshake failed", r.shard.clients.conn, fmt.Errorf("number %d", i))
		}
		r.shard.refused(complaintPreamble, "no PROXY header", r.shard.clients.conn, io.EOF)
	})
	lines := r.logs.FilterMessage("TLS handshake failed").All()
	if len(lines) != linesPerSecond || lines[0].ContextMap()["client"] != c.conn.LocalAddr().String() || lines[0].ContextMap()["error"] != "number 0" {
		t.Errorf("%d lines, %v", len(lines), lines[0].ContextMap())
	}
	if n := r.logs.FilterMessage("no PROXY header").Len(); n != 1 {
		t.Errorf("%d lines of another kind", n)
	}
}
