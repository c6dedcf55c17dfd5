package http

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"sidecar/metrics"
	"sidecar/upstream"
)

// A shuttle is a client and an origin that make nothing while they trade.
type shuttle struct {
	client, server    *net.TCPConn
	request, response []byte
	forwarded         []byte // the request as the origin hears it
	answered          []byte
}

// newShuttle has a first request forwarded, and learns from it how the heads are passed on.
func newShuttle(r *rig, o *origin, request, response string) *shuttle {
	c := r.dial()
	c.say(request)
	s := o.accept()
	head := s.head()
	body := request[len(request)-bodyLength(request):]
	s.hear(body)
	s.say(response)
	answer := c.head()
	c.hear(response[len(response)-bodyLength(response):])
	sh := &shuttle{client: c.conn, server: s.conn, request: []byte(request), response: []byte(response)}
	sh.forwarded = make([]byte, len(head)+len(body))
	sh.answered = make([]byte, len(answer)+bodyLength(response))
	return sh
}

func bodyLength(message string) int {
	for i := range message {
		if message[i:min(i+4, len(message))] == "\r\n\r\n" {
			return len(message) - i - 4
		}
	}
	return 0
}

func (s *shuttle) trade(t testing.TB) {
	for _, step := range []struct {
		to, from  *net.TCPConn
		say, hear []byte
	}{{s.client, s.server, s.request, s.forwarded}, {s.server, s.client, s.response, s.answered}} {
		if _, err := step.to.Write(step.say); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(step.from, step.hear); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	browserGet = lines("GET /orders/17?full=1 HTTP/1.1", "Host: orders.example", "User-Agent: wrk/4", "Accept: */*", "Cookie: a=b; c=d",
		"Connection: keep-alive", "X-Forwarded-For: 10.0.0.1", "Accept-Encoding: gzip")
	impatientGet = lines("GET /orders/17 HTTP/1.1", "Host: orders.example", "X-Wait: 60000", "Cookie: a=b; c=d")
	smallAnswer  = lines("HTTP/1.1 200 OK", "Server: nginx", "Date: Fri, 20 Nov 2026 11:44:40 GMT", "Content-Type: text/plain",
		"Content-Length: 128", "Connection: keep-alive") + noise(128)
	smallPost   = lines("POST /orders HTTP/1.1", "Host: orders.example", "Content-Length: 500") + noise(500)
	chunkedPost = lines("POST /orders HTTP/1.1", "Host: orders.example", "Transfer-Encoding: chunked") + chunks(noise(5000), 1000)
	chunkedBack = lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunks(noise(5000), 1000)
	largeAnswer = lines("HTTP/1.1 200 OK", "Content-Length: 200000") + noise(200000)
)

var trades = []struct{ name, request, response string }{
	{"get", browserGet, smallAnswer},
	{"deadline", impatientGet, smallAnswer},
	{"post", smallPost, smallAnswer},
	{"chunked", chunkedPost, chunkedBack},
	{"large", browserGet, largeAnswer},
}

// allOn is a configuration with everything that a request may pass through.
func allOn(o *Options) {
	o.Forward = Forwarding{Proto: true, Host: true, Via: "sidecar"}
	o.Retry.Status[3] = true
	o.Retry.Backoff, o.Retry.BackoffMax, o.Retry.RetryAfterMax = time.Millisecond, time.Second, time.Second
	o.Retry.Stalled = time.Minute
	o.Hedge = Hedge{Percentile: 0.99, MinDelay: time.Minute, Budget: 0.1}
	o.HashKey = HashKey{By: HashCookie, Name: "c", Hash: plain}
	o.TimeoutHeader = "x-wait"
}

func TestNoAllocationPerRequest(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 3000
	for _, c := range trades {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}, options: allOn})
			s := newShuttle(r, o, c.request, c.response)
			for range 100 {
				s.trade(t)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range n {
				s.trade(t)
			}
			runtime.ReadMemStats(&after)
			// The rest of the process may make something now and then, but not n times.
			if made := after.Mallocs - before.Mallocs; made > n/100 {
				t.Errorf("%d allocations in %d requests", made, n)
			}
			if got := r.shard.requests.Opened.Load(); got != 1 {
				t.Errorf("%d connections", got)
			}
		})
	}
}

func TestManyRequestsLeaveNothing(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, budget: &upstream.BudgetOptions{Ratio: 1}})
	for i := range 300 {
		c := r.dial()
		c.say(get)
		s := o.accept()
		s.hear(get)
		switch i % 3 {
		case 0:
			s.reset()
			s = o.accept()
			s.hear(get)
			s.say(ok)
			s.close()
			c.hear(ok)
		case 1:
			c.reset()
			s.gone()
		case 2:
			s.say(lines("HTTP/1.1 200 OK", "Connection: close") + "hi")
			s.close()
			c.hear(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
			c.dechunk()
		}
		c.close()
		s.close()
		r.pooled(0)
	}
	eventually(t, "the loop is empty", func() bool { return r.shard.loop.Stats().Conns == 0 })
	if n := r.metric("sidecar_http_errors_total", metrics.CauseClientGone.String()); n != 100 {
		t.Errorf("%v clients gone", n)
	}
}

func BenchmarkForward(b *testing.B) {
	for _, c := range trades {
		b.Run(c.name, func(b *testing.B) {
			o := newOrigin(b)
			r := newRig(b, setup{origins: []string{o.addr}, options: allOn})
			s := newShuttle(r, o, c.request, c.response)
			b.ReportAllocs()
			b.SetBytes(int64(len(c.request) + len(c.response)))
			for b.Loop() {
				s.trade(b)
			}
		})
	}
}
