package http

import (
	"strings"
	"testing"
)

func TestBodyLimit(t *testing.T) {
	limited := func(o *Options) { o.MaxBody = 5 }
	chunked := lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
	for _, c := range []struct {
		name, request string
		fits          bool
	}{
		{"a length that fits", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 5") + "abcde", true},
		{"a length that does not, RFC 9110 §15.5.14", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 6") + "abcdef", false},
		{"chunks that fit", chunked + "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", true},
		{"chunks that do not", chunked + "2\r\nab\r\n4\r\ncdef\r\n0\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}, options: limited})
			client := r.dial()
			client.say(c.request)
			if !c.fits {
				client.wantOwn(413, "too-large")
				if strings.HasPrefix(c.request, chunked) {
					o.accept().close() // nothing was known when it was dialled
				}
				return
			}
			s := o.accept()
			s.hear(c.request)
			s.say(ok)
			client.hear(ok)
		})
	}
}
