package http

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseTimeout(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        time.Duration
		form        waitForm
		ok          bool
	}{
		{"x-timeout", "1500", 1500 * time.Millisecond, waitPlain, true},
		{"x-timeout", "0", 0, waitPlain, true},
		{"x-timeout", "1.5s", 1500 * time.Millisecond, waitUnit, true},
		{"x-timeout", "250ms", 250 * time.Millisecond, waitUnit, true},
		{"x-timeout", "1h", time.Hour, waitUnit, true},
		{"x-timeout", "-1", 0, 0, false},
		{"x-timeout", "-1s", 0, 0, false},
		{"x-timeout", "soon", 0, 0, false},
		{"x-timeout", "", 0, 0, false},
		{"x-timeout", "1.5", 0, 0, false},
		{"x-timeout", "1S", 0, 0, false},
		{"x-timeout", "99999999999999999999", 0, 0, false},
		{"x-timeout", "40000000000", 0, 0, false}, // more than a year
		{"x-timeout", "9000h", 0, 0, false},
		{"grpc-timeout", "1H", time.Hour, waitGRPC, true},
		{"grpc-timeout", "2M", 2 * time.Minute, waitGRPC, true},
		{"Grpc-Timeout", "3S", 3 * time.Second, waitGRPC, true},
		{"grpc-timeout", "4m", 4 * time.Millisecond, waitGRPC, true},
		{"grpc-timeout", "5u", 5 * time.Microsecond, waitGRPC, true},
		{"grpc-timeout", "99999999n", 99999999, waitGRPC, true},
		{"grpc-timeout", "123456789n", 0, 0, false}, // nine digits
		{"grpc-timeout", "99999999H", 0, 0, false},
		{"grpc-timeout", "1500", 0, 0, false},
		{"grpc-timeout", "1s", 0, 0, false},
		{"grpc-timeout", "m", 0, 0, false},
		{"grpc-timeout", "-1m", 0, 0, false},
		{"grpc-timeout", "1.5S", 0, 0, false},
	} {
		d, form, ok := parseTimeout(c.name, []byte(c.value))
		if ok != c.ok || ok && (d != c.want || form != c.form) {
			t.Errorf("%s: %s: %v, %d, %v", c.name, c.value, d, form, ok)
		}
	}
}

// What is passed on is never more than is left, unless the form cannot say as little.
func TestAppendWait(t *testing.T) {
	for form, cases := range map[waitForm]map[time.Duration]string{
		waitPlain: {1: "1", 999 * time.Microsecond: "1", 1999 * time.Microsecond: "1", time.Hour: "3600000", maxWait: "31536000000"},
		waitUnit:  {time.Microsecond: "1us", 999999: "999us", 1999 * time.Microsecond: "1ms", time.Hour: "3600000ms"},
		waitGRPC:  {time.Microsecond: "1u", 999999: "999u", 1999 * time.Microsecond: "1m", 27 * time.Hour: "97200000m", 28 * time.Hour: "100800S", maxWait: "31536000S"},
	} {
		for left, want := range cases {
			if got := string(appendWait(nil, left, form)); got != want {
				t.Errorf("%v in form %d: %s, want %s", left, form, got, want)
			}
			name := map[waitForm]string{waitGRPC: grpcTimeout}[form]
			d, back, ok := parseTimeout(name, []byte(want))
			if !ok || back != form || d > max(left, time.Millisecond) {
				t.Errorf("%s is understood as %v in form %d, %v", want, d, back, ok)
			}
		}
	}
}

// withDeadline is a request that says how long its client will wait.
func withDeadline(value string) string {
	return lines("GET /a HTTP/1.1", "Host: a", "X-Wait: "+value, "X-Mark: "+strings.Repeat("m", 300))
}

func waiting(o *Options) { o.TimeoutHeader = "x-wait" }

// left is what a head says of the time that is left, in milliseconds. It wants the rest of
// the head to be what the client has sent.
func (p *peer) left(request, suffix string) int {
	p.t.Helper()
	head := p.head()
	before, rest, found := strings.Cut(head, "x-wait: ")
	value, after, _ := strings.Cut(rest, "\r\n")
	ms, err := strconv.Atoi(strings.TrimSuffix(value, suffix))
	if !found || err != nil || !strings.HasSuffix(value, suffix) || strings.Contains(after, "-wait") {
		p.t.Fatalf("head %q", head)
	}
	begin, said, _ := strings.Cut(request, "X-Wait: ")
	_, end, _ := strings.Cut(said, "\r\n")
	if before+after != begin+end {
		p.t.Errorf("head %q", head)
	}
	return ms
}

func TestEachTryIsToldWhatIsLeft(t *testing.T) {
	for said, form := range map[string]string{"60000": "", "60s": "ms", "1m": "ms"} {
		first, second := newOrigin(t), newOrigin(t)
		r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: waiting})
		c := r.dial()
		c.say(withDeadline(said))
		s := first.accept()
		was := s.left(withDeadline(said), form)
		if was > 60000 || was < 30000 {
			t.Errorf("%d are left", was)
		}
		// Meanwhile others use the memory that the request was read into.
		d := r.dial()
		d.say(lines("GET /other HTTP/1.1", "Host: other.example", "X-Else: "+strings.Repeat("x", 400)))
		other := first.accept()
		other.head()
		other.say(ok)
		d.hear(ok)
		r.pass(2 * time.Millisecond)
		s.reset()
		s = second.accept()
		if is := s.left(withDeadline(said), form); is >= was {
			t.Errorf("%d are left, and before it were %d", is, was)
		}
		s.say(ok)
		c.hear(ok)
	}
}

func TestHedgeIsToldWhatIsLeft(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: func(o *Options) { hedging(o); waiting(o) }})
	r.learn(5 * time.Millisecond)
	c := r.dial()
	c.say(withDeadline("60000"))
	was := first.accept().left(withDeadline("60000"), "")
	s := second.accept()
	if is := s.left(withDeadline("60000"), ""); is >= was {
		t.Errorf("%d are left, and before it were %d", is, was)
	}
	s.say(ok)
	c.hear(ok)
}

func TestDeadlineOfALongRequest(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: waiting})
	c := r.dial()
	body := noise(60 << 10)
	request := lines("PUT /a HTTP/1.1", "Host: a", "X-Wait: 60000", "Content-Length: 61440")
	poured := c.pour(request + body)
	s := first.accept()
	s.left(request, "")
	s.hear(body)
	s.reset()
	s = second.accept() // the head's own buffer has been left for a larger one
	s.left(request, "")
	s.hear(body)
	s.say(ok)
	c.hear(ok)
	if err := <-poured; err != nil {
		t.Error(err)
	}
}

func TestGRPCTimeout(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.TimeoutHeader = "grpc-timeout" }})
	c := r.dial()
	c.say(lines("GET / HTTP/1.1", "Host: a", "Grpc-Timeout: 1M"))
	s := o.accept()
	head := s.head()
	_, rest, _ := strings.Cut(head, "\r\ngrpc-timeout: ")
	value, _, _ := strings.Cut(rest, "\r\n")
	if d, ok := parseGRPCTimeout([]byte(value)); !ok || d > time.Minute || d < 30*time.Second || strings.Count(strings.ToLower(head), "grpc-timeout") != 1 {
		t.Errorf("%q", head)
	}
	s.say(ok)
	c.hear(ok)
}

func TestRepeatedDeadlineIsSentOnce(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: waiting})
	c := r.dial()
	c.say(lines("GET / HTTP/1.1", "Host: a", "X-Wait: 60000", "X-Other: 1", "x-wait: 5"))
	s := o.accept()
	if head := s.head(); strings.Count(strings.ToLower(head), "x-wait: ") != 1 || strings.Contains(head, ": 5\r\n") || !strings.Contains(head, "X-Other") {
		t.Errorf("%q", head)
	}
	s.say(ok)
	c.hear(ok)
}

func TestDeadlineThatIsNonePasses(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: waiting})
	c := r.dial()
	request := lines("GET / HTTP/1.1", "Host: a", "X-Wait: soon")
	c.say(request)
	s := o.accept()
	s.hear(request)
	s.say(ok)
	c.hear(ok)
	trade(c, s) // and one without
}

func TestDeadlineIsOver(t *testing.T) {
	o, p := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr, p.addr}, options: waiting})
	c := r.dial()
	c.say(withDeadline("30"))
	s := o.accept()
	s.head()
	c.wantOwn(504, "timeout")
	s.gone()
	p.untouched()
	// One that has no time at all is answered at once.
	c.say(withDeadline("0"))
	c.wantOwn(504, "timeout")
	o.untouched()
	c.say(get)
	s = o.accept()
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

func TestDeadlineBoundsConnecting(t *testing.T) {
	d := newDeaf(t)
	r := newRig(t, setup{origins: []string{d.addr}, options: waiting})
	c := r.dial()
	c.say(withDeadline("30"))
	c.wantOwn(504, "connect-timeout")
}

func TestDeadlineBoundsBackoff(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { waiting(o); waitsFor(time.Hour)(o) }})
	c := r.dial()
	c.say(withDeadline("20000"))
	s := o.accept()
	s.head()
	s.say(busyFor(30))
	c.hear(busyFor(30))
}

// A client that leaves an endpoint less time than its answers take makes no failure of it,
// but one that never answers must not get away with it.
func TestEndpointIsNotBlamedForAClientInAHurry(t *testing.T) {
	for name, c := range map[string]struct {
		typical time.Duration
		blamed  uint64
	}{"in a hurry": {time.Hour, 0}, "long enough": {time.Millisecond, 1}} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}, options: waiting})
			r.learn(c.typical)
			client := r.dial()
			client.say(withDeadline("30"))
			o.accept().head()
			client.wantOwn(504, "timeout")
			if n := r.outcomes(); n.Timeouts != c.blamed || n.Canceled != 1-c.blamed {
				t.Errorf("%+v", n)
			}
		})
	}
}
