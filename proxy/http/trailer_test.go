package http

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"sidecar/metrics"
)

// long is more than a line of a trailer section used to be allowed, and than a buffer of the loop.
var long = strings.Repeat("0123456789abcdef", 20<<10/16)

// answerLong answers what has come, and a long trailer, by HTTP/2.
func answerLong(t *testing.T) string {
	return serveBoth(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Trailer.Get("X-Long") != long {
			t.Errorf("%d octets, %v, a trailer of %d", len(body), err, len(r.Trailer.Get("X-Long")))
		}
		w.Header().Set("Trailer", "X-Long")
		_, _ = w.Write(body)
		w.Header().Set("X-Long", long)
	})
}

// sendLong sends a request with a long trailer by HTTP/2, and wants one back.
func sendLong(t *testing.T, r *rig, body string) {
	t.Helper()
	req, _ := http.NewRequest("POST", "http://"+r.listener.Addr().String()+"/", io.NopCloser(strings.NewReader(body)))
	req.Trailer = http.Header{"X-Long": {long}}
	resp, err := newClient(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(got) != body || resp.Trailer.Get("X-Long") != long {
		t.Errorf("%d of %d octets, %v, a trailer of %d", len(got), len(body), err, len(resp.Trailer.Get("X-Long")))
	}
}

func TestLongTrailersPassFromHTTP2ToHTTP2(t *testing.T) {
	r := newRig(t, setup{origins: []string{answerLong(t)}, options: func(o *Options) { o.Upstream = UpstreamH2C }})
	for _, n := range []int{0, 1, 16 << 10, 100 << 10} {
		sendLong(t, r, strings.Repeat("x", n))
	}
}

func TestLongTrailersPassFromHTTP2ToHTTP1(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Upstream = UpstreamHTTP1 }})
	said := make(chan struct{})
	go func() {
		defer close(said)
		s := o.accept()
		s.head()
		s.hear("5\r\nhello\r\n0\r\nx-long: " + long + "\r\n\r\n")
		s.say(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: X-Long") + "5\r\nhello\r\n0\r\nX-Long: " + long + "\r\n\r\n")
	}()
	sendLong(t, r, "hello")
	<-said
}

func TestLongTrailersPassFromHTTP1ToHTTP2(t *testing.T) {
	r := newRig(t, setup{origins: []string{answerLong(t)}, options: func(o *Options) { o.Upstream = UpstreamH2C }})
	c := r.dial()
	c.say(lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X-Long") + "5\r\nhello\r\n0\r\nX-Long: ")
	c.say(long + "\r\n\r\n") // in pieces, so that it has to be waited for
	c.head()
	c.hear("5\r\nhello\r\n0\r\nx-long: " + long + "\r\n\r\n")
}

func TestLongTrailersPassByHTTP1(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	var s *peer
	for range 2 { // the second finds the buffers that the first has left
		section := "3\r\nabc\r\n0\r\nX-A: 1\r\nX-Long: " + long + "\r\nX-Also: " + long + "\r\n\r\n"
		request, response := lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"), lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
		poured := c.pour(request + section)
		if s == nil {
			s = o.accept()
		}
		s.hear(request + section)
		if err := <-poured; err != nil {
			t.Fatal(err)
		}
		poured = s.pour(response + section)
		c.hear(response + section)
		if err := <-poured; err != nil {
			t.Fatal(err)
		}
	}
	trade(c, s)
}

// A trailer section beyond the bounds ends the message; nobody gets one that lacks what was in it.
func TestTrailersBeyondTheBoundFailLoudly(t *testing.T) {
	for name, tt := range map[string]struct {
		head, list int // max_head, http2.header_list
	}{"of a head": {4 << 10, 64 << 10}, "of a list": {64 << 10, 16 << 10}} {
		t.Run(name, func(t *testing.T) {
			origin := serveBoth(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write([]byte("hello"))
				w.(http.Flusher).Flush()
				w.Header().Set(http.TrailerPrefix+"X-Long", long)
			})
			r := newRig(t, setup{origins: []string{origin}, options: func(o *Options) {
				o.Upstream, o.Limits.MaxHead, o.HTTP2.HeaderList, o.Retry.Attempts = UpstreamH2C, tt.head, tt.list, 0
			}})
			resp, err := newClient(t, true).Get("http://" + r.listener.Addr().String() + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode != 502 { // which it is if all came at once
				t.Errorf("%q, and no error; trailers of %d octets", body, len(resp.Trailer.Get("X-Long")))
			}
			r.wantMetric(1, "sidecar_http_errors_total")
			r.until("the endpoint has it on its account", func() bool { return r.outcomes().Failures() == 1 })
		})
	}
}

// Of a request that has begun to go out the same is an answer, or an end.
func TestTrailersOfARequestBeyondTheBound(t *testing.T) {
	origin := serveBoth(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("the request came to an end")
		}
	})
	r := newRig(t, setup{origins: []string{origin}, options: func(o *Options) { o.Upstream, o.Limits.MaxHead = UpstreamH2C, 4<<10 }})
	c := r.dial()
	c.say(lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\nX-Long: " + long + "\r\n\r\n")
	c.wantOwn(431, "too-large")
	r.wantError(metrics.CauseTooLarge)
}

// Trailers of a kind that does not pass are left out; that is no mistake.
func TestUntrailableFieldsAreLeftOut(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Upstream = UpstreamHTTP1 }})
	c := r.dial()
	c.say(string(frames(func(fr *http2.Framer) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
			BlockFragment: listOf(":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/")})
		_ = fr.WriteData(1, false, []byte("hello"))
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
			BlockFragment: listOf("x-a", "1", "host", "evil", "content-length", "7", "x-b", "2")})
	})))
	s := o.accept()
	s.head()
	s.hear("5\r\nhello\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n")
	s.say(ok)
	r.until("it has been answered", func() bool { return r.outcomes().Successes == 1 })
}
