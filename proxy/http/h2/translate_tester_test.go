package h2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"sidecar/proxy/http/h1"
)

// fields takes "name=value" apart, one field per line; "name!=value" is one that must never be
// indexed.
func fields(list string) (out []hpack.HeaderField) {
	for line := range strings.SplitSeq(list, "\n") {
		if line == "" {
			continue
		}
		i := strings.IndexByte(line, '=')
		name, sensitive := strings.CutSuffix(line[:i], "!")
		out = append(out, hpack.HeaderField{Name: name, Value: line[i+1:], Sensitive: sensitive})
	}
	return out
}

// decode gives a list to a decoder.
func decode(d *decoder, kind listKind, list []hpack.HeaderField) {
	d.begin(kind, 0)
	for _, f := range list {
		d.field(f)
	}
}

// A recorder is a sink that decodes what it is given, as the peer would.
type recorder struct {
	t      *testing.T
	hpack  *hpack.Decoder
	events []string // "head", "data" and "end", with what belongs to them
	room   func() int
	lists  [][]hpack.HeaderField
	ends   []bool // of each list: END_STREAM came with it
	body   bytes.Buffer
	ended  bool
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{t: t, room: func() int { return 1 << 30 }}
	r.hpack = hpack.NewDecoder(maxTable, func(hpack.HeaderField) {})
	return r
}

func (r *recorder) headers(block []byte, end bool) {
	r.t.Helper()
	r.open()
	list, err := r.hpack.DecodeFull(block)
	if err != nil {
		r.t.Fatalf("block %x: %v", block, err)
	}
	r.lists, r.ends = append(r.lists, list), append(r.ends, end)
	var b strings.Builder
	for _, f := range list {
		mark := ""
		if f.Sensitive {
			mark = "!"
		}
		fmt.Fprintf(&b, "%s%s=%s\n", f.Name, mark, f.Value)
	}
	r.events = append(r.events, b.String())
	r.end(end)
}

func (r *recorder) data(p []byte, end bool) int {
	r.t.Helper()
	r.open()
	if len(p) == 0 && !end {
		r.t.Fatal("neither data nor an end")
	}
	n := min(r.room(), len(p))
	if n > 0 {
		r.body.Write(p[:n])
		if last := len(r.events) - 1; strings.HasPrefix(r.events[last], "data ") {
			r.events[last] += string(p[:n])
		} else {
			r.events = append(r.events, "data "+string(p[:n]))
		}
	}
	r.end(end && n == len(p))
	return n
}

func (r *recorder) open() {
	r.t.Helper()
	if r.ended {
		r.t.Fatalf("something follows the end of %q", r.events)
	}
}

func (r *recorder) end(end bool) {
	if end {
		r.ended = true
		r.events = append(r.events, "end")
	}
}

func (r *recorder) String() string { return strings.Join(r.events, "|") }

// encode writes a text to an encoder in pieces whose sizes step tells, each again and again
// until the sink has taken it.
func encode(e *encoder, text string, step func() int, s sink) error {
	for rest := []byte(text); len(rest) > 0; {
		piece := bytes.Clone(rest[:min(step(), len(rest))])
		rest = rest[len(piece):]
		for stuck := 0; len(piece) > 0; {
			n, err := e.write(piece, s)
			if err != nil {
				return err
			}
			if stuck++; n > 0 {
				stuck = 0
			}
			if stuck > 10 {
				return fmt.Errorf("stuck at %q", piece)
			}
			clear(piece[:n]) // it must not be needed any more
			piece = piece[n:]
		}
	}
	return nil
}

func always(n int) func() int { return func() int { return n } }

// octets takes sizes from octets, over and over.
func octets(cut []byte) func() int {
	i := -1
	return func() int {
		if len(cut) == 0 {
			return 1
		}
		i++
		return 1 + int(cut[i%len(cut)])
	}
}

// bodyOf reads a body as the recipient of the text would, and returns its data, the lines of
// its trailer section, and what is behind it.
func bodyOf(body h1.Body, text []byte) (data, trailers, rest []byte, err error) {
	lines := false
	for len(text) > 0 && !body.Done() {
		if left := body.Remaining(); left > 0 {
			n := min(left, int64(len(text)))
			data = append(data, text[:n]...)
			body.Skip(n)
			text = text[n:]
			continue
		}
		line := text[:lineLength(text)]
		_, take, err := body.Next(line)
		if err != nil {
			return data, trailers, text, err
		}
		if lines && take > 0 && !body.Done() {
			trailers = append(trailers, line...)
		}
		lines = lines || len(line) > 2 && body.Remaining() == 0
		text = text[len(line):]
	}
	return data, trailers, text, body.End()
}
