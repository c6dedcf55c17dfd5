package h1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// What this package accepts, net/http accepts with the same meaning. The
// differences known are:
//
//   - net/http parses the target as a URL, refuses bad percent-encoding and odd
//     ports, and decodes percent-encoding in a host;
//   - it refuses a Content-Length that is a list, or is repeated in other
//     digits, and a Trailer field that names framing fields;
//   - it wants no empty line in front of a request line;
//   - it takes Trailer and the close in Connection out of the fields, and adds
//     Cache-Control to Pragma;
//   - it knows no whitespace between a chunk size and its extension.

// agreeable says that net/http has no reason of its own to refuse r.
func agreeable(r *Request) bool {
	if r.Form == FormAuthority {
		if _, err := url.ParseRequestURI("http://" + string(r.Target)); err != nil {
			return false
		}
	} else if _, err := url.ParseRequestURI(string(r.Target)); err != nil {
		return false
	}
	return bytes.IndexByte(r.Authority, '%') < 0 && agreeableFields(&r.Head)
}

func agreeableFields(h *Head) bool {
	if i := h.Find(KindContentLength); i >= 0 {
		// The value may be a part of what came: look at the line.
		f := &h.Fields[i]
		if h.repeated.Has(KindContentLength) || bytes.IndexByte(h.buf[f.colon:f.end], ',') >= 0 {
			return false
		}
	}
	return h.Find(KindTrailer) < 0
}

// compared leaves out the fields that net/http takes out or adds.
func compared(name string) bool {
	switch name {
	case "Cache-Control", "Connection", "Content-Length", "Host", "Trailer", "Transfer-Encoding":
		return false
	}
	return true
}

// netFields are the field lines as net/http keeps them.
func netFields(h http.Header) (lines []string) {
	for name, values := range h {
		for _, v := range values {
			if compared(name) {
				lines = append(lines, name+": "+v)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func ourFields(h *Head) (lines []string) {
	for i := range h.Fields {
		name := http.CanonicalHeaderKey(string(h.Name(i)))
		if compared(name) {
			lines = append(lines, name+": "+string(h.Value(i)))
		}
	}
	slices.Sort(lines)
	return lines
}

// agreeOnRequest parses text by both. If this package accepts it, net/http
// must read the same, the same body, and end at the same place.
func agreeOnRequest(t testing.TB, text string) {
	t.Helper()
	var r Request
	if n, err := r.Parse([]byte(text), nil); n > 0 && err == nil && agreeable(&r) {
		compareRequest(t, text, true)
	}
}

// differRequests compares the requests that text begins with as long as both
// accept them.
func differRequests(t testing.TB, text string) {
	t.Helper()
	for ok := true; ok; {
		text, ok = compareRequest(t, text, false)
	}
}

// compareRequest parses text by both, and compares what they accept both; must
// says that net/http has to accept what this package does. It returns what
// follows a request that is complete.
func compareRequest(t testing.TB, text string, must bool) (rest string, ok bool) {
	t.Helper()
	var r Request
	n, err := r.Parse([]byte(text), nil)
	if n == 0 || err != nil {
		return "", false
	}
	text = text[Blank([]byte(text)):]
	n -= r.method // the empty lines
	br := bufio.NewReaderSize(strings.NewReader(text), max(len(text), 1<<16))
	q, err := http.ReadRequest(br)
	if err != nil {
		if must {
			t.Fatalf("%q is refused by net/http: %v", text, err)
		}
		return "", false
	}
	host := string(r.Host)
	if bytes.IndexByte(r.Authority, '%') >= 0 {
		host = q.Host
	}
	length := map[BodyKind]int64{NoBody: 0, Chunked: -1, Length: r.Body.Remaining()}[r.Body.Kind]
	switch {
	case q.Method != string(r.Method), q.RequestURI != string(r.Target), q.Host != host:
		t.Fatalf("%q: %q %q for %q, net/http has %q %q for %q", text, r.Method, r.Target, r.Host, q.Method, q.RequestURI, q.Host)
	case q.ContentLength != length || (len(q.TransferEncoding) > 0) != (r.Body.Kind == Chunked):
		t.Fatalf("%q: length %d, net/http has %d, %q", text, length, q.ContentLength, q.TransferEncoding)
	}
	if ours, theirs := ourFields(&r.Head), netFields(q.Header); !slices.Equal(ours, theirs) {
		t.Fatalf("%q: %q, net/http has %q", text, ours, theirs)
	}
	return agreeOnBody(t, r.Body, text, n, br, q.Body)
}

var methodNames = map[Method]string{MethodGet: "GET", MethodHead: "HEAD", MethodPost: "POST", MethodConnect: "CONNECT"}

func agreeOnResponse(t testing.TB, text string, method Method) {
	t.Helper()
	var r Response
	if n, err := r.Parse([]byte(text), method, nil); n > 0 && err == nil && agreeableFields(&r.Head) {
		compareResponse(t, text, method, true)
	}
}

// differResponses is differRequests for the responses to the given methods.
func differResponses(t testing.TB, text string, methods []Method) {
	t.Helper()
	for _, m := range methods {
		interim := true
		for interim {
			var ok bool
			if text, interim, ok = compareResponse(t, text, m, false); !ok {
				return
			}
		}
	}
}

// compareResponse is compareRequest for a response to method.
func compareResponse(t testing.TB, text string, method Method, must bool) (rest string, interim, ok bool) {
	t.Helper()
	var r Response
	n, err := r.Parse([]byte(text), method, nil)
	if n == 0 || err != nil {
		return "", false, false
	}
	br := bufio.NewReaderSize(strings.NewReader(text), max(len(text), 1<<16))
	q, err := http.ReadResponse(br, &http.Request{Method: methodNames[method]})
	if err != nil {
		if must {
			t.Fatalf("%q is refused by net/http: %v", text, err)
		}
		return "", false, false
	}
	reason, _ := strings.CutPrefix(strings.TrimLeft(q.Status, " ")[3:], " ")
	if q.StatusCode != r.Status || reason != strings.TrimRight(strings.TrimLeft(string(r.Reason), " "), " \t") && reason != string(r.Reason) {
		t.Fatalf("%q: %d %q, net/http has %d %q", text, r.Status, r.Reason, q.StatusCode, reason)
	}
	if ours, theirs := ourFields(&r.Head), netFields(q.Header); !slices.Equal(ours, theirs) {
		t.Fatalf("%q: %q, net/http has %q", text, ours, theirs)
	}
	if method == MethodConnect { // a tunnel is a body for net/http
		return "", false, false
	}
	rest, ok = agreeOnBody(t, r.Body, text, n, br, q.Body)
	return rest, r.Interim(), ok
}

// agreeOnBody compares the data and where the body ends. What passes raw must
// mean the same to net/http as well. It returns what follows the body, if that
// is complete.
func agreeOnBody(t testing.TB, b Body, text string, n int, br *bufio.Reader, theirs io.Reader) (rest string, ok bool) {
	t.Helper()
	raw := b
	b.Decode = true
	ours, rest, err := follow(t, &b, text[n:], len(text))
	if b.Kind == UntilClose {
		err = b.End()
	}
	if err != nil || !b.Done() {
		return "", false
	}
	data, err := io.ReadAll(theirs)
	odd := b.Kind == Chunked && (strings.Contains(text[n:], " ;") || strings.Contains(text[n:], "\t;"))
	if err != nil && odd {
		return "", false
	}
	if err != nil || string(data) != ours {
		t.Fatalf("%q: data %q, net/http has %q, %v", text, ours, data, err)
	}
	left, err := io.ReadAll(br)
	if err != nil || string(left) != rest {
		t.Fatalf("%q: rest %q, net/http has %q, %v", text, rest, left, err)
	}
	if b.Kind != Chunked {
		return rest, true
	}
	passed, _, err := follow(t, &raw, text[n:], len(text))
	if err != nil {
		t.Fatal(err)
	}
	again := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s", passed)
	q, err := http.ReadRequest(bufio.NewReaderSize(strings.NewReader(again+"rest"), 1<<16+len(again)))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(q.Body); err != nil || string(data) != ours {
		t.Fatalf("%q passes as %q: data %q, %v", text, passed, data, err)
	}
	return rest, true
}

func TestRequestsAgreeWithNetHTTP(t *testing.T) {
	for _, head := range requestHeads() {
		agreeOnRequest(t, head)
		agreeOnRequest(t, head+"0123456789")
	}
	for _, tc := range chunkedBodies {
		agreeOnRequest(t, get("Transfer-Encoding: chunked")+tc.in)
	}
}

func TestResponsesAgreeWithNetHTTP(t *testing.T) {
	for _, head := range responseHeads() {
		agreeOnResponse(t, head+"0123456789", MethodGet)
		agreeOnResponse(t, head+"0123456789", MethodHead)
		agreeOnResponse(t, head+"0123456789", MethodConnect)
	}
	for _, tc := range chunkedBodies {
		agreeOnResponse(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+tc.in, MethodGet)
	}
}

// stream makes a few messages in a row out of the tables' pieces.
func stream(rnd *rand.Rand) (text string) {
	starts := []string{"GET / HTTP/1.1", "POST /a HTTP/1.1", "PUT /a HTTP/1.0", "HEAD http://h/x HTTP/1.1", "OPTIONS * HTTP/1.1"}
	for range 1 + rnd.IntN(3) {
		text += starts[rnd.IntN(len(starts))] + "\r\n"
		var lines []string
		for range rnd.IntN(4) {
			if rnd.IntN(3) == 0 {
				lines = append(lines, forwardedFields[rnd.IntN(len(forwardedFields))].lines)
			} else if l := requestFraming[rnd.IntN(len(requestFraming))].lines; l != "" {
				lines = append(lines, l)
			}
		}
		host := rnd.IntN(len(lines) + 1)
		lines = slices.Insert(lines, host, "Host: test.example")
		text += strings.ReplaceAll(strings.Join(lines, "|"), "|", "\r\n") + "\r\n\r\n"
		switch rnd.IntN(3) {
		case 0:
			text += "hello"
		case 1:
			text += chunkedBodies[rnd.IntN(len(chunkedBodies))].in
		}
	}
	return text
}

// TestStreamsAgreeWithNetHTTP reads messages in a row and compares, for each,
// the meaning and where it ends.
func TestStreamsAgreeWithNetHTTP(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 20_000 {
		for text := stream(rnd); len(text) > 0; {
			agreeOnRequest(t, text)
			var r Request
			n, err := r.Parse([]byte(text), nil)
			if n == 0 || err != nil {
				break
			}
			accepted++
			_, rest, err := follow(t, &r.Body, text[n:], len(text))
			if err != nil || !r.Body.Done() {
				break
			}
			text = rest
		}
	}
	if accepted < 5000 {
		t.Errorf("only %d messages were accepted: the test tests little", accepted)
	}
}
