package http

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"sidecar/accesslog"
)

func TestAccessLogTellsEachRequest(t *testing.T) {
	var out bytes.Buffer
	log, err := accesslog.New(accesslog.Options{
		Output: &out, Format: `$service $method $path $query $status $flag $tries $endpoint $body_out $trace_id $user_agent`,
	})
	if err != nil {
		t.Fatal(err)
	}
	var names *strings.Replacer
	t.Run("", func(t *testing.T) {
		first, second := newOrigin(t), newOrigin(t)
		names = strings.NewReplacer(first.addr, "first", second.addr, "second")
		r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: func(o *Options) { o.AccessLog = log }})
		c := r.dial()
		c.say(lines("GET /a?b=c HTTP/1.1", "Host: a", "User-Agent: curl/8", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
		s := first.accept()
		s.head()
		s.say(ok)
		c.hear(ok)

		c.say(get) // the connection breaks, and the other endpoint answers
		s.hear(get)
		s.say("HTTP/1.1 2")
		s.close()
		s = second.accept()
		s.hear(get)
		s.say(ok)
		c.hear(ok)

		c.say(post) // nobody may repeat it
		s = first.accept()
		s.hear(post)
		s.close()
		c.wantOwn(502, "reset")

		c = r.dial()
		c.say("what\r\n\r\n")
		c.wantOwn(400, "bad-request")
		c.end()

		c = r.dial()
		c.say(upgrade)
		s = first.accept()
		s.hear(upgrade)
		s.say(switched + "hi")
		c.hear(switched + "hi")
		c.close()
		s.close()
		r.until("all have ended", func() bool { return r.metric("sidecar_http_requests_in_flight") == 0 })
	})
	if err := log.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := names.Replace(out.String())
	want := `orders GET /a b=c 200 ok 1 first 2 0af7651916cd43dd8448eb211c80319c curl/8
orders GET / - 200 ok 2 second 2 - -
orders POST / - 502 reset 1 first 99 - -
orders - - - 400 bad-request 0 - 82 - -
orders GET /chat - 101 ok 1 first 2 - -
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestAccessLogTellsCallsOfGRPC(t *testing.T) {
	var out bytes.Buffer
	log, err := accesslog.New(accesslog.Options{Output: &out, Format: `$protocol $path $status $grpc_status $flag`})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("", func(t *testing.T) {
		origin := serveBoth(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			switch r.URL.Path {
			case "/head":
				w.Header().Set("grpc-status", "5")
			case "/trailers":
				_, _ = w.Write([]byte("message"))
				w.Header().Set(http.TrailerPrefix+"grpc-status", "14")
			case "/none":
				_, _ = w.Write([]byte("message"))
			}
		})
		r := newRig(t, setup{origins: []string{origin}, options: func(o *Options) { o.AccessLog, o.Retry.Attempts = log, 0 }})
		say := func(two bool, path, contentType string) {
			t.Helper()
			resp, err := newClient(t, two).Post("http://"+r.listener.Addr().String()+path, contentType, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			r.until("it has ended", func() bool { return r.metric("sidecar_http_requests_in_flight") == 0 })
		}
		for _, path := range []string{"/head", "/trailers", "/none"} {
			say(true, path, "application/grpc")
		}
		say(false, "/trailers", "application/grpc")
		say(true, "/plain", "text/plain")
		r.report(closedPort(t))
		r.until("there is another endpoint", func() bool {
			return len(r.service.Snapshot().Endpoints) == 1 && r.service.Snapshot().Endpoints[0].Address() != origin
		})
		say(true, "/own", "application/grpc")
	})
	if err := log.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := "HTTP/2.0 /head 200 5 ok\nHTTP/2.0 /trailers 200 14 ok\nHTTP/2.0 /none 200 missing ok\n" +
		"HTTP/1.1 /trailers 200 14 ok\nHTTP/2.0 /plain 200 - ok\nHTTP/2.0 /own 200 14 connect-failed\n"
	if got := out.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
