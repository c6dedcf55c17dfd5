package http

import (
	"strings"
	"testing"
)

// forwards has a head forwarded and answered, and checks both as the other side hears them.
func forwards(t *testing.T, change func(*Options), request, wantRequest, response, wantResponse string) {
	t.Helper()
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: change})
	c := r.dial()
	c.say(request)
	s := o.accept()
	s.hear(wantRequest)
	s.say(response)
	c.hear(wantResponse)
	c.closeWrite()
	c.end()
}

func TestEndToEndFieldsPassByteForByte(t *testing.T) {
	request := lines("GET /a//b/../c?q=%41&&x HTTP/1.1", "accept: */*", "hOsT: Example.com:80", "X-A: 1", "Cookie: a=b;  c", "x-a:2", "X-A: ", "COOKIE: d", "Proxy-Authorization: x")
	response := lines("HTTP/1.1 299 Quite  all right\x80", "sET-cOOKIE: a", "Content-Length: 0", "X-B: \"q\"", "Set-Cookie: b", "x-b: 3")
	forwards(t, nil, request, request, response, response)
}

func TestHopByHopFieldsDoNotPass(t *testing.T) {
	forwards(t, nil,
		lines("GET / HTTP/1.1", "A: 1", "Connection: keep-alive, X-Gone", "Keep-Alive: timeout=5", "Host: a", "x-gone: 1", "Proxy-Connection: close", "TE: gzip", "Upgrade: websocket", "B: 2"),
		lines("GET / HTTP/1.1", "A: 1", "Host: a", "B: 2"),
		lines("HTTP/1.1 200 OK", "A: 1", "Connection: X-Gone", "Keep-Alive: timeout=5", "X-Gone: 2", "Content-Length: 0", "B: 2"),
		lines("HTTP/1.1 200 OK", "A: 1", "Content-Length: 0", "B: 2"))
}

func TestConnectionCannotTakeAwayWhatTheSidecarAdds(t *testing.T) {
	forwards(t, func(o *Options) { o.Forward = Forwarding{Proto: true, Host: true, Via: "me"} },
		lines("GET / HTTP/1.1", "Host: a", "Connection: Host, X-Forwarded-For, Via, X-Forwarded-Proto", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", "Via: 1.1 other"),
		lines("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: a", "Via: 1.1 me"),
		ok, lines("HTTP/1.1 200 OK", "Content-Length: 2", "Via: 1.1 me")+"hi")
}

func TestForwardedFields(t *testing.T) {
	claims := []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X: y", "X-Forwarded-For: 2.2.2.2, 3.3.3.3", "X-Forwarded-Host: b", "X-Forwarded-For:"}
	all := Forwarding{Proto: true, Host: true}
	for _, c := range []struct {
		name    string
		forward Forwarding
		claims  []string
		want    []string
	}{
		{"append, nothing claimed", all, nil, []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: a"}},
		{"append", all, claims, []string{"X-Forwarded-Proto: https", "X: y", "X-Forwarded-Host: b", "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"}},
		{"append, for only", Forwarding{}, nil, []string{"X-Forwarded-For: 127.0.0.1"}},
		{"set", Forwarding{For: ForwardedSet, Proto: true, Host: true}, claims, []string{"X: y", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: a"}},
		{"set, for only", Forwarding{For: ForwardedSet}, claims, []string{"X: y", "X-Forwarded-For: 127.0.0.1"}},
		{"off", Forwarding{For: ForwardedOff, Proto: true, Host: true}, claims, claims},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := []string{"GET / HTTP/1.1", "Host: a"}
			forwards(t, func(o *Options) { o.Forward = c.forward },
				lines(append(start[:2:2], c.claims...)...), lines(append(start[:2:2], c.want...)...), ok, ok)
		})
	}
}

func TestViaNamesTheVersionReceived(t *testing.T) {
	forwards(t, func(o *Options) { o.Forward.Via = "me" },
		lines("GET / HTTP/1.0", "Host: a", "Via: 1.1 x"), lines("GET / HTTP/1.1", "Host: a", "Via: 1.1 x", "Via: 1.0 me"),
		lines("HTTP/1.0 204 No", "Connection: keep-alive"), lines("HTTP/1.1 204 No", "Connection: close", "Via: 1.0 me"))
}

func TestHostIsRewritten(t *testing.T) {
	forwards(t, func(o *Options) { o.Forward = Forwarding{Rewrite: "inner:8080", Host: true} },
		lines("GET / HTTP/1.1", "X: y", "Host: outer"),
		lines("GET / HTTP/1.1", "Host: inner:8080", "X: y", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: outer"), ok, ok)
}

func TestHTTP10ClientWithoutHostGetsOne(t *testing.T) {
	forwards(t, nil, lines("GET /x HTTP/1.0"), lines("GET /x HTTP/1.1", "Host: orders"),
		ok, lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close")+"hi")
}

func TestHTTP10ClientThatKeepsItsConnection(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	old := lines("GET / HTTP/1.0", "Connection: Keep-Alive", "Host: a")
	c.say(old)
	s := o.accept()
	for range 2 {
		s.hear(get)
		s.say(ok)
		c.hear(lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: keep-alive") + "hi")
		c.say(old)
	}
	s.hear(get)
	// Chunks it does not know: the data alone, and the end of the connection behind it.
	s.say(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n")
	c.hear(lines("HTTP/1.1 200 OK", "Connection: close") + "abcde")
	c.end()
	r.pooled(1)
}

func TestHTTP10OriginIsNotAskedTwiceOnAConnection(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	for range 2 {
		c.say(get)
		s := o.accept()
		s.hear(get)
		s.say(lines("HTTP/1.0 200 OK", "Content-Length: 2") + "hi")
		c.hear(ok)
		s.end()
	}
}

func TestAbsoluteTargetBecomesOriginForm(t *testing.T) {
	forwards(t, nil, lines("GET http://b:1/x?y HTTP/1.1", "X: y", "Host: a"), lines("GET /x?y HTTP/1.1", "X: y", "Host: b:1"), ok, ok)
}

func TestTrailersAreAnnouncedHopByHop(t *testing.T) {
	forwards(t, nil, lines("GET / HTTP/1.1", "Host: a", "TE: gzip, trailers", "Connection: TE"),
		lines("GET / HTTP/1.1", "Host: a", "TE: trailers", "Connection: TE"), ok, ok)
}

func TestMaxForwards(t *testing.T) {
	forwards(t, nil, lines("OPTIONS * HTTP/1.1", "Host: a", "Max-Forwards: 2", "X: y"),
		lines("OPTIONS * HTTP/1.1", "Host: a", "X: y", "Max-Forwards: 1"), ok, ok)
	r := newRig(t, setup{})
	c := r.dial()
	c.say(lines("OPTIONS / HTTP/1.1", "Host: a", "Max-Forwards: 0"))
	c.wantOwn(501, "bad-request")
}

func TestHeadsArriveInPieces(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	request, response := get, lines("HTTP/1.1 100 Continue")+ok
	c := r.dial()
	c.drip(request)
	s := o.accept()
	s.hear(request)
	s.drip(response)
	c.hear(response)
	for i := 1; i < len(request); i++ {
		c.say(request[:i])
		r.on(func() {})
		c.say(request[i:])
		s.hear(request)
		i := min(i, len(response)-1)
		s.say(response[:i])
		r.on(func() {})
		s.say(response[i:])
		c.hear(response)
	}
	o.untouched()
}

func TestLargeHeads(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	var s *peer
	for _, size := range []int{15 << 10, 16<<10 - 50, 16 << 10, 40 << 10, 60 << 10, 100} {
		field := "X-Large: " + strings.Repeat("x", size)
		request, response := lines("GET / HTTP/1.1", "Host: a", field), lines("HTTP/1.1 200 OK", field, "Content-Length: 2")+"hi"
		c.say(request)
		if s == nil {
			s = o.accept()
		}
		s.hear(request)
		s.say(response)
		c.hear(response)
	}
	o.untouched()
}
