package healthcheck

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// serve starts a server and returns its address.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// wantResult compares an error with its whole text, "" for none.
func wantResult(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHTTPStatuses(t *testing.T) {
	for _, test := range []struct {
		statuses string
		status   int
		want     string
	}{
		{"", 200, ""},
		{"", 399, ""},
		{"", 400, "status 400 Bad Request: says the server"},
		{"200", 200, ""},
		{"200", 201, "status 201 Created, want 200: says the server"},
		{"200-299,301,404", 200, ""},
		{"200-299,301,404", 299, ""},
		{"200-299,301,404", 301, ""},
		{"200-299,301,404", 404, ""},
		{"200-299,301,404", 300, "status 300 Multiple Choices, want 200-299,301,404: says the server"},
		{"200-299,301,404", 302, "status 302 Found, want 200-299,301,404: says the server"},
		{"200-299,301,404", 500, "status 500 Internal Server Error, want 200-299,301,404: says the server"},
		{"503", 503, ""},
	} {
		t.Run(fmt.Sprintf("%s/%d", test.statuses, test.status), func(t *testing.T) {
			address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, "says the server\nin two lines")
			})
			ranges, err := ParseStatuses(test.statuses)
			if err != nil {
				t.Fatal(err)
			}
			wantResult(t, HTTP(HTTPOptions{Statuses: ranges}).Probe(t.Context(), address), test.want)
		})
	}
}

// 101 is a response's status; the others below 200 only announce one.
func TestHTTPInterimStatuses(t *testing.T) {
	for response, want := range map[string]string{
		"HTTP/1.1 101 Switching Protocols\r\n\r\n":                "",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n": "status 200 OK, want 100-199",
	} {
		l := listen(t, "tcp", "127.0.0.1:0")
		answer(t, l, response)
		p := HTTP(HTTPOptions{Statuses: []StatusRange{{100, 199}}})
		wantResult(t, p.Probe(t.Context(), l.Addr().String()), want)
	}
}

// What goes into a reason is short and can be printed, whatever a server sends.
func TestHTTPStatusInWords(t *testing.T) {
	for phrase, want := range map[string]string{
		strings.Repeat("x", 1000): "status 500 " + strings.Repeat("x", maxReasonBytes-len("500 ")),
		"a\x1b[31mb\xff":          "status 500 a[31mb",
		"":                        "status 500",
	} {
		l := listen(t, "tcp", "127.0.0.1:0")
		answer(t, l, "HTTP/1.1 500 "+phrase+"\r\nContent-Length: 0\r\n\r\n")
		wantResult(t, HTTP(HTTPOptions{}).Probe(t.Context(), l.Addr().String()), want)
	}
}

func TestHTTPMethod(t *testing.T) {
	for method, want := range map[string]string{
		"":         "GET",
		"HEAD":     "HEAD",
		"OPTIONS":  "OPTIONS",
		"POST":     "POST",
		"PROPFIND": "PROPFIND",
	} {
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if r.Method != want || len(body) > 0 || err != nil {
				t.Errorf("%q: got %s with body %q, error %v", method, r.Method, body, err)
			}
			_, _ = io.WriteString(w, "fine")
		})
		wantResult(t, HTTP(HTTPOptions{Method: method}).Probe(t.Context(), address), "")
	}
	for _, method := range []string{"G T", "GET / HTTP/1.1\r\nX: ", "GET:", "Gét", "\x00"} {
		err := HTTP(HTTPOptions{Method: method}).Probe(t.Context(), refusing(t))
		wantResult(t, err, fmt.Sprintf("method %q is none; want one such as GET", method))
	}
}

func TestHTTPBody(t *testing.T) {
	long := strings.Repeat("x", maxResponseBytes)
	for name, test := range map[string]struct {
		body    string // what must match
		handler http.HandlerFunc
		want    string
	}{
		"matches":             {`^ok$`, says("ok"), ""},
		"matches within":      {`ready`, says("db up\nready\n"), ""},
		"a line of several":   {`(?m)^ready$`, says("db up\nready\n"), ""},
		"JSON":                {`"status":\s*"UP"`, says(`{"status": "UP"}`), ""},
		"empty, as wanted":    {`^$`, says(""), ""},
		"other":               {`^ok$`, says("starting\nup"), `status 200 OK, but the body does not match "^ok$"; it begins with "starting"`},
		"empty":               {`ok`, says(""), `status 200 OK, but the body does not match "ok"; there is no text in it`},
		"blank":               {`ok`, says(" \n\x00\n"), `status 200 OK, but the body does not match "ok"; there is no text in it`},
		"long first line":     {`ok`, says(long), `status 200 OK, but the body does not match "ok"; it begins with "` + long[:maxReasonBytes] + `"`},
		"within 64 KiB":       {`ok`, says(long[:maxResponseBytes-1000] + "ok"), ""},
		"beyond 64 KiB":       {`ok`, says(long + "ok"), `status 200 OK, but the body does not match "ok"; it begins with "` + long[:maxReasonBytes] + `"`},
		"before 64 KiB":       {`ok`, says("ok" + long + long), ""},
		"wrong status":        {`ok`, fails("ok"), "status 503 Service Unavailable: ok"},
		"ends in mid-body":    {`ok`, breaksOff("ok"), "status 200 OK, but reading the body: unexpected EOF"},
		"chunked, breaks off": {`ok`, breaksOffChunked("ok"), "status 200 OK, but reading the body: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			p := HTTP(HTTPOptions{Body: regexp.MustCompile(test.body)})
			wantResult(t, p.Probe(t.Context(), serve(t, test.handler)), test.want)
		})
	}
}

func TestHTTPBodyIsNotLookedAtUnlessAsked(t *testing.T) {
	wantResult(t, HTTP(HTTPOptions{}).Probe(t.Context(), serve(t, breaksOff("x"))), "")
}

// HEAD has no body whatever its fields say.
func TestHTTPBodyOfHEADIsEmpty(t *testing.T) {
	p := HTTP(HTTPOptions{Method: "HEAD", Body: regexp.MustCompile("ok")})
	wantResult(t, p.Probe(t.Context(), serve(t, says("ok"))), `status 200 OK, but the body does not match "ok"; there is no text in it`)
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func fails(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, http.StatusServiceUnavailable) }
}

// breaksOff announces more than it writes.
func breaksOff(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, body)
	}
}

// breaksOffChunked writes no last chunk.
func breaksOffChunked(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
