package h2

import (
	"errors"
	"strings"
	"testing"

	"sidecar/proxy/http/h1"
)

// bodies are what follows a head: DATA, in pieces that "|" parts, then the end. want is text
// or an error, for a body of four octets announced, chunked with and without an announcement,
// none, and one to be thrown away.
var bodies = []struct {
	name string
	body framing
	data string
	want string
	err  error
}{
	{name: "9113§8.1.1/length", body: framing{left: 4}, data: "ab|c|d", want: "abcd"},
	{name: "9113§8.1.1/empty-frames", body: framing{left: 4}, data: "|abcd||", want: "abcd"},
	{name: "9113§8.1.1/too-little", body: framing{left: 4}, data: "abc", err: errLength},
	{name: "9113§8.1.1/nothing", body: framing{left: 4}, data: "", err: errLength},
	{name: "9113§8.1.1/too-much", body: framing{left: 4}, data: "abcde", err: errLength},
	{name: "9113§8.1.1/too-much-later", body: framing{left: 4}, data: "abcd|e", err: errLength},
	{name: "9112§7.1/chunked", body: framing{chunked: true, left: -1}, data: "ab||0123456789abcdef", want: "2\r\nab\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"},
	{name: "9112§7.1/chunked-empty", body: framing{chunked: true, left: -1}, data: "|", want: "0\r\n\r\n"},
	{name: "9113§8.1.1/counted-chunks", body: framing{chunked: true, left: 4}, data: "ab|cd", want: "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"},
	{name: "9113§8.1.1/counted-chunks-too-little", body: framing{chunked: true, left: 4}, data: "ab|c", err: errLength},
	{name: "9113§8.1.1/counted-chunks-too-much", body: framing{chunked: true, left: 4}, data: "ab|cde", err: errLength},
	{name: "9110§6.4.1/none", data: "||", want: ""},
	{name: "9110§6.4.1/none-but-data", data: "a", err: errLength},
	{name: "9113§8.5/connect", body: framing{discard: true}, data: "GET / HTTP/1.1|", want: ""},
}

func TestData(t *testing.T) {
	for _, tc := range bodies {
		t.Run(tc.name, func(t *testing.T) {
			text, err := []byte("before"), error(nil)
			body := tc.body
			for piece := range strings.SplitSeq(tc.data, "|") {
				before := len(text)
				if text, err = body.data(text, []byte(piece)); err != nil {
					break
				}
				if len(text) > before+len(piece)+dataOverhead {
					t.Errorf("%q became %q", piece, text[before:])
				}
			}
			if err == nil {
				text, err = body.end(text, nil)
			}
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, not %v", err, tc.err)
			}
			if got := string(text); err == nil && got != "before"+tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestTheLargestFrameHasRoomForItsChunk(t *testing.T) {
	const largest = 1<<24 - 1 // RFC 9113 §4.2
	body := framing{chunked: true, left: -1}
	text, err := body.data(make([]byte, 0, largest+dataOverhead), make([]byte, largest))
	if err != nil || len(text) > largest+dataOverhead || !strings.HasPrefix(string(text[:16]), "ffffff\r\n") {
		t.Errorf("%d octets, %v", len(text), err)
	}
}

// trailerLists are trailers and the lines that they become, or an error.
var trailerLists = []struct {
	name, list, want string
	err              error
}{
	{name: "9113§8.1/none", list: "", want: ""},
	{name: "grpc/status", list: "grpc-status=0\ngrpc-message=caf%C3%A9 x\nx=", want: "grpc-status: 0\r\ngrpc-message: caf%C3%A9 x\r\nx: \r\n"},
	{name: "9113§8.1/pseudo", list: ":status=200", err: errPseudoLate},
	{name: "9113§8.1/pseudo-behind", list: "x=1\n:path=/", err: errPseudoLate},
	{name: "9113§8.2.1/upper-case", list: "X=1", err: errName},
	{name: "9113§8.2.1/value", list: "x=a\rb", err: errValue},
	{name: "9113§8.2.2/connection", list: "connection=close", err: errHopByHop},
	{name: "9113§8.2.2/transfer-encoding", list: "transfer-encoding=chunked", err: errHopByHop},
	{name: "9113§8.2.2/te", list: "te=trailers", err: errHopByHop},
	{name: "9110§6.5.1/framing-and-routing", list: "x=1\ncontent-length=5\nhost=a\ncontent-type=application/grpc\ncookie=a\nauthorization=b\nset-cookie=c\ntrailer=x\ny=2", want: "x: 1\r\ny: 2\r\n"},
	{name: "9110§6.5.1/content-length-malformed", list: "content-length=x\nx=1", want: "x: 1\r\n"},
	{name: "grpc/long-details", list: "a=1\ngrpc-status-details-bin=" + strings.Repeat("v", 20<<10) + "\nb=2", want: "a: 1\r\ngrpc-status-details-bin: " + strings.Repeat("v", 20<<10) + "\r\nb: 2\r\n"},
	{name: "h1/many", list: strings.Repeat("a=1\n", 200), want: strings.Repeat("a: 1\r\n", 200)},
}

func TestTrailerLists(t *testing.T) {
	var d decoder
	for _, tc := range trailerLists {
		t.Run(tc.name, func(t *testing.T) {
			decode(&d, trailerList, fields(tc.list))
			lines, err := d.trailers([]byte("before"))
			if !errors.Is(err, tc.err) || string(lines) != "before"+tc.want {
				t.Fatalf("got %q, %v\nwant %q, %v", lines, err, tc.want, tc.err)
			}
			if err != nil {
				return
			}
			section := framing{chunked: true, left: -1}
			text, _ := section.end(nil, lines[len("before"):])
			var body h1.Body
			body.Init(h1.Chunked, 0)
			if _, passed, rest, err := bodyOf(body, text); string(passed) != tc.want || len(rest) > 0 || err != nil {
				t.Errorf("of %q pass %q and remain %q: %v", text, passed, rest, err)
			}
		})
	}
}

func TestTrailersHaveNoPlaceBehindALength(t *testing.T) {
	body := framing{left: 1}
	text, _ := body.data(nil, []byte("a"))
	if text, err := body.end(text, []byte("x: 1\r\n")); string(text) != "a" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
