package h1

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// message is what one message says, as far as it concerns where it ends.
type message struct {
	start  string // request line or status line
	host   string
	fields []string
	length int64 // -1: chunked, -2: up to the end of the connection
	data   string
}

func (m message) String() string {
	return fmt.Sprintf("%q for %q, %q, length %d, data %q", m.start, m.host, m.fields, m.length, m.data)
}

// forwarded is what became of a stream of messages.
type forwarded struct {
	out      string    // what is sent on
	messages []message // that out consists of
	cut      bool      // behind these, out has the start of one that broke off
}

// relay passes the body that text begins with, in pieces of at most size
// octets, and returns what passes, the data in it and what follows.
func relay(t testing.TB, b Body, text string, size int) (raw, data, rest string, done bool) {
	t.Helper()
	pass := func(decode bool) (string, string, *Body, error) {
		c := b
		c.Decode = decode
		out, rest, err := follow(t, &c, text, size)
		if err == nil && rest == "" {
			err = c.End()
		}
		return out, rest, &c, err
	}
	raw, rest, c, err := pass(false)
	data, rest2, d, err2 := pass(true)
	if err != err2 || c.Done() != d.Done() || c.Seen() != d.Seen() || err == nil && rest != rest2 || int64(len(data)) != c.Seen() {
		t.Fatalf("%q: %q, %q, %v; decoded %q, %q, %v", text, raw, rest, err, data, rest2, err2)
	}
	if b.Kind == Chunked {
		return raw, data, rest, c.Done()
	}
	return data, data, rest, c.Done()
}

// netMayDiffer says that net/http refuses or changes the head for reasons of
// its own: see agree_test.go.
func netMayDiffer(r *Request) bool {
	_, err := url.ParseRequestURI(string(r.AppendTarget(nil)))
	return err != nil || r.Find(KindTrailer) >= 0
}

// appendFraming appends what the proxy says itself about the message.
func appendFraming(head []byte, h *Head, chunked bool) []byte {
	if chunked {
		head = append(head, "Transfer-Encoding: chunked\r\n"...)
	}
	if h.Trailers {
		head = append(head, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	return append(head, "\r\n"...)
}

// wide are the limits of a second proxy: a head may grow on its way.
var wide = &Limits{MaxHead: 1 << 20, MaxFields: 1000, MaxTarget: 1 << 20}

// forwardRequests does what the proxy does with requests in a row.
func forwardRequests(t testing.TB, text string, size int, lim *Limits) (f forwarded) {
	t.Helper()
	var r Request
	for len(text) > 0 {
		n, err := r.Parse([]byte(text), lim)
		if n == 0 || err != nil || r.MethodID == MethodConnect || netMayDiffer(&r) {
			return f
		}
		head := r.AppendRequestLine(nil)
		m := message{start: strings.TrimSuffix(string(head), "\r\n"), host: string(r.Host), fields: passing(&r.Head)}
		if r.HostAt < 0 {
			m.host = "instead.example"
			head = AppendField(head, "Host", []byte(m.host))
		}
		head = r.AppendFields(head, 0)
		if r.Trailers {
			m.fields = append(m.fields, "Te: trailers")
			slices.Sort(m.fields)
		}
		head = appendFraming(head, &r.Head, r.Body.Kind == Chunked)
		m.length = map[BodyKind]int64{NoBody: 0, Chunked: -1, Length: r.Body.Remaining()}[r.Body.Kind]
		keep := r.KeepAlive
		raw, data, rest, done := relay(t, r.Body, text[n:], size)
		f.out += string(head) + raw
		if !done {
			f.cut = true
			return f
		}
		m.data = data
		f.messages = append(f.messages, m)
		if !keep {
			return f
		}
		text = rest
	}
	return f
}

// forwardResponses does what the proxy does with the responses to requests
// with the given methods. An old client speaks HTTP/1.0: it gets no interim
// responses and no chunks.
func forwardResponses(t testing.TB, text string, methods []Method, size int, old bool, lim *Limits) (f forwarded) {
	t.Helper()
	var r Response
	for len(text) > 0 && len(methods) > 0 {
		n, err := r.Parse([]byte(text), methods[0], lim)
		if n == 0 || err != nil || r.Status == 101 || r.Find(KindTrailer) >= 0 {
			return f
		}
		if r.Interim() && old {
			text = text[n:]
			continue
		}
		head := r.AppendStatusLine(nil)
		m := message{start: string(head[:12]), fields: passing(&r.Head)}
		head = r.AppendFields(head, 0)
		b := r.Body
		bare := old && (b.Kind == Chunked || b.Kind == UntilClose)
		encode := !old && b.Kind == UntilClose
		r.Trailers = false // that would be for the server only
		head = appendFraming(head, &r.Head, b.Kind == Chunked && !old || encode)
		switch {
		case bare:
			m.length = -2
		case b.Kind == Chunked || encode:
			m.length = -1
		case b.Kind == Length:
			m.length = b.Remaining()
		}
		keep := r.KeepAlive && !bare
		raw, data, rest, done := relay(t, b, text[n:], size)
		switch {
		case bare:
			raw = data
		case encode && len(data) > 0:
			raw = string(AppendChunkHeader(nil, len(data))) + data + "\r\n"
		}
		if encode && done {
			raw += LastChunk
		}
		if !done && bare {
			return f // nothing but a reset can tell that it is cut
		}
		f.out += string(head) + raw
		if !done {
			f.cut = true
			return f
		}
		m.data = data
		f.messages = append(f.messages, m)
		if !r.Interim() {
			methods = methods[1:]
		}
		if !keep {
			return f
		}
		text = rest
	}
	return f
}

// passing are the fields that pass, as ourFields writes them.
func passing(h *Head) (lines []string) {
	for i := range h.Fields {
		name := http.CanonicalHeaderKey(string(h.Name(i)))
		if compared(name) && !h.Fields[i].Drop {
			lines = append(lines, name+": "+string(h.Value(i)))
		}
	}
	slices.Sort(lines)
	return lines
}

// netBody reads the body and tells its length as a message does.
func netBody(length int64, coding []string, body io.Reader) (int64, string, error) {
	data, err := io.ReadAll(body)
	switch {
	case len(coding) > 0:
		length = -1
	case length < 0:
		length = -2
	}
	return length, string(data), err
}

// netRequest reads a request by net/http.
func netRequest(br *bufio.Reader) (m message, err error) {
	q, err := http.ReadRequest(br)
	if err != nil {
		return m, err
	}
	m = message{start: q.Method + " " + q.RequestURI + " " + q.Proto, host: q.Host, fields: netFields(q.Header)}
	m.length, m.data, err = netBody(q.ContentLength, q.TransferEncoding, q.Body)
	return m, err
}

// netResponse reads a response to method by net/http.
func netResponse(br *bufio.Reader, method Method) (m message, err error) {
	q, err := http.ReadResponse(br, &http.Request{Method: methodNames[method]})
	if err != nil {
		return m, err
	}
	m = message{start: q.Proto + " " + strconv.Itoa(q.StatusCode), fields: netFields(q.Header)}
	length := q.ContentLength
	if method == MethodHead || q.StatusCode == 304 {
		length = 0 // it tells that of another message
	}
	m.length, m.data, err = netBody(length, q.TransferEncoding, q.Body)
	return m, err
}

// independent has an independent parser read what was sent on: it must find
// the same messages, and behind them nothing, or one that is incomplete.
func (f *forwarded) independent(t testing.TB, in string, read func(*bufio.Reader) (message, error)) {
	t.Helper()
	br := bufio.NewReaderSize(strings.NewReader(f.out), max(len(f.out), 1<<16))
	for i, want := range f.messages {
		got, err := read(br)
		if err != nil || got.String() != want.String() {
			t.Fatalf("%q\nis sent on as %q\nof which message %d is\n%s\nfor net/http\n%s, %v", in, f.out, i, want, got, err)
		}
	}
	if f.cut {
		if got, err := read(br); err == nil {
			t.Fatalf("%q\nbreaks off, but is sent on as %q\nwith %s at its end", in, f.out, got)
		}
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 && !f.cut {
		t.Fatalf("%q\nis sent on as %q\nwith %q left over", in, f.out, rest)
	}
}

// stable compares with what is sent on when a second proxy follows.
func (f *forwarded) stable(t testing.TB, in string, again forwarded) {
	t.Helper()
	if again.out != f.out || again.cut != f.cut || fmt.Sprint(again.messages) != fmt.Sprint(f.messages) {
		t.Fatalf("%q\nis sent on as %q\nand that as %q\n%s\n%s", in, f.out, again.out, f.messages, again.messages)
	}
}

func checkRequests(t testing.TB, in string, size int) forwarded {
	t.Helper()
	f := forwardRequests(t, in, size, nil)
	f.independent(t, in, netRequest)
	f.stable(t, in, forwardRequests(t, f.out, len(f.out)+1, wide))
	return f
}

func checkResponses(t testing.TB, in string, methods []Method, size int, old bool) forwarded {
	t.Helper()
	f := forwardResponses(t, in, methods, size, old, nil)
	left := methods
	f.independent(t, in, func(br *bufio.Reader) (message, error) {
		m, err := netResponse(br, left[0])
		if err == nil && !strings.HasPrefix(m.start, "HTTP/1.1 1") {
			left = left[1:]
		}
		return m, err
	})
	if !old {
		f.stable(t, in, forwardResponses(t, f.out, methods, len(f.out)+1, false, wide))
	}
	return f
}
