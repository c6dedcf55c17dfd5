package h1

import (
	"errors"
	"strings"
	"testing"
)

// trailers are trailer sections and what passes of them, or a cause.
var trailers = []struct{ name, in, want string }{
	{"9112§7.1.2/none", "", ""},
	{"9112§7.1.2/one", "X-T: 1\r\n", "="},
	{"9112§7.1.2/order-case-repeats", "x-t: 1\r\nX-U: 2\r\nX-T: 3\r\n", "="},
	{"9112§7.1.2/whitespace", "X-T:1\r\nX-U: \t2 \t\r\nX-V:\r\nX-W: \r\n", "="},
	{"9112§7.1.2/all-tchars", "!#$%&'*+-.^_`|~09azAZ: 1\r\n", "="},
	{"9112§7.1.2/obs-text", "X-T: caf\xe9\t\x80\xff\r\n", "="},
	{"9110§6.5.1/digest", "Content-Digest: sha-256=:AA==:\r\nETag: \"x\"\r\nServer-Timing: a\r\n", "="},
	{"9110§6.5.1/framing", "Content-Length: 5\r\ntransfer-encoding: chunked\r\nX-T: 1\r\n", "X-T: 1\r\n"},
	{"9110§6.5.1/routing", "Host: a\r\nMax-Forwards: 1\r\nVia: 1.1 a\r\n", ""},
	{"9110§6.5.1/modifiers", "Expect: 100-continue\r\nTE: trailers\r\n", ""},
	{"9110§6.5.1/authentication", "Authorization: x\r\nProxy-Authorization: x\r\nProxy-Authenticate: x\r\nCookie: a\r\nSet-Cookie: a\r\n", ""},
	{"9110§6.5.1/format", "Content-Type: x\r\nContent-Encoding: x\r\nContent-Range: x\r\nTrailer: x\r\n", ""},
	{"9110§6.5.1/control", "Date: x\r\nRetry-After: 1\r\n", ""},
	{"9110§7.6.1/connection", "Connection: close\r\nKeep-Alive: 1\r\nUpgrade: x\r\nProxy-Connection: x\r\nX-T: 1\r\n", "X-T: 1\r\n"},
	{"9110§6.5.1/added-by-proxies", "Forwarded: x\r\nX-Forwarded-For: x\r\nX-Forwarded-Host: x\r\nX-Forwarded-Proto: x\r\nX-Forwarded-Port: 1\r\nX-Real-IP: x\r\n", ""},
	{"9110§6.5.1/between", "X-A: 1\r\nHost: a\r\nX-B: 2\r\nHost: b\r\nHost: c\r\nX-C: 3\r\n", "X-A: 1\r\nX-B: 2\r\nX-C: 3\r\n"},
	{"9110§5.1/no-name", ": 1\r\n", "400 bad-trailer"},
	{"9110§5.1/brace", "X{T}: 1\r\n", "400 bad-trailer"},
	{"9110§5.1/obs-text-in-name", "X\xe9: 1\r\n", "400 bad-trailer"},
	{"9112§5.1/space-before-colon", "X-T : 1\r\n", "400 bad-trailer"},
	{"9112§5.1/space-before-colon-of-forbidden", "Host : 1\r\n", "400 bad-trailer"},
	{"9112§5/no-colon", "X-T\r\n", "400 bad-trailer"},
	{"9112§5.2/fold", "X-T: 1\r\n 2\r\n", "400 bad-trailer"},
	{"9112§5.2/fold-by-tab", "X-T: 1\r\n\t2\r\n", "400 bad-trailer"},
	{"9112§5.2/fold-behind-forbidden", "Host: 1\r\n 2\r\n", "400 bad-trailer"},
	{"9112§5.2/space-first", " X-T: 1\r\n", "400 bad-trailer"},
	{"9110§5.5/nul", "X-T: \x00\r\n", "400 bad-trailer"},
	{"9110§5.5/nul-in-forbidden", "Host: \x00\r\n", "400 bad-trailer"},
	{"9110§5.5/del", "X-T: \x7f\r\n", "400 bad-trailer"},
	{"9110§5.5/control", "X-T: \x01\r\n", "400 bad-trailer"},
	{"9110§5.5/bare-cr", "X-T: 1\r2\r\n", "400 bad-trailer"},
	{"9112§2.2/bare-cr-at-the-end", "X-T: 1\r\r\n", "400 bad-trailer"},
	{"9112§2.2/bare-lf", "X-T: 1\nX-U: 2\r\n", "400 bad-trailer"},
	{"9112§2.2/bare-lf-first", "\n", "400 bad-trailer"},
	{"9112§7.1.2/longest-line", "X: " + strings.Repeat("x", defaultMaxHead-len("X: \r\n\r\n")) + "\r\n", "="},
	{"9112§7.1.2/line-too-long", "X: " + strings.Repeat("x", defaultMaxHead-len("X: \r\n")+1) + "\r\n", "431 trailer-too-large"},
	{"9112§7.1.2/largest", strings.Repeat("X: "+strings.Repeat("x", 4091)+"\r\n", 15) + "X: " + strings.Repeat("x", 4089) + "\r\n", "="},
	{"9112§7.1.2/too-large", strings.Repeat("X: "+strings.Repeat("x", 4091)+"\r\n", 15) + "X: " + strings.Repeat("x", 4090) + "\r\n", "431 trailer-too-large"},
	{"9112§7.1.2/most-fields", strings.Repeat("X: 1\r\n", defaultMaxFields), "="},
	{"9112§7.1.2/too-many-fields", strings.Repeat("X: 1\r\n", defaultMaxFields+1), "431 trailer-too-large"},
	{"9112§7.1.2/too-many-that-are-dropped", strings.Repeat("Host: 1\r\n", defaultMaxFields+1), "431 trailer-too-large"},
}

func TestTrailers(t *testing.T) {
	for _, tc := range trailers {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			switch {
			case want == "=":
				want = "0\r\n" + tc.in + "\r\n"
			case !strings.HasPrefix(want, "4"):
				want = "0\r\n" + want + "\r\n"
			}
			for _, response := range []bool{false, true} {
				for _, size := range []int{1, 3, 1 << 20} {
					var b Body
					b.Init(Chunked, 0)
					b.response = response
					got, rest, err := follow(t, &b, "0\r\n"+tc.in+"\r\nnext", size)
					if err != nil {
						got, rest = cause(t, err), "next"
						if response {
							got = strings.Replace(got, "502", want[:3], 1)
						}
					}
					if got != want || rest != "next" || b.Done() != (err == nil) {
						t.Errorf("pieces of %d: %q, want %q, rest %q", size, got, want, rest)
					}
				}
			}
		})
	}
}

// TestUntrailable: a field that says how to read, route or trust a message does
// not pass behind its body.
func TestUntrailable(t *testing.T) {
	passes := map[string]bool{"server": true}
	for _, k := range known {
		t.Run("9110§6.5.1/"+k.name, func(t *testing.T) {
			var b Body
			b.Init(Chunked, 0)
			out, _, err := follow(t, &b, "0\r\n"+k.name+": 1\r\n\r\n", 100)
			if got := strings.Contains(out, k.name); err != nil || got != passes[k.name] {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

// What bounds a head bounds the trailer section behind it, for requests and for responses.
func TestTrailersAreBoundedAsHeadsAre(t *testing.T) {
	lim := &Limits{MaxHead: 100, MaxFields: 3}
	for section, want := range map[string]string{
		"X: " + strings.Repeat("x", 93) + "\r\n":  "",
		"X: " + strings.Repeat("x", 94) + "\r\n":  "trailer-too-large",
		"X: " + strings.Repeat("x", 200) + "\r\n": "trailer-too-large",
		"A: 1\r\nB: 2\r\nC: 3\r\n":                "",
		"A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n":        "trailer-too-large",
	} {
		var q Request
		if n, err := q.Parse([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), lim); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		var p Response
		if n, err := p.Parse([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), MethodPost, lim); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		for status, body := range map[int]Body{431: q.Body, 502: p.Body} {
			for _, size := range []int{1, 7, 1 << 20} {
				b := body
				_, _, err := follow(t, &b, "0\r\n"+section+"\r\n", size)
				got := ""
				if e := (*Error)(nil); errors.As(err, &e) {
					if got = e.Cause; e.Status != status {
						t.Errorf("%d octets: %v with status %d, want %d", len(section), err, e.Status, status)
					}
				}
				if got != want || b.Done() != (want == "") {
					t.Errorf("%d octets in pieces of %d: %v, want %q", len(section), size, err, want)
				}
			}
		}
	}
}

func TestGRPCStatusOfATrailerSection(t *testing.T) {
	for section, want := range map[string]int{
		"":                                      -1,
		"X: 1\r\n":                              -1,
		"grpc-status: 0\r\n":                    0,
		"X: 1\r\nGrpc-Status:\t14 \r\nY: 2\r\n": 14,
		"grpc-status: 3\r\ngrpc-status: 5\r\n":  5,
		"grpc-status: 3\r\ngrpc-status: x\r\n":  -1,
		"grpc-status:\r\n":                      -1,
		"grpc-status: -1\r\n":                   -1,
		"grpc-status: 4294967295\r\n":           -1,
		"grpc-status: 99999999999999999999\r\n": -1,
	} {
		for _, decode := range []bool{false, true} {
			var b Body
			b.Init(Chunked, 0)
			b.Decode = decode
			if _, _, err := follow(t, &b, "2\r\nhi\r\n0\r\n"+section+"\r\n", 3); err != nil {
				t.Fatal(err)
			}
			if code, ok := b.GRPCStatus(); code != want || ok != (want >= 0) {
				t.Errorf("%q: %d, %v, want %d", section, code, ok, want)
			}
		}
	}
}
