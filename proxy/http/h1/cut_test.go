package h1

import (
	"strings"
	"testing"
)

// cutBodies are chunked bodies that break off, and what of them passes: no line
// that is not complete, since its start can look like another line.
var cutBodies = []struct{ name, in, want string }{
	{"9112§8/before-all", "", ""},
	{"9112§8/in-size", "5\r\nhello\r\n1", "5\r\nhello\r\n"},
	{"9112§8/in-long-size", "5\r\nhello\r\n00001", "5\r\nhello\r\n"},
	{"9112§8/in-first-size", "5", ""},
	{"9112§8/in-line-end-of-size", "5\r\nhello\r\n1\r", "5\r\nhello\r\n"},
	{"9112§8/behind-size", "5\r\nhello\r\n1\r\n", "="},
	{"9112§8/in-data", "5\r\nhel", "="},
	{"9112§8/behind-data", "5\r\nhello", "="},
	{"9112§8/in-line-end-of-data", "5\r\nhello\r", "5\r\nhello"},
	{"9112§8/behind-chunk", "5\r\nhello\r\n", "="},
	{"9112§8/in-whitespace", "5 ", ""},
	{"9112§8/in-extension", "5;foo", ""},
	{"9112§8/in-extension-value", "1\r\nx\r\n5;foo=\"a;b", "1\r\nx\r\n"},
	{"9112§8/in-line-end-of-extension", "5;foo\r", ""},
	{"9112§8/behind-extension", "5;foo\r\n", "5\r\n"},
	{"9112§8/in-last-size", "5\r\nhello\r\n0", "5\r\nhello\r\n"},
	{"9112§8/in-line-end-of-last-size", "0\r", ""},
	{"9112§8/behind-last-size", "0\r\n", "="},
	{"9112§8/in-trailer", "0\r\nX-T: 1", "0\r\n"},
	{"9112§8/in-line-end-of-trailer", "0\r\nX-T: 1\r", "0\r\n"},
	{"9112§8/behind-trailer", "0\r\nX-T: 1\r\n", "="},
	{"9112§8/in-last-line-end", "0\r\nX-T: 1\r\n\r", "0\r\nX-T: 1\r\n"},
}

func TestCutChunked(t *testing.T) {
	for _, tc := range cutBodies {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			if want == "=" {
				want = tc.in
			}
			for _, size := range []int{1, 2, 3, 5, 1000} {
				var b Body
				b.Init(Chunked, 0)
				got, rest, err := follow(t, &b, tc.in, size)
				if err != nil || got != want || b.Done() || b.Remaining() > 5 {
					t.Errorf("pieces of %d: %q, rest %q, %v", size, got, rest, err)
				}
				if got := cause(t, b.End()); got != "400 truncated-body" || b.Done() {
					t.Errorf("End: %q", got)
				}
				b.Init(Chunked, 0)
				b.Decode, b.response = true, true
				_, _, err = follow(t, &b, tc.in, size)
				if got := cause(t, b.End()); err != nil || got != "502 truncated-body" {
					t.Errorf("End, decoded: %v, %q", err, got)
				}
			}
		})
	}
}

// TestCut: the end of a connection completes only what is delimited by it.
func TestCut(t *testing.T) {
	for _, tc := range []struct {
		name string
		head string
		body string
		want string
	}{
		{"9112§8/length", "Content-Length: 5", "hell", "truncated-body"},
		{"9112§8/length-before-all", "Content-Length: 5", "", "truncated-body"},
		{"9112§8/length-complete", "Content-Length: 5", "hello", ""},
		{"9112§8/length-zero", "Content-Length: 0", "", ""},
		{"9112§8/chunked", "Transfer-Encoding: chunked", "5\r\nhello\r\n", "truncated-body"},
		{"9112§8/chunked-before-all", "Transfer-Encoding: chunked", "", "truncated-body"},
		{"9112§8/chunked-complete", "Transfer-Encoding: chunked", LastChunk, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := parseRequest(t, get(tc.head), nil)
			if err != nil {
				t.Fatal(err)
			}
			var p Response
			if _, err := p.Parse([]byte("HTTP/1.1 200 OK\r\n"+tc.head+"\r\n\r\n"), MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			for status, b := range map[string]*Body{"400 ": &r.Body, "502 ": &p.Body} {
				if _, _, err := follow(t, b, tc.body, 3); err != nil {
					t.Fatal(err)
				}
				want := tc.want
				if want != "" {
					want = status + want
				}
				if got := cause(t, b.End()); got != want || b.Done() != (want == "") {
					t.Errorf("End = %q, want %q", got, want)
				}
			}
		})
	}
	t.Run("9112§8/until-close", func(t *testing.T) {
		var r Response
		if _, err := r.Parse([]byte("HTTP/1.1 200 OK\r\n\r\n"), MethodGet, nil); err != nil {
			t.Fatal(err)
		}
		if err := r.Body.End(); err != nil || !r.Body.Done() {
			t.Error(err)
		}
	})
}

// TestChunkSizes: where the size is a number, how far the chunk reaches.
func TestChunkSizes(t *testing.T) {
	for _, tc := range []struct {
		name, size string
		want       int64
		cause      string
	}{
		{"9112§7.1/one", "1", 1, ""},
		{"9112§7.1/both-cases", "aBcDeF", 0xabcdef, ""},
		{"9112§7.1/32-bits", "100000000", 1 << 32, ""},
		{"9112§7.1/largest", "3fffffffffffffff", 1<<62 - 1, ""},
		{"9112§7.1/beyond-62-bits", "4000000000000000", 0, "400 chunk-too-large"},
		{"9112§7.1/beyond-62-bits-by-much", "5000000000000000", 0, "400 chunk-too-large"},
		{"9112§7.1/largest-63-bits", "7fffffffffffffff", 0, "400 chunk-too-large"},
		{"9112§7.1/64-bits", "8000000000000005", 0, "400 chunk-too-large"},
		{"9112§7.1/most-digits", "0000000000000005", 5, ""},
		{"9112§7.1/too-many-digits", "00000000000000005", 0, "400 chunk-too-large"},
		{"9112§7.1/most-zeros", "0000000000000000", 0, ""},
		{"9112§7.1/too-many-zeros", "00000000000000000", 0, "400 chunk-too-large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, line := range []string{tc.size + "\r\n", tc.size + ";a=b\r\n"} {
				for _, pieces := range []int{1, 1000} {
					var b Body
					b.Init(Chunked, 0)
					out, rest, err := follow(t, &b, line, pieces)
					if got := cause(t, err); got != tc.cause || b.Remaining() != tc.want {
						t.Errorf("%q: %q, remaining %d", line, got, b.Remaining())
					}
					if err == nil && (out != tc.size+"\r\n" || rest != "") {
						t.Errorf("%q passes as %q, %q", line, out, rest)
					}
				}
			}
			// A mistake does not wait for the rest of its line.
			var b Body
			b.Init(Chunked, 0)
			if _, _, err := b.Next([]byte(tc.size)); cause(t, err) != tc.cause {
				t.Errorf("without line end: %v", err)
			}
		})
	}
}

// TestExtensionInPieces presents a size line whole, as it has to be, but what is
// left of it octet by octet.
func TestExtensionInPieces(t *testing.T) {
	const in = "5;foo=\"bar\"\r\nhello\r\n0;x\r\n\r\n"
	for _, decode := range []bool{false, true} {
		var b Body
		b.Init(Chunked, 0)
		b.Decode = decode
		var out strings.Builder
		at, end := 0, strings.Index(in, "\n")+1
		for at < len(in) && !b.Done() {
			skip, take, err := b.Next([]byte(in[at:end]))
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString(in[at+skip : at+skip+take])
			if at += skip + take; skip+take > 0 {
				end = at
			}
			end++
		}
		if want := map[bool]string{false: "5\r\nhello\r\n0\r\n\r\n", true: "hello"}[decode]; out.String() != want || !b.Done() {
			t.Errorf("passes as %q", out.String())
		}
	}
}
