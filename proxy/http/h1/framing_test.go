package h1

import (
	"fmt"
	"strings"
	"testing"
)

// framed is a head and what its framing must be: a cause, or kind, length and
// what passes of the fields that matter.
type framed struct {
	name  string
	lines string // in place of the CRLF between lines: "|"
	want  string
}

var requestFraming = []framed{
	{"9112§6.3/none", "", "none 0"},
	{"9110§8.6/plain", "Content-Length: 5", "length 5 Content-Length: 5|"},
	{"9110§8.6/name-case", "cOnTeNt-lEnGtH:5", "length 5 cOnTeNt-lEnGtH:5|"},
	{"9110§8.6/zero", "Content-Length: 0", "none 0 Content-Length: 0|"},
	{"9110§8.6/leading-zeros", "Content-Length: 0005", "length 5 Content-Length: 5|"},
	{"9110§8.6/zeros", "Content-Length: 000", "none 0 Content-Length: 0|"},
	{"9110§8.6/max", "Content-Length: 9223372036854775807", "length 9223372036854775807 Content-Length: 9223372036854775807|"},
	{"9110§8.6/overflow-63", "Content-Length: 9223372036854775808", "400 bad-content-length"},
	{"9110§8.6/overflow-64", "Content-Length: 18446744073709551621", "400 bad-content-length"},
	{"9110§8.6/overflow-long", "Content-Length: 5" + strings.Repeat("0", 60), "400 bad-content-length"},
	{"9110§8.6/minus", "Content-Length: -5", "400 bad-content-length"},
	{"9110§8.6/minus-zero", "Content-Length: -0", "400 bad-content-length"},
	{"9110§8.6/plus", "Content-Length: +5", "400 bad-content-length"},
	{"9110§8.6/hex", "Content-Length: 0x5", "400 bad-content-length"},
	{"9110§8.6/exponent", "Content-Length: 5e0", "400 bad-content-length"},
	{"9110§8.6/fraction", "Content-Length: 5.0", "400 bad-content-length"},
	{"9110§8.6/space-inside", "Content-Length: 5 5", "400 bad-content-length"},
	{"9110§8.6/underscore", "Content-Length: 5_0", "400 bad-content-length"},
	{"9110§8.6/word", "Content-Length: five", "400 bad-content-length"},
	{"9110§8.6/semicolon", "Content-Length: 5;", "400 bad-content-length"},
	{"9110§8.6/quoted", "Content-Length: \"5\"", "400 bad-content-length"},
	{"9110§8.6/empty", "Content-Length:", "400 bad-content-length"},
	{"9112§6.3/list-same", "Content-Length: 5, 5", "length 5 Content-Length: 5|"},
	{"9112§6.3/list-same-number", "Content-Length: 05 ,\t5", "length 5 Content-Length: 5|"},
	{"9112§6.3/list-differs", "Content-Length: 5, 6", "400 conflicting-content-length"},
	{"9112§6.3/list-of-three", "Content-Length: 5,5,5", "length 5 Content-Length: 5|"},
	{"9112§6.3/list-one-bad", "Content-Length: 5, x", "400 bad-content-length"},
	{"9112§6.3/list-one-signed", "Content-Length: 5, +5", "400 bad-content-length"},
	{"9112§6.3/list-one-empty", "Content-Length: 5,,5", "400 bad-content-length"},
	{"9112§6.3/list-one-too-large", "Content-Length: 5, 99999999999999999999", "400 bad-content-length"},
	{"9112§6.3/list-of-zeros", "Content-Length: 0, 00", "none 0 Content-Length: 0|"},
	{"9112§6.3/list-and-lines", "Content-Length: 5, 5|Content-Length: 05", "length 5 Content-Length: 5|"},
	{"9112§6.3/list-and-line-differ", "Content-Length: 5, 5|Content-Length: 6", "400 conflicting-content-length"},
	{"9112§6.3/lines-differ-at-the-end", "Content-Length: 5|Content-Length: 5|Content-Length: 0", "400 conflicting-content-length"},
	{"9112§6.3/lines-of-zeros", "Content-Length: 0|Content-Length: 0", "none 0 Content-Length: 0|"},
	{"9112§6.3/list-trailing-comma", "Content-Length: 5,", "400 bad-content-length"},
	{"9112§6.3/list-leading-comma", "Content-Length: ,5", "400 bad-content-length"},
	{"9112§6.3/lines-same", "Content-Length: 5|X-A: 1|Content-Length: 5", "length 5 Content-Length: 5|"},
	{"9112§6.3/lines-differ", "Content-Length: 5|Content-Length: 6", "400 conflicting-content-length"},
	{"9112§6.3/lines-one-empty", "Content-Length:|Content-Length: 5", "400 bad-content-length"},
	{"9112§6.3/lines-one-bad", "Content-Length: 5|Content-Length: x", "400 bad-content-length"},
	{"9112§6.1/chunked", "Transfer-Encoding: chunked", "chunked 0"},
	{"9112§6.1/case", "tRaNsFeR-eNcOdInG: ChUnKeD", "chunked 0"},
	{"9112§6.1/whitespace", "Transfer-Encoding: \tchunked \t", "chunked 0"},
	{"9112§6.1/no-whitespace", "Transfer-Encoding:chunked", "chunked 0"},
	{"9112§6.1/underscore-is-another-field", "Transfer_Encoding: chunked|Content-Length: 5", "length 5 Content-Length: 5|"},
	{"9112§6.1/with-length", "Transfer-Encoding: chunked|Content-Length: 5", "400 length-and-chunked"},
	{"9112§6.1/with-length-before", "Content-Length: 5|Transfer-Encoding: chunked", "400 length-and-chunked"},
	{"9112§6.1/with-bad-length", "Content-Length: x|Transfer-Encoding: chunked", "400 length-and-chunked"},
	{"9112§6.1/identity-with-length", "Transfer-Encoding: identity|Content-Length: 5", "400 length-and-chunked"},
	{"9112§6.1/chunked-twice", "Transfer-Encoding: chunked, chunked", "400 bad-transfer-encoding"},
	{"9112§6.1/chunked-twice-in-lines", "Transfer-Encoding: chunked|Transfer-Encoding: chunked", "400 bad-transfer-encoding"},
	{"9112§6.1/unknown-then-chunked", "Transfer-Encoding: frob, chunked", "501 unknown-transfer-coding"},
	{"9112§6.1/gzip-then-chunked-in-lines", "Transfer-Encoding: gzip|Transfer-Encoding: chunked", "501 unknown-transfer-coding"},
	{"9112§6.3/chunked-not-last", "Transfer-Encoding: chunked, gzip", "400 bad-transfer-encoding"},
	{"9112§6.3/chunked-not-last-in-lines", "Transfer-Encoding: chunked|Transfer-Encoding: identity", "400 bad-transfer-encoding"},
	{"9112§6.3/identity", "Transfer-Encoding: identity", "400 bad-transfer-encoding"},
	{"9112§6.3/unknown", "Transfer-Encoding: frob", "400 bad-transfer-encoding"},
	{"9112§6.3/almost", "Transfer-Encoding: xchunked", "400 bad-transfer-encoding"},
	{"9112§6.3/almost-2", "Transfer-Encoding: chunkedx", "400 bad-transfer-encoding"},
	{"9112§6.3/two-words", "Transfer-Encoding: chunked chunked", "400 bad-transfer-encoding"},
	{"9112§6.3/semicolon", "Transfer-Encoding: chunked;", "400 bad-transfer-encoding"},
	{"9112§6.3/parameter", "Transfer-Encoding: chunked;q=1", "400 bad-transfer-encoding"},
	{"9112§6.3/quoted", "Transfer-Encoding: \"chunked\"", "400 bad-transfer-encoding"},
	{"9112§6.3/empty", "Transfer-Encoding:", "400 bad-transfer-encoding"},
	{"9112§6.1/gzip-parameter-then-chunked", "Transfer-Encoding: gzip;q=1, chunked", "501 unknown-transfer-coding"},
	{"9112§6.1/with-two-lengths", "Content-Length: 5|Transfer-Encoding: chunked|Content-Length: 6", "400 length-and-chunked"},
	{"9112§6.1/named-by-connection", "Connection: Transfer-Encoding|Transfer-Encoding: chunked", "chunked 0"},
	{"9112§6.3/chunked-between", "Transfer-Encoding: gzip, chunked, gzip", "400 bad-transfer-encoding"},
	{"9112§6.3/chunked-twice-behind-another", "Transfer-Encoding: chunked, gzip, chunked", "400 bad-transfer-encoding"},
	{"9112§6.3/only-comma", "Transfer-Encoding: ,", "400 bad-transfer-encoding"},
	{"9112§6.3/non-ascii", "Transfer-Encoding: chun\u212aed", "400 bad-transfer-encoding"},
	{"9112§6.3/comma-before", "Transfer-Encoding: ,chunked", "400 bad-transfer-encoding"},
	{"9112§6.3/comma-behind", "Transfer-Encoding: chunked,", "400 bad-transfer-encoding"},
	{"9112§6.3/empty-line-behind", "Transfer-Encoding: chunked|Transfer-Encoding:", "400 bad-transfer-encoding"},
	{"9112§6.3/nul", "Transfer-Encoding: chunked\x00", "400 bad-field-value"},
	{"9112§6.3/vertical-tab", "Transfer-Encoding: \vchunked", "400 bad-field-value"},
}

func describeBody(b *Body) string {
	return fmt.Sprint([...]string{"none", "length", "chunked", "close"}[b.Kind], " ", map[bool]int64{true: b.Remaining()}[b.Kind == Length])
}

// describeFraming tells the body and the Content-Length lines that pass.
func describeFraming(h *Head) string {
	s := describeBody(&h.Body)
	for _, l := range strings.SplitAfter(string(h.AppendFields(nil, 0)), "\r\n") {
		if name, _, _ := strings.Cut(l, ":"); strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding") {
			s += " " + strings.ReplaceAll(l, "\r\n", "|")
		}
	}
	return s
}

func TestRequestFraming(t *testing.T) {
	for _, tc := range requestFraming {
		t.Run(tc.name, func(t *testing.T) {
			head := get(strings.Split(tc.lines, "|")...)
			if tc.lines == "" {
				head = get()
			}
			r, err := parseRequest(t, head, nil)
			got := cause(t, err)
			if err == nil {
				got = describeFraming(&r.Head)
			}
			if got != tc.want {
				t.Errorf("%q: %q, want %q", tc.lines, got, tc.want)
			}
		})
	}
}

// oldFraming is for HTTP/1.0, of requests (without Host) and responses.
var oldFraming = []framed{
	{"9112§6.3/none", "", "none 0"},
	{"9112§6.3/keep-alive", "Connection: keep-alive", "none 0 keep"},
	{"9110§8.6/length", "Content-Length: 5", "length 5 Content-Length: 5|"},
	{"9110§8.6/length-keep-alive", "Content-Length: 5|Connection: Keep-Alive", "length 5 Content-Length: 5| keep"},
	{"9110§8.6/bad", "Content-Length: +5", "400 bad-content-length"},
	{"9112§6.3/lines-differ", "Content-Length: 5|Content-Length: 6", "400 conflicting-content-length"},
	{"9112§6.1/chunked", "Transfer-Encoding: chunked", "400 transfer-encoding-in-1.0"},
	{"9112§6.1/chunked-keep-alive", "Transfer-Encoding: chunked|Connection: keep-alive", "400 transfer-encoding-in-1.0"},
	{"9112§6.1/chunked-with-length", "Transfer-Encoding: chunked|Content-Length: 5", "400 transfer-encoding-in-1.0"},
	{"9112§6.1/identity", "Transfer-Encoding: identity", "400 transfer-encoding-in-1.0"},
	{"9112§6.1/empty", "Transfer-Encoding:", "400 transfer-encoding-in-1.0"},
}

func TestOldFraming(t *testing.T) {
	for _, tc := range oldFraming {
		lines := strings.ReplaceAll(tc.lines, "|", "\r\n") + "\r\n\r\n"
		if tc.lines == "" {
			lines = "\r\n"
		}
		t.Run(tc.name+"/request", func(t *testing.T) {
			r, err := parseRequest(t, "POST / HTTP/1.0\r\n"+lines, nil)
			if got := outcome(t, &r.Head, err); got != tc.want {
				t.Errorf("%q: %q, want %q", tc.lines, got, tc.want)
			}
		})
		t.Run(tc.name+"/response", func(t *testing.T) {
			var r Response
			_, err := r.Parse([]byte("HTTP/1.0 200 OK\r\n"+lines), MethodGet, nil)
			want := strings.Replace(tc.want, "400", "502", 1)
			if strings.HasPrefix(want, "none") {
				want = "close 0"
			}
			if got := outcome(t, &r.Head, err); got != want {
				t.Errorf("%q: %q, want %q", tc.lines, got, want)
			}
		})
	}
}

// outcome is describeFraming and " keep" if the connection is kept, or a cause.
func outcome(t testing.TB, h *Head, err error) string {
	t.Helper()
	if err != nil {
		return cause(t, err)
	}
	if h.KeepAlive {
		return describeFraming(h) + " keep"
	}
	return describeFraming(h)
}

// TestResponseLengths: what requests may say about their length, responses may,
// and nothing else.
func TestResponseLengths(t *testing.T) {
	for _, tc := range requestFraming[1:] {
		t.Run(tc.name, func(t *testing.T) {
			var r Response
			_, err := r.Parse([]byte("HTTP/1.1 200 OK\r\n"+strings.ReplaceAll(tc.lines, "|", "\r\n")+"\r\n\r\n"), MethodGet, nil)
			want := tc.want + " keep"
			if err != nil {
				want = "502" + tc.want[3:]
			}
			if got := outcome(t, &r.Head, err); got != want {
				t.Errorf("%q: %q, want %q", tc.lines, got, want)
			}
		})
	}
}

var responseFraming = []struct {
	name   string
	method Method
	head   string // "|" for CRLF
	want   string // as of outcome
}{
	{"9112§6.3/length", MethodGet, "HTTP/1.1 200 OK|Content-Length: 5", "length 5 Content-Length: 5| keep"},
	{"9112§6.3/length-zero", MethodGet, "HTTP/1.1 200 OK|Content-Length: 0", "none 0 Content-Length: 0| keep"},
	{"9112§6.3/length-same-lines", MethodGet, "HTTP/1.1 200 OK|Content-Length: 5|Content-Length: 5", "length 5 Content-Length: 5| keep"},
	{"9112§6.3/length-same-list", MethodGet, "HTTP/1.1 200 OK|Content-Length: 5, 5", "length 5 Content-Length: 5| keep"},
	{"9112§6.3/length-differs", MethodGet, "HTTP/1.1 200 OK|Content-Length: 5|Content-Length: 6", "502 conflicting-content-length"},
	{"9112§6.3/length-bad", MethodGet, "HTTP/1.1 200 OK|Content-Length: -5", "502 bad-content-length"},
	{"9112§6.3/length-bad-with-HEAD", MethodHead, "HTTP/1.1 200 OK|Content-Length: -5", "502 bad-content-length"},
	{"9112§6.3/chunked", MethodGet, "HTTP/1.1 200 OK|Transfer-Encoding: CHUNKED", "chunked 0 keep"},
	{"9112§6.3/chunked-with-length", MethodGet, "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 5", "502 length-and-chunked"},
	{"9112§6.3/chunked-twice", MethodGet, "HTTP/1.1 200 OK|Transfer-Encoding: chunked, chunked", "502 bad-transfer-encoding"},
	{"9112§6.3/gzip", MethodGet, "HTTP/1.1 200 OK|Transfer-Encoding: gzip", "502 bad-transfer-encoding"},
	{"9112§6.3/gzip-chunked", MethodGet, "HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked", "502 unknown-transfer-coding"},
	{"9112§6.1/chunked-in-1.0", MethodGet, "HTTP/1.0 200 OK|Transfer-Encoding: chunked", "502 transfer-encoding-in-1.0"},
	{"9112§6.3/until-close", MethodGet, "HTTP/1.1 200 OK", "close 0"},
	{"9112§6.3/until-close-1.0", MethodGet, "HTTP/1.0 200 OK", "close 0"},
	{"9112§6.3/until-close-keep-alive", MethodGet, "HTTP/1.1 200 OK|Connection: keep-alive", "close 0"},
	{"9112§6.3/head", MethodHead, "HTTP/1.1 200 OK", "none 0 keep"},
	{"9112§6.3/head-length", MethodHead, "HTTP/1.1 200 OK|Content-Length: 100", "none 0 Content-Length: 100| keep"},
	{"9112§6.3/head-chunked", MethodHead, "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "none 0 keep"},
	{"9112§6.3/204", MethodGet, "HTTP/1.1 204 No Content", "none 0 keep"},
	{"9110§8.6/204-length-zero", MethodGet, "HTTP/1.1 204 No Content|Content-Length: 0", "none 0 keep"},
	{"9110§8.6/204-length", MethodGet, "HTTP/1.1 204 No Content|Content-Length: 5", "none 0"},
	{"9112§6.1/204-chunked", MethodGet, "HTTP/1.1 204 No Content|Transfer-Encoding: chunked", "none 0"},
	{"9112§6.3/304", MethodGet, "HTTP/1.1 304 Not Modified", "none 0 keep"},
	{"9112§6.3/304-length", MethodGet, "HTTP/1.1 304 Not Modified|Content-Length: 100", "none 0 Content-Length: 100| keep"},
	{"9112§6.3/304-chunked", MethodGet, "HTTP/1.1 304 Not Modified|Transfer-Encoding: chunked", "none 0 keep"},
	{"9112§6.3/100", MethodGet, "HTTP/1.1 100 Continue", "none 0 keep"},
	{"9110§8.6/103-length", MethodGet, "HTTP/1.1 103 Early Hints|Content-Length: 5", "none 0"},
	{"9112§6.3/101", MethodGet, "HTTP/1.1 101 Switching Protocols|Connection: upgrade|Upgrade: x", "none 0 keep"},
	{"9112§6.3/205", MethodGet, "HTTP/1.1 205 Reset Content|Content-Length: 0", "none 0 Content-Length: 0| keep"},
	{"9112§6.3/connect-200", MethodConnect, "HTTP/1.1 200 OK", "none 0 keep"},
	{"9112§6.3/connect-300", MethodConnect, "HTTP/1.1 300 No|Content-Length: 5", "length 5 Content-Length: 5| keep"},
	{"9112§6.3/connect-400", MethodConnect, "HTTP/1.1 400 No|Content-Length: 5", "length 5 Content-Length: 5| keep"},
	{"9112§9.3/close", MethodGet, "HTTP/1.1 200 OK|Content-Length: 5|Connection: x, Close", "length 5 Content-Length: 5|"},
	{"9112§9.3/1.0", MethodGet, "HTTP/1.0 200 OK|Content-Length: 5", "length 5 Content-Length: 5|"},
	{"9112§9.3/1.0-keep-alive", MethodGet, "HTTP/1.0 200 OK|Content-Length: 5|Connection: Keep-Alive", "length 5 Content-Length: 5| keep"},
	{"9112§9.3/1.0-both", MethodGet, "HTTP/1.0 200 OK|Content-Length: 5|Connection: Keep-Alive, close", "length 5 Content-Length: 5|"},
}

func TestResponseFraming(t *testing.T) {
	for _, tc := range responseFraming {
		t.Run(tc.name, func(t *testing.T) {
			var r Response
			n, err := r.Parse([]byte(strings.ReplaceAll(tc.head, "|", "\r\n")+"\r\n\r\n"), tc.method, nil)
			if got := outcome(t, &r.Head, err); got != tc.want {
				t.Errorf("%q: %d, %q, want %q", tc.head, n, got, tc.want)
			}
		})
	}
}

// TestNoContent: after these the next message begins behind the head, whatever
// the head says about a length.
func TestNoContent(t *testing.T) {
	const length, zero = "Content-Length: 5|", "Content-Length: 0|"
	for _, tc := range []struct {
		name   string
		method Method
		status string
		// What passes, " keep" included: without framing, with length 0, with
		// length 5, with chunked.
		want [4]string
	}{
		// A length is forbidden in these: it goes, and the connection with it.
		{"9110§15.2/100", MethodGet, "100", [4]string{" keep", " keep", "", ""}},
		{"9110§15.2/101", MethodGet, "101", [4]string{" keep", " keep", "", ""}},
		{"9110§15.2/103", MethodPost, "103", [4]string{" keep", " keep", "", ""}},
		{"9110§15.2/199", MethodHead, "199", [4]string{" keep", " keep", "", ""}},
		{"9110§15.3.5/204", MethodGet, "204", [4]string{" keep", " keep", "", ""}},
		{"9110§15.3.5/204-to-DELETE", MethodDelete, "204", [4]string{" keep", " keep", "", ""}},
		{"9110§15.3.5/204-to-HEAD", MethodHead, "204", [4]string{" keep", " keep", "", ""}},
		// In these it tells the length of another response, and stays.
		{"9110§15.4.5/304", MethodGet, "304", [4]string{" keep", " " + zero + " keep", " " + length + " keep", " keep"}},
		{"9110§15.4.5/304-to-HEAD", MethodHead, "304", [4]string{" keep", " " + zero + " keep", " " + length + " keep", " keep"}},
		{"9110§9.3.2/HEAD", MethodHead, "200", [4]string{" keep", " " + zero + " keep", " " + length + " keep", " keep"}},
		{"9110§9.3.2/HEAD-404", MethodHead, "404", [4]string{" keep", " " + zero + " keep", " " + length + " keep", " keep"}},
		{"9110§9.3.6/CONNECT", MethodConnect, "200", [4]string{" keep", " " + zero + " keep", " " + length + " keep", " keep"}},
	} {
		for i, lines := range []string{"", "Content-Length: 0\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"} {
			t.Run(fmt.Sprint(tc.name, "/", i), func(t *testing.T) {
				var r Response
				head := "HTTP/1.1 " + tc.status + " X\r\n" + lines + "\r\n"
				n, err := r.Parse([]byte(head+"HTTP/1.1 200 OK\r\n"), tc.method, nil)
				if got := outcome(t, &r.Head, err); got != "none 0"+tc.want[i] || n != len(head) || !r.Body.Done() {
					t.Errorf("%q: %d, %q, want %q", lines, n, got, tc.want[i])
				}
			})
		}
	}
}
