package http

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"sidecar/tap"
)

// watching watches what passes p, until the test ends.
func watching(t *testing.T, p *tap.Point, o tap.Options) *tap.Watch {
	t.Helper()
	w, err := p.Watch(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func TestRequestsAreWatchedAsTheyPass(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	p := new(tap.Point)
	r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: func(o *Options) { o.Tap = p }})
	c := r.dial()
	c.say(get) // nobody watches yet
	s := first.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)

	w := watching(t, p, tap.Options{Headers: tap.HeadersPlain})
	c.say(get) // the connection breaks, and the other endpoint answers
	s.hear(get)
	s.say("HTTP/1.1 2")
	s.close()
	s = second.accept()
	s.hear(get)
	s.say(lines("HTTP/1.1 200 OK", "Content-Length: 2", "Set-Cookie: a=geheim") + "hi")
	c.head()
	c.hear("hi")
	got := <-w.Records()
	if got.Method != "GET" || got.Target != "/" || got.Status != 200 || got.Flag != "ok" || got.Tries != 2 || got.Endpoint != second.addr ||
		len(got.Attempts) != 2 || got.Attempts[0].Endpoint != first.addr || got.Attempts[0].Outcome != "reset" {
		t.Errorf("got %+v", got)
	}
	if len(got.RequestHeaders) == 0 || got.RequestHeaders[0].Name != "Host" || len(got.ResponseHeaders) != 2 ||
		got.ResponseHeaders[1] != (tap.Field{Name: "Set-Cookie", Value: "<hidden>"}) {
		t.Errorf("fields %+v and %+v", got.RequestHeaders, got.ResponseHeaders)
	}

	bad := r.dial()
	bad.say("what\r\n\r\n")
	bad.wantOwn(400, "bad-request")
	bad.end()
	if got := <-w.Records(); got.Status != 400 || got.Flag != "bad-request" || got.Method != "" || got.Tries != 0 || got.RequestHeaders != nil || got.ResponseHeaders != nil {
		t.Errorf("of what is no request: %+v", got)
	}

	w.Close() // and the next one is nobody's
	c.say(get)
	other := first.accept()
	other.hear(get)
	other.say(ok)
	c.hear(ok)
	again := watching(t, p, tap.Options{})
	c.say(get)
	other.hear(get)
	other.say(ok)
	c.hear(ok)
	if got := <-again.Records(); got.Tries != 1 || got.Skipped != 0 || got.RequestHeaders != nil {
		t.Errorf("after a pause: %+v", got)
	}
	select {
	case got := <-again.Records():
		t.Errorf("what passed while nobody watched is shown: %+v", got)
	default:
	}
}

func TestCallsOfHTTP2AreWatchedToo(t *testing.T) {
	origin := serveBoth(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("grpc-status", "5")
	})
	p := new(tap.Point)
	r := newRig(t, setup{origins: []string{origin}, options: func(o *Options) { o.Tap = p }})
	w := watching(t, p, tap.Options{Headers: tap.HeadersPlain})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.listener.Addr().String()+"/call?a=b", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Authorization", "Bearer geheim")
	resp, err := newClient(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // the record is what this is about
	resp.Body.Close()
	got := <-w.Records()
	if got.Protocol != "HTTP/2.0" || got.Method != "POST" || got.Target != "/call?a=b" || got.GRPC != "5" || got.Endpoint != origin || got.Status != 200 {
		t.Errorf("got %+v", got)
	}
	value := func(fields []tap.Field, name string) string {
		for _, f := range fields {
			if strings.EqualFold(f.Name, name) {
				return f.Value
			}
		}
		return "(none)"
	}
	if v := value(got.RequestHeaders, "authorization"); v != "<hidden>" {
		t.Errorf("authorization is %q in %+v", v, got.RequestHeaders)
	}
	if v := value(got.ResponseHeaders, "grpc-status"); v != "5" {
		t.Errorf("grpc-status is %q in %+v", v, got.ResponseHeaders)
	}
}
