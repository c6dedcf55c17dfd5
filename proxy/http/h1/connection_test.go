package h1

import (
	"strings"
	"testing"
)

// forwardedFields are the lines, "|" for CRLF, that are left of others.
var forwardedFields = []struct{ name, lines, want string }{
	{"9110§5.3/order-and-case", "x-lower: 1|X-UPPER: 2|x-lower: 3|X-lower:4", "x-lower: 1|X-UPPER: 2|x-lower: 3|X-lower:4|"},
	{"9110§5.3/repeats-stay-apart", "Accept: a|X-A: 1|accept: b, c|Set-Cookie: a=1|Set-Cookie: b=2", "Accept: a|X-A: 1|accept: b, c|Set-Cookie: a=1|Set-Cookie: b=2|"},
	{"9110§5.1/unknown-names", "X_Y: 1|!#$%&'*+-.^_`~09: 2|a: 3", "X_Y: 1|!#$%&'*+-.^_`~09: 2|a: 3|"},
	{"9110§5.5/quoted-and-commas", `X-A: "a,\"b", c;d="e;f" (g (h))`, `X-A: "a,\"b", c;d="e;f" (g (h))|`},
	{"9110§5.5/values", "X-A: caf\xe9\tx  y|X-B:|X-C: ", "X-A: caf\xe9\tx  y|X-B:|X-C: |"},
	{"9112§5/whitespace", "A:  1|B: 2 |C: 3|D:\t4|E:5\t|F:  ", "A: 1|B: 2|C: 3|D: 4|E: 5|F: |"},
	{"9110§7.6.1/connection", "Connection: keep-alive|X-A: 1|connection: close", "X-A: 1|"},
	{"9110§7.6.1/standing", "Keep-Alive: timeout=5|Proxy-Connection: close|TE: trailers|Upgrade: x|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/named", "Connection: X-Foo|X-Foo: bar|X-Keep: yes", "X-Keep: yes|"},
	{"9110§7.6.1/named-behind-use", "X-Foo: bar|X-Keep: yes|x-foo: 2|Connection: close, X-FOO", "X-Keep: yes|"},
	{"9110§7.6.1/named-in-lines", "Connection: X-Foo|X-Foo: 1|Connection: ,X-Bar ,|X-Bar: 2|X-Keep: yes", "X-Keep: yes|"},
	{"9110§7.6.1/named-and-missing", "Connection: X-Not-There|X-Keep: yes", "X-Keep: yes|"},
	{"9110§7.6.1/named-forwarded", "Connection: X-Forwarded-For|X-Forwarded-For: 1.2.3.4|X-Keep: yes", "X-Keep: yes|"},
	{"9110§7.6.1/named-almost", "Connection: X-Fo|X-Foo: 1", "X-Foo: 1|"},
	{"9110§7.6.1/host-cannot-be-named", "Connection: Host|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/length-cannot-be-named", "Connection: Content-Length|Content-Length: 5", "Content-Length: 5|"},
	{"9110§7.6.1/expect-cannot-be-named", "Connection: expect|Content-Length: 5|Expect: 100-continue|X-A: 1", "Content-Length: 5|Expect: 100-continue|X-A: 1|"},
	{"9110§7.6.1/named-known", "Connection: Cookie, via|Cookie: a|Via: 1.1 a|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/named-end-to-end", "Connection: Cache-Control|Cache-Control: no-cache|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/named-by-tchars", "Connection: x!#$%&'*+-.^_`|X!#$%&'*+-.^_`: 1|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/named-itself", "Connection: Connection|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/named-between", "X-A: 1|Connection: X-B|X-B: 2|X-C: 3|x-b: 4|X-D:  5", "X-A: 1|X-C: 3|X-D: 5|"},
	{"9110§7.6.1/whitespace-and-commas", "Connection: , ,\tX-Foo\t, ,X-Bar,|X-Foo: 1|X-Bar: 2|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/parameter-is-no-name", "Connection: X-Foo;a=b|X-Foo: 1", "X-Foo: 1|"},
	{"9110§7.6.1/empty", "Connection:|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/standing-in-lines", "Keep-Alive: a|X-A: 1|keep-alive: b|TE: x|X-B: 2|te: y", "X-A: 1|X-B: 2|"},
	{"9110§7.6.1/te-without-name", "TE: trailers|X-A: 1", "X-A: 1|"},
	{"9110§7.8/upgrade-without-name", "Upgrade: websocket|X-A: 1", "X-A: 1|"},
	{"9110§7.6.1/no-token", "Connection: \"X-A\", X A|X-A: 1", "X-A: 1|"},
	{"9110§7.6.2/max-forwards-stays", "Max-Forwards: 1", "Max-Forwards: 1|"},
	{"9110§6.6.2/trailer-stays", "Trailer: X-T", "Trailer: X-T|"},
	{"9110§11.7.2/proxy-authorization-stays", "Proxy-Authorization: Basic eA==", "Proxy-Authorization: Basic eA==|"},
	{"7540§3.2.1/settings", "Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AA|X-A: 1", "X-A: 1|"},
}

func TestForwardedFields(t *testing.T) {
	for _, tc := range forwardedFields {
		t.Run(tc.name, func(t *testing.T) {
			r, err := parseRequest(t, get(strings.Split(tc.lines, "|")...), nil)
			if err != nil {
				t.Fatal(err)
			}
			want := "Host: test.example|" + tc.want
			if got := strings.ReplaceAll(string(r.AppendFields(nil, 0)), "\r\n", "|"); got != want {
				t.Errorf("%q is sent on as %q, want %q", tc.lines, got, want)
			}
			var p Response
			if _, err := p.Parse([]byte("HTTP/1.1 200 OK\r\n"+strings.ReplaceAll(tc.lines, "|", "\r\n")+"\r\n\r\n"), MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(string(p.AppendFields(nil, 0)), "\r\n", "|"); got != tc.want {
				t.Errorf("in a response %q is sent on as %q, want %q", tc.lines, got, tc.want)
			}
		})
	}
}

// TestAppendFieldsWithout leaves out kinds at every place.
func TestAppendFieldsWithout(t *testing.T) {
	r, err := parseRequest(t, get("Via: 1.0 a", "X-A: 1", "via: 1.1 b", "X-B:  2", "Date: x", "X-C: 3", "Via: c"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		without KindSet
		want    string
	}{
		{0, "Host: test.example|Via: 1.0 a|X-A: 1|via: 1.1 b|X-B: 2|Date: x|X-C: 3|Via: c|"},
		{Kinds(KindVia), "Host: test.example|X-A: 1|X-B: 2|Date: x|X-C: 3|"},
		{Kinds(KindHost, KindDate), "Via: 1.0 a|X-A: 1|via: 1.1 b|X-B: 2|X-C: 3|Via: c|"},
		{Kinds(KindOther), "Host: test.example|Via: 1.0 a|via: 1.1 b|Date: x|Via: c|"},
		{^KindSet(0), ""},
	} {
		if got := strings.ReplaceAll(string(r.AppendFields([]byte("> "), tc.without)), "\r\n", "|"); got != "> "+tc.want {
			t.Errorf("without %b: %q, want %q", tc.without, got, tc.want)
		}
	}
}

// TestPasses: what Connection names is seen, but the proxy must not take it
// for something that reaches the next server.
func TestPasses(t *testing.T) {
	r, err := parseRequest(t, get("Connection: X-Forwarded-Proto", "X-Forwarded-Proto: https", "Via: 1.0 a", "Via: 1.0 b"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[Kind]bool{KindXForwardedProto: false, KindVia: true, KindHost: true, KindConnection: false, KindDate: false} {
		if got := r.Passes(k); got != want {
			t.Errorf("Passes(%d) = %v", k, got)
		}
	}
}

func TestTooManyOptions(t *testing.T) {
	for _, tc := range []verdict{
		{"9110§7.6.1/most", "Connection: " + strings.Repeat("x,", maxNominations), ""},
		{"9110§7.6.1/too-many", "Connection: " + strings.Repeat("x,", maxNominations+1), "400 too-many-options"},
		{"9110§7.6.1/too-many-in-lines", strings.Repeat("Connection: x\r\n", maxNominations) + "Connection: y", "400 too-many-options"},
		{"9110§7.6.1/known-do-not-count", "Connection: " + strings.Repeat("close, keep-alive, upgrade, ,", maxNominations), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseRequest(t, get(tc.head), nil)
			if got := cause(t, err); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestConnectionFlags(t *testing.T) {
	for _, tc := range []struct {
		name, version, lines string
		want                 string // the flags that are set
	}{
		{"9112§9.3/default", "1.1", "", "keep"},
		{"9112§9.3/keep-alive", "1.1", "Connection: keep-alive", "keep"},
		{"9112§9.3/close", "1.1", "Connection: close", ""},
		{"9112§9.3/close-case", "1.1", "Connection: CLOSE", ""},
		{"9112§9.3/close-in-list", "1.1", "Connection: X-Foo , close", ""},
		{"9112§9.3/close-in-second-line", "1.1", "Connection: keep-alive|Connection: close", ""},
		{"9112§9.3/closed-is-another", "1.1", "Connection: closed", "keep"},
		{"9112§9.3/both", "1.1", "Connection: keep-alive, close", ""},
		{"9112§9.3/close-with-whitespace", "1.1", "Connection: \t,close\t", ""},
		{"9112§9.3/close-with-parameter", "1.1", "Connection: close;a", "keep"},
		{"9112§9.3/close-quoted", "1.1", "Connection: \"close\"", "keep"},
		{"9112§9.3/proxy-connection-means-nothing", "1.1", "Proxy-Connection: close", "keep"},
		{"9112§9.3/1.0-proxy-connection-means-nothing", "1.0", "Proxy-Connection: keep-alive", ""},
		{"9112§9.3/1.0-both", "1.0", "Connection: keep-alive|Connection: close", ""},
		{"9112§9.3/1.2", "1.2", "", "keep"},
		{"9112§9.3/1.0", "1.0", "", ""},
		{"9112§9.3/1.0-keep-alive", "1.0", "Connection: Keep-Alive", "keep"},
		{"9112§9.3/1.0-close", "1.0", "Connection: close", ""},
		{"9110§7.8/upgrade", "1.1", "Connection: Upgrade|Upgrade: websocket", "keep upgrade"},
		{"9110§7.8/upgrade-in-list", "1.1", "connection: keep-alive, upgrade|upgrade: websocket", "keep upgrade"},
		{"9110§7.8/upgrade-unnamed", "1.1", "Upgrade: websocket", "keep"},
		{"9110§7.8/upgrade-missing", "1.1", "Connection: upgrade", "keep"},
		{"9110§7.8/upgrade-empty", "1.1", "Connection: upgrade|Upgrade:", "keep"},
		{"9110§7.8/upgrade-twice", "1.1", "Connection: upgrade|Upgrade: a|Upgrade: b", "keep"},
		{"9110§7.8/upgrade-1.0", "1.0", "Connection: upgrade|Upgrade: websocket", ""},
		{"9113§3.1/h2c", "1.1", "Connection: upgrade|Upgrade: h2c", "keep"},
		{"9113§3.1/h2c-in-list", "1.1", "Connection: upgrade|Upgrade: websocket, H2C", "keep"},
		{"9110§10.1.4/trailers", "1.1", "TE: deflate;q=0.5, Trailers|Connection: te", "keep trailers"},
		{"9110§10.1.4/other", "1.1", "TE: deflate|Connection: te", "keep"},
		{"9110§10.1.4/1.0", "1.0", "TE: trailers", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			head := "GET / HTTP/" + tc.version + "\r\nHost: a\r\n"
			if tc.lines != "" {
				head += strings.ReplaceAll(tc.lines, "|", "\r\n") + "\r\n"
			}
			r, err := parseRequest(t, head+"\r\n", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := flags(&r.Head); got != tc.want {
				t.Errorf("%q: %q, want %q", tc.lines, got, tc.want)
			}
			var p Response
			head = strings.Replace(head, "GET / HTTP/"+tc.version, "HTTP/"+tc.version+" 200 OK", 1) + "Content-Length: 0\r\n\r\n"
			if _, err := p.Parse([]byte(head), MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			if got := flags(&p.Head); got != tc.want {
				t.Errorf("%q in a response: %q, want %q", tc.lines, got, tc.want)
			}
		})
	}
}

// flags are the names of the flags that are set.
func flags(h *Head) string {
	var names []string
	if h.KeepAlive {
		names = append(names, "keep")
	}
	if h.Upgrade {
		names = append(names, "upgrade")
	}
	if h.Trailers {
		names = append(names, "trailers")
	}
	return strings.Join(names, " ")
}

func TestMethods(t *testing.T) {
	for _, m := range []struct {
		name             string
		method           Method
		safe, idempotent bool
	}{
		{"GET", MethodGet, true, true}, {"HEAD", MethodHead, true, true}, {"OPTIONS", MethodOptions, true, true},
		{"TRACE", MethodTrace, true, true}, {"PUT", MethodPut, false, true}, {"DELETE", MethodDelete, false, true},
		{"POST", MethodPost, false, false}, {"PATCH", MethodPatch, false, false}, {"CONNECT", MethodConnect, false, false},
		{"get", MethodOther, false, false}, {"GETX", MethodOther, false, false}, {"", MethodOther, false, false},
	} {
		t.Run("9110§9.2/"+m.name, func(t *testing.T) {
			got := MethodOf([]byte(m.name))
			if got != m.method || got.Safe() != m.safe || got.Idempotent() != m.idempotent {
				t.Errorf("%d, safe %v, idempotent %v", got, got.Safe(), got.Idempotent())
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	names := make(map[string]Kind)
	for _, k := range known {
		names[k.name] = k.kind
	}
	for name, kind := range names {
		for _, n := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := KindOf([]byte(n)); got != kind {
				t.Errorf("KindOf(%q) = %d, want %d", n, got, kind)
			}
		}
		for i := range name {
			n := name[:i] + "z" + name[i+1:]
			if got := KindOf([]byte(n)); got != names[n] {
				t.Errorf("KindOf(%q) = %d", n, got)
			}
		}
	}
	for _, name := range []string{"", "x", "hos", "hosts", "x-forwarded", "content_length", "Content-Length-"} {
		if got := KindOf([]byte(name)); got != KindOther {
			t.Errorf("KindOf(%q) = %d", name, got)
		}
	}
}
