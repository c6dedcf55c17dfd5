package http

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidecar/metrics"
)

// noise is n bytes in which none is where a shifted copy would have it.
func noise(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strconv.Itoa(i))
		b.WriteByte('\n')
	}
	return b.String()[:n]
}

// chunks is a body in chunks of a size.
func chunks(body string, size int) string {
	var b strings.Builder
	for ; len(body) > 0; body = body[min(size, len(body)):] {
		piece := body[:min(size, len(body))]
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(piece), piece)
	}
	return b.String() + "0\r\n\r\n"
}

// dechunk hears a body in chunks of whatever size.
func (p *peer) dechunk() string {
	p.t.Helper()
	var body strings.Builder
	for {
		var line []byte
		for b := make([]byte, 1); !strings.HasSuffix(string(line), "\r\n"); {
			if _, err := p.conn.Read(b); err != nil {
				p.t.Fatalf("chunk size: %v behind %d bytes", err, body.Len())
			}
			line = append(line, b...)
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(line)), 16, 32)
		if err != nil {
			p.t.Fatal(err)
		}
		b := make([]byte, n+2)
		for got := 0; got < len(b); {
			m, err := p.conn.Read(b[got:])
			if err != nil {
				p.t.Fatal(err)
			}
			got += m
		}
		body.Write(b[:n])
		if n == 0 {
			return body.String()
		}
	}
}

// Sizes around those of buffers, of what is joined to its head and of what is spliced.
var sizes = []int{1, 2, 1900, joinable - 1, joinable, joinable + 1, 16<<10 - 100, 16 << 10, 16<<10 + 1, spliceFrom - 1, spliceFrom, spliceFrom + 1, spliceFrom + 20<<10, 300 << 10, 3<<20 + 1}

func TestBodiesOfEverySizePassBothWays(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	var s *peer
	pass := func(request, response string) {
		t.Helper()
		poured := c.pour(request)
		if s == nil {
			s = o.accept()
		}
		s.hear(request)
		answered := s.pour(response)
		c.hear(response)
		if err1, err2 := <-poured, <-answered; err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
	}
	for _, n := range sizes {
		body := noise(n)
		length := fmt.Sprint("Content-Length: ", n)
		pass(lines("POST / HTTP/1.1", "Host: a", length)+body, lines("HTTP/1.1 200 OK", length)+body)
		for _, size := range []int{7, 1000, 16 << 10, 100 << 10, 1 << 20} {
			if n/size > 10000 {
				continue
			}
			chunked := "Transfer-Encoding: chunked"
			pass(lines("POST / HTTP/1.1", "Host: a", chunked)+chunks(body, size), lines("HTTP/1.1 200 OK", chunked)+chunks(body, size))
		}
	}
	o.untouched()
}

func TestBodyDelimitedByItsEnd(t *testing.T) {
	for _, n := range append(sizes, 0) {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}})
		c, old := r.dial(), r.dial()
		body := noise(n)
		// To a client that knows chunks, chunks; the connection goes on.
		c.say(get)
		s := o.accept()
		s.hear(get)
		s.pour(lines("HTTP/1.1 200 OK", "X: y") + body)
		c.hear(lines("HTTP/1.1 200 OK", "X: y", "Transfer-Encoding: chunked"))
		waitFor(t, s, c, func() {
			if got := c.dechunk(); got != body {
				t.Fatalf("%d bytes of %d", len(got), n)
			}
		})
		// To one that does not, its end.
		old.say(lines("GET / HTTP/1.0", "Host: a"))
		s = o.accept()
		s.hear(get)
		s.pour(lines("HTTP/1.0 200 OK") + body)
		old.hear(lines("HTTP/1.1 200 OK", "Connection: close"))
		waitFor(t, s, old, func() { old.hear(body); old.end() })
		c.say(get)
		s = o.accept()
		s.hear(get)
		s.say(ok)
		c.hear(ok)
	}
}

// waitFor has the origin say its end while the client listens.
func waitFor(t *testing.T, s, c *peer, listen func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.conn.CloseWrite() }()
	listen()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestChunkExtensionsAreDroppedAndTrailersPass(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "3;a=b;c=\"d;\"\r\nabc\r\n000\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n")
	s := o.accept()
	s.hear(lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "3\r\nabc\r\n000\r\nX-Sum: 1\r\n\r\n")
	s.say(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: X-Sum") + "3 ; a\r\nabc\r\n0;x\r\nX-Sum: 2\r\n\r\n")
	c.hear(lines("HTTP/1.1 200 OK", "Trailer: X-Sum", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\nX-Sum: 2\r\n\r\n")
	trade(c, s)
}

func TestSmallMessagesSplitAtEveryPoint(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	var s *peer
	const body = "3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
	for _, m := range []struct{ request, response string }{
		{post, ok},
		{lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + body, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + body},
	} {
		for i := 1; i < len(m.request)-1; i++ {
			c.say(m.request[:i])
			r.on(func() {})
			c.say(m.request[i:])
			if s == nil {
				s = o.accept()
			}
			s.hear(m.request)
			i := min(i, len(m.response)-1)
			s.say(m.response[:i])
			r.on(func() {})
			s.say(m.response[i:])
			c.hear(m.response)
		}
		c.drip(m.request)
		s.hear(m.request)
		s.drip(m.response)
		c.hear(m.response)
	}
	o.untouched()
}

func TestResponsesWithoutBody(t *testing.T) {
	for _, c := range []struct{ name, request, response, want string }{
		{"HEAD", lines("HEAD / HTTP/1.1", "Host: a"), lines("HTTP/1.1 200 OK", "Content-Length: 1000"), ""},
		{"HEAD of an unknown length", lines("HEAD / HTTP/1.1", "Host: a"), lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), lines("HTTP/1.1 200 OK")},
		{"204", get, lines("HTTP/1.1 204 No Content"), ""},
		{"304", get, lines("HTTP/1.1 304 Not Modified", "Content-Length: 1000"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}})
			client := r.dial()
			client.say(c.request)
			s := o.accept()
			s.hear(c.request)
			s.say(c.response)
			if c.want == "" {
				c.want = c.response
			}
			client.hear(c.want)
			trade(client, s)
		})
	}
}

func TestTruncatedResponseNeverLooksWhole(t *testing.T) {
	old := lines("GET / HTTP/1.0", "Host: a")
	for _, c := range []struct {
		name, request, response string
		reset                   bool   // the origin goes by a reset
		want                    string // what the client hears first
		broken                  bool   // and then a reset, since the end would mean something
	}{
		{"length", get, lines("HTTP/1.1 200 OK", "Content-Length: 5") + "hell", false, lines("HTTP/1.1 200 OK", "Content-Length: 5") + "hell", false},
		{"chunks", get, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhell", false, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhell", false},
		{"before the last chunk", get, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n", false, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n", false},
		{"chunks for a client of HTTP/1.0", old, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n", false, lines("HTTP/1.1 200 OK", "Connection: close") + "hello", true},
		{"end for a client of HTTP/1.0", old, lines("HTTP/1.1 200 OK") + "hello", true, lines("HTTP/1.1 200 OK", "Connection: close") + "hello", true},
		{"end", get, lines("HTTP/1.1 200 OK") + "hello", true, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n", false},
		{"bad chunk", get, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\nxyz", false, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "5\r\nhello\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}})
			client := r.dial()
			client.say(c.request)
			s := o.accept()
			s.head()
			bad, isBad := strings.CutSuffix(c.response, "xyz")
			s.say(bad)
			client.hear(c.want)
			switch {
			case isBad:
				s.say("xyz")
			case c.reset:
				s.reset()
			default:
				s.close()
			}
			if c.broken {
				client.broken()
			} else {
				client.end()
			}
			if isBad {
				r.wantError(metrics.CauseBadResponse)
			} else {
				r.wantError(metrics.CauseReset)
			}
		})
	}
}

func TestTruncatedRequestIsNotCompleted(t *testing.T) {
	for _, request := range []string{post[:len(post)-1], lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "5\r\nhello\r\n"} {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}})
		c := r.dial()
		c.say(request)
		s := o.accept()
		s.hear(request)
		c.closeWrite()
		s.end()
		c.end()
		r.wantError(metrics.CauseClientGone)
		if n := r.outcomes(); n.Canceled != 1 || n.Failures() != 0 {
			t.Errorf("%+v", n)
		}
	}
}

func TestBadChunkOfAClientIsNotPassedOn(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	head := lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
	c.say(head + "5\r\nhello\r\n")
	s := o.accept()
	s.hear(head + "5\r\nhello\r\n")
	c.say("zz\r\n")
	s.end()
	c.wantOwn(400, "bad-request")
	c.end()
	r.wantError(metrics.CauseBadRequest)
}

func TestSlowReaderHoldsBackTheOrigin(t *testing.T) {
	o := newOrigin(t)
	// Time that the client lets pass is not held against the origin.
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.RequestTimeout, o.StreamIdle = 2*time.Second, 2*time.Second }})
	body := strings.Repeat(noise(1<<20+1), 64)
	response := lines("HTTP/1.1 200 OK", fmt.Sprint("Content-Length: ", len(body))) + body
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	poured := s.pour(response)
	r.pass(2500 * time.Millisecond)
	select {
	case <-poured:
		t.Error("all of it went somewhere")
	default:
	}
	c.hear(response)
	if err := <-poured; err != nil {
		t.Error(err)
	}
	trade(c, s)
}

func TestSlowOriginHoldsBackTheClient(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.ClientIdle = 2 * time.Second }})
	body := strings.Repeat(noise(1<<20+1), 64)
	request := lines("POST / HTTP/1.1", "Host: a", fmt.Sprint("Content-Length: ", len(body))) + body
	c := r.dial()
	poured := c.pour(request)
	s := o.accept()
	r.pass(2500 * time.Millisecond)
	select {
	case <-poured:
		t.Error("all of it went somewhere")
	default:
	}
	s.hear(request)
	s.say(ok)
	c.hear(ok)
	if err := <-poured; err != nil {
		t.Error(err)
	}
}

func TestOriginGoneUnderASlowReader(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c, other := r.dial(), r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(lines("HTTP/1.1 200 OK", "Content-Length: 100000000"))
	c.head()
	poured := s.pour(strings.Repeat(noise(1<<20), 32))
	r.pass(50 * time.Millisecond) // until nothing moves any more
	s.reset()
	<-poured
	// The loop goes on with others.
	other.say(get)
	s = o.accept()
	s.hear(get)
	s.say(ok)
	other.hear(ok)
	c.gone()
	r.wantError(metrics.CauseReset)
}
