package h1

import (
	"fmt"
	"strings"
	"testing"
)

// requestHeads are all the heads of the tables.
func requestHeads() (heads []string) {
	for _, table := range [][]verdict{requestLines, targets, hosts, fieldSyntax, expectations} {
		for _, tc := range table {
			heads = append(heads, tc.head)
		}
	}
	for _, tc := range requestFraming {
		heads = append(heads, get(strings.Split(tc.lines, "|")...))
	}
	for _, tc := range forwardedFields {
		heads = append(heads, get(strings.Split(tc.lines, "|")...))
	}
	for _, tc := range oldFraming {
		heads = append(heads, "POST / HTTP/1.0\r\n"+strings.ReplaceAll(tc.lines, "|", "\r\n")+"\r\n\r\n")
	}
	return append(heads, get(), wrkRequest, curlRequest, browserRequest)
}

func responseHeads() (heads []string) {
	for _, tc := range statusLines {
		heads = append(heads, tc.head)
	}
	for _, tc := range responseFraming {
		heads = append(heads, strings.ReplaceAll(tc.head, "|", "\r\n")+"\r\n\r\n")
	}
	for _, tc := range requestFraming {
		heads = append(heads, "HTTP/1.1 200 OK\r\n"+strings.ReplaceAll(tc.lines, "|", "\r\n")+"\r\n\r\n")
	}
	for _, tc := range forwardedFields {
		heads = append(heads, status("HTTP/1.1 200 OK\r\n"+strings.ReplaceAll(tc.lines, "|", "\r\n")))
	}
	return append(heads, nginxResponse)
}

// describeHead tells all that fields say.
func describeHead(h *Head) string {
	var s strings.Builder
	for i := range h.Fields {
		fmt.Fprintf(&s, "%q:%q kind %d drop %v|", h.Name(i), h.Value(i), h.Fields[i].Kind, h.Fields[i].Drop)
	}
	fmt.Fprintf(&s, "%d %b %v %v %v %+v", h.Minor, h.Seen, h.KeepAlive, h.Upgrade, h.Trailers, h.Body)
	return s.String()
}

func describeRequest(r *Request, n int, err error) string {
	if n == 0 || err != nil {
		return fmt.Sprint(n, err)
	}
	return fmt.Sprintf("%d %q %d %q %d %q %q %v %q %d %v %s", n, r.Method, r.MethodID, r.Target, r.Form, r.Path,
		r.Authority, r.Secure, r.Host, r.HostAt, r.ExpectContinue, describeHead(&r.Head))
}

func describeResponse(r *Response, n int, err error) string {
	if n == 0 || err != nil {
		return fmt.Sprint(n, err)
	}
	return fmt.Sprintf("%d %d %q %s", n, r.Status, r.Reason, describeHead(&r.Head))
}

// feed calls parse with growing parts of text, each in memory of its own that
// is spoilt afterwards, until it is content; step says where to cut.
func feed(text string, step func(at int) int, parse func([]byte) (int, error)) (int, error) {
	var last []byte
	for at := 0; ; {
		at = min(at+step(at), len(text))
		buf := []byte(text[:at])
		n, err := parse(buf)
		if n > 0 || err != nil || at == len(text) {
			return n, err
		}
		for i := range last {
			last[i] = 0xff
		}
		last = buf
	}
}

// cuts are ways to cut a text: whole, by octet, and once at every place.
func cuts(text string) []func(int) int {
	ways := []func(int) int{
		func(int) int { return 1 },
		func(int) int { return 7 },
	}
	for first := 1; first < min(len(text), 600); first++ {
		ways = append(ways, func(at int) int {
			if at == 0 {
				return first
			}
			return len(text)
		})
	}
	return ways
}

// TestRequestSplits: wherever the head is cut, the result is the same.
func TestRequestSplits(t *testing.T) {
	var whole, parts Request
	for _, head := range requestHeads() {
		// The rest lets a mistake in an unfinished line be found; see begin.
		text := head + "rest\r\n"
		n, err := whole.Parse([]byte(text), nil)
		want := describeRequest(&whole, n, err)
		for i, step := range cuts(text) {
			n, err := feed(text, step, func(b []byte) (int, error) { return parts.Parse(b, nil) })
			if got := describeRequest(&parts, n, err); got != want {
				t.Fatalf("%q, way %d:\n%s\nat once:\n%s", head, i, got, want)
			}
		}
	}
}

func TestResponseSplits(t *testing.T) {
	var whole, parts Response
	for _, head := range responseHeads() {
		text := head + "rest\r\n"
		n, err := whole.Parse([]byte(text), MethodGet, nil)
		want := describeResponse(&whole, n, err)
		ways := cuts(text)
		if len(text) > 10_000 {
			ways = []func(int) int{func(int) int { return 997 }}
		}
		for i, step := range ways {
			n, err := feed(text, step, func(b []byte) (int, error) { return parts.Parse(b, MethodGet, nil) })
			if got := describeResponse(&parts, n, err); got != want {
				t.Fatalf("%.200q, way %d:\n%s\nat once:\n%s", head, i, got, want)
			}
		}
	}
}

// TestReset: an unfinished head leaves nothing behind.
func TestReset(t *testing.T) {
	var r Request
	if n, err := r.Parse([]byte("POST /abandoned HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConn"), nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	r.Reset()
	n, err := r.Parse([]byte(wrkRequest), nil)
	var fresh Request
	m, _ := fresh.Parse([]byte(wrkRequest), nil)
	if got, want := describeRequest(&r, n, err), describeRequest(&fresh, m, nil); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	var p Response
	if n, err := p.Parse([]byte("HTTP/1.1 200 OK\r\nX-A: 1\r\nY"), MethodGet, nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	p.Reset()
	if n, err := p.Parse([]byte(nginxResponse), MethodGet, nil); n != len(nginxResponse) || err != nil || len(p.Fields) != 6 {
		t.Error(n, err, len(p.Fields))
	}
}

// TestDripIsLinear feeds one long line by the octet: were each octet to scan
// the line anew, this would take half a minute.
func TestDripIsLinear(t *testing.T) {
	const size = 1 << 20
	text := []byte(get("X: " + strings.Repeat("a", size)))
	var r Request
	for i := 1; i < len(text); i++ {
		if n, err := r.Parse(text[:i], &Limits{MaxHead: 2 << 20}); n != 0 || err != nil {
			t.Fatal(i, n, err)
		}
	}
	if n, err := r.Parse(text, &Limits{MaxHead: 2 << 20}); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
}

func TestNoAllocations(t *testing.T) {
	var (
		req  Request
		resp Response
		out  = make([]byte, 0, 8192)
		in   = []byte(browserRequest)
		odd  = []byte(get("Connection: X-A, close, TE", "X-A: 1", "TE: trailers", "Content-Length: 05, 5", "Via:  a"))
		back = []byte(nginxResponse)
		body = []byte("5;a=b\r\nhello\r\n0\r\nX-T: 1\r\nHost: a\r\n\r\n")
		bad  = []byte("GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n")
	)
	req.Fields = make([]Field, 0, 32) // a first request would make it
	resp.Fields = make([]Field, 0, 32)
	n := testing.AllocsPerRun(100, func() {
		for _, buf := range [][]byte{in, odd} {
			if n, err := req.Parse(buf, nil); n != len(buf) || err != nil {
				t.Error(n, err)
			}
			out = req.AppendRequestLine(out[:0])
			out = req.AppendFields(out, Kinds(KindVia, KindXForwardedFor))
		}
		if n, err := resp.Parse(back, MethodGet, nil); n != len(back) || err != nil {
			t.Error(n, err)
		}
		out = resp.AppendStatusLine(out[:0])
		out = resp.AppendFields(out, 0)
		out = AppendChunkHeader(out, 1000)
		var b Body
		b.Init(Chunked, 0)
		for p := body; !b.Done(); {
			skip, take, err := b.Next(p)
			if err != nil {
				t.Error(err)
			}
			p = p[skip+take:]
		}
		if _, err := req.Parse(bad, nil); err == nil {
			t.Error("accepted")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
