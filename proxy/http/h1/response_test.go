package h1

import (
	"strings"
	"testing"
)

// status is a response head with that status line.
func status(l string) string { return l + "\r\nContent-Length: 2\r\n\r\n" }

var statusLines = []verdict{
	{"9112§4/plain", status("HTTP/1.1 200 OK"), ""},
	{"9112§4/words", status("HTTP/1.1 200 Fine By Me"), ""},
	{"9112§4/empty-reason", status("HTTP/1.1 200 "), ""},
	{"9112§4/no-reason", status("HTTP/1.1 200"), ""},
	{"9112§4/obs-text", status("HTTP/1.1 200 caf\xe9\tx"), ""},
	{"9112§4/299", status("HTTP/1.1 299 R"), ""},
	{"9112§4/599", status("HTTP/1.1 599 R"), ""},
	{"9110§15/beyond-599", status("HTTP/1.1 999 R"), ""},
	{"9110§15/below-100", status("HTTP/1.1 099 R"), "502 bad-status-line"},
	{"9110§15/000", status("HTTP/1.1 000 R"), "502 bad-status-line"},
	{"9112§4/word", status("HTTP/1.1 abc OK"), "502 bad-status-line"},
	{"9112§4/two-digits", status("HTTP/1.1 20 OK"), "502 bad-status-line"},
	{"9112§4/four-digits", status("HTTP/1.1 2000 OK"), "502 bad-status-line"},
	{"9112§4/minus", status("HTTP/1.1 -200 OK"), "502 bad-status-line"},
	{"9112§4/two-spaces", status("HTTP/1.1  200 OK"), "502 bad-status-line"},
	{"9112§4/tab", status("HTTP/1.1\t200 OK"), "502 bad-version"},
	{"9112§4/tab-behind", status("HTTP/1.1 200\tOK"), "502 bad-status-line"},
	{"9112§4/nul", status("HTTP/1.1 200 O\x00K"), "502 bad-status-line"},
	{"9112§4/control-is-all-there-is", "HTTP/1.1 200 O\x00", "502 bad-status-line"},
	{"9112§4/bare-cr", status("HTTP/1.1 200 O\rK"), "502 bad-status-line"},
	{"9112§2.2/bare-lf", "HTTP/1.1 200 OK\nContent-Length: 2\n\n", "502 bad-status-line"},
	{"9112§2.2/empty-line-first", "\r\n" + status("HTTP/1.1 200 OK"), "502 bad-version"},
	{"9112§4/no-status", status("HTTP/1.1"), "502 bad-version"},
	{"9112§4/other-protocol", status("FOO/1.1 200 OK"), "502 bad-version"},
	{"9112§4/garbage", "garbage\r\n\r\n", "502 bad-version"},
	{"9112§2.3/1.0", status("HTTP/1.0 200 OK"), ""},
	{"9112§2.3/1.2", status("HTTP/1.2 200 OK"), ""},
	{"9112§2.3/2.0", status("HTTP/2.0 200 OK"), "502 version-not-supported"},
	{"9112§5.1/space-before-colon", status("HTTP/1.1 200 OK\r\nX-A : 1"), "502 bad-field-name"},
	{"9112§5.2/fold", status("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2"), "502 folded-field"},
	{"9110§5.5/bare-cr", status("HTTP/1.1 200 OK\r\nX-A: 1\rSet-Cookie: evil=1"), "502 bad-line-end"},
	{"9112§5/no-colon", status("HTTP/1.1 200 OK\r\nNoColon"), "502 bad-field-name"},
	{"9112§5.1/bad-name", status("HTTP/1.1 200 OK\r\nX(A): v"), "502 bad-field-name"},
	{"6585§5/too-large", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70_000), "502 head-too-large"},
	{"6585§5/reason-too-large", "HTTP/1.1 200 " + strings.Repeat("a", 70_000), "502 head-too-large"},
	{"6585§5/too-many-fields", status("HTTP/1.1 200 OK" + strings.Repeat("\r\nA: 1", 256)), "502 too-many-fields"},
}

func TestStatusLine(t *testing.T) {
	for _, tc := range statusLines {
		t.Run(tc.name, func(t *testing.T) {
			var r Response
			n, err := r.Parse([]byte(tc.head), MethodGet, nil)
			if got := cause(t, err); got != tc.want || err == nil && n != len(tc.head) {
				t.Errorf("Parse(%.100q) = %d, %q, want %q", tc.head, n, got, tc.want)
			}
		})
	}
}

// TestResponseFields: fields are as in requests, and mistakes the server's.
func TestResponseFields(t *testing.T) {
	for _, tc := range fieldSyntax {
		t.Run(tc.name, func(t *testing.T) {
			_, lines, _ := strings.Cut(tc.head, "\r\n")
			head := "HTTP/1.1 200 OK\r\n" + strings.TrimPrefix(lines, "Host: test.example\r\n")
			want := tc.want
			if want != "" {
				want = "502" + want[3:]
			}
			var r Response
			n, err := r.Parse([]byte(head), MethodGet, nil)
			if got := cause(t, err); got != want || err == nil && n != len(head) {
				t.Errorf("Parse(%q) = %d, %q, want %q", head, n, got, want)
			}
		})
	}
}

func TestAppendStatusLine(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"9112§4/reason", "HTTP/1.1 200 Fine By Me", "HTTP/1.1 200 Fine By Me\r\n"},
		{"9112§4/obs-text", "HTTP/1.1 404 caf\xe9", "HTTP/1.1 404 caf\xe9\r\n"},
		{"9112§4/empty-reason", "HTTP/1.0 404 ", "HTTP/1.1 404 \r\n"},
		{"9112§4/no-reason", "HTTP/1.1 503", "HTTP/1.1 503 \r\n"},
		{"9112§4/unknown-status", "HTTP/1.1 987 X", "HTTP/1.1 987 X\r\n"},
		{"9110§2.5/from-1.0", "HTTP/1.0 200 OK", "HTTP/1.1 200 OK\r\n"},
		{"9110§2.5/from-1.7", "HTTP/1.7 200 OK", "HTTP/1.1 200 OK\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r Response
			if _, err := r.Parse([]byte(status(tc.in)), MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			if got := string(r.AppendStatusLine(nil)); got != tc.want {
				t.Errorf("%q is sent on as %q", tc.in, got)
			}
		})
	}
}

func TestInterim(t *testing.T) {
	for code, want := range map[string]bool{"100": true, "101": false, "102": true, "103": true, "155": true, "199": true, "200": false, "204": false} {
		t.Run("9110§15.2/"+code, func(t *testing.T) {
			var r Response
			if _, err := r.Parse([]byte("HTTP/1.1 "+code+" X\r\n\r\n"), MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			if r.Interim() != want {
				t.Errorf("Interim of %s = %v", code, !want)
			}
		})
	}
}

// TestKeepAliveTimeout: the field is from RFC 2068, its parameters from §19.7.1.
func TestKeepAliveTimeout(t *testing.T) {
	for in, want := range map[string]struct {
		seconds int
		ok      bool
	}{
		"Keep-Alive: timeout=5":                                       {5, true},
		"Keep-Alive: max=100, Timeout=15":                             {15, true},
		"Keep-Alive: timeout=0":                                       {0, true},
		"Keep-Alive: ,, timeout=3,timeout=4":                          {3, true},
		"Keep-Alive: timeout=9000000000000000":                        {1 << 30, true},
		"Connection: keep-alive, Keep-Alive\r\nKeep-Alive: timeout=5": {5, true},
		"Keep-Alive: timeout=99999999999999999999":                    {0, false},
		"Keep-Alive: timeout=":                                        {0, false},
		"Keep-Alive: timeout=x":                                       {0, false},
		"Keep-Alive: timeout=-1":                                      {0, false},
		"Keep-Alive: timeout":                                         {0, false},
		"Keep-Alive:":                                                 {0, false},
		"Keep-Alive: max=3":                                           {0, false},
		"X-A: timeout=3":                                              {0, false},
	} {
		t.Run("2068§19.7.1/"+in, func(t *testing.T) {
			var r Response
			if _, err := r.Parse([]byte(status("HTTP/1.1 200 OK\r\n"+in)), MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			if s, ok := r.KeepAliveTimeout(); s != want.seconds || ok != want.ok {
				t.Errorf("%q: %d, %v", in, s, ok)
			}
		})
	}
}
