package h2

import (
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"sidecar/proxy/http/h1"
)

const getText = "GET / HTTP/1.1\r\nHost: a\r\n"
const getList = ":method=GET\n:scheme=http\n:authority=a\n:path=/\n"
const postText = "POST /s/M HTTP/1.1\r\nHost: a\r\n"
const postList = ":method=POST\n:scheme=http\n:authority=a\n:path=/s/M\n"

// messages are texts and what becomes of them: header lists, data and the end, parted by "|".
var messages = []struct {
	name, in, want string
	kind           listKind
	asked          h1.Method
}{
	{name: "9113§8.3.1/get", in: getText + "\r\n", want: getList + "|end"},
	{name: "9113§8.3.1/query", in: "GET /a?b=c HTTP/1.1\r\nHost: a:81\r\n\r\n", want: ":method=GET\n:scheme=http\n:authority=a:81\n:path=/a?b=c\n|end"},
	{name: "9113§8.3.1/asterisk", in: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", want: ":method=OPTIONS\n:scheme=http\n:authority=a\n:path=*\n|end"},
	{name: "9113§8.3.1/absolute", in: "GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", want: ":method=GET\n:scheme=http\n:authority=b\n:path=/?q\n|end"},
	{name: "9113§8.3.1/no-host", in: "GET / HTTP/1.0\r\n\r\n", want: ":method=GET\n:scheme=http\n:path=/\n|end"},
	{name: "9113§8.2/fields", in: getText + "X-B:1\r\nUser-Agent: \tU \t\r\nx-b: \r\n\r\n", want: getList + "x-b=1\nuser-agent=U\nx-b=\n|end"},
	{name: "9113§8.2.2/hop-by-hop", in: getText + "Connection: x, upgrade\r\nX: 1\r\nUpgrade: websocket\r\nKeep-Alive: timeout=1\r\nProxy-Connection: close\r\nHTTP2-Settings: AA\r\nY: 1\r\n\r\n", want: getList + "y=1\n|end"},
	{name: "9113§8.2.2/te", in: getText + "TE: gzip, trailers\r\nConnection: TE\r\nVia: 1.1 a\r\n\r\n", want: getList + "via=1.1 a\nte=trailers\n|end"},
	{name: "9113§8.2.2/te-other", in: getText + "TE: gzip\r\nConnection: TE\r\n\r\n", want: getList + "|end"},
	{name: "7541§7.1.3/credentials", in: getText + "Authorization: a\r\nProxy-Authorization: b\r\nCookie: short=1234567890123\r\nCookie: longer=1234567890123\r\n\r\n", want: getList + "authorization!=a\nproxy-authorization!=b\ncookie!=short=1234567890123\ncookie=longer=1234567890123\n|end"},
	{name: "9110§8.6/content-length", in: postText + "Content-Length: 5\r\n\r\nhello", want: postList + "content-length=5\n|data hello|end"},
	{name: "9110§8.6/content-length-0", in: postText + "Content-Length: 0\r\n\r\n", want: postList + "content-length=0\n|end"},
	{name: "9110§10.1.1/expect", in: postText + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", want: postList + "content-length=5\nexpect=100-continue\n|data hello|end"},
	{name: "9112§7.1/chunked", in: postText + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0a;x=\"\\\"\"\r\n0123456789\r\n0\r\n\r\n", want: postList + "|data abc0123456789|end"},
	{name: "9112§7.1/chunked-empty", in: postText + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", want: postList + "|end"},
	{name: "9112§7.1/looks-like-the-end", in: postText + "Transfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n5\r\n0\r\n\r\n\r\n000\r\n\r\n", want: postList + "|data 0\r\n\r\n0\r\n\r\n|end"},
	{name: "9112§7.1.2/trailers", in: postText + "Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n3\r\nabc\r\n0\r\nX-T:1\r\nHost: b\r\nx-u:  a b\t\r\n\r\n", want: postList + "trailer=x\n|data abc|x-t=1\nx-u=a b\n|end"},
	{name: "9112§7.1.2/trailers-only", in: postText + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-T:1\r\n\r\n", want: postList + "|x-t=1\n|end"},
	{name: "9112§7.1.2/no-trailer-passes", in: postText + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: b\r\n\r\n", want: postList + "|data a|end"},
	{name: "grpc/content-length", in: postText + "Content-Type: application/grpc\r\nContent-Length: 5\r\n\r\nhello", want: postList + "content-type=application/grpc\n|data hello|end"},

	{name: "9113§8.3.2/ok", kind: responseList, in: "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nhi", want: ":status=200\ncontent-length=2\n|data hi|end"},
	{name: "9113§8.3.2/no-reason", kind: responseList, in: "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", want: ":status=999\ncontent-length=0\n|end"},
	{name: "9113§8.1/interim", kind: responseList, in: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", want: ":status=100\n|:status=103\nlink=<a>\n|:status=200\ncontent-length=2\n|data hi|end"},
	{name: "9112§6.3/head", kind: responseList, asked: h1.MethodHead, in: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", want: ":status=200\ncontent-length=2\n|end"},
	{name: "9112§6.3/head-chunked", kind: responseList, asked: h1.MethodHead, in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", want: ":status=200\n|end"},
	{name: "9112§6.3/not-modified", kind: responseList, in: "HTTP/1.1 304 Not\r\nETag: \"a\"\r\nContent-Length: 2\r\n\r\n", want: ":status=304\netag=\"a\"\ncontent-length=2\n|end"},
	{name: "9112§6.3/no-content", kind: responseList, in: "HTTP/1.1 204 No\r\n\r\n", want: ":status=204\n|end"},
	{name: "9112§6.3/until-close", kind: responseList, in: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0\r\n\r\n", want: ":status=200\n|data 0\r\n\r\n|end"},
	{name: "9112§6.3/until-close-empty", kind: responseList, in: "HTTP/1.1 200 OK\r\n\r\n", want: ":status=200\n|end"},
	{name: "grpc/response", kind: responseList, in: "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\ngrpc-message: \r\n\r\n", want: ":status=200\ncontent-type=application/grpc\n|data hello|grpc-status=0\ngrpc-message=\n|end"},
	{name: "grpc/trailers-only", kind: responseList, in: "HTTP/1.1 200 OK\r\nContent-Type: application/grpc+json\r\ngrpc-status: 5\r\nContent-Length: 0\r\n\r\n", want: ":status=200\ncontent-type=application/grpc+json\ngrpc-status=5\n|end"},
	{name: "6265/set-cookies", kind: responseList, in: "HTTP/1.1 204 No\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n", want: ":status=204\nset-cookie=a\nset-cookie=b\n|end"},
}

// each runs f for every message.
func each(t *testing.T, f func(t *testing.T, kind listKind, asked h1.Method, in, want string)) {
	for _, m := range messages {
		t.Run(m.name, func(t *testing.T) { f(t, m.kind, m.asked, m.in, m.want) })
	}
}

func TestMessages(t *testing.T) {
	each(t, func(t *testing.T, kind listKind, asked h1.Method, in, want string) {
		e, r := encoder{}, newRecorder(t)
		e.begin(newPacker("http"), kind, asked)
		if err := encode(&e, in, always(len(in)), r); err != nil {
			t.Fatal(err)
		}
		if err := e.end(r); err != nil || !e.done() {
			t.Fatalf("end: %v, done %v", err, e.done())
		}
		if got := r.String(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		method, _, _ := strings.Cut(in, " ")
		if kind == requestList && e.method() != h1.MethodOf([]byte(method)) {
			t.Errorf("method %d", e.method())
		}
	})
}

// However the text comes, and however little the sink takes at a time, the result is the same,
// also with an encoder and a packer that have been used before.
func TestMessagesInPieces(t *testing.T) {
	p := newPacker("http")
	e, r := encoder{}, newRecorder(t)
	each(t, func(t *testing.T, kind listKind, asked h1.Method, in, want string) {
		try := func(step, room func() int) {
			t.Helper()
			*r = recorder{t: t, hpack: r.hpack, room: room}
			e.begin(p, kind, asked)
			if err := encode(&e, in, step, r); err != nil {
				t.Fatal(err)
			}
			if err := e.end(r); err != nil {
				t.Fatal(err)
			}
			if got := r.String(); got != want {
				t.Fatalf("got  %q\nwant %q", got, want)
			}
		}
		for cut := range len(in) - 1 {
			try(octets([]byte{byte(cut), byte(cut), 255, 255, 255, 255}), always(1<<20))
		}
		for size := 1; size <= 5; size++ {
			try(always(size), always(1))
			try(always(size), always(2))
			try(always(len(in)), octets([]byte{0, 2, 1}))
		}
	})
}

// The streams of a connection share a packer: what one has begun another does not disturb.
func TestMessagesBesideEachOther(t *testing.T) {
	p := newPacker("http")
	peer := newRecorder(t).hpack // one table for all
	for _, kind := range []listKind{requestList, responseList} {
		for _, size := range []int{5, 20, 37, 60} {
			var some []int
			for i, m := range messages {
				if m.kind == kind && m.asked == 0 && len(m.in) > size {
					some = append(some, i)
				}
			}
			beside(t, p, peer, some, size)
		}
	}
}

// beside writes the messages with these indices by turns, in pieces of that size.
func beside(t *testing.T, p *packer, peer *hpack.Decoder, some []int, size int) {
	t.Helper()
	e, r := make([]encoder, len(some)), make([]*recorder, len(some))
	for at := 0; at < 1000; at += size {
		for i, m := range some {
			if at == 0 {
				r[i] = newRecorder(t)
				r[i].hpack = peer
				e[i].begin(p, messages[m].kind, 0)
			}
			in := messages[m].in
			if err := encode(&e[i], in[min(at, len(in)):min(at+size, len(in))], always(size), r[i]); err != nil {
				t.Fatalf("%q: %v", in, err)
			}
		}
	}
	for i, m := range some {
		if err := e[i].end(r[i]); err != nil || r[i].String() != messages[m].want {
			t.Errorf("got  %q, %v\nwant %q", r[i], err, messages[m].want)
		}
	}
}

// A message that breaks off does not look complete.
func TestTruncatedMessages(t *testing.T) {
	each(t, func(t *testing.T, kind listKind, asked h1.Method, in, _ string) {
		complete := false
		for cut := range len(in) {
			e, r := encoder{}, newRecorder(t)
			e.begin(newPacker("http"), kind, asked)
			if err := encode(&e, in[:cut], always(7), r); err != nil {
				t.Fatal(err)
			}
			untilClose := e.body.Kind == h1.UntilClose && e.stage == atBody
			err := e.end(r)
			complete = complete || untilClose
			if complete && (err != nil || !r.ended) || !complete && (!errors.Is(err, io.ErrUnexpectedEOF) || r.ended) {
				t.Fatalf("%q: %v, ended %v", in[:cut], err, r.ended)
			}
		}
	})
}

func TestTextsThatCannotPass(t *testing.T) {
	for name, tc := range map[string]struct {
		kind  listKind
		asked h1.Method
		in    string
		err   error // nil: one of h1
	}{
		"connect":         {requestList, 0, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", errTunnel},
		"connected":       {responseList, h1.MethodConnect, "HTTP/1.1 200 OK\r\n\r\n", errTunnel},
		"switched":        {responseList, 0, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", errTunnel},
		"behind-empty":    {requestList, 0, getText + "\r\nGET", errBehindEnd},
		"behind-length":   {requestList, 0, postText + "Content-Length: 1\r\n\r\nab", errBehindEnd},
		"behind-chunks":   {requestList, 0, postText + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nb", errBehindEnd},
		"behind-trailers": {requestList, 0, postText + "Transfer-Encoding: chunked\r\n\r\n0\r\na: 1\r\n\r\nb", errBehindEnd},
		"request-line":    {requestList, 0, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", nil},
		"field":           {requestList, 0, getText + "x\r\n\r\n", nil},
		"fold":            {requestList, 0, getText + "x: 1\r\n 2\r\n\r\n", nil},
		"status-line":     {responseList, 0, "HTTP/2 200\r\n\r\n", nil},
		"chunk-size":      {requestList, 0, postText + "Transfer-Encoding: chunked\r\n\r\nx\r\n", nil},
		"chunk-end":       {requestList, 0, postText + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", nil},
		"trailer":         {requestList, 0, postText + "Transfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n", nil},
		"endless-size":    {requestList, 0, postText + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", maxHeadText), errAny},
		"endless-trailer": {requestList, 0, postText + "Transfer-Encoding: chunked\r\n\r\n0\r\nx: " + strings.Repeat("x", maxHeadText), errAny},
		"endless-head":    {requestList, 0, getText + "x: " + strings.Repeat("x", maxHeadText), errAny},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{len(tc.in), 1000, 1} {
				if size == 1 && len(tc.in) > maxHeadText {
					continue // as 1000, for a thousand times as long
				}
				e, r := encoder{}, newRecorder(t)
				e.begin(newPacker("http"), tc.kind, tc.asked)
				err := encode(&e, tc.in, always(size), r)
				var h *h1.Error
				switch {
				case tc.err == errAny && err != nil, tc.err == nil && errors.As(err, &h):
				case tc.err == nil || !errors.Is(err, tc.err):
					t.Errorf("in pieces of %d: %v", size, err)
				}
			}
		})
	}
}

var errAny = errors.New("any error")

// done reports whether END_STREAM has been handed to the sink.
func (e *encoder) done() bool { return e.stage == atEnd }
