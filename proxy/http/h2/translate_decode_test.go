package h2

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"sidecar/proxy/http/h1"
)

const get = ":method=GET\n:scheme=http\n:path=/\n"
const post = ":method=POST\n:scheme=http\n:authority=a\n:path=/\n"

// requests are lists and the heads that they become, without and with END_STREAM, or an error
// for both.
var requests = []struct {
	name, list string
	open, end  string
	err        error
}{
	{name: "9113§8.3.1/least", list: get + ":authority=a.example",
		open: "GET / HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n",
		end:  "GET / HTTP/1.1\nhost: a.example\n"},
	{name: "9113§8.3.1/order-of-pseudo-fields", list: ":path=/p?q=1\n:authority=a\n:scheme=https\n:method=DELETE",
		end: "DELETE /p?q=1 HTTP/1.1\nhost: a\n"},
	{name: "9113§8.3.1/host-for-authority", list: get + "host=a:81", end: "GET / HTTP/1.1\nhost: a:81\n"},
	{name: "9113§8.3.1/host-same", list: get + ":authority=a:81\nhost=A:81", end: "GET / HTTP/1.1\nhost: a:81\n"},
	{name: "9113§8.3.1/host-default-port", list: get + ":authority=a:80\nhost=a", end: "GET / HTTP/1.1\nhost: a:80\n"},
	{name: "9113§8.3.1/host-empty-port", list: get + ":authority=a\nhost=a:", end: "GET / HTTP/1.1\nhost: a\n"},
	{name: "9113§8.3.1/host-differs", list: get + ":authority=a\nhost=b", err: errHost},
	{name: "9113§8.3.1/host-port-differs", list: get + ":authority=a\nhost=a:81", err: errHost},
	{name: "9113§8.3.1/host-default-port-of-https", list: ":method=GET\n:scheme=https\n:path=/\n:authority=a:443\nhost=a", end: "GET / HTTP/1.1\nhost: a:443\n"},
	{name: "9113§8.3.1/host-port-of-http", list: ":method=GET\n:scheme=https\n:path=/\n:authority=a:80\nhost=a", err: errHost},
	{name: "9113§8.3.1/host-port-of-other-scheme", list: get + ":authority=a\nhost=a:443", err: errHost},
	{name: "9112§3.2/host-twice", list: get + "host=a\nhost=a", err: errHost},
	{name: "9112§3.2/host-often", list: get + strings.Repeat("host=a\n", 257), err: errHost},
	{name: "9113§8.3.1/authority-empty", list: get + ":authority=", err: errAuthority},
	{name: "9113§8.3.1/authority-userinfo", list: get + ":authority=u@a", err: errAuthority},
	{name: "9113§8.3.1/authority-space", list: get + ":authority=a b", err: errAuthority},
	{name: "9113§8.3.1/authority-line", list: get + ":authority=a\r\x0bx", err: errAuthority},
	{name: "9113§8.3.1/scheme-case", list: ":method=GET\n:scheme=HTTPS\n:authority=a\n:path=/", end: "GET / HTTP/1.1\nhost: a\n"},
	{name: "9113§8.3.1/scheme-other", list: ":method=GET\n:scheme=coap+tcp\n:authority=a\n:path=/x", end: "GET coap+tcp://a/x HTTP/1.1\nhost: a\n"},
	{name: "9113§8.3.1/scheme-malformed", list: ":method=GET\n:scheme=1http\n:authority=a\n:path=/", err: errScheme},
	{name: "9113§8.3.1/scheme-space", list: ":method=GET\n:scheme=http x\n:authority=a\n:path=/", err: errScheme},
	{name: "9113§8.3.1/scheme-empty", list: ":method=GET\n:scheme=\n:authority=a\n:path=/", err: errScheme},
	{name: "9113§8.3.1/scheme-missing", list: ":method=GET\n:authority=a\n:path=/", err: errMissing},
	{name: "9113§8.3.1/path-missing", list: ":method=GET\n:scheme=http\n:authority=a", err: errMissing},
	{name: "9113§8.3.1/path-empty", list: ":method=GET\n:scheme=http\n:authority=a\n:path=", err: errPath},
	{name: "9113§8.3.1/path-relative", list: ":method=GET\n:scheme=http\n:authority=a\n:path=x", err: errPath},
	{name: "9113§8.3.1/path-absolute", list: ":method=GET\n:scheme=http\n:authority=a\n:path=http://a/", err: errPath},
	{name: "9113§8.3.1/path-space", list: ":method=GET\n:scheme=http\n:authority=a\n:path=/a HTTP/1.1", err: errPath},
	{name: "9113§8.3.1/path-control", list: ":method=GET\n:scheme=http\n:authority=a\n:path=/a\r", err: errPath},
	{name: "9113§8.3.1/path-del", list: ":method=GET\n:scheme=http\n:authority=a\n:path=/\x7f", err: errPath},
	{name: "9113§8.3.1/asterisk", list: ":method=OPTIONS\n:scheme=http\n:authority=a\n:path=*", end: "OPTIONS * HTTP/1.1\nhost: a\n"},
	{name: "9113§8.3.1/asterisk-get", list: ":method=GET\n:scheme=http\n:authority=a\n:path=*", err: errPath},
	{name: "9113§8.3.1/method-missing", list: ":scheme=http\n:authority=a\n:path=/", err: errMissing},
	{name: "9113§8.3.1/method-empty", list: ":method=\n:scheme=http\n:authority=a\n:path=/", err: errMissing},
	{name: "9110§9.1/method-no-token", list: ":method=GET /x\n:scheme=http\n:authority=a\n:path=/", err: errMethod},
	{name: "9113§8.3/empty-list", list: "", err: errMissing},
	{name: "9113§8.3/twice", list: get + ":path=/", err: errPseudo},
	{name: "9113§8.3/unknown", list: get + ":x=/", err: errPseudo},
	{name: "9113§8.3/name-is-colon", list: get + ":=/", err: errPseudo},
	{name: "9113§8.3/of-response", list: get + ":status=200", err: errPseudo},
	{name: "9113§8.3/behind-field", list: ":method=GET\n:scheme=http\nx=1\n:path=/", err: errPseudoLate},
	{name: "9113§8.3/upper-case-pseudo", list: ":Method=GET\n:scheme=http\n:path=/", err: errPseudo},
	{name: "8441§4/extended-connect", list: ":method=CONNECT\n:protocol=websocket\n:scheme=http\n:authority=a\n:path=/", err: errPseudo},
	{name: "9113§8.5/connect", list: ":method=CONNECT\n:authority=a:1", open: "CONNECT a:1 HTTP/1.1\nhost: a:1\n", end: "CONNECT a:1 HTTP/1.1\nhost: a:1\n"},
	{name: "9113§8.5/connect-with-path", list: ":method=CONNECT\n:authority=a:1\n:path=/", err: errConnect},
	{name: "9113§8.5/connect-with-scheme", list: ":method=CONNECT\n:authority=a:1\n:scheme=http", err: errConnect},
	{name: "9113§8.5/connect-without-authority", list: ":method=CONNECT\nhost=a:1", err: errConnect},
	{name: "9113§8.2/fields", list: get + "x-b=1\nx-a=\nx-b=2\n!#$%&'*+-.^_`|~09az=caf\xe9 \t\"x\"",
		end: "GET / HTTP/1.1\nx-b: 1\nx-a: \nx-b: 2\n!#$%&'*+-.^_`|~09az: caf\xe9 \t\"x\"\n"},
	{name: "9113§8.2.1/upper-case", list: get + "X-a=1", err: errName},
	{name: "9113§8.2.1/upper-case-inside", list: get + "x-A=1", err: errName},
	{name: "9113§8.2.1/name-empty", list: get + "=1", err: errName},
	{name: "9113§8.2.1/name-space", list: get + "x a=1", err: errName},
	{name: "9113§8.2.1/name-colon", list: get + "x:a=1", err: errName},
	{name: "9113§8.2.1/name-obs-text", list: get + "x\xe9=1", err: errName},
	{name: "9113§8.2.1/name-cr", list: get + "x\r=1", err: errName},
	{name: "9113§8.2.1/value-nul", list: get + "x=a\x00b", err: errValue},
	{name: "9113§8.2.1/value-cr", list: get + "x=1234567\r9", err: errValue},
	{name: "9110§5.5/value-control", list: get + "x=12345678901\x019", err: errValue},
	{name: "9110§5.5/value-del", list: get + "x=1234567890123456\x7f", err: errValue},
	{name: "9113§8.2.1/space-first", list: get + "x= a", err: errValue},
	{name: "9113§8.2.1/space-last", list: get + "x=a ", err: errValue},
	{name: "9113§8.2.1/tab-first", list: get + "x=\ta", err: errValue},
	{name: "9113§8.2.1/tab-last", list: get + "x=a\t", err: errValue},
	{name: "9113§8.2.1/only-space", list: get + "x= ", err: errValue},
	{name: "9113§8.2.1/tab-inside", list: get + "x=abc\tdefgh\tijkl", end: "GET / HTTP/1.1\nx: abc\tdefgh\tijkl\n"},
	{name: "9113§8.2.2/connection", list: get + "connection=close", err: errHopByHop},
	{name: "9113§8.2.2/proxy-connection", list: get + "proxy-connection=keep-alive", err: errHopByHop},
	{name: "9113§8.2.2/keep-alive", list: get + "keep-alive=timeout=5", err: errHopByHop},
	{name: "9113§8.2.2/transfer-encoding", list: get + "transfer-encoding=chunked", err: errHopByHop},
	{name: "9113§8.2.2/upgrade", list: get + "upgrade=websocket", err: errHopByHop},
	{name: "9113§8.2.2/te-trailers", list: get + "te=trailers", end: "GET / HTTP/1.1\nte: trailers\n"},
	{name: "9113§8.2.2/te-other", list: get + "te=trailers, deflate", err: errHopByHop},
	{name: "9113§8.2.2/te-empty", list: get + "te=", err: errHopByHop},
	{name: "7540§3.2.1/http2-settings", list: get + "http2-settings=AAA\nx=1", end: "GET / HTTP/1.1\nx: 1\n"},
	{name: "9113§8.2.3/cookies", list: get + "cookie=a=b\nx=1\ncookie=c=d\ncookie=e=f", end: "GET / HTTP/1.1\nx: 1\ncookie: a=b; c=d; e=f\n"},
	{name: "9113§8.2.3/cookie", list: get + "cookie=a", end: "GET / HTTP/1.1\ncookie: a\n"},
	{name: "9113§8.2.3/empty-cookies", list: get + "cookie=\ncookie=a\ncookie=\ncookie=b\ncookie=", end: "GET / HTTP/1.1\ncookie: a; b\n"},
	{name: "9110§8.6/no-content", list: post, open: "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n", end: "POST / HTTP/1.1\nhost: a\ncontent-length: 0\n"},
	{name: "9113§8.1.1/content-length-0", list: post + "content-length=0",
		open: "POST / HTTP/1.1\nhost: a\ncontent-length: 0\n", end: "POST / HTTP/1.1\nhost: a\ncontent-length: 0\n"},
	{name: "9113§8.1.1/content-length-0-get", list: get + "content-length=0", end: "GET / HTTP/1.1\ncontent-length: 0\n"},
	{name: "9113§8.1.1/content-length", list: post + "content-length=007\nx=1", open: "POST / HTTP/1.1\nhost: a\nx: 1\ncontent-length: 7\n", end: errLength.Error()},
	{name: "9110§8.6/content-length-twice", list: post + "content-length=7\ncontent-length=7", open: "POST / HTTP/1.1\nhost: a\ncontent-length: 7\n", end: errLength.Error()},
	{name: "9110§8.6/content-length-largest", list: post + "content-length=9223372036854775807", open: "POST / HTTP/1.1\nhost: a\ncontent-length: 9223372036854775807\n", end: errLength.Error()},
	{name: "9110§8.6/content-length-too-large", list: post + "content-length=9223372036854775808", err: errLength},
	{name: "9110§8.6/content-length-differs", list: post + "content-length=7\ncontent-length=8", err: errLength},
	{name: "9110§8.6/content-length-list", list: post + "content-length=7, 7", err: errLength},
	{name: "9110§8.6/content-length-sign", list: post + "content-length=+7", err: errLength},
	{name: "9110§8.6/content-length-empty", list: post + "content-length=", err: errLength},
	{name: "9110§6.5/length-and-trailers", list: post + "content-length=7\ntrailer=x", open: "POST / HTTP/1.1\nhost: a\ntrailer: x\ntransfer-encoding: chunked\n", end: errLength.Error()},
	{name: "grpc/length", list: post + "content-length=7\ncontent-type=application/grpc+proto", open: "POST / HTTP/1.1\nhost: a\ncontent-type: application/grpc+proto\ntransfer-encoding: chunked\n", end: errLength.Error()},
	{name: "grpc-web/length", list: post + "content-length=7\ncontent-type=application/grpc-web", open: "POST / HTTP/1.1\nhost: a\ncontent-type: application/grpc-web\ncontent-length: 7\n", end: errLength.Error()},
	{name: "9110§10.1.1/expect", list: post + "content-length=7\nexpect=100-continue", open: "POST / HTTP/1.1\nhost: a\nexpect: 100-continue\ncontent-length: 7\n", end: errLength.Error()},
}

func TestRequestLists(t *testing.T) {
	var d decoder
	for _, tc := range requests {
		t.Run(tc.name, func(t *testing.T) {
			for _, end := range []bool{false, true} {
				want := tc.open
				if end {
					want = tc.end
				}
				if tc.err != nil {
					want = tc.err.Error()
				}
				if want == "" {
					continue
				}
				decode(&d, requestList, fields(tc.list))
				text, _, _, err := d.request([]byte("before"), end)
				checkHead(t, text, err, want)
				if err != nil && tc.err != nil && !errors.Is(err, tc.err) {
					t.Errorf("error %v", err)
				}
			}
		})
	}
}

// checkHead compares a head behind "before", or an error, with what is wanted.
func checkHead(t *testing.T, text []byte, err error, want string) {
	t.Helper()
	got := strings.TrimPrefix(string(text), "before")
	if len(got) == len(text) {
		t.Fatalf("%q: what was there is gone", text)
	}
	if err != nil {
		var m *malformed
		if !errors.As(err, &m) || got != "" {
			t.Errorf("error %v, with text %q", err, got)
		}
		got = err.Error()
	} else {
		want = strings.ReplaceAll(want, "\n", "\r\n") + "\r\n"
	}
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// responses are like requests; method is that of the request.
var responses = []struct {
	name, method, list string
	open, end          string
	err                error
}{
	{name: "9113§8.3.2/ok", list: ":status=200\nx=1", open: "HTTP/1.1 200 OK\nx: 1\ntransfer-encoding: chunked\n", end: "HTTP/1.1 200 OK\nx: 1\ncontent-length: 0\n"},
	{name: "9113§8.3.2/unnamed", list: ":status=299", end: "HTTP/1.1 299 \ncontent-length: 0\n"},
	{name: "9113§8.3.2/highest", list: ":status=999", end: "HTTP/1.1 999 \ncontent-length: 0\n"},
	{name: "9113§8.3.2/missing", list: "x=1", err: errMissing},
	{name: "9113§8.3.2/short", list: ":status=20", err: errStatus},
	{name: "9113§8.3.2/long", list: ":status=2000", err: errStatus},
	{name: "9113§8.3.2/low", list: ":status=099", err: errStatus},
	{name: "9113§8.3.2/no-number", list: ":status=2 0", err: errStatus},
	{name: "9113§8.3.2/empty", list: ":status=", err: errStatus},
	{name: "9113§8.3/of-request", list: ":status=200\n:path=/", err: errPseudo},
	{name: "9113§8.3/twice", list: ":status=200\n:status=200", err: errPseudo},
	{name: "9113§8.3/behind-field", list: "x=1\n:status=200", err: errPseudoLate},
	{name: "9113§8.6/101", list: ":status=101", err: errStatus},
	{name: "9113§8.1/interim", list: ":status=103\nlink=</x>", open: "HTTP/1.1 103 Early Hints\nlink: </x>\n", end: errInterimEnd.Error()},
	{name: "9110§8.6/interim-with-length", list: ":status=100\ncontent-length=5", open: "HTTP/1.1 100 Continue\n", end: errInterimEnd.Error()},
	{name: "9113§8.1.1/length", list: ":status=200\ncontent-length=5", open: "HTTP/1.1 200 OK\ncontent-length: 5\n", end: errLength.Error()},
	{name: "9113§8.1.1/length-0", list: ":status=200\ncontent-length=0", open: "HTTP/1.1 200 OK\ncontent-length: 0\n", end: "HTTP/1.1 200 OK\ncontent-length: 0\n"},
	{name: "9113§8.1.1/head", method: "HEAD", list: ":status=200\ncontent-length=5", open: "HTTP/1.1 200 OK\ncontent-length: 5\n", end: "HTTP/1.1 200 OK\ncontent-length: 5\n"},
	{name: "9113§8.1.1/head-without-length", method: "HEAD", list: ":status=200", open: "HTTP/1.1 200 OK\n", end: "HTTP/1.1 200 OK\n"},
	{name: "9113§8.1.1/not-modified", list: ":status=304\ncontent-length=5", open: "HTTP/1.1 304 Not Modified\ncontent-length: 5\n", end: "HTTP/1.1 304 Not Modified\ncontent-length: 5\n"},
	{name: "9110§8.6/no-content", list: ":status=204\ncontent-length=0", open: "HTTP/1.1 204 No Content\n", end: "HTTP/1.1 204 No Content\n"},
	{name: "9113§8.1.1/no-content-with-length", list: ":status=204\ncontent-length=5", end: errLength.Error()},
	{name: "9110§6.5/length-and-trailers", list: ":status=200\ncontent-length=5\ntrailer=x", open: "HTTP/1.1 200 OK\ntrailer: x\ntransfer-encoding: chunked\n", end: errLength.Error()},
	{name: "grpc/trailers-only", list: ":status=200\ncontent-type=application/grpc\ngrpc-status=5", end: "HTTP/1.1 200 OK\ncontent-type: application/grpc\ngrpc-status: 5\ncontent-length: 0\n"},
	{name: "9113§8.2.2/te", list: ":status=200\nte=trailers", err: errHopByHop},
	{name: "9113§8.2.2/connection", list: ":status=200\nconnection=close", err: errHopByHop},
	{name: "6265/set-cookies", list: ":status=200\nset-cookie=a\nset-cookie=b\ncookie=c", end: "HTTP/1.1 200 OK\nset-cookie: a\nset-cookie: b\ncookie: c\ncontent-length: 0\n"},
	{name: "9110§7.2/host", list: ":status=200\nhost=a\nhost=b", end: "HTTP/1.1 200 OK\nhost: a\nhost: b\ncontent-length: 0\n"},
}

func TestResponseLists(t *testing.T) {
	var d decoder
	for _, tc := range responses {
		t.Run(tc.name, func(t *testing.T) {
			for _, end := range []bool{false, true} {
				want := tc.open
				if end {
					want = tc.end
				}
				if tc.err != nil {
					want = tc.err.Error()
				}
				if want == "" {
					continue
				}
				decode(&d, responseList, fields(tc.list))
				text, status, _, err := d.response([]byte("before"), end, h1.MethodOf([]byte(tc.method)))
				checkHead(t, text, err, want)
				var resp h1.Response
				if err != nil {
					continue
				}
				n, err := resp.Parse(text[len("before"):], h1.MethodOf([]byte(tc.method)), nil)
				if err != nil || n != len(text)-len("before") || resp.Status != status {
					t.Errorf("%q is read as %d octets, status %d: %v", text, n, resp.Status, err)
				}
				if end && !resp.Body.Done() {
					t.Errorf("%q has a body", text)
				}
			}
		})
	}
}

func TestWhatHTTP1DoesNotAllowIsAnswered(t *testing.T) {
	for list, cause := range map[string]string{
		get:                             "missing-host",
		get + "host=":                   "bad-host",
		get + ":authority=a/b":          "bad-host",
		get + "host=a b":                "bad-host",
		get + "expect=x\nhost=a":        "unknown-expectation",
		":method=CONNECT\n:authority=a": "bad-target",
		":method=GET\n:scheme=http\n:authority=a\n:path=/a#b":            "bad-target",
		":method=GET\n:scheme=http\n:authority=a\n:path=/\xe9":           "bad-target",
		":method=GET\n:scheme=ftp\n:authority=a\n:path=/":                "bad-scheme",
		":method=" + strings.Repeat("x", 65) + "\n:scheme=http\n:path=/": "method-too-long",
	} {
		var d decoder
		decode(&d, requestList, fields(list))
		text, _, _, err := d.request(nil, true)
		if err != nil {
			t.Errorf("%q: %v", list, err)
			continue
		}
		var r h1.Request
		var e *h1.Error
		if _, err = r.Parse(text, nil); !errors.As(err, &e) || e.Cause != cause {
			t.Errorf("%q: %v, not %s", text, err, cause)
		}
	}
}

// RFC 9113 §6.5.2: the size of a field is that of its name and value, and 32.
func TestTheListIsBounded(t *testing.T) {
	list := fields(get + "host=a\nx=12345")
	size := 0
	for _, f := range list {
		size += len(f.Name) + len(f.Value) + 32
	}
	for limit, fits := range map[int]bool{0: true, size: true, size - 1: false, 1: false} {
		var d decoder
		d.begin(requestList, limit)
		for _, f := range list {
			d.field(f)
		}
		_, _, _, err := d.request(nil, true)
		if fits && err != nil || !fits && !errors.Is(err, errListTooLarge) {
			t.Errorf("limit %d, size %d: %v", limit, size, err)
		}
	}
}

// Data is counted also where chunks leave room for trailers.
func TestAnnouncedDataIsCounted(t *testing.T) {
	var d decoder
	for _, more := range []string{"", "\ntrailer=x", "\ncontent-type=application/grpc"} {
		decode(&d, responseList, fields(":status=200\ncontent-length=7"+more))
		_, _, body, err := d.response(nil, false, h1.MethodGet)
		if err != nil {
			t.Fatal(err)
		}
		short, long := body, body
		if _, err = short.data(nil, []byte("123456")); err == nil {
			_, err = short.end(nil, nil)
		}
		if !errors.Is(err, errLength) {
			t.Errorf("%q with 6 octets: %v", more, err)
		}
		if _, err = long.data(nil, []byte("12345678")); !errors.Is(err, errLength) {
			t.Errorf("%q with 8 octets: %v", more, err)
		}
	}
}

func TestAStreamForOneMessage(t *testing.T) {
	d := decoder{single: true}
	decode(&d, requestList, fields(get+"host=a"))
	text, _, _, err := d.request(nil, true)
	var r h1.Request
	if n, perr := r.Parse(text, nil); err != nil || perr != nil || n != len(text) || r.KeepAlive {
		t.Errorf("%q, %v: %v, keep-alive %v", text, err, perr, r.KeepAlive)
	}
	decode(&d, responseList, fields(":status=103"))
	if text, _, _, _ = d.response(nil, false, h1.MethodGet); string(text) != "HTTP/1.1 103 Early Hints\r\n\r\n" {
		t.Errorf("%q", text)
	}
	decode(&d, responseList, fields(":status=200"))
	text, _, _, _ = d.response(nil, false, h1.MethodGet)
	var resp h1.Response
	if n, err := resp.Parse(text, h1.MethodGet, nil); err != nil || n != len(text) || resp.KeepAlive {
		t.Errorf("%q: %v, keep-alive %v", text, err, resp.KeepAlive)
	}
}

// Nothing of a list remains for the next one, well-formed or not.
func TestADecoderStartsAnew(t *testing.T) {
	var d decoder
	for _, first := range []string{
		post + "host=a\nte=trailers\ncookie=a\ncontent-length=5\ntrailer=x\ncontent-type=application/grpc",
		post + "X=1", post + "\x00=1", "x=1\n:path=/",
	} {
		decode(&d, requestList, fields(first))
		_, _, _, _ = d.request(nil, false)
		d.begin(requestList, 0)
		for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}} {
			d.field(f)
		}
		text, _, _, err := d.request(nil, true)
		if string(text) != "GET / HTTP/1.1\r\n\r\n" || err != nil {
			t.Errorf("behind %q: %q, %v", first, text, err)
		}
	}
}
