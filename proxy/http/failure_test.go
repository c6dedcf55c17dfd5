package http

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"sidecar/metrics"
)

func TestOwnAnswersInFull(t *testing.T) {
	dead := closedPort(t)
	r := newRig(t, setup{origins: []string{dead}})
	c := r.dial()
	date := regexp.MustCompile(`Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT`)
	text := "sidecar: orders: the endpoint does not accept connections: dial tcp " + dead + ": connect: connection refused\n"
	head := func(more ...string) string {
		return lines(append([]string{"HTTP/1.1 502 Bad Gateway", "Content-Type: text/plain; charset=utf-8", fmt.Sprint("Content-Length: ", len(text)), "DATE", "Sidecar-Error: connect-failed"}, more...)...)
	}
	for _, q := range []struct{ request, head, body string }{
		{get, head(), text},
		{post, head(), text}, // its body has been read: the connection goes on
		{lines("HEAD / HTTP/1.1", "Host: a"), head(), ""},
		{lines("GET / HTTP/1.0", "Connection: keep-alive"), head("Connection: keep-alive"), text},
		{lines("GET / HTTP/1.1", "Host: a", "Connection: close"), head("Connection: close"), text},
	} {
		c.say(q.request)
		if got := date.ReplaceAllString(c.head(), "DATE"); got != q.head {
			t.Errorf("%q, want %q", got, q.head)
		}
		c.hear(q.body)
	}
	c.end()
}

func TestNothingToForwardTo(t *testing.T) {
	t.Run("not-discovered", func(t *testing.T) {
		r := newRig(t, setup{silent: true})
		c := r.dial()
		c.say(get)
		c.wantOwn(503, "not-discovered")
		o := newOrigin(t)
		r.report(o.addr)
		<-r.service.Known()
		c.say(get)
		s := o.accept()
		s.hear(get)
		s.say(ok)
		c.hear(ok)
	})
	t.Run("no-instances", func(t *testing.T) {
		r := newRig(t, setup{})
		c := r.dial()
		c.say(get)
		c.wantOwn(503, "no-instances")
		r.wantError(metrics.CauseNoInstances)
	})
	t.Run("over-limit", func(t *testing.T) {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}, limit: 1})
		c, d := r.dial(), r.dial()
		c.say(get)
		s := o.accept()
		s.hear(get)
		d.say(get)
		d.wantOwn(503, "over-limit")
		s.say(ok)
		c.hear(ok)
		trade(d, s)
	})
}

func TestAnswerIsHeardThroughAnUnreadBody(t *testing.T) {
	r := newRig(t, setup{})
	for _, size := range []int{20 << 10, 600 << 10} {
		c := r.dial()
		poured := c.pour(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 100000000") + noise(size))
		if head, _ := c.wantOwn(503, "no-instances"); !strings.Contains(head, "\r\nConnection: close\r\n") {
			t.Error(head)
		}
		if err := <-poured; err != nil {
			t.Error(err)
		}
		c.closeWrite()
		c.end() // and no reset
	}
}

func TestMalformedResponses(t *testing.T) {
	for _, response := range []string{
		"SSH-2.0-OpenSSH\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		lines("HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2"),
		lines("HTTP/1.1 200 OK", "Content-Length: 1", "Transfer-Encoding: chunked"),
		lines("HTTP/1.1 200 OK", "No Colon"),
		lines("HTTP/1.1 200 OK", "X: "+strings.Repeat("x", 70000)),
		lines("HTTP/1.1 100 Continue") + "HTTP/1.1 nonsense\r\n\r\n",
		lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "xyz\r\n",
		lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "2\r\nab\r\nxyz\r\n",
		lines("HTTP/1.1 101 Switching Protocols", "Upgrade: x", "Connection: upgrade"), // nobody asked
	} {
		first, second := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{first.addr, second.addr}})
		c := r.dial()
		c.say(get)
		s := first.accept()
		s.hear(get)
		s.say(response)
		if strings.Contains(response, "100") && !strings.Contains(response, "101") {
			c.hear(lines("HTTP/1.1 100 Continue"))
		}
		c.wantOwn(502, "bad-response")
		s.gone()
		second.untouched() // it would say the same
		if n := r.outcomes(); n.Resets != 1 {
			t.Errorf("%s: %+v", brief(response), n)
		}
		r.wantError(metrics.CauseBadResponse)
	}
}

func TestRefusedRequests(t *testing.T) {
	for _, c := range []struct {
		request string
		status  int
		cause   string
	}{
		{"nonsense\r\n\r\n", 400, "bad-request"},
		{lines("GET / HTTP/1.1"), 400, "bad-request"},
		{lines("GET / HTTP/1.1", "Host: a", "Content-Length: 1", "Transfer-Encoding: chunked") + "x", 400, "bad-request"},
		{lines("GET / HTTP/1.1", "Host: a", "X: "+strings.Repeat("x", 3000)), 431, "too-large"},
		{lines("GET / HTTP/1.1", "Host: a", "A: 1", "A: 2", "A: 3", "A: 4"), 431, "too-large"},
		{lines("GET /"+strings.Repeat("x", 300)+" HTTP/1.1", "Host: a"), 414, "too-large"},
		{lines("GET / HTTP/2.0", "Host: a"), 505, "bad-request"},
		{lines("GET / HTTP/1.1", "Host: a", "Expect: magic"), 417, "bad-request"},
	} {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) {
			o.Limits.MaxHead, o.Limits.MaxTarget, o.Limits.MaxFields = 2048, 256, 4
		}})
		client := r.dial()
		client.say(c.request + get) // what follows is not looked at
		if head, _ := client.wantOwn(c.status, c.cause); !strings.Contains(head, "\r\nConnection: close\r\n") {
			t.Error(head)
		}
		client.closeWrite()
		client.end()
		o.untouched()
	}
}

func TestMethodsThatAreNotForwarded(t *testing.T) {
	r := newRig(t, setup{})
	c := r.dial()
	c.say(lines("TRACE / HTTP/1.1", "Host: a"))
	c.wantOwn(501, "bad-request")
	c.say(lines("CONNECT a:1 HTTP/1.1", "Host: a:1"))
	c.wantOwn(501, "bad-request")
}

func TestHeadThatDoesNotArrive(t *testing.T) {
	r := newRig(t, setup{options: func(o *Options) { o.HeadTimeout = 20 * time.Millisecond }})
	c := r.dial()
	c.say("GET / HTTP/1.1\r\n")
	c.wantOwn(408, "client-timeout")
	c.end()
	r.wantError(metrics.CauseClientTimeout)
}

func TestBodyThatDoesNotArrive(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(post[:len(post)-2])
	s := o.accept()
	s.hear(post[:len(post)-2])
	r.change(func(o *Options) { o.ClientIdle = 50 * time.Millisecond })
	c.say(post[len(post)-2 : len(post)-1])
	c.wantOwn(408, "client-timeout")
	s.gone()
	if n := r.outcomes(); n.Canceled != 1 {
		t.Errorf("%+v", n)
	}
}

func TestEndpointThatTakesNoRequest(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.RequestTimeout = 100 * time.Millisecond }})
	c := r.dial()
	poured := c.pour(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 100000000") + strings.Repeat(noise(1<<20), 32))
	s := o.accept()
	c.wantOwn(504, "timeout")
	s.gone()
	c.close()
	<-poured
	if n := r.outcomes(); n.Timeouts != 1 {
		t.Errorf("%+v", n)
	}
}

func TestResponseThatStops(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.StreamIdle = 50 * time.Millisecond }})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok[:len(ok)-1])
	c.hear(ok[:len(ok)-1])
	c.end()
	s.end()
	r.wantError(metrics.CauseTimeout)
}

func TestFailuresAreLoggedOnce(t *testing.T) {
	dead := closedPort(t)
	r := newRig(t, setup{origins: []string{dead}})
	c := r.dial()
	c.say(get)
	c.wantOwn(502, "connect-failed")
	r.wantError(metrics.CauseConnectFailed)
	line := r.logs.All()[len(r.logs.All())-1]
	fields := line.ContextMap()
	if line.Level != zapcore.WarnLevel || fields["request"] != "GET /" || fields["endpoint"] != dead || fields["attempts"] != int64(1) || fields["client"] != c.conn.LocalAddr().String() {
		t.Errorf("%v %v", line.Level, fields)
	}
}
