package http

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// overH2C has endpoints spoken to by HTTP/2, and nothing tried again.
func overH2C(o *Options) { o.Upstream, o.Retry.Attempts = UpstreamH2C, 0 }

// begun waits until n requests have begun.
func (r *rig) begun(n float64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprint(n, " requests have begun"), func() bool {
		return r.metric("sidecar_http_requests_in_flight")+r.metric("sidecar_http_requests_total") == n
	})
}

// To speak HTTP/2 is a part of connecting: both together have connect_timeout.
func TestSettingsAreWaitedForWithinTheTimeToConnect(t *testing.T) {
	d := newDeaf(t)
	r := newRig(t, setup{origins: []string{d.addr}, options: overH2C})
	r.change(func(o *Options) { o.ConnectTimeout = 3 * time.Second })
	c := r.dial()
	c.say(get)
	r.until("somebody connects", func() bool { return r.connecting() })
	// If the time began anew behind the handshake it would be this one.
	r.change(func(o *Options) { o.ConnectTimeout = time.Hour })
	d.listen(http2.ClientPreface) // and nothing is said to that
	c.wantOwn(504, "connect-timeout")
	r.until("it is on the endpoint's account", func() bool { return r.outcomes().Timeouts == 1 })
}

// connecting tells, on the loop, whether a request makes a trunk.
func (r *rig) connecting() bool {
	for _, p := range r.shard.pools {
		if p.connecting {
			return true
		}
	}
	return false
}

// Who waits for a connection that another request makes says so, and does not have the endpoint
// pay for it a second time.
func TestAWaitForAnotherOnesConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		field, cause, text string
		change             func(*Options)
	}{
		"connect_timeout":   {"", "connect-timeout", "another request has been connecting", func(o *Options) { o.ConnectTimeout = 30 * time.Millisecond }},
		"the client's time": {"X-Wait: 30\r\n", "timeout", "the client's own deadline has passed", func(*Options) {}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeaf(t)
			r := newRig(t, setup{origins: []string{d.addr}, options: func(o *Options) { overH2C(o); o.TimeoutHeader = "X-Wait" }})
			first := r.dial()
			first.say(get)
			r.until("the first connects", func() bool { return r.connecting() })
			r.change(tt.change)
			second := r.dial()
			second.say("GET / HTTP/1.1\r\nHost: a\r\n" + tt.field + "\r\n")
			if _, body := second.wantOwn(504, tt.cause); !strings.Contains(body, tt.text) {
				t.Errorf("it is told %q", body)
			}
			if n := r.outcomes(); n.Failures() != 0 || n.Canceled != 1 {
				t.Errorf("the endpoint is blamed: %+v", n)
			}
			first.close() // so that the first ends as well
			r.until("all have ended", func() bool { return r.shard.count <= 1 && !r.connecting() })
			if n := r.outcomes(); n.Failures() != 0 {
				t.Errorf("… for the first: %+v", n)
			}
		})
	}
}

// A failed connection counts once, however many have waited for it.
func TestAConnectionInVainCountsOnce(t *testing.T) {
	d := newDeaf(t)
	r := newRig(t, setup{origins: []string{d.addr}, options: overH2C})
	r.change(func(o *Options) { o.ConnectTimeout = 100 * time.Millisecond })
	const n = 8
	var clients []*peer
	for range n {
		c := r.dial()
		c.say(get)
		clients = append(clients, c)
	}
	for _, c := range clients {
		c.wantOwn(504, "connect-timeout")
	}
	if got := r.outcomes(); got.Timeouts < 1 || got.Timeouts+got.Canceled != n {
		t.Errorf("%+v", got)
	}
}

// Whoever makes a connection has a stream of it, however many wait for one and how few there are.
func TestWhoeverConnectsHasTheFirstStream(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	const n = 12
	s := &http.Server{Protocols: p, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 4}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.Path]++
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	r := newRig(t, setup{origins: []string{l.Addr().String()}, options: func(o *Options) { o.Upstream, o.Retry.Refused = UpstreamH2C, true }})
	c := r.dial()
	c.say(string(frames(func(fr *http2.Framer) {
		for i := range uint32(n) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, EndHeaders: true, EndStream: true,
				BlockFragment: listOf(":method", "POST", ":scheme", "http", ":authority", "a", ":path", fmt.Sprint("/", i))})
		}
	})))
	fr := http2.NewFramer(io.Discard, c.conn)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for answers := 0; answers < n; {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if got := f.PseudoValue("status"); got != "200" {
				t.Errorf("stream %d was answered with %s: %v", f.StreamID, got, f.Fields)
			}
			answers++
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			t.Fatal(f)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range n {
		if got := seen[fmt.Sprint("/", i)]; got != 1 {
			t.Errorf("POST /%d was executed %d times", i, got)
		}
	}
	if got := r.metric("sidecar_http_retries_total"); got != 0 {
		t.Errorf("%v retries", got)
	}
}
