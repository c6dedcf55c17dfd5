package h1

import (
	"fmt"
	"strings"
	"testing"
)

// post is the head of a request with a body of five octets.
func post(lines ...string) string { return get(append([]string{"Content-Length: 5"}, lines...)...) }

var expectations = []verdict{
	{"9110§10.1.1/continue", post("Expect: 100-Continue"), ""},
	{"9110§10.1.1/continue-for-chunks", get("Transfer-Encoding: chunked", "Expect: 100-continue"), ""},
	{"9110§10.1.1/none", post(), ""},
	{"9110§10.1.1/no-body", get("Expect: 100-continue"), ""},
	{"9110§10.1.1/empty-body", get("Content-Length: 0", "Expect: 100-continue"), ""},
	{"9110§10.1.1/twice", post("Expect: 100-continue", "Expect: 100-continue"), ""},
	{"9110§10.1.1/list", post("Expect: ,100-continue , 100-CONTINUE,"), ""},
	{"9110§10.1.1/empty", post("Expect:"), ""},
	{"9110§10.1.1/empty-elements", post("Expect: , ,"), ""},
	{"9110§7.6.1/named-by-connection", post("Connection: Expect", "Expect: 100-continue"), ""},
	{"9110§10.1.1/1.0", "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", ""},
	{"9110§10.1.1/other-in-1.0", "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 200-ok\r\n\r\n", ""},
	{"9110§10.1.1/other", post("Expect: 200-ok"), "417 unknown-expectation"},
	{"9110§10.1.1/other-without-body", get("Expect: 200-ok"), "417 unknown-expectation"},
	{"9110§10.1.1/both", post("Expect: 100-continue, x=y"), "417 unknown-expectation"},
	{"9110§10.1.1/both-in-lines", post("Expect: 100-continue", "Expect: x"), "417 unknown-expectation"},
	{"9110§10.1.1/parameter", post("Expect: 100-continue;a=b"), "417 unknown-expectation"},
	{"9110§10.1.1/value", post("Expect: 100-continue=1"), "417 unknown-expectation"},
	{"9110§10.1.1/almost", post("Expect: 100-continues"), "417 unknown-expectation"},
	{"9110§10.1.1/space", post("Expect: 100 continue"), "417 unknown-expectation"},
}

func TestExpectation(t *testing.T) {
	judgeRequests(t, expectations)
	// Whether the client waits, and how many Expect fields pass: the server is
	// asked for 100 only if the client can take it.
	want := map[string]string{
		"none": "false 0", "continue": "true 1", "continue-for-chunks": "true 1", "no-body": "false 0", "empty-body": "false 0",
		"twice": "true 2", "list": "true 1", "empty": "false 1", "empty-elements": "false 1",
		"named-by-connection": "true 1", "1.0": "false 0", "other-in-1.0": "false 0",
	}
	for _, tc := range expectations {
		if tc.want != "" {
			continue
		}
		t.Run(tc.name+"/flags", func(t *testing.T) {
			r, err := parseRequest(t, tc.head, nil)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, l := range passing(&r.Head) {
				if strings.HasPrefix(l, "Expect:") {
					n++
				}
			}
			_, name, _ := strings.Cut(tc.name, "/")
			if got := fmt.Sprint(r.ExpectContinue, n); got != want[name] {
				t.Errorf("%s, want %s", got, want[name])
			}
		})
	}
}

func TestMaxForwards(t *testing.T) {
	for _, tc := range []struct {
		line, value string
		n           int64
		ok          bool
	}{
		{"OPTIONS * HTTP/1.1", "Max-Forwards: 0", 0, true},
		{"OPTIONS /x HTTP/1.1", "max-forwards:\t10 ", 10, true},
		{"OPTIONS http://h HTTP/1.1", "Max-Forwards: 00007", 7, true},
		{"TRACE /x HTTP/1.1", "Max-Forwards: 12", 12, true},
		{"TRACE /x HTTP/1.1", "Max-Forwards: 9223372036854775807", 1<<63 - 1, true},
		{"TRACE /x HTTP/1.1", "Max-Forwards: 9223372036854775808", 0, false},
		{"TRACE /x HTTP/1.1", "Max-Forwards: -1", 0, false},
		{"TRACE /x HTTP/1.1", "Max-Forwards: +1", 0, false},
		{"TRACE /x HTTP/1.1", "Max-Forwards: 1, 1", 0, false},
		{"TRACE /x HTTP/1.1", "Max-Forwards: 0x1", 0, false},
		{"TRACE /x HTTP/1.1", "Max-Forwards:", 0, false},
		{"TRACE /x HTTP/1.1", "X-A: 1", 0, false},
		{"GET /x HTTP/1.1", "Max-Forwards: 3", 0, false},
		{"options /x HTTP/1.1", "Max-Forwards: 3", 0, false},
	} {
		t.Run("9110§7.6.2/"+tc.line+"/"+tc.value, func(t *testing.T) {
			r, err := parseRequest(t, line(tc.line+"\r\n"+tc.value), nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, ok := r.MaxForwards(); n != tc.n || ok != tc.ok {
				t.Errorf("MaxForwards = %d, %v", n, ok)
			}
		})
	}
}

func TestBlank(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, "\r": 0, "\r\n": 2, "\r\n\r": 2, "\r\n\r\nGET": 4, "\n": 0, "GET": 0, "GET\r\n": 0, "\r\r\n": 0,
		"\r\n\r\n\r\n\r\n\r\n": maxBlank,
	} {
		t.Run(fmt.Sprintf("9112§2.2/%q", in), func(t *testing.T) {
			if got := Blank([]byte(in)); got != want {
				t.Errorf("Blank(%q) = %d, want %d", in, got, want)
			}
		})
	}
}
