package http

import (
	"bytes"
	"context"
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
