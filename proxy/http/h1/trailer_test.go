package h1

import (
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
	{"9112§7.1.2/longest-line", "X: " + strings.Repeat("x", MaxTrailerLine-5) + "\r\n", "="},
	{"9112§7.1.2/line-too-long", "X: " + strings.Repeat("x", MaxTrailerLine-4) + "\r\n", "431 trailer-too-large"},
	{"9112§7.1.2/largest", strings.Repeat("X: "+strings.Repeat("x", 4091)+"\r\n", 3) + "X: " + strings.Repeat("x", 4089) + "\r\n", "="},
	{"9112§7.1.2/too-large", strings.Repeat("X: "+strings.Repeat("x", 4091)+"\r\n", 3) + "X: " + strings.Repeat("x", 4090) + "\r\n", "431 trailer-too-large"},
	{"9112§7.1.2/most-fields", strings.Repeat("X: 1\r\n", maxTrailerFields), "="},
	{"9112§7.1.2/too-many-fields", strings.Repeat("X: 1\r\n", maxTrailerFields+1), "431 trailer-too-large"},
	{"9112§7.1.2/too-many-that-are-dropped", strings.Repeat("Host: 1\r\n", maxTrailerFields+1), "431 trailer-too-large"},
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
