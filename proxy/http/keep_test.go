package http

import (
	"testing"
)

// What a response that is tried again leaves of its connection.
func TestConnectionOfAResponseThatIsTriedAgain(t *testing.T) {
	head := lines("HEAD / HTTP/1.1", "Host: a")
	for name, c := range map[string]struct {
		request, response string
		kept              bool
	}{
		"a length":            {get, lines("HTTP/1.1 503 Busy", "Content-Length: 4") + "busy", true},
		"no body":             {get, lines("HTTP/1.1 503 Busy", "Content-Length: 0"), true},
		"chunks":              {get, lines("HTTP/1.1 503 Busy", "Transfer-Encoding: chunked") + chunks("busy", 2), true},
		"HEAD":                {head, lines("HTTP/1.1 503 Busy", "Content-Length: 4"), true},
		"it wants to close":   {get, lines("HTTP/1.1 503 Busy", "Connection: close", "Content-Length: 4") + "busy", false},
		"not all of it":       {get, lines("HTTP/1.1 503 Busy", "Content-Length: 5") + "busy", false},
		"chunks without end":  {get, lines("HTTP/1.1 503 Busy", "Transfer-Encoding: chunked") + "4\r\nbusy\r\n", false},
		"broken chunks":       {get, lines("HTTP/1.1 503 Busy", "Transfer-Encoding: chunked") + "x\r\n", false},
		"until the end":       {get, lines("HTTP/1.1 503 Busy") + "busy", false},
		"more than it said":   {get, lines("HTTP/1.1 503 Busy", "Content-Length: 4") + "busy!", false},
		"more than no body":   {get, lines("HTTP/1.1 503 Busy", "Content-Length: 0") + "HTTP/1.1 200 EVIL\r\n", false},
		"a body behind HEAD":  {head, lines("HTTP/1.1 503 Busy", "Content-Length: 4") + "busy", false},
		"more than the chunk": {get, lines("HTTP/1.1 503 Busy", "Transfer-Encoding: chunked") + chunks("busy", 2) + "!", false},
	} {
		t.Run(name, func(t *testing.T) {
			o, p := newOrigin(t), newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: func(o *Options) { o.Retry.Status[3] = true }})
			client := r.dial()
			client.say(c.request)
			s := o.accept()
			s.hear(c.request)
			s.say(c.response)
			other := p.accept()
			other.hear(c.request)
			none := lines("HTTP/1.1 204 No")
			other.say(none)
			client.hear(none)
			if c.kept {
				r.pooled(2)
				trade(client, s)
				return
			}
			s.gone()
			r.pooled(1)
		})
	}
}

func TestKeepAliveOfAResponseThatIsTriedAgainIsHeeded(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: func(o *Options) { o.Retry.Status[3] = true }})
	client := r.dial()
	client.say(get)
	s := o.accept()
	s.hear(get)
	s.say(lines("HTTP/1.1 503 Busy", "Keep-Alive: timeout=1", "Content-Length: 0"))
	other := p.accept()
	other.hear(get)
	other.say(ok)
	client.hear(ok)
	s.end() // within the second, and not after a minute
	r.pooled(1)
}

// A body that is kept is sent again whole, on a fresh connection and on a kept one.
func TestKeptBodyIsSentAgain(t *testing.T) {
	body := noise(60 << 10)
	for _, request := range []string{
		lines("PUT / HTTP/1.1", "Host: a", "Content-Length: 61440") + body,
		lines("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + chunks(body, 777),
	} {
		o, p := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: func(o *Options) { o.Retry.Status[3] = true }})
		c := r.dial()
		poured := c.pour(request)
		s := o.accept()
		s.hear(request)
		s.say(lines("HTTP/1.1 503 Busy", "Content-Length: 0"))
		other := p.accept()
		other.hear(request)
		other.say(ok)
		c.hear(ok)
		if err := <-poured; err != nil {
			t.Error(err)
		}
		r.pooled(2)
	}
}
