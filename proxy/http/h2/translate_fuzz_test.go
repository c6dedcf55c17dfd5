package h2

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"sidecar/proxy/http/h1"
)

// large are limits that no text of a few octets reaches.
var large = h1.Limits{MaxHead: 1 << 20, MaxFields: 60_000, MaxTarget: 1 << 20}

// passing describes what passes of a head: fields in order, Cookies as one, and neither Host
// nor the framing.
func passing(h *h1.Head) string {
	var b strings.Builder
	var cookies []string
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case f.Drop || f.Kind == h1.KindHost || f.Kind == h1.KindContentLength:
		case f.Kind == h1.KindCookie:
			if v := string(h.Value(i)); v != "" {
				cookies = append(cookies, v)
			}
		default:
			fmt.Fprintf(&b, "%s: %s\n", bytes.ToLower(h.Name(i)), h.Value(i))
		}
	}
	fmt.Fprintf(&b, "cookies %s\ntrailers %v\n", strings.Join(cookies, "; "), h.Trailers)
	return b.String()
}

// normal writes trailer lines as they are written here.
func normal(lines []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(lines)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ":")
		fmt.Fprintf(&b, "%s: %s\r\n", strings.ToLower(name), strings.Trim(value, " \t"))
	}
	return b.String()
}

// comeBack decodes what a recorder has: the last head, and what follows it. The result is the
// text and the length of its head.
func comeBack(t *testing.T, r *recorder, kind listKind, asked h1.Method, step func() int) (text []byte, head int) {
	t.Helper()
	at := len(r.lists) - 1
	trailers := at > 0 && r.ends[at] && r.lists[at-1][0].Name == ":status" && r.lists[at][0].Name != ":status" ||
		at > 0 && kind == requestList
	if trailers {
		at--
	}
	var d decoder
	decode(&d, kind, r.lists[at])
	var body framing
	var err error
	if kind == requestList {
		text, body, _, err = d.request(nil, r.ends[at])
	} else {
		text, _, body, err = d.response(nil, r.ends[at], asked)
	}
	head = len(text)
	for rest := r.body.Bytes(); err == nil && len(rest) > 0; {
		n := min(step(), len(rest))
		text, err = body.data(text, rest[:n])
		rest = rest[n:]
	}
	var lines []byte
	if err == nil && trailers {
		decode(&d, trailerList, r.lists[at+1])
		lines, err = d.trailers(nil)
	}
	if err == nil && !r.ends[at] {
		text, err = body.end(text, lines)
	}
	if err != nil {
		t.Fatalf("%q: %v", r, err)
	}
	return text, head
}

// sameBody compares the bodies of the texts behind two heads.
func sameBody(t *testing.T, a, b h1.Body, texta, textb []byte) {
	t.Helper()
	dataa, linesa, _, erra := bodyOf(a, texta)
	datab, linesb, restb, errb := bodyOf(b, textb)
	if erra != nil || errb != nil || len(restb) > 0 || !bytes.Equal(dataa, datab) {
		t.Fatalf("%q, %v\nbecomes %q, %v; behind it is %q", dataa, erra, datab, errb, restb)
	}
	if b.Kind == h1.Chunked && normal(linesa) != normal(linesb) {
		t.Fatalf("trailers %q become %q", linesa, linesb)
	}
}

// complete returns the message that text begins with, if that is a whole one.
func complete(head int, body h1.Body, text []byte) (message []byte, ok bool) {
	_, _, rest, err := bodyOf(body, text[head:])
	return text[:len(text)-len(rest)], err == nil
}

// FuzzRequestText: what h1 accepts of HTTP/1.1 becomes HTTP/2 and the same again, but for the
// case of names and the places of Cookie and Host, however the text is cut. What it does not accept
// is an error.
func FuzzRequestText(f *testing.F) {
	for _, m := range messages {
		f.Add([]byte(m.in), []byte{0, 3, 20})
	}
	f.Add([]byte(callHead+callData), []byte{7})
	f.Fuzz(func(t *testing.T, text, cut []byte) {
		var before, after h1.Request
		n, parsed := before.Parse(text, &large)
		whole := false
		if parsed == nil && n > 0 {
			text, whole = complete(n, before.Body, text)
		}
		e, r := encoder{}, newRecorder(t)
		e.begin(newPacker("http"), requestList, 0)
		r.room = octets(cut)
		err := encode(&e, string(text), octets(cut), r)
		if err == nil {
			err = e.end(r)
		}
		if !whole || before.MethodID == h1.MethodConnect {
			if err == nil || r.ended {
				t.Fatalf("%q becomes %q", text, r)
			}
			return
		}
		if err != nil || !r.ended {
			if bytes.HasPrefix(text, []byte("\r\n")) {
				return // which h1 lets be, and no proxy sends on
			}
			t.Fatalf("%q: %v", text, err)
		}
		if len(before.Host) == 0 {
			return // in HTTP/1.0 only
		}
		again, head := comeBack(t, r, requestList, 0, octets(cut))
		if m, err := after.Parse(again, &large); err != nil || m != head {
			t.Fatalf("%q\nbecomes %q: %d, not %d, %v", text, again, m, head, err)
		}
		if a, b := passing(&before.Head), passing(&after.Head); a != b {
			t.Fatalf("%q\nbecomes %q\n%s\n%s", text, again, a, b)
		}
		if string(before.Method) != string(after.Method) || string(before.Host) != string(after.Host) ||
			string(before.AppendTarget(nil)) != string(after.AppendTarget(nil)) {
			t.Fatalf("%q\nbecomes %q", text, again)
		}
		sameBody(t, before.Body, after.Body, text[n:], again[head:])
	})
}

// FuzzResponseText is FuzzRequestText for responses to GET or HEAD.
func FuzzResponseText(f *testing.F) {
	for _, m := range messages {
		f.Add([]byte(m.in), m.asked == h1.MethodHead, []byte{0, 3, 20})
	}
	f.Add([]byte(replyHead+replyData), false, []byte{7})
	f.Fuzz(func(t *testing.T, text []byte, headOnly bool, cut []byte) {
		asked := h1.MethodGet
		if headOnly {
			asked = h1.MethodHead
		}
		var before, after h1.Response
		n, parsed := before.Parse(text, asked, &large)
		whole := false
		if parsed == nil && n > 0 {
			if before.Interim() {
				text, whole = text[:n], true
			} else {
				text, whole = complete(n, before.Body, text)
			}
		}
		e, r := encoder{}, newRecorder(t)
		e.begin(newPacker("http"), responseList, asked)
		r.room = octets(cut)
		err := encode(&e, string(text), octets(cut), r)
		if err == nil && !(whole && before.Interim()) {
			err = e.end(r)
		}
		if !whole || before.Status == 101 {
			if err == nil || r.ended {
				t.Fatalf("%q becomes %q", text, r)
			}
			return
		}
		if err != nil || r.ended == before.Interim() {
			t.Fatalf("%q: %v", text, err)
		}
		again, head := comeBack(t, r, responseList, asked, octets(cut))
		if m, err := after.Parse(again[:head], asked, &large); err != nil || m != head || after.Status != before.Status {
			t.Fatalf("%q\nbecomes %q: %d, not %d, %v", text, again, m, head, err)
		}
		if a, b := passing(&before.Head), passing(&after.Head); a != b {
			t.Fatalf("%q\nbecomes %q\n%s\n%s", text, again, a, b)
		}
		if !before.Interim() {
			sameBody(t, before.Body, after.Body, text[n:], again[head:])
		}
	})
}

// FuzzLists: whatever the fields and the data are, the text is one message or none to h1, with
// as many fields as there were, or an error says that it is malformed.
func FuzzLists(f *testing.F) {
	for _, r := range requests {
		f.Add(r.list, "x=1", "abc|d", uint8(0))
	}
	for _, r := range responses {
		f.Add(r.list, "x=1", "abc|d", uint8(1))
	}
	for _, l := range trailerLists {
		f.Add(post, l.list, "abc|d", uint8(4))
	}
	f.Fuzz(func(t *testing.T, list, trailer, data string, flags uint8) {
		kind, end := requestList, flags&2 != 0
		if flags&1 != 0 {
			kind = responseList
		}
		var d decoder
		text, method, body, err := fromList(&d, kind, listOf(list), end)
		if err != nil {
			return
		}
		head := len(text)
		if !end {
			for piece := range strings.SplitSeq(data, "|") {
				if err == nil {
					text, err = body.data(text, []byte(piece))
				}
			}
			var lines []byte
			if err == nil && flags&4 != 0 {
				decode(&d, trailerList, listOf(trailer))
				lines, err = d.trailers(nil)
			}
			if err == nil {
				text, err = body.end(text, lines)
			}
		}
		var m *malformed
		if err != nil {
			if !errors.As(err, &m) {
				t.Fatal(err)
			}
			return
		}
		n, content, err := parse(kind, method, text)
		var refused *h1.Error
		if errors.As(err, &refused) && kind == requestList && n == 0 {
			return // and the client is told
		}
		if err != nil || n != head {
			t.Fatalf("%q: head of %d octets, not %d: %v", text, n, head, err)
		}
		got, _, rest, err := bodyOf(content, text[n:])
		want := strings.ReplaceAll(data, "|", "")
		if end || method == h1.MethodConnect || flags&1 != 0 && text[9] == '1' {
			want = ""
		}
		if string(got) != want || len(rest) > 0 || err != nil {
			t.Fatalf("%q: body %q, not %q, behind it %q: %v", text, got, want, rest, err)
		}
	})
}

// listOf is fields for any text.
func listOf(s string) (out []hpack.HeaderField) {
	for line := range strings.SplitSeq(s, "\n") {
		name, value, _ := strings.Cut(line, "=")
		out = append(out, hpack.HeaderField{Name: name, Value: value})
	}
	return out
}

func fromList(d *decoder, kind listKind, list []hpack.HeaderField, end bool) (text []byte, method h1.Method, body framing, err error) {
	decode(d, kind, list)
	if kind == requestList {
		text, body, method, err = d.request(nil, end)
	} else {
		text, _, body, err = d.response(nil, end, h1.MethodGet)
	}
	return text, method, body, err
}

func parse(kind listKind, method h1.Method, text []byte) (int, h1.Body, error) {
	if kind == requestList {
		var r h1.Request
		n, err := r.Parse(text, &large)
		return n, r.Body, err
	}
	var r h1.Response
	n, err := r.Parse(text, h1.MethodGet, &large)
	return n, r.Body, err
}
