package h1

import (
	"strings"
	"testing"
)

// chunkedBody is a chunked body with what follows it, and what becomes of it.
type chunkedBody struct {
	name string
	in   string
	raw  string // what passes, or a cause
	data string // what passes when decoding
	rest string // what follows
}

var chunkedBodies = []chunkedBody{
	{"9112§7.1/one", "5\r\nhello\r\n0\r\n\r\n", "=", "hello", ""},
	{"9112§7.1/two", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "=", "hello!", ""},
	{"9112§7.1/empty", "0\r\n\r\n", "=", "", ""},
	{"9112§7.1/then-next", "5\r\nhello\r\n0\r\n\r\nGET", "5\r\nhello\r\n0\r\n\r\n", "hello", "GET"},
	{"9112§7.1/hex", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "=", "01234567890123456789", ""},
	{"9112§7.1/data-like-framing", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "=", "\r\n0\r\n\r\n", ""},
	{"9112§7.1/leading-zeros", "00005\r\nhello\r\n0\r\n\r\n", "=", "hello", ""},
	{"9112§7.1/zeros-at-the-end", "5\r\nhello\r\n000\r\n\r\n", "=", "hello", ""},
	{"9112§7.1/too-many-zeros", strings.Repeat("0", 100) + "5\r\nhello\r\n0\r\n\r\n", "400 chunk-too-large", "", ""},
	{"9112§7.1/hex-prefix", "0x5\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/plus", "+5\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/minus", "-5\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/underscore", "1_0\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/not-hex", "5g\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/no-size", "\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/space-first", " 5\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/space-behind", "5 \r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1/nul", "5\x00\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/comma", "5,5\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/overflow", "FFFFFFFFFFFFFFFFF\r\nhello\r\n", "400 chunk-too-large", "", ""},
	{"9112§7.1/minus-one", "ffffffffffffffff\r\nhello\r\n", "400 chunk-too-large", "", ""},
	{"9112§7.1/sign-bit", "8000000000000005\r\nhello\r\n", "400 chunk-too-large", "", ""},
	{"9112§7.1/beyond-62-bits", "4000000000000000\r\nhello\r\n", "400 chunk-too-large", "", ""},
	{"9112§7.1/max-63-bits", "7fffffffffffffff\r\nhello\r\n", "400 chunk-too-large", "", ""},
	{"9112§7.1/most-digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", "=", "hello", ""},
	{"9112§7.1/overflow-to-5", "10000000000000005\r\nhello\r\n", "400 chunk-too-large", "", ""},
	{"9112§7.1/cr-only", "5\rhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/lf-only", "5\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1/data-too-long", "5\r\nhelloX\r\n0\r\n\r\n", "400 bad-chunk-end", "", ""},
	{"9112§7.1/data-too-short", "6\r\nhello\r\n0\r\n\r\n", "400 bad-chunk-end", "", ""},
	{"9112§7.1/lf-behind-data", "5\r\nhello\n0\r\n\r\n", "400 bad-chunk-end", "", ""},
	{"9112§7.1/cr-behind-data", "5\r\nhello\r0\r\n\r\n", "400 bad-chunk-end", "", ""},
	{"9112§7.1.1/name", "5;foo\r\nhello\r\n0;last\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
	{"9112§7.1.1/values", "5;foo=bar;baz=\"1\\\"\t;\"\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
	{"9112§7.1.1/bad-whitespace", "5 \t; foo = bar ;\ta\t;b=\"\" ;c\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
	{"9112§7.1.1/no-size", ";foo\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1.1/no-name", "5;\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/no-name-but-value", "5;=a\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/no-value", "5;a=\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/two-values", "5;a=b=c\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/two-words", "5;a b\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/trailing-space", "5;a \r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/nul", "5;a\x00b\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/nul-quoted", "5;a=\"\x00\"\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/nul-escaped", "5;a=\"\\\x00\"\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/line-end-quoted", "5;a=\"\r\n\"\r\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/lf", "5;a\nhello\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/cr", "5;a\rb\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1.1/at-the-last-chunk", "5\r\nhello\r\n0 ;a=\"\\b\" ; c\r\nX-T: 1\r\n\r\nGET", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", "hello", "GET"},
	{"9112§7.1.1/bad-at-the-last-chunk", "5\r\nhello\r\n0;\r\n\r\n", "400 bad-chunk-extension", "", ""},
	{"9112§7.1.1/bare-cr-behind", "5;a\r\r\nhello\r\n", "400 bad-chunk-size", "", ""},
	{"9112§7.1.1/longest", "5;" + strings.Repeat("a", maxExtensions-2) + "\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
	{"9112§7.1.1/too-long", "5;a=" + strings.Repeat("a", maxExtensions) + "\r\nhello\r\n", "400 chunk-overhead", "", ""},
	{"9112§7.1.1/too-many", strings.Repeat("1;a="+strings.Repeat("a", 100)+"\r\nx\r\n", 200), "400 chunk-overhead", "", ""},
	{"9112§7.1.2/trailer", "0\r\nX-T: 1\r\nX-U:2\r\n\r\n", "=", "", ""},
	{"9112§7.1.2/trailer-behind-data", "1;a\r\nx\r\n0;b\r\nX-T: 1\r\n\r\nnext", "1\r\nx\r\n0\r\nX-T: 1\r\n\r\n", "x", "next"},
	{"9110§6.5.1/forbidden", "0\r\nX-T: 1\r\nContent-Length: 100\r\ntransfer-encoding: x\r\nX-U: 2\r\nHost: evil\r\n\r\n", "0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", "", ""},
	{"9110§6.5.1/vouched-for", "0\r\nX-Forwarded-For: 1\r\n\r\n", "0\r\n\r\n", "", ""},
	{"9112§7.1.2/no-colon", "0\r\nX-T\r\n\r\n", "400 bad-trailer", "", ""},
	{"9112§7.1.2/no-name", "0\r\n: x\r\n\r\n", "400 bad-trailer", "", ""},
	{"9112§7.1.2/space-before-colon", "0\r\nX-T : x\r\n\r\n", "400 bad-trailer", "", ""},
	{"9112§7.1.2/fold", "0\r\nX-T: x\r\n y\r\n\r\n", "400 bad-trailer", "", ""},
	{"9112§7.1.2/lf", "0\r\nX-T: x\n\r\n", "400 bad-trailer", "", ""},
	{"9112§7.1.2/lf-at-the-end", "0\r\nX-T: x\r\n\n", "400 bad-trailer", "", ""},
	{"9112§7.1.2/cr", "0\r\nX-T: x\ry\r\n\r\n", "400 bad-trailer", "", ""},
	{"9112§7.1.2/nul", "0\r\nX-T: x\x00\r\n\r\n", "400 bad-trailer", "", ""},
	{"9112§7.1.2/line-too-long", "0\r\nX-T: " + strings.Repeat("x", defaultMaxHead), "431 trailer-too-large", "", ""},
	{"9112§7.1.2/line-too-long-with-end", "0\r\nX-T: " + strings.Repeat("x", defaultMaxHead) + "\r\n\r\n", "431 trailer-too-large", "", ""},
	{"9112§7.1.2/too-large", "0\r\n" + strings.Repeat("X-T: "+strings.Repeat("x", 4000)+"\r\n", 17), "431 trailer-too-large", "", ""},
	{"9112§7.1.2/too-many", "0\r\n" + strings.Repeat("X-T: 1\r\n", defaultMaxFields+1), "431 trailer-too-large", "", ""},
}

// follow gives in to b in pieces of at most size octets, as a connection would,
// and returns what passed and what was left behind the end.
func follow(t testing.TB, b *Body, in string, size int) (out, rest string, err error) {
	t.Helper()
	var passed, held []byte
	for len(in) > 0 && !b.Done() {
		n := min(size, len(in))
		held = append(held, in[:n]...)
		in = in[n:]
		for len(held) > 0 && !b.Done() {
			skip, take, err := b.Next(held)
			if skip < 0 || take < 0 || skip+take > len(held) {
				t.Fatalf("Next(%q) = %d, %d", held, skip, take)
			}
			passed = append(passed, held[skip:skip+take]...)
			held = held[skip+take:]
			if err != nil {
				return string(passed), string(held) + in, err
			}
			if skip+take == 0 {
				if len(held) >= defaultMaxHead {
					t.Fatalf("Next leaves %d octets alone: %.50q…", len(held), held)
				}
				break
			}
		}
	}
	return string(passed), string(held) + in, nil
}

func TestChunked(t *testing.T) {
	for _, tc := range chunkedBodies {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.raw
			if want == "=" {
				want = tc.in
			}
			for _, size := range []int{1, 2, 3, 5, 7, 1000, 1 << 20} {
				var b Body
				b.Init(Chunked, 0)
				got, rest, err := follow(t, &b, tc.in, size)
				if err != nil {
					got = cause(t, err)
				}
				if got != want || err == nil && (rest != tc.rest || !b.Done()) {
					t.Fatalf("pieces of %d: %q, rest %q, want %q, %q", size, got, rest, want, tc.rest)
				}
				if err != nil {
					continue
				}
				b.Init(Chunked, 0)
				b.Decode = true
				got, rest, err = follow(t, &b, tc.in, size)
				if got != tc.data || rest != tc.rest || err != nil || !b.Done() || b.Seen() != int64(len(got)) {
					t.Fatalf("pieces of %d, decoded: %q, rest %q, %v, seen %d", size, got, rest, err, b.Seen())
				}
			}
		})
	}
}

// TestChunkedRuns checks that what needs no change passes in one run.
func TestChunkedRuns(t *testing.T) {
	in := "5\r\nhello\r\n5\r\nworld\r\n0\r\nX-T: 1\r\n\r\n"
	var b Body
	b.Init(Chunked, 0)
	if skip, take, err := b.Next([]byte(in + "next")); skip != 0 || take != len(in) || err != nil || !b.Done() {
		t.Errorf("Next = %d, %d, %v", skip, take, err)
	}
	if skip, take, err := b.Next([]byte("next")); skip != 0 || take != 0 || err != nil {
		t.Errorf("Next behind the end = %d, %d, %v", skip, take, err)
	}
}

func TestManyTinyChunks(t *testing.T) {
	var b Body
	b.Init(Chunked, 0)
	in := strings.Repeat("1\r\nx\r\n", 100_000) + LastChunk
	if _, take, err := b.Next([]byte(in)); take != len(in) || err != nil || b.Seen() != 100_000 {
		t.Errorf("Next = %d, %v", take, err)
	}
}

func TestLengthBody(t *testing.T) {
	var b Body
	b.Init(Length, 10)
	step := func(p string, wantTake int, wantRemaining int64) {
		t.Helper()
		skip, take, err := b.Next([]byte(p))
		if skip != 0 || take != wantTake || err != nil || b.Remaining() != wantRemaining || b.Done() != (wantRemaining == 0) {
			t.Fatalf("Next(%q) = %d, %d, %v; remaining %d, done %v", p, skip, take, err, b.Remaining(), b.Done())
		}
	}
	step("", 0, 10)
	step("abc", 3, 7)
	b.Skip(4)
	step("", 0, 3)
	if err := b.End(); cause(t, err) != "400 truncated-body" {
		t.Error(err)
	}
	step("defGET", 3, 0)
	step("GET", 0, 0)
	if err := b.End(); err != nil || b.Seen() != 10 {
		t.Error(err, b.Seen())
	}
	b.Skip(0)
	if b.Init(Length, 0); !b.Done() {
		t.Error("a body of no octets is not done")
	}
}

func TestSkipInChunk(t *testing.T) {
	var b Body
	b.Init(Chunked, 0)
	if _, take, _ := b.Next([]byte("1000\r\nabc")); take != 9 || b.Remaining() != 0xffd {
		t.Fatalf("took %d, remaining %#x", take, b.Remaining())
	}
	b.Skip(0xffd)
	if b.Remaining() != 0 || b.Seen() != 0x1000 {
		t.Fatalf("remaining %#x, seen %#x", b.Remaining(), b.Seen())
	}
	if _, take, err := b.Next([]byte("\r\n0\r\n\r\n")); take != 7 || err != nil || !b.Done() {
		t.Fatal(take, err)
	}
}

func TestUntilClose(t *testing.T) {
	var r Response
	if _, err := r.Parse([]byte("HTTP/1.1 200 OK\r\n\r\n"), MethodGet, nil); err != nil {
		t.Fatal(err)
	}
	b := &r.Body
	if _, take, err := b.Next([]byte("abc")); take != 3 || err != nil || b.Done() || b.Remaining() <= 1<<60 {
		t.Fatal(take, err, b.Done())
	}
	b.Skip(1 << 40)
	if err := b.End(); err != nil || !b.Done() || b.Seen() != 1<<40+3 {
		t.Fatal(err, b.Done(), b.Seen())
	}
}

// TestBodyFaultsOfResponses: what an instance does wrong is 502.
func TestBodyFaultsOfResponses(t *testing.T) {
	var r Response
	if _, err := r.Parse([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), MethodGet, nil); err != nil {
		t.Fatal(err)
	}
	b := r.Body
	if err := b.End(); cause(t, err) != "502 truncated-body" {
		t.Error(err)
	}
	if _, _, err := b.Next([]byte("zz\r\n")); cause(t, err) != "502 bad-chunk-size" {
		t.Error(err)
	}
}

func TestNoBody(t *testing.T) {
	var b Body
	b.Init(NoBody, 0)
	if skip, take, err := b.Next([]byte("x")); skip != 0 || take != 0 || err != nil || !b.Done() || b.End() != nil {
		t.Error(skip, take, err)
	}
}

func TestAppendChunkHeader(t *testing.T) {
	if got := string(AppendChunkHeader([]byte("> "), 0xabc0)); got != "> abc0\r\n" {
		t.Errorf("%q", got)
	}
	if got := string(AppendField(nil, "X-A", []byte("b"))); got != "X-A: b\r\n" {
		t.Errorf("%q", got)
	}
}
