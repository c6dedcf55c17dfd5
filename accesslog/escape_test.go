package accesslog

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestWhatIsEscapedInJSON(t *testing.T) {
	for sent, want := range map[string]string{
		"plain /~ <&>'":        "plain /~ <&>'",
		"\"":                   `\"`,
		`\`:                    `\\`,
		"a\r\nb\tc":            `a\r\nb\tc`,
		"\x00\x1b[31m\x7f":     `\u0000\u001b[31m\u007f`,
		"ä€😀":                  "ä€😀",
		"\u0085\u009b31m":      `\u0085\u009b31m`, // next line; CSI of a terminal
		"\u2028\u2029":         `\u2028\u2029`,
		"a\xffb":               `a\ufffdb`,
		"\xc3":                 `\ufffd`,
		"\xed\xa0\x80":         `\ufffd\ufffd\ufffd`, // a surrogate
		"\xc0\xaf":             `\ufffd\ufffd`,       // overlong
		"\xf0\x9f\x98":         `\ufffd\ufffd\ufffd`, // cut short
		"\ufffd":               "\ufffd",
		"x\"},{\"flag\":\"ok":  `x\"},{\"flag\":\"ok`,
		"":                     "",
		strings.Repeat("é", 9): strings.Repeat("é", 9),
	} {
		if got := string(appendString(nil, sent)); got != want {
			t.Errorf("%q: %s, want %s", sent, got, want)
		}
		if got := string(appendString([]byte("x"), []byte(sent))); got != "x"+want {
			t.Errorf("%q as bytes: %s, want x%s", sent, got, want)
		}
	}
}

func TestWhatIsEscapedInText(t *testing.T) {
	for _, tt := range []struct{ format, sent, want string }{
		{"$user_agent", "a b", `a\x20b`},
		{`"$user_agent"`, "a b", `"a b"`},
		{`"$user_agent"`, `a" "b`, `"a\x22 \x22b"`},
		{`"$user_agent"`, `a\"`, `"a\x5c\x22"`},
		{`"$user_agent"`, "a\r\nb\x00\x7f\x1b", `"a\x0d\x0ab\x00\x7f\x1b"`},
		{`"$user_agent"`, "ä\xff", `"\xc3\xa4\xff"`},
		{"[$user_agent]", "a]b", `[a\x5db]`},
		{"$user_agent,$status", "a,b", `a\x2cb,000`},
		{"$user_agent", "-", "-"},
		{"${user_agent}x", "x", "xx"},
	} {
		if got := line(t, tt.format, &Record{UserAgent: []byte(tt.sent)}); got != tt.want {
			t.Errorf("%q in %s: %s, want %s", tt.sent, tt.format, got, tt.want)
		}
	}
	r := &Record{Method: []byte("GE T"), Target: []byte("/ HTTP/1.1\" 200"), Protocol: HTTP11}
	if got, want := line(t, `"$request"`, r), `"GE\x20T /\x20HTTP/1.1\x22\x20200 HTTP/1.1"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := line(t, `$request/$status`, r), `GE\x20T \x2f\x20HTTP\x2f1.1\x22\x20200 HTTP\x2f1.1/000`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhatIsLongIsCut(t *testing.T) {
	long := []byte(strings.Repeat("x", 10000))
	r := &Record{Method: long, Target: append([]byte("/"), long...), Host: long, Referer: long, UserAgent: long, Traceparent: long}
	var got struct {
		Method, Path, Query, Host, Referer, TraceID string
		UserAgent                                   string `json:"user_agent"`
	}
	for _, query := range []bool{false, true} {
		if query {
			r.Target[1] = '?'
		}
		if err := json.Unmarshal([]byte(line(t, JSON, r)), &got); err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			value string
			most  int
		}{
			"method": {got.Method, mostMethod}, "host": {got.Host, mostHost}, "referer": {got.Referer, mostReferer},
			"user_agent": {got.UserAgent, mostUserAgent}, "path": {got.Path, mostTarget}, "query": {got.Query, mostTarget - 2},
		} {
			switch want := strings.Repeat("x", tt.most) + "..."; {
			case query && name == "path":
				want = "/"
				fallthrough
			case !query && name == "query":
				if want != "/" {
					want = ""
				}
				fallthrough
			default:
				if name == "path" && !query {
					want = "/" + want[1:]
				}
				if tt.value != want {
					t.Errorf("%s: %.20s… of %d bytes, want %.20s… of %d", name, tt.value, len(tt.value), want, len(want))
				}
			}
		}
	}
	for format, want := range map[string]int{"$method": mostMethod, "$host": mostHost, "$referer": mostReferer, "$user_agent": mostUserAgent, "$target": mostTarget} {
		if got := line(t, format, r); len(got) != want+3 || !strings.HasSuffix(got, "...") {
			t.Errorf("%s: %.20s… of %d bytes", format, got, len(got))
		}
	}
	if got := line(t, "$path $query", r); got != "/ "+strings.Repeat("x", mostTarget-2)+"..." {
		t.Errorf("%.20s… of %d bytes", got, len(got))
	}
}

// fuzzed is a record of what may come from outside.
func fuzzed(method, target, other []byte, text string, n int64) *Record {
	a := &Attempts{}
	a.Add(Attempt{Endpoint: text, Outcome: text, Status: int(n), Duration: time.Duration(n)})
	return &Record{
		Time: time.Unix(n%1e9, 0), Service: text, Client: netip.AddrPortFrom(netip.IPv6Unspecified().WithZone("a"), 1), Protocol: text,
		Method: method, Target: target, Host: other, Referer: other, UserAgent: other, Traceparent: other,
		Status: int(n), BytesIn: n, BytesOut: n, Duration: time.Duration(n), FirstByte: time.Duration(n), Attempts: a, Flag: text,
	}
}

func seed(f *testing.F) {
	f.Add([]byte("GET"), []byte("/a?b=c"), []byte("curl/8"), "ok", int64(200))
	f.Add([]byte("\r\n"), []byte("/\" 200 \"\\"), []byte("\x00\x7f\x80\xff\xe2\x80\xa8\xc2\x9b"), "\n", int64(-1))
	f.Add([]byte(`"`), []byte(`\u0022?\`), []byte(strings.Repeat("é", 400)), "\xf0\x9f\x98", int64(1<<62))
	f.Add([]byte(""), []byte("http://a?b"), []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), "", int64(0))
}

// oneLine fails the test if text has anything that somebody takes for the end of a line, or
// a terminal for a command.
func oneLine(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == 0x2028 || r == 0x2029 }) {
		t.Errorf("more than a line: %q", text)
	}
}

func FuzzJSON(f *testing.F) {
	seed(f)
	s := newShard(&Logger{zone: time.UTC}, 0, 1)
	f.Fuzz(func(t *testing.T, method, target, other []byte, text string, n int64) {
		s.record = *fuzzed(method, target, other, text, n)
		got := appendJSON(nil, s)
		oneLine(t, string(got))
		if !utf8.Valid(got) {
			t.Errorf("not UTF-8: %q", got)
		}
		var object struct {
			Method, Service, Flag string
			UserAgent             string `json:"user_agent"`
			Attempts              []struct{ Endpoint, Outcome string }
		}
		if err := json.Unmarshal(got, &object); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		for name, pair := range map[string][2]string{
			"method": {object.Method, sent(method, mostMethod)}, "user_agent": {object.UserAgent, sent(other, mostUserAgent)},
			"service": {object.Service, sent([]byte(text), len(text))}, "flag": {object.Flag, sent([]byte(text), len(text))},
			"endpoint": {object.Attempts[0].Endpoint, sent([]byte(text), len(text))},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %q, want %q", name, pair[0], pair[1])
			}
		}
	})
}

// sent is what a reader of JSON gets to see of v: as encoding/json would have written it.
func sent(v []byte, most int) string {
	cut := ""
	if len(v) > most {
		v, cut = v[:most], "..."
	}
	var b strings.Builder
	for _, r := range string(v) {
		b.WriteRune(r)
	}
	return b.String() + cut
}

// combinedLine is how the combined format is read.
var combinedLine = regexp.MustCompile(`^[0-9a-f:.]+ - - \[[^]]+\] "(-|[!-~]+ [!-~]+ [!-~]+)" (000|-?\d+) -?\d+ "([ !#-~]*)" "([ !#-~]*)"$`)

func FuzzText(f *testing.F) {
	seed(f)
	var shards []*Shard
	for _, format := range []string{Combined, "$" + strings.Join(Variables(), " $")} {
		parsed, err := parseFormat(format)
		if err != nil {
			f.Fatal(err)
		}
		shards = append(shards, newShard(&Logger{zone: time.UTC, format: parsed}, 0, 1))
	}
	f.Fuzz(func(t *testing.T, method, target, other []byte, text string, n int64) {
		for i, s := range shards {
			s.record = *fuzzed(method, target, other, text, n)
			got := string(s.logger.format.append(nil, s))
			oneLine(t, got)
			if i == 0 && !combinedLine.MatchString(got) {
				t.Errorf("cannot be read: %s", got)
			}
			// time_clf has one blank, a request two.
			want := len(Variables()) + 1 + 2*min(1, len(method))
			if words := len(strings.Split(got, " ")); i == 1 && words != want {
				t.Errorf("%d values, want %d: %s", words, want, got)
			}
		}
	})
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{Combined, combined, "$status$$", "${status", "$ä", `"$method`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseFormat(text)
		if err != nil {
			return
		}
		s := newShard(&Logger{zone: time.UTC, format: parsed}, 0, 1)
		s.record = *full()
		if got := string(parsed.append(nil, s)); strings.ContainsAny(got, "\n\r") {
			t.Errorf("%q made %q", text, got)
		}
	})
}
