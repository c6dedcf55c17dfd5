package h1

import (
	"bytes"
	"slices"
	"testing"
)

// steps turns octets into a way to cut a text.
func steps(cut []byte) func(int) int {
	i := -1
	return func(int) int {
		if len(cut) == 0 {
			return 1
		}
		i++
		return 1 + int(cut[i%len(cut)])
	}
}

// FuzzRequest: no panic; the same result however the octets arrive; what is
// sent on is a head that parses to the same fields; net/http agrees.
func FuzzRequest(f *testing.F) {
	for _, head := range requestHeads() {
		f.Add([]byte(head+"5\r\nhello\r\n0\r\n\r\n"), []byte{0, 3, 20})
	}
	lim := &Limits{MaxHead: 1000, MaxFields: 20, MaxTarget: 100}
	f.Fuzz(func(t *testing.T, in, cut []byte) {
		text := string(in)
		agreeOnRequest(t, text)
		// A line end lets a mistake in the last line be found in any case.
		text += "\r\n"
		var whole, parts, again Request
		n, err := whole.Parse([]byte(text), lim)
		want := describeRequest(&whole, n, err)
		m, err2 := feed(text, steps(cut), func(b []byte) (int, error) { return parts.Parse(b, lim) })
		if got := describeRequest(&parts, m, err2); got != want {
			t.Fatalf("%q:\n%s\nat once:\n%s", text, got, want)
		}
		if n == 0 || err != nil {
			return
		}
		if whole.HostAt < 0 || len(whole.Host) == 0 {
			return
		}
		out := whole.AppendRequestLine(nil)
		out = whole.AppendFields(out, 0)
		if whole.Body.Kind == Chunked {
			out = append(out, "Transfer-Encoding: chunked\r\n"...)
		}
		out = append(out, "\r\n"...)
		if n, err := again.Parse(out, nil); n != len(out) || err != nil {
			t.Fatalf("%q is sent on as %q: %d, %v", text, out, n, err)
		}
		sameMessage(t, &whole.Head, &again.Head)
		if !bytes.Equal(whole.Host, again.Host) || whole.MethodID != again.MethodID || again.Form == FormAbsolute {
			t.Fatalf("%q is sent on as %q", text, out)
		}
	})
}

// sameMessage compares a head with what became of it.
func sameMessage(t *testing.T, h, again *Head) {
	t.Helper()
	j := 0
	for i := range h.Fields {
		if h.Fields[i].Drop {
			continue
		}
		for again.Fields[j].Drop {
			j++
		}
		if !bytes.Equal(h.Name(i), again.Name(j)) || !bytes.Equal(h.Value(i), again.Value(j)) {
			t.Fatalf("field %q: %q is sent on as %q: %q", h.Name(i), h.Value(i), again.Name(j), again.Value(j))
		}
		j++
	}
	if h.Body.Kind != again.Body.Kind || h.Body.Remaining() != again.Body.Remaining() {
		t.Fatalf("body %+v is sent on as %+v", h.Body, again.Body)
	}
}

// FuzzResponse is FuzzRequest for responses.
func FuzzResponse(f *testing.F) {
	for _, head := range responseHeads() {
		if len(head) < 10_000 {
			f.Add([]byte(head+"5\r\nhello\r\n0\r\n\r\n"), []byte{0, 3, 20})
		}
	}
	lim := &Limits{MaxHead: 1000, MaxFields: 20}
	f.Fuzz(func(t *testing.T, in, cut []byte) {
		text := string(in)
		agreeOnResponse(t, text, MethodGet)
		agreeOnResponse(t, text, MethodHead)
		text += "\r\n"
		var whole, parts, again Response
		n, err := whole.Parse([]byte(text), MethodGet, lim)
		want := describeResponse(&whole, n, err)
		m, err2 := feed(text, steps(cut), func(b []byte) (int, error) { return parts.Parse(b, MethodGet, lim) })
		if got := describeResponse(&parts, m, err2); got != want {
			t.Fatalf("%q:\n%s\nat once:\n%s", text, got, want)
		}
		if n == 0 || err != nil {
			return
		}
		out := whole.AppendStatusLine(nil)
		out = whole.AppendFields(out, 0)
		if whole.Body.Kind == Chunked {
			out = append(out, "Transfer-Encoding: chunked\r\n"...)
		}
		out = append(out, "\r\n"...)
		if n, err := again.Parse(out, MethodGet, nil); n != len(out) || err != nil {
			t.Fatalf("%q is sent on as %q: %d, %v", text, out, n, err)
		}
		sameMessage(t, &whole.Head, &again.Head)
		if whole.Status != again.Status || !bytes.Equal(whole.Reason, again.Reason) {
			t.Fatalf("%q is sent on as %q", text, out)
		}
	})
}

// FuzzChunked: no panic; the same result however the octets arrive; what
// passes is a chunked body with the same data; net/http agrees.
func FuzzChunked(f *testing.F) {
	for _, body := range chunkedSeeds() {
		f.Add([]byte(body), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		text := string(in)
		agreeOnRequest(t, get("Transfer-Encoding: chunked")+text)
		run := func(text string, size int, decode bool) (string, string, *Body, error) {
			b := new(Body)
			b.Init(Chunked, 0)
			b.Decode = decode
			out, rest, err := follow(t, b, text, size)
			return out, rest, b, err
		}
		out, rest, b, err := run(text, len(text)+1, false)
		out2, rest2, b2, err2 := run(text, int(size)+1, false)
		if err != err2 || err == nil && (out != out2 || rest != rest2 || *b != *b2) {
			t.Fatalf("%q: %q, %q, %v; in pieces %q, %q, %v", text, out, rest, err, out2, rest2, err2)
		}
		if err != nil || !b.Done() {
			return
		}
		data, _, d, err := run(text, int(size)+1, true)
		if err != nil || !d.Done() || d.Seen() != b.Seen() || int64(len(data)) != b.Seen() {
			t.Fatalf("%q: decoded %q, %d of %d, %v", text, data, d.Seen(), b.Seen(), err)
		}
		again, rest, a, err := run(out, len(out)+1, false)
		if again != out || rest != "" || err != nil || !a.Done() {
			t.Fatalf("%q passes as %q, and that as %q, %q, %v", text, out, again, rest, err)
		}
		if data2, _, _, err := run(out, len(out)+1, true); data2 != data || err != nil {
			t.Fatalf("%q has data %q, %q has %q", text, data, out, data2)
		}
	})
}

// chunkedSeeds are the tables' chunked bodies.
func chunkedSeeds() (bodies []string) {
	for _, tc := range chunkedBodies {
		bodies = append(bodies, tc.in)
	}
	for _, tc := range cutBodies {
		bodies = append(bodies, tc.in)
	}
	for _, tc := range trailers {
		bodies = append(bodies, "1\r\nx\r\n0\r\n"+tc.in+"\r\n")
	}
	return slices.DeleteFunc(bodies, func(s string) bool { return len(s) > 3000 })
}

// requestStreams are the tables' requests, alone and in a row with others.
func requestStreams() (streams []string) {
	for _, head := range requestHeads() {
		streams = append(streams, head+wrkRequest, get("Content-Length: 5")+"hello"+head+"5\r\nhello\r\n0\r\n\r\n"+curlRequest)
	}
	for _, body := range chunkedSeeds() {
		streams = append(streams, wrkRequest+get("Transfer-Encoding: chunked")+body+wrkRequest)
	}
	return streams
}

// responseStreams are the same for responses.
func responseStreams() (streams []string) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, head := range responseHeads() {
		if len(head) < 3000 {
			streams = append(streams, head+nginxResponse, "HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n"+head+"5\r\nhello\r\n0\r\n\r\n"+nginxResponse)
		}
	}
	for _, body := range chunkedSeeds() {
		streams = append(streams, chunked+body+chunked+body)
	}
	return streams
}

// FuzzForwardRequests: what comes in as one request goes out as one, for an
// independent parser too, with the same body; what breaks off does not become
// a complete one; a second proxy in a row changes nothing more.
func FuzzForwardRequests(f *testing.F) {
	for i, s := range requestStreams() {
		f.Add([]byte(s), uint8(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		checkRequests(t, string(in), int(size)+1)
	})
}

// methodsOf turns octets into the methods of requests in a row.
func methodsOf(octets []byte) (methods []Method) {
	for _, c := range octets {
		methods = append(methods, [...]Method{MethodGet, MethodGet, MethodHead, MethodPost}[c%4])
	}
	return methods
}

// FuzzForwardResponses is FuzzForwardRequests for responses, to a client that
// speaks HTTP/1.1 or HTTP/1.0.
func FuzzForwardResponses(f *testing.F) {
	for i, s := range responseStreams() {
		f.Add([]byte(s), []byte{byte(i), 0, 1, 2}, uint8(i), i%7 == 0)
	}
	f.Fuzz(func(t *testing.T, in, methods []byte, size uint8, old bool) {
		checkResponses(t, string(in), methodsOf(methods), int(size)+1, old)
	})
}

// FuzzDifferential: where both this package and net/http accept a message of
// the stream that comes in, it is the same for both, and ends at the same
// place.
func FuzzDifferential(f *testing.F) {
	for _, s := range requestStreams() {
		f.Add([]byte(s), []byte(nil))
	}
	for i, s := range responseStreams() {
		f.Add([]byte(s), []byte{byte(i), 0, 1})
	}
	f.Fuzz(func(t *testing.T, in, methods []byte) {
		if len(methods) == 0 {
			differRequests(t, string(in))
			return
		}
		differResponses(t, string(in), methodsOf(methods))
	})
}
