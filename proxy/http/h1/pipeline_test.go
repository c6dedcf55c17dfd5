package h1

import (
	"strings"
	"testing"
)

// TestForwardRequests: requests in a row go out in their order, each with its
// own body, and in the framing that is the proxy's. "|" is CRLF.
func TestForwardRequests(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
		n              int  // messages sent on
		cut            bool // and the start of another
	}{
		{"9112§9.3.2/three", "GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a||GET /3 HTTP/1.1|Host: a||", "=", 3, false},
		{"9112§9.3.2/bodies", "POST /1 HTTP/1.1|Host: a|Content-Length: 5||helloPOST /2 HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|0||GET /3 HTTP/1.1|Host: a||", "=", 3, false},
		{"9112§9.3.2/body-like-a-request", "POST /1 HTTP/1.1|Host: a|Content-Length: 31||GET /no HTTP/1.1|Host: a||xxGET /2 HTTP/1.1|Host: a||", "=", 2, false},
		{"9112§9.3.2/chunk-like-a-request", "POST /1 HTTP/1.1|Host: a|Transfer-Encoding: chunked||1d|GET /no HTTP/1.1|Host: a|||0||GET /2 HTTP/1.1|Host: a||", "=", 2, false},
		{"9112§9.3.2/body-of-GET", "GET /1 HTTP/1.1|Host: a|Content-Length: 5||helloGET /2 HTTP/1.1|Host: a||", "=", 2, false},
		{"9112§6.3/no-length-no-body", "POST /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a||", "=", 2, false},
		{"9112§2.2/empty-lines-between", "GET /1 HTTP/1.1|Host: a||||GET /2 HTTP/1.1|Host: a||", "GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a||", 2, false},
		{"9112§9.6/behind-close", "GET /1 HTTP/1.1|Host: a|Connection: close||GET /2 HTTP/1.1|Host: a||", "GET /1 HTTP/1.1|Host: a||", 1, false},
		{"9112§9.3/behind-1.0", "GET /1 HTTP/1.0|Host: a||GET /2 HTTP/1.1|Host: a||", "GET /1 HTTP/1.1|Host: a||", 1, false},
		{"9112§9.3/behind-1.0-keep-alive", "GET /1 HTTP/1.0|Host: a|Connection: keep-alive||GET /2 HTTP/1.1|Host: a||", "GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a||", 2, false},
		{"9112§11.2/second-is-malformed", "GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host : a||GET /3 HTTP/1.1|Host: a||", "GET /1 HTTP/1.1|Host: a||", 1, false},
		{"9112§11.2/both-lengths", "POST /1 HTTP/1.1|Host: a|Content-Length: 5|Transfer-Encoding: chunked||0||GET /2 HTTP/1.1|Host: a||", "", 0, false},
		{"9112§11.2/lengths-merge", "POST /1 HTTP/1.1|Host: a|Content-Length: 05, 5|Content-Length: 5||helloGET /2 HTTP/1.1|Host: a||", "POST /1 HTTP/1.1|Host: a|Content-Length: 5||helloGET /2 HTTP/1.1|Host: a||", 2, false},
		{"9112§7.1.1/extensions-go", "POST /1 HTTP/1.1|Host: a|Transfer-Encoding: chunked||5;a=\"b\"|hello|0;c|X-T: 1|Host: b||GET /2 HTTP/1.1|Host: a||", "POST /1 HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|0|X-T: 1||GET /2 HTTP/1.1|Host: a||", 2, false},
		{"9112§6.1/coding-is-the-proxy's", "POST /1 HTTP/1.1|TRANSFER-encoding:\tCHUNKED|Host: a||0||", "POST /1 HTTP/1.1|Host: a|Transfer-Encoding: chunked||0||", 1, false},
		{"9110§10.1.4/trailers", "GET /1 HTTP/1.1|Host: a|TE: trailers, deflate|Connection: TE, close|X-A: 1||", "GET /1 HTTP/1.1|Host: a|X-A: 1|TE: trailers|Connection: TE||", 1, false},
		{"9110§10.1.4/trailers-first", "GET /1 HTTP/1.1|TE: trailers|Host: a||", "GET /1 HTTP/1.1|Host: a|TE: trailers|Connection: TE||", 1, false},
		{"9112§3.2/host-is-added", "GET /1 HTTP/1.0|X-A: 1||", "GET /1 HTTP/1.1|Host: instead.example|X-A: 1||", 1, false},
		{"9112§3.2/host-is-replaced-if-empty", "GET /1 HTTP/1.0|Host:|X-A: 1||", "GET /1 HTTP/1.1|Host: instead.example|X-A: 1||", 1, false},
		{"9112§3.2.2/host-is-the-target's", "GET http://b:81/1 HTTP/1.1|Host: a||", "GET /1 HTTP/1.1|Host: b:81||", 1, false},
		{"9112§8/cut-in-head", "GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a|", "GET /1 HTTP/1.1|Host: a||", 1, false},
		{"9112§8/cut-in-length", "GET /1 HTTP/1.1|Host: a||POST /2 HTTP/1.1|Host: a|Content-Length: 5||hell", "=", 1, true},
		{"9112§8/cut-in-chunk-size", "POST /2 HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|1", "POST /2 HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|", 0, true},
		{"9112§7.1/bad-chunk", "POST /2 HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|x|", "POST /2 HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|", 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			if want == "=" {
				want = tc.in
			}
			f := checkRequests(t, strings.ReplaceAll(tc.in, "|", "\r\n"), 1)
			if got := strings.ReplaceAll(f.out, "\r\n", "|"); got != want || len(f.messages) != tc.n || f.cut != tc.cut {
				t.Errorf("sent on as %d: %q, cut %v", len(f.messages), got, f.cut)
			}
		})
	}
}

func TestForwardResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK|"
	get, head := MethodGet, MethodHead
	for _, tc := range []struct {
		name     string
		methods  []Method
		old      bool // the client speaks HTTP/1.0
		in, want string
		n        int
		cut      bool
	}{
		{"9112§9.3.2/three", []Method{get, get, get}, false, ok + "Content-Length: 1||1" + ok + "Transfer-Encoding: chunked||1|2|0||" + ok + "Content-Length: 0||", "=", 3, false},
		{"9112§9.2/more-than-asked-for", []Method{get}, false, ok + "Content-Length: 1||1" + ok + "Content-Length: 1||2", ok + "Content-Length: 1||1", 1, false},
		{"9112§9.2/more-than-announced", []Method{get, get}, false, ok + "Content-Length: 1||1xx" + ok, ok + "Content-Length: 1||1", 1, false},
		{"9110§9.3.2/head", []Method{head, get}, false, ok + "Content-Length: 5||" + ok + "Content-Length: 1||1", "=", 2, false},
		{"9110§9.3.2/head-chunked", []Method{head, get}, false, ok + "Transfer-Encoding: chunked||" + ok + "Content-Length: 1||1", ok + "|" + ok + "Content-Length: 1||1", 2, false},
		{"9110§15.2/interim", []Method{get}, false, "HTTP/1.1 100 Continue||HTTP/1.1 103 Early Hints|Link: x||" + ok + "Content-Length: 1||1", "=", 3, false},
		{"9110§15.2/interim-with-length", []Method{get}, false, "HTTP/1.1 103 X|Content-Length: 0||" + ok + "Content-Length: 1||1", "HTTP/1.1 103 X||" + ok + "Content-Length: 1||1", 2, false},
		{"9110§15.2/interim-to-1.0", []Method{get}, true, "HTTP/1.1 103 X||" + ok + "Content-Length: 1||1", ok + "Content-Length: 1||1", 1, false},
		{"9110§15.3.5/204", []Method{get, get}, false, "HTTP/1.1 204 X|Content-Length: 0||" + ok + "Content-Length: 1||1", "HTTP/1.1 204 X||" + ok + "Content-Length: 1||1", 2, false},
		{"9110§15.3.5/204-with-body", []Method{get, get}, false, "HTTP/1.1 204 X|Content-Length: 1||1" + ok + "Content-Length: 1||1", "HTTP/1.1 204 X||", 1, false},
		{"9110§15.4.5/304", []Method{get, get}, false, "HTTP/1.1 304 X|Content-Length: 5||" + ok + "Content-Length: 1||1", "=", 2, false},
		{"9112§6.3/until-close", []Method{get}, false, ok + "|hello", ok + "Transfer-Encoding: chunked||5|hello|0||", 1, false},
		{"9112§6.3/until-close-empty", []Method{get}, false, ok + "|", ok + "Transfer-Encoding: chunked||0||", 1, false},
		{"9112§6.3/until-close-to-1.0", []Method{get}, true, ok + "|hello", "=", 1, false},
		{"9112§6.1/chunked-to-1.0", []Method{get, get}, true, ok + "Transfer-Encoding: chunked||1|h|4;x|ello|0|X-T: 1||" + ok, ok + "|hello", 1, false},
		{"9112§9.6/behind-close", []Method{get, get}, false, ok + "Content-Length: 1|Connection: close||1" + ok, ok + "Content-Length: 1||1", 1, false},
		{"9112§9.3/behind-1.0", []Method{get, get}, false, "HTTP/1.0 200 OK|Content-Length: 1||1" + ok, ok + "Content-Length: 1||1", 1, false},
		{"9112§8/cut-in-length", []Method{get}, false, ok + "Content-Length: 5||hell", "=", 0, true},
		{"9112§8/cut-in-chunk-size", []Method{get}, false, ok + "Transfer-Encoding: chunked||5|hello|1", ok + "Transfer-Encoding: chunked||5|hello|", 0, true},
		{"9112§8/cut-in-chunk-size-to-1.0", []Method{get}, true, ok + "Transfer-Encoding: chunked||5|hello|1", "", 0, false},
		{"9112§7.1/bad-chunk", []Method{get}, false, ok + "Transfer-Encoding: chunked||5|hello|x|", ok + "Transfer-Encoding: chunked||5|hello|", 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			if want == "=" {
				want = tc.in
			}
			f := checkResponses(t, strings.ReplaceAll(tc.in, "|", "\r\n"), tc.methods, 1, tc.old)
			if got := strings.ReplaceAll(f.out, "\r\n", "|"); got != want || len(f.messages) != tc.n || f.cut != tc.cut {
				t.Errorf("sent on as %d: %q, cut %v", len(f.messages), got, f.cut)
			}
		})
	}
}
