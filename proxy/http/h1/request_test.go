package h1

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// cause returns the cause of an *Error, "" for nil.
func cause(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is a %T, want an *Error", err, err)
	}
	return fmt.Sprintf("%d %s", e.Status, e.Cause)
}

// parseRequest parses a head that must be complete, or a mistake.
func parseRequest(t testing.TB, head string, lim *Limits) (*Request, error) {
	t.Helper()
	r := new(Request)
	n, err := r.Parse([]byte(head), lim)
	if err == nil && n == 0 {
		t.Fatalf("Parse(%.200q) wants more", head)
	}
	return r, err
}

// get is the head of a GET with the given lines behind Host.
func get(lines ...string) string {
	head := "GET /x HTTP/1.1\r\nHost: test.example\r\n"
	for _, l := range lines {
		head += l + "\r\n"
	}
	return head + "\r\n"
}

// verdict is a head and how it is judged: "" if it is accepted.
type verdict struct {
	name string
	head string
	want string
}

func judgeRequests(t *testing.T, cases []verdict) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseRequest(t, tc.head, nil)
			if got := cause(t, err); got != tc.want {
				t.Errorf("Parse(%.200q) = %q, want %q", tc.head, got, tc.want)
			}
		})
	}
}

// line is a head with that request line.
func line(l string) string { return l + "\r\nHost: test.example\r\n\r\n" }

var requestLines = []verdict{
	{"9112§3/plain", line("GET /x HTTP/1.1"), ""},
	{"9112§3/two-spaces", line("GET  /x HTTP/1.1"), "400 bad-target"},
	{"9112§3/two-spaces-before-version", line("GET /x  HTTP/1.1"), "400 bad-version"},
	{"9112§3/trailing-space", line("GET /x HTTP/1.1 "), "400 bad-version"},
	{"9112§3/tab", line("GET\t/x HTTP/1.1"), "400 bad-method"},
	{"9112§3/tab-before-version", line("GET /x\tHTTP/1.1"), "400 bad-target"},
	{"9112§3/vertical-tab", line("GET /x\vHTTP/1.1"), "400 bad-target"},
	{"9112§3/leading-space", line(" GET /x HTTP/1.1"), "400 bad-method"},
	{"9112§3/garbage", "GARBAGE\r\n\r\n", "400 bad-method"},
	{"9112§3/tls-hello", "\x16\x03\x01\x02\x00\x01", "400 bad-method"},
	{"9112§3/leading-tab", line("\tGET /x HTTP/1.1"), "400 bad-method"},
	{"9112§3/form-feed", line("GET\f/x HTTP/1.1"), "400 bad-method"},
	{"9112§3/no-break-space", line("GET /x\u00a0HTTP/1.1"), "400 bad-target"},
	{"9112§3/only-spaces", line("  "), "400 bad-method"},
	{"9112§3/only-method", line("GET"), "400 bad-method"},
	{"9112§3/four-parts", line("GET /x y HTTP/1.1"), "400 bad-version"},
	{"9112§3/no-version", line("GET /x"), "400 bad-version"},
	{"9112§3/no-target", line("GET HTTP/1.1"), "400 bad-version"},
	{"9112§2.2/bare-lf", "GET /x HTTP/1.1\nHost: a\n\n", "400 bad-line-end"},
	{"9112§2.2/bare-cr", "GET /x HTTP/1.1\rHost: a\r\n\r\n", "400 bad-line-end"},
	{"9112§2.2/cr-cr-lf", "GET /x HTTP/1.1\r\r\nHost: a\r\n\r\n", "400 bad-line-end"},
	{"9112§2.2/lf-in-target", "GET /x\nHTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-line-end"},
	{"9112§2.2/lf-in-method", "GET\n/x HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-method"},
	{"9112§2.2/empty-line-first", "\r\n" + line("GET /x HTTP/1.1"), ""},
	{"9112§2.2/empty-lines-first", "\r\n\r\n\r\n\r\n" + line("GET /x HTTP/1.1"), ""},
	{"9112§2.2/too-many-empty-lines", "\r\n\r\n\r\n\r\n\r\n" + line("GET /x HTTP/1.1"), "400 blank-lines"},
	{"9112§2.2/empty-line-bare-lf", "\n" + line("GET /x HTTP/1.1"), "400 bad-line-end"},
	{"9112§2.2/empty-line-bare-cr", "\r" + line("GET /x HTTP/1.1"), "400 bad-line-end"},
	{"9112§3.1/unknown-method", line("FROB-2 /x HTTP/1.1"), ""},
	{"9112§3.1/all-tchars", line("!#$%&'*+-.^_`|~09azAZ /x HTTP/1.1"), ""},
	{"9112§3.1/lower-case", line("get /x HTTP/1.1"), ""},
	{"9112§3.1/no-method", line(" /x HTTP/1.1"), "400 bad-method"},
	{"9112§3.1/nul", line("GE\x00T /x HTTP/1.1"), "400 bad-method"},
	{"9112§3.1/brace", line("GE{T /x HTTP/1.1"), "400 bad-method"},
	{"9112§3.1/separators", line("GE(T) /x HTTP/1.1"), "400 bad-method"},
	{"9112§3.1/obs-text", line("GET\xe9 /x HTTP/1.1"), "400 bad-method"},
	{"9112§3.1/longest", line(strings.Repeat("M", 64) + " /x HTTP/1.1"), ""},
	{"9112§3.1/too-long", line(strings.Repeat("M", 65) + " /x HTTP/1.1"), "501 method-too-long"},
	{"9112§2.3/1.0", line("GET /x HTTP/1.0"), ""},
	{"9112§2.3/1.2", line("GET /x HTTP/1.2"), ""},
	{"9112§2.3/1.9", line("GET /x HTTP/1.9"), ""},
	{"9112§2.3/2.0", line("GET /x HTTP/2.0"), "505 version-not-supported"},
	{"9112§2.3/0.9", line("GET /x HTTP/0.9"), "505 version-not-supported"},
	{"9112§2.3/lower-case", line("GET /x http/1.1"), "400 bad-version"},
	{"9112§2.3/no-minor", line("GET /x HTTP/1."), "400 bad-version"},
	{"9112§2.3/no-dot", line("GET /x HTTP/1"), "400 bad-version"},
	{"9112§2.3/leading-zero", line("GET /x HTTP/01.1"), "400 bad-version"},
	{"9112§2.3/other-protocol", line("GET /x HTTPS/1.1"), "400 bad-version"},
	{"9112§2.3/three-parts", line("GET /x HTTP/1.1.1"), "400 bad-version"},
	{"9112§2.3/two-digits", line("GET /x HTTP/1.10"), "400 bad-version"},
	{"9112§2.3/junk", line("GET /x HTTP/1.1x"), "400 bad-version"},
	{"9112§2.3/minus", line("GET /x HTTP/-1.1"), "400 bad-version"},
	{"9112§2.3/plus", line("GET /x HTTP/+1.1"), "400 bad-version"},
	{"9112§2.3/space", line("GET /x HTTP /1.1"), "400 bad-version"},
	{"9113§3.4/preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 http2-preface"},
}

func TestRequestLine(t *testing.T) { judgeRequests(t, requestLines) }

var targets = []verdict{
	{"9112§3.2.1/root", line("GET / HTTP/1.1"), ""},
	{"9112§3.2.1/query", line("GET /p?a=b&&=&x=?/&z==%00 HTTP/1.1"), ""},
	{"9112§3.2.1/percent", line("GET /a%2Fb%zz HTTP/1.1"), ""},
	{"9112§3.2.1/beyond-pchar", line("GET /a?b[]=\"<>\\^`{|} HTTP/1.1"), ""},
	{"9112§3.2.1/double-slash", line("GET //a/../b HTTP/1.1"), ""},
	{"9112§3.2.1/relative", line("GET ../etc HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.1/query-only", line("GET ?a=b HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.1/dot-segments", line("GET /a/../../b/./c?d HTTP/1.1"), ""},
	{"9112§3.2.1/scheme-inside", line("GET /http://a/b HTTP/1.1"), ""},
	{"9112§3.2.1/backslash-first", line("GET \\x HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.1/percent-first", line("GET %2Fx HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.1/word", line("GET x HTTP/1.1"), "400 bad-target"},
	{"9112§3.2/space-in-query", line("GET /a?b c=d HTTP/1.1"), "400 bad-version"},
	{"9112§3.2/nul", line("GET /a\x00b HTTP/1.1"), "400 bad-target"},
	{"9112§3.2/cr", line("GET /a\rb HTTP/1.1"), "400 bad-version"},
	{"9112§3.2/del", line("GET /a\x7fb HTTP/1.1"), "400 bad-target"},
	{"9112§3.2/non-ascii", line("GET /caf\u00e9 HTTP/1.1"), "400 bad-target"},
	{"3986§3.5/fragment", line("GET /a#b HTTP/1.1"), "400 bad-target"},
	{"3986§3.5/fragment-far", line("GET /0123456789/0123456789#b HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.2/absolute", line("GET http://test.example/a?b HTTP/1.1"), ""},
	{"9112§3.2.2/https", line("GET https://test.example/ HTTP/1.1"), ""},
	{"9112§3.2.2/upper-scheme", line("GET HTTP://Test.Example/ HTTP/1.1"), ""},
	{"9112§3.2.2/port", line("GET http://test.example:80/ HTTP/1.1"), ""},
	{"9112§3.2.2/ip6", line("GET http://[::1]:80/ HTTP/1.1"), ""},
	{"9112§3.2.2/no-path", line("GET http://test.example HTTP/1.1"), ""},
	{"9112§3.2.2/only-query", line("GET http://test.example?a HTTP/1.1"), ""},
	{"9112§3.2.2/empty-port", line("GET http://test.example:/ HTTP/1.1"), ""},
	{"9112§3.2.2/other-host", line("GET http://other.example/ HTTP/1.1"), ""},
	{"9112§3.2.2/no-scheme", line("GET ://test.example/ HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.2/one-letter-less", line("GET ttp://test.example/ HTTP/1.1"), "400 bad-scheme"},
	{"9112§3.2.2/space-in-scheme", line("GET ht tp://test.example/ HTTP/1.1"), "400 bad-version"},
	{"9112§3.2.2/list-of-hosts", line("GET http://a,b/ HTTP/1.1"), ""},
	{"9112§3.2.2/backslash-in-host", line("GET http://a\\b/ HTTP/1.1"), "400 bad-host"},
	{"9112§3.2.2/bad-percent-in-host", line("GET http://a%/ HTTP/1.1"), "400 bad-host"},
	{"9112§3.2.2/ip6-open", line("GET http://[::1/ HTTP/1.1"), "400 bad-host"},
	{"9112§3.2.2/other-scheme", line("GET ftp://test.example/ HTTP/1.1"), "400 bad-scheme"},
	{"9112§3.2.2/no-slashes", line("GET http:/test.example/ HTTP/1.1"), "400 bad-scheme"},
	{"9112§3.2.2/bad-port", line("GET http://test.example:8x/ HTTP/1.1"), "400 bad-host"},
	{"9112§3.2.2/no-host-field", "GET http://test.example/ HTTP/1.1\r\n\r\n", "400 missing-host"},
	{"9112§3.2.2/two-host-fields", "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 duplicate-host"},
	{"9112§3.2.2/bad-host-field", "GET http://a/ HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 bad-host"},
	{"9112§3.2.2/empty-host-field", "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", ""},
	{"9112§3.2.2/1.0-no-host-field", "GET http://a/ HTTP/1.0\r\n\r\n", ""},
	{"9110§4.2.1/empty-host", line("GET http:///a HTTP/1.1"), "400 bad-host"},
	{"9110§4.2.1/only-scheme", line("GET http:// HTTP/1.1"), "400 bad-host"},
	{"9110§4.2.1/only-scheme-https", line("GET https:// HTTP/1.1"), "400 bad-host"},
	{"9110§4.2.1/only-port", line("GET http://:80/a HTTP/1.1"), "400 bad-host"},
	{"9110§4.2.4/userinfo", line("GET http://me@test.example/ HTTP/1.1"), "400 bad-host"},
	{"9112§3.2.3/authority", line("CONNECT test.example:443 HTTP/1.1"), ""},
	{"9112§3.2.3/ip6", line("CONNECT [::1]:443 HTTP/1.1"), ""},
	{"9112§3.2.3/no-port", line("CONNECT test.example HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/empty-port", line("CONNECT test.example: HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/only-port", line("CONNECT :443 HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/bad-port", line("CONNECT test.example:https HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/ip6-without-port", line("CONNECT [::1] HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/userinfo", line("CONNECT me@test.example:443 HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/with-path", line("CONNECT test.example:443/ HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/asterisk", line("CONNECT * HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/no-host-field", "CONNECT a:443 HTTP/1.1\r\n\r\n", "400 missing-host"},
	{"9112§3.2.3/path", line("CONNECT /x HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/absolute", line("CONNECT http://a/ HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.3/not-connect", line("GET test.example:443 HTTP/1.1"), "400 bad-scheme"},
	{"9112§3.2.4/asterisk", line("OPTIONS * HTTP/1.1"), ""},
	{"9112§3.2.4/not-options", line("GET * HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.4/trace", line("TRACE * HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.4/options-in-lower-case", line("options * HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.4/with-query", line("OPTIONS *?a HTTP/1.1"), "400 bad-target"},
	{"9112§3.2.4/options-of-a-path", line("OPTIONS /x HTTP/1.1"), ""},
	{"9112§3.2.4/more", line("OPTIONS *x HTTP/1.1"), "400 bad-target"},
}

func TestTarget(t *testing.T) { judgeRequests(t, targets) }

func host(value string) string { return "GET /x HTTP/1.1\r\nHost:" + value + "\r\n\r\n" }

var hosts = []verdict{
	{"9112§3.2/missing", "GET /x HTTP/1.1\r\n\r\n", "400 missing-host"},
	{"9112§3.2/missing-in-1.0", "GET /x HTTP/1.0\r\n\r\n", ""},
	{"9112§3.2/empty", host(""), "400 bad-host"},
	{"9112§3.2/empty-in-1.0", "GET /x HTTP/1.0\r\nHost: \r\n\r\n", ""},
	{"9112§3.2/only-whitespace", host(" \t "), "400 bad-host"},
	{"9112§3.2/twice-one-empty", "GET /x HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n", "400 duplicate-host"},
	{"9112§3.2/twice-first-empty", "GET /x HTTP/1.0\r\nHost:\r\nHost: a\r\n\r\n", "400 duplicate-host"},
	{"9112§3.2/bad-in-1.0", "GET /x HTTP/1.0\r\nHost: a/b\r\n\r\n", "400 bad-host"},
	{"9112§3.2/last-of-the-fields", "GET /x HTTP/1.1\r\nX-A: 1\r\nHost: a\r\n\r\n", ""},
	{"9112§3.2/almost", "GET /x HTTP/1.1\r\nHosts: a\r\n\r\n", "400 missing-host"},
	{"9112§3.2/twice", "GET /x HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", "400 duplicate-host"},
	{"9112§3.2/twice-in-1.0", "GET /x HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "400 duplicate-host"},
	{"9110§7.2/whitespace-around", host(" \t test.example \t "), ""},
	{"9110§7.2/no-whitespace", host("test.example"), ""},
	{"9110§7.2/slash", host("test.example/evil"), "400 bad-host"},
	{"9110§7.2/userinfo", host("user@test.example"), "400 bad-host"},
	{"9110§7.2/query", host("test.example?x"), "400 bad-host"},
	{"9110§7.2/fragment", host("test.example#x"), "400 bad-host"},
	{"9110§7.2/tab", host("test\texample"), "400 bad-host"},
	{"9110§7.2/space", host("test example"), "400 bad-host"},
	{"9110§7.2/list", host("a.example, b.example"), "400 bad-host"},
	{"9110§7.2/backslash", host("a\\b"), "400 bad-host"},
	{"9110§7.2/non-ascii", host("caf\u00e9"), "400 bad-host"},
	{"9110§7.2/scheme", host("http://test.example"), "400 bad-host"},
	{"9110§7.2/quote", host("\"a\""), "400 bad-host"},
	{"9110§7.2/angle", host("<a>"), "400 bad-host"},
	{"9110§7.2/nul", host("a\x00"), "400 bad-field-value"},
	{"9110§7.2/only-port", host(":80"), "400 bad-host"},
	{"3986§3.2.3/port", host("test.example:8080"), ""},
	{"3986§3.2.3/empty-port", host("test.example:"), ""},
	{"3986§3.2.3/bad-port", host("test.example:http"), "400 bad-host"},
	{"3986§3.2.3/two-ports", host("test.example:80:80"), "400 bad-host"},
	{"3986§3.2.3/negative-port", host("test.example:-1"), "400 bad-host"},
	{"3986§3.2.2/trailing-dot", host("test.example."), ""},
	{"3986§3.2.2/underscore", host("a_b"), ""},
	{"3986§3.2.2/percent", host("a%20b"), ""},
	{"3986§3.2.2/bad-percent", host("a%2"), "400 bad-host"},
	{"3986§3.2.2/bad-percent-first-digit", host("a%g2b"), "400 bad-host"},
	{"3986§3.2.2/bad-percent-second-digit", host("a%2gb"), "400 bad-host"},
	{"3986§3.2.2/percent-last", host("a%"), "400 bad-host"},
	{"3986§3.2.2/bracket", host("["), "400 bad-host"},
	{"3986§3.2.2/ip-future-open", host("[v"), "400 bad-host"},
	{"3986§3.2.2/ip4", host("127.0.0.1:80"), ""},
	{"3986§3.2.2/ip6", host("[::1]:8080"), ""},
	{"3986§3.2.2/ip6-no-port", host("[2001:db8::1.2.3.4]"), ""},
	{"3986§3.2.2/ip6-bare", host("::1"), "400 bad-host"},
	{"3986§3.2.2/ip6-open", host("[::1"), "400 bad-host"},
	{"3986§3.2.2/ip6-empty", host("[]"), "400 bad-host"},
	{"3986§3.2.2/sub-delims", host("a!$&'()*+,;=~b"), ""},
	{"3986§3.2.2/ip6-letters", host("[::g]"), "400 bad-host"},
	{"3986§3.2.2/ip6-two", host("[::1][::1]"), "400 bad-host"},
	{"3986§3.2.2/ip6-no-colon", host("[1234]"), "400 bad-host"},
	{"3986§3.2.2/ip6-not-first", host("a[::1]"), "400 bad-host"},
	{"3986§3.2.2/ip6-zone", host("[fe80::1%25eth0]"), "400 bad-host"},
	{"3986§3.2.2/ip6-junk-behind", host("[::1]x"), "400 bad-host"},
	{"3986§3.2.2/ip-future", host("[v1.a:b]"), ""},
}

func TestHost(t *testing.T) { judgeRequests(t, hosts) }

var fieldSyntax = []verdict{
	{"9110§5.1/all-tchars", get("X!#$%&'*+-.^_`|~9: ok"), ""},
	{"9110§5.1/underscore", get("X_Under: ok"), ""},
	{"9110§5.1/empty", get(": v"), "400 bad-field-name"},
	{"9110§5.1/parenthesis", get("X(Foo): a"), "400 bad-field-name"},
	{"9110§5.1/comma", get("X,Foo: a"), "400 bad-field-name"},
	{"9110§5.1/slash", get("X/Foo: a"), "400 bad-field-name"},
	{"9110§5.1/quote", get("\"X\": a"), "400 bad-field-name"},
	{"9110§5.1/brace", get("X{Foo}: a"), "400 bad-field-name"},
	{"9110§5.1/obs-text", get("X\xe9Foo: a"), "400 bad-field-name"},
	{"9110§5.1/control", get("X\x01Foo: a"), "400 bad-field-name"},
	{"9110§5.1/nul", get("X-\x00Foo: a"), "400 bad-field-name"},
	{"9110§5.1/vertical-tab-first", get("\vTransfer-Encoding: chunked"), "400 bad-field-name"},
	{"9112§5.1/space-before-colon", get("X-Foo : a"), "400 bad-field-name"},
	{"9112§5.1/tab-before-colon", get("X-Foo\t: a"), "400 bad-field-name"},
	{"9112§5.1/space-before-colon-of-length", get("Content-Length : 5"), "400 bad-field-name"},
	{"9112§5/no-colon", get("NoColonHere"), "400 bad-field-name"},
	{"9112§5/whitespace-around", get("X-Ows: \t v w \t "), ""},
	{"9112§5/no-whitespace", get("X-Ows:v"), ""},
	{"9112§5/empty-value", get("X-Empty:"), ""},
	{"9112§2.2/whitespace-before-first", "GET /x HTTP/1.1\r\n Host: a\r\n\r\n", "400 folded-field"},
	{"9112§5.2/fold", get("X-Fold: a", " b"), "400 folded-field"},
	{"9112§5.2/fold-by-tab", get("X-Fold: a", "\tb"), "400 folded-field"},
	{"9112§5.2/fold-empty", get("X-Fold: a", " "), "400 folded-field"},
	{"9110§5.5/obs-text", get("X-Obs: caf\xe9 \x80\xff"), ""},
	{"9110§5.5/utf-8", get("X-Utf8: caf\u00e9"), ""},
	{"9110§5.5/tab-inside", get("X-Tab: 0123456789\tab\tcd"), ""},
	{"9110§5.5/punctuation", get(`X-Q: "a\"b"; c=<d>:{e}[f]\`), ""},
	{"9110§5.5/nul", get("X-Nul: a\x00b"), "400 bad-field-value"},
	{"9110§5.5/del", get("X-Ctl: a\x7fb"), "400 bad-field-value"},
	{"9110§5.5/control", get("X-Ctl: 0123456789abcdef\x1fb"), "400 bad-field-value"},
	{"9110§5.5/vertical-tab", get("X-Ctl: a\vb"), "400 bad-field-value"},
	{"9110§5.5/bare-cr", get("X-Cr: a\rb"), "400 bad-line-end"},
	{"9110§5.5/bare-cr-and-field", get("X-Cr: a\rContent-Length: 5"), "400 bad-line-end"},
	{"9112§2.2/bare-lf", get("X-A: 1\nTransfer-Encoding: chunked"), "400 bad-line-end"},
	{"9112§2.2/bare-lf-behind-name", get("X-A\nB: 1"), "400 bad-line-end"},
	{"9112§2.2/bare-lf-at-the-end", "GET /x HTTP/1.1\r\nHost: a\r\n\n", "400 bad-line-end"},
	{"9112§2.2/bare-cr-at-the-end", "GET /x HTTP/1.1\r\nHost: a\r\n\rX", "400 bad-line-end"},
}

func TestFieldSyntax(t *testing.T) { judgeRequests(t, fieldSyntax) }

func TestLimits(t *testing.T) {
	lim := &Limits{MaxHead: 200, MaxFields: 3, MaxTarget: 20}
	rep := strings.Repeat
	for _, tc := range []verdict{
		{"9112§3/target-fits", line("GET /" + rep("a", 19) + " HTTP/1.1"), ""},
		{"9112§3/target-too-long", line("GET /" + rep("a", 20) + " HTTP/1.1"), "414 target-too-long"},
		{"9112§3/target-endless", "GET /" + rep("a", 20), "414 target-too-long"},
		{"9112§3/target-endless-beyond-head", "GET /" + rep("a", 300), "414 target-too-long"},
		{"6585§5/head-fits", get("X: " + rep("a", 156)), ""},
		{"6585§5/head-too-large", get("X: " + rep("a", 157)), "431 head-too-large"},
		{"6585§5/head-endless", get("X: " + rep("a", 300))[:200], "431 head-too-large"},
		{"6585§5/name-endless", get(rep("N", 300))[:200], "431 head-too-large"},
		{"6585§5/fields-fit", get("A: 1", "B: 2"), ""},
		{"6585§5/too-many-fields", get("A: 1", "B: 2", "C: 3"), "431 too-many-fields"},
		{"6585§5/mistake-behind-the-limit", get("X: " + rep("a", 200) + "\x00"), "431 head-too-large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseRequest(t, tc.head, lim)
			if got := cause(t, err); got != tc.want {
				t.Errorf("Parse(%d octets) = %q, want %q", len(tc.head), got, tc.want)
			}
		})
	}
}

// TestLimitOfHeadInTarget: the target may be what makes a head too large.
func TestLimitOfHeadInTarget(t *testing.T) {
	for _, tc := range []verdict{
		{"9112§3/target-endless", "GET /" + strings.Repeat("a", 300), "414 target-too-long"},
		{"9112§3/target-ends-behind-the-limit", line("GET /" + strings.Repeat("a", 300) + " HTTP/1.1"), "414 target-too-long"},
		{"6585§5/target-fits", line("GET /" + strings.Repeat("a", 180) + " HTTP/1.1"), "431 head-too-large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseRequest(t, tc.head, &Limits{MaxHead: 200})
			if got := cause(t, err); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestRequestParts(t *testing.T) {
	r, err := parseRequest(t, "\r\nOPTIONS http://Other.example:81?x=1 HTTP/1.7\r\nhost: test.example\r\nX-A:  1 \r\n\r\nrest", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct{ what, got, want string }{
		{"Method", string(r.Method), "OPTIONS"},
		{"Target", string(r.Target), "http://Other.example:81?x=1"},
		{"Authority", string(r.Authority), "Other.example:81"},
		{"Path", string(r.Path), "?x=1"},
		{"Host", string(r.Host), "Other.example:81"},
		{"AppendRequestLine", string(r.AppendRequestLine(nil)), "OPTIONS /?x=1 HTTP/1.1\r\n"},
		{"AppendFields", string(r.AppendFields(nil, 0)), "host: Other.example:81\r\nX-A: 1\r\n"},
		{"Name", string(r.Name(1)), "X-A"},
		{"Value", string(r.Value(1)), "1"},
		{"Get", string(r.Get(KindHost)), "Other.example:81"},
		{"Lookup", fmt.Sprint(r.Lookup("x-a"), r.Lookup("x-b"), r.Lookup("HOST")), "1 -1 0"},
		{"flags", fmt.Sprint(r.MethodID, r.Form, r.Minor, r.HostAt, r.Secure, r.KeepAlive), fmt.Sprint(MethodOptions, FormAbsolute, 1, 0, false, true)},
	} {
		if p.got != p.want {
			t.Errorf("%s = %q, want %q", p.what, p.got, p.want)
		}
	}
}

// TestAppendTarget: the request line and the Host field that are sent on.
func TestAppendTarget(t *testing.T) {
	for _, tc := range []struct{ name, line, want, host string }{
		{"9112§3.2.1/as-it-came", "GET /a/./b/../%7e%zz?c?d HTTP/1.1", "/a/./b/../%7e%zz?c?d", "test.example"},
		{"9112§3.2.1/double-slash", "GET //a//b HTTP/1.1", "//a//b", "test.example"},
		{"9112§3.2.2/no-path", "GET http://h HTTP/1.1", "/", "h"},
		{"9112§3.2.2/root", "GET http://h/ HTTP/1.1", "/", "h"},
		{"9112§3.2.2/path-and-query", "GET https://H:81/a?b HTTP/1.1", "/a?b", "H:81"},
		{"9112§3.2.2/only-query", "GET http://h?a HTTP/1.1", "/?a", "h"},
		{"9112§3.2.2/slashes", "GET http://h//a HTTP/1.1", "//a", "h"},
		{"9112§3.2.2/ip6", "GET http://[::1]:81/a HTTP/1.1", "/a", "[::1]:81"},
		{"9112§3.2.4/options-without-path", "OPTIONS http://h HTTP/1.1", "*", "h"},
		{"9112§3.2.4/options-with-query", "OPTIONS http://h?a HTTP/1.1", "/?a", "h"},
		{"9112§3.2.4/options-of-root", "OPTIONS http://h/ HTTP/1.1", "/", "h"},
		{"9112§3.2.4/asterisk", "OPTIONS * HTTP/1.1", "*", "test.example"},
		{"9112§3.2.3/authority", "CONNECT h:1 HTTP/1.1", "h:1", "h:1"},
		{"9112§2.3/from-1.0", "GET /a HTTP/1.0", "/a", "test.example"},
		{"9112§2.3/from-1.9", "GET /a HTTP/1.9", "/a", "test.example"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := parseRequest(t, line(tc.line), nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Secure != strings.Contains(tc.line, "https:") {
				t.Errorf("Secure = %v", r.Secure)
			}
			method, _, _ := strings.Cut(tc.line, " ")
			if got := string(r.AppendRequestLine([]byte("> "))); got != "> "+method+" "+tc.want+" HTTP/1.1\r\n" {
				t.Errorf("AppendRequestLine = %q, want the target %q", got, tc.want)
			}
			if got := string(r.AppendFields(nil, 0)); got != "Host: "+tc.host+"\r\n" || string(r.Host) != tc.host {
				t.Errorf("sends on %q for %q, want %q", got, r.Host, tc.host)
			}
		})
	}
}

// TestHostOld: HTTP/1.0 can do without Host, and an empty one is none.
func TestHostOld(t *testing.T) {
	for _, tc := range []struct{ name, head, host, fields string }{
		{"9112§3.2/missing", "GET /x HTTP/1.0\r\nX-A: 1\r\n\r\n", "", "X-A: 1\r\n"},
		{"9112§3.2/empty", "GET /x HTTP/1.0\r\nHost: \r\nX-A: 1\r\n\r\n", "", "X-A: 1\r\n"},
		{"9112§3.2/there", "GET /x HTTP/1.0\r\nHost: a\r\nX-A: 1\r\n\r\n", "a", "Host: a\r\nX-A: 1\r\n"},
		{"9112§3.2.2/absolute-without", "GET http://a/ HTTP/1.0\r\nX-A: 1\r\n\r\n", "a", "X-A: 1\r\n"},
		{"9112§3.2.2/absolute-and-empty", "GET http://a/ HTTP/1.0\r\nHost:\r\nX-A: 1\r\n\r\n", "a", "Host: a\r\nX-A: 1\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := parseRequest(t, tc.head, nil)
			if err != nil {
				t.Fatal(err)
			}
			passes := strings.Contains(tc.fields, "Host")
			if got := string(r.AppendFields(nil, 0)); got != tc.fields || string(r.Host) != tc.host || r.HostAt >= 0 != passes || r.Passes(KindHost) != passes {
				t.Errorf("sends on %q for %q, at %d", got, r.Host, r.HostAt)
			}
		})
	}
}
