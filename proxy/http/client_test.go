package http

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sidecar/metrics"
)

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	const n = 1000
	var all, answers strings.Builder
	var requests, responses []string
	for i := range n {
		requests = append(requests, lines(fmt.Sprintf("POST /%d HTTP/1.1", i), "Host: a", "Content-Length: 3")+"abc")
		responses = append(responses, lines("HTTP/1.1 200 OK", fmt.Sprint("X-Of: ", i), "Content-Length: 0"))
		all.WriteString(requests[i])
		answers.WriteString(responses[i])
	}
	poured := c.pour(all.String())
	s := o.accept()
	for i := range n {
		s.hear(requests[i])
		s.say(responses[i])
	}
	c.hear(answers.String())
	if err := <-poured; err != nil {
		t.Error(err)
	}
	o.untouched()
}

func TestRequestThatFillsTheBufferToItsEnd(t *testing.T) {
	o := newOrigin(t)
	// What follows must be waited for as an idle client is, not as a head that has begun.
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	head := func(n int) string { return lines("POST / HTTP/1.1", "Host: a", fmt.Sprint("Content-Length: ", n)) }
	n := 16<<10 - len(head(16000))
	request := head(n) + noise(n)
	c.say(request)
	s := o.accept()
	s.hear(request)
	r.change(func(o *Options) { o.HeadTimeout = 20 * time.Millisecond })
	s.say(ok)
	c.hear(ok)
	r.pass(50 * time.Millisecond)
	r.change(func(o *Options) { o.HeadTimeout = time.Minute })
	trade(c, s)
}

func TestEmptyLinesBetweenRequests(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.HeadTimeout = 20 * time.Millisecond }})
	c := r.dial()
	c.say("\r\n")
	r.pass(50 * time.Millisecond) // nothing has begun
	r.change(func(o *Options) { o.HeadTimeout = time.Minute })
	c.say(post + "\r\n")
	s := o.accept()
	s.hear(post)
	r.change(func(o *Options) { o.HeadTimeout = 20 * time.Millisecond })
	s.say(ok)
	c.hear(ok)
	r.pass(50 * time.Millisecond)
	r.change(func(o *Options) { o.HeadTimeout = time.Minute })
	c.say("\r\n" + get)
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

func TestIdleClientIsClosed(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.ClientIdle = 50 * time.Millisecond }})
	r.dial().end()
	r.change(func(o *Options) { o.ClientIdle = time.Minute })
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	r.change(func(o *Options) { o.ClientIdle = 50 * time.Millisecond })
	r.pass(100 * time.Millisecond) // it is not idle while it waits for an answer
	s.say(ok)
	c.hear(ok)
	c.end()
	if n := r.metric("sidecar_http_errors_total"); n != 0 {
		t.Errorf("%v errors", n)
	}
}

func TestIdleClientHoldsNothing(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
	eventually(t, "there is no task", func() bool { return r.shard.loop.Stats().Tasks == 0 })
	r.on(func() {
		if len(r.shard.free) != 1 || r.shard.count != 1 {
			t.Errorf("%d exchanges free, %d clients", len(r.shard.free), r.shard.count)
		}
	})
}

func TestInterimResponses(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Forward.Via = "me" }})
	c := r.dial()
	// One before has left its marks: its body was put into chunks.
	c.say(get)
	s := o.accept()
	s.head()
	s.say(lines("HTTP/1.1 200 OK") + "x")
	s.close()
	c.hear(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Via: 1.1 me"))
	if c.dechunk() != "x" {
		t.Fatal("body")
	}
	c.say(get)
	s = o.accept()
	s.head()
	hints := lines("HTTP/1.1 103 Early Hints", "Link: </a>", "Via: 1.1 me")
	s.say(lines("HTTP/1.1 103 Early Hints", "Link: </a>", "Connection: x", "X: y") + lines("HTTP/1.1 102 P") + ok)
	c.hear(hints + lines("HTTP/1.1 102 P", "Via: 1.1 me") + lines("HTTP/1.1 200 OK", "Content-Length: 2", "Via: 1.1 me") + "hi")
	// HTTP/1.0 does not know them.
	old := r.dial()
	old.say(lines("GET / HTTP/1.0", "Host: a"))
	s.head()
	s.say(lines("HTTP/1.1 103 Early Hints") + ok)
	old.hear(lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close", "Via: 1.1 me") + "hi")
	old.end()
}

func TestInterimResponseLeavesNoDeadline(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	r.change(func(o *Options) { o.ClientIdle = 50 * time.Millisecond })
	s.say(lines("HTTP/1.1 103 Early Hints"))
	c.hear(lines("HTTP/1.1 103 Early Hints"))
	r.pass(100 * time.Millisecond)
	r.change(func(o *Options) { o.ClientIdle = time.Minute })
	s.say(ok)
	c.hear(ok)
}

func TestOwnAnswerLeavesNoDeadline(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{})
	c := r.dial()
	r.change(func(o *Options) { o.ClientIdle = 50 * time.Millisecond })
	c.say(get + get[:1])
	c.wantOwn(503, "no-instances")
	r.change(func(o *Options) { o.ClientIdle = time.Minute })
	r.report(o.addr)
	eventually(t, "the instance is known", func() bool { return len(r.service.Snapshot().Endpoints) > 0 })
	c.say(get[1:])
	s := o.accept()
	s.hear(get)
	r.pass(100 * time.Millisecond)
	s.say(ok)
	c.hear(ok)
}

func TestExpectContinue(t *testing.T) {
	head := lines("POST / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 5")
	goOn := lines("HTTP/1.1 100 Continue")
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(head)
	s := o.accept()
	s.hear(head)
	s.say(goOn)
	c.hear(goOn)
	c.say("hello")
	s.hear("hello")
	s.say(ok)
	c.hear(ok)
	// Or it does not want the body.
	refused := []string{"HTTP/1.1 417 No", "Content-Length: 0"}
	c.say(head)
	s.hear(head)
	s.say(lines(refused...))
	c.hear(lines(append(refused, "Connection: close")...))
	s.end()
	c.end()
}

func TestEarlyResponse(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 10") + "12345")
	s := o.accept()
	s.hear(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 10") + "12345")
	s.say(lines("HTTP/1.1 200 OK", "Content-Length: 6") + "abc")
	c.hear(lines("HTTP/1.1 200 OK", "Content-Length: 6", "Connection: close") + "abc")
	// Both go on side by side.
	c.say("67890")
	s.hear("67890")
	s.say("def")
	c.hear("def")
	c.end()
	r.pooled(1) // nothing is left on the endpoint's connection
}

func TestEarlyResponseFromAnOriginThatStopsReading(t *testing.T) {
	for name, leave := range map[string]func(*peer){"end": (*peer).close, "reset": (*peer).reset, "stays": func(*peer) {}} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}})
			c := r.dial()
			poured := c.pour(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 100000000") + strings.Repeat(noise(1<<20), 32))
			s := o.accept()
			s.head()
			s.say(lines("HTTP/1.1 413 Too Large", "Content-Length: 3") + "big")
			c.hear(lines("HTTP/1.1 413 Too Large", "Content-Length: 3", "Connection: close") + "big")
			leave(s)
			c.close()
			<-poured
		})
	}
}

func TestResponseIsHeardWhileTheRequestStillComes(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	const size = 1 << 30 // never finished
	c.say(lines("POST / HTTP/1.1", "Host: a", fmt.Sprint("Content-Length: ", size)))
	s := o.accept()
	s.head()
	stop := make(chan struct{})
	poured, taken := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(poured)
		for piece := []byte(noise(1 << 20)); ; {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.conn.Write(piece); err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(taken)
		for b := make([]byte, 1<<20); ; {
			if _, err := s.conn.Read(b); err != nil {
				return
			}
		}
	}()
	s.say(lines("HTTP/1.1 401 No", "Content-Length: 0"))
	c.hear(lines("HTTP/1.1 401 No", "Content-Length: 0", "Connection: close"))
	close(stop)
	c.close()
	<-poured
	<-taken
}

func TestHalfClosedClientGetsItsAnswer(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(post + get)
	c.closeWrite()
	s := o.accept()
	s.hear(post)
	still := lines("HTTP/1.1 100 Continue") // it is asked whether it is there, RFC 9110 §15.2
	c.hear(still)
	s.say(ok)
	s.hear(get)
	c.hear(ok + still)
	s.say(ok)
	c.hear(ok)
	c.end()
}

func TestClientThatHasClosedCancelsTheRequest(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	c.close()
	s.gone()
	if n := r.outcomes(); n.Failures() != 0 {
		t.Errorf("it counts against the endpoint: %+v", n)
	}
}

func TestClientGoneCancelsTheRequest(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	c.reset()
	s.end()
	r.wantError(metrics.CauseClientGone)
	if n := r.outcomes(); n.Canceled != 1 || n.Failures() != 0 {
		t.Errorf("%+v", n)
	}
	eventually(t, "a request has ended without a status", func() bool { return r.metric("sidecar_http_requests_total", "none") == 1 })
}

func TestClientGoneWithinItsResponse(t *testing.T) {
	for name, leave := range map[string]func(*peer){"end": (*peer).close, "reset": (*peer).reset} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}})
			c := r.dial()
			c.say(get)
			s := o.accept()
			s.hear(get)
			s.say(lines("HTTP/1.1 200 OK", "Content-Length: 100000000"))
			c.head()
			leave(c)
			<-s.pour(strings.Repeat(noise(1<<20), 95)) // it ends by an error
			s.gone()
			r.wantError(metrics.CauseClientGone)
			if n := r.outcomes(); n.Successes != 1 || n.Failures() != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

func TestClientGoneWithinItsHead(t *testing.T) {
	r := newRig(t, setup{})
	c := r.dial()
	c.say("GET / HT")
	c.closeWrite()
	c.end()
	if n := r.metric("sidecar_http_errors_total"); n != 0 {
		t.Errorf("%v errors", n)
	}
}

func TestClientThatTakesNothingIsGivenUp(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(get)
	s := o.accept()
	s.hear(get)
	r.change(func(o *Options) { o.ClientIdle = 50 * time.Millisecond })
	<-s.pour(lines("HTTP/1.1 200 OK", "Content-Length: 100000000") + strings.Repeat(noise(1<<20), 64)) // it ends by an error
	s.gone()
	r.wantError(metrics.CauseClientTimeout)
	c.gone()
}

func TestBytesAreCounted(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	big := lines("HTTP/1.1 200 OK", "Content-Length: 300000") + noise(300000)
	c.say(post)
	s := o.accept()
	s.hear(post)
	s.say(lines("HTTP/1.1 100 C") + ok)
	c.hear(lines("HTTP/1.1 100 C") + ok)
	c.say(get)
	s.hear(get)
	poured := s.pour(big)
	c.hear(big)
	<-poured
	c.close()
	if r.proxy.Drain(t.Context()) != nil {
		t.Error("drain")
	}
	in, out := len(post)+len(get), len(lines("HTTP/1.1 100 C"))+len(ok)+len(big)
	if got := r.metric("sidecar_http_received_bytes_total"); got != float64(in) {
		t.Errorf("%v bytes in, want %d", got, in)
	}
	if got := r.metric("sidecar_http_sent_bytes_total"); got != float64(out) {
		t.Errorf("%v bytes out, want %d", got, out)
	}
	if got := r.metric("sidecar_http_requests_total", "2xx"); got != 2 {
		t.Errorf("%v requests", got)
	}
}
