package http

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/accesslog"
)

const here = "client.address=127.0.0.1 client.port=N"

func TestWithoutTracingTheFieldsPass(t *testing.T) {
	for _, fields := range []string{sampledField, unsampled, "traceparent: nonsense", sampledField + "\r\n" + sampledField, stateField, "Tracestate: x"} {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}})
		c := r.dial()
		request := lines("GET / HTTP/1.1", "Host: a", fields)
		c.say(request)
		s := o.accept()
		s.hear(request)
		s.say(ok)
		c.hear(ok)
	}
}

func TestARequestIsTwoSpans(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	w := r.watch(0)
	c := r.dial()
	before := time.Now()
	c.say(lines("GET /orders/42?secret=yes HTTP/1.1", "Host: Orders.example:81", "User-Agent: curl/8", sampledField, stateField, "tracestate: rojo=1"))
	s := o.accept()
	head := s.head()
	s.say(ok)
	c.hear(ok)
	spans := w.spans()
	after := time.Now()
	wantSpans(t, tellAll(spans, map[string]string{o.addr: "origin"}),
		"client GET http.request.method=GET http.response.status_code=200 network.peer.address=127.0.0.1 network.peer.port=origin network.protocol.version=1.1 "+
			"server.address=127.0.0.1 server.port=origin sidecar.service=orders url.full=http://origin/orders/42",
		"server GET "+here+" http.request.method=GET http.response.status_code=200 network.peer.address=127.0.0.1 network.peer.port=N network.protocol.version=1.1 "+
			"server.address=Orders.example server.port=81 sidecar.flag=ok sidecar.service=orders sidecar.tries=1 url.path=/orders/42 url.scheme=http user_agent.original=curl/8",
	)
	try, request := spans[0], spans[1]
	for _, s := range spans {
		if hex.EncodeToString(s.TraceId) != traceID || s.TraceState != "congo=t61rcWkgMzE,rojo=1" {
			t.Errorf("trace %x %q", s.TraceId, s.TraceState)
		}
		if s.StartTimeUnixNano > s.EndTimeUnixNano || s.StartTimeUnixNano < uint64(before.Add(-time.Second).UnixNano()) || s.EndTimeUnixNano > uint64(after.Add(time.Second).UnixNano()) {
			t.Errorf("from %d to %d, now it is %d", s.StartTimeUnixNano, s.EndTimeUnixNano, after.UnixNano())
		}
	}
	if hex.EncodeToString(request.ParentSpanId) != clientSpan || !bytes.Equal(try.ParentSpanId, request.SpanId) || bytes.Equal(try.SpanId, request.SpanId) {
		t.Errorf("request %x below %x, try %x below %x", request.SpanId, request.ParentSpanId, try.SpanId, try.ParentSpanId)
	}
	if got, want := fieldsOf(head, "traceparent"), []string{fmt.Sprintf("00-%s-%x-01", traceID, try.SpanId)}; !slices.Equal(got, want) {
		t.Errorf("the endpoint got %q, want %q", got, want)
	}
	if got := fieldsOf(head, "tracestate"); !slices.Equal(got, []string{"congo=t61rcWkgMzE", "rojo=1"}) {
		t.Errorf("tracestate %q", got)
	}
}

func TestATraceThatIsNotSampledGoesOnAsItCame(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	w := r.watch(1)
	c := r.dial()
	request := lines("GET / HTTP/1.1", "Host: a", unsampled, stateField)
	c.say(request)
	s := o.accept()
	s.hear(request)
	s.say(ok)
	c.hear(ok)
	if spans := w.spans(); len(spans) != 0 {
		t.Errorf("%d spans", len(spans))
	}
}

func TestATraceBeginsWhereThereIsNone(t *testing.T) {
	for _, sample := range []float64{0, 1} {
		for _, fields := range []string{
			"X: y", "traceparent: nonsense", sampledField + "\r\n" + sampledField, stateField, "traceparent:\r\nTracestate:",
			"Connection: Traceparent\r\n" + sampledField, "TRACEPARENT: 00-" + strings.Repeat("0", 32) + "-" + clientSpan + "-01\r\nTraceState: a=b",
		} {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}})
			w := r.watch(sample)
			c := r.dial()
			c.say(lines("GET / HTTP/1.1", "Host: a", fields))
			s := o.accept()
			head := s.head()
			s.say(ok)
			c.hear(ok)
			spans := w.spans()
			got := fieldsOf(head, "traceparent")
			if len(got) != 1 || len(fieldsOf(head, "tracestate")) != 0 {
				t.Errorf("%q: the endpoint got\n%s", fields, head)
				continue
			}
			if !regexp.MustCompile(fmt.Sprintf(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0%v$`, sample)).MatchString(got[0]) || strings.Contains(got[0], traceID) {
				t.Errorf("%q: traceparent %q", fields, got[0])
			}
			if len(spans) != 2*int(sample) {
				t.Fatalf("%q: %d spans", fields, len(spans))
			}
			if sample == 1 && (len(spans[1].ParentSpanId) != 0 || fmt.Sprintf("00-%x-%x-01", spans[0].TraceId, spans[0].SpanId) != got[0] || spans[1].TraceState != "") {
				t.Errorf("%q: %q and %v", fields, got[0], spans)
			}
		}
	}
}

func TestEachTryIsASpan(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	closed := closedPort(t)
	of := map[string]string{first.addr: "first", second.addr: "second", closed: "closed"}
	r := newRig(t, setup{origins: []string{closed, first.addr, second.addr}, options: func(o *Options) { o.Retry.Status[3], o.Retry.Attempts = true, 3 }})
	w := r.watch(0)
	c := r.dial()
	c.say(lines("GET / HTTP/1.1", "Host: a", sampledField))
	s := first.accept()
	heads := []string{s.head()}
	s.say(lines("HTTP/1.1 503 Service Unavailable", "Content-Length: 0"))
	s = second.accept()
	heads = append(heads, s.head())
	s.say(lines("HTTP/1.1 404 Not Found", "Content-Length: 0"))
	c.hear(lines("HTTP/1.1 404 Not Found", "Content-Length: 0"))
	spans := w.spans()
	const common = " network.protocol.version=1.1 server.address=127.0.0.1"
	wantSpans(t, tellAll(spans, of),
		"client GET error.type=connect-failed http.request.method=GET network.peer.address=127.0.0.1 network.peer.port=closed"+common+" server.port=closed sidecar.cause=connect-failed sidecar.service=orders url.full=http://closed/ FAILED",
		"client GET error.type=503 http.request.method=GET http.request.resend_count=1 http.response.status_code=503 network.peer.address=127.0.0.1 network.peer.port=first"+common+" server.port=first sidecar.service=orders sidecar.try=retry url.full=http://first/ FAILED",
		"client GET error.type=404 http.request.method=GET http.request.resend_count=2 http.response.status_code=404 network.peer.address=127.0.0.1 network.peer.port=second"+common+" server.port=second sidecar.service=orders sidecar.try=retry url.full=http://second/ FAILED",
		"server GET "+here+" http.request.method=GET http.response.status_code=404 network.peer.address=127.0.0.1 network.peer.port=N network.protocol.version=1.1 server.address=a sidecar.flag=ok sidecar.service=orders sidecar.tries=3 url.path=/ url.scheme=http",
	)
	ids := map[string]bool{}
	for i, s := range spans {
		ids[string(s.SpanId)] = true
		if i < 3 && !bytes.Equal(s.ParentSpanId, spans[3].SpanId) {
			t.Errorf("try %d is not below the request", i)
		}
	}
	if len(ids) != 4 {
		t.Errorf("%d ids", len(ids))
	}
	for i, head := range heads {
		if got, want := fieldsOf(head, "traceparent"), fmt.Sprintf("00-%s-%x-01", traceID, spans[i+1].SpanId); len(got) != 1 || got[0] != want {
			t.Errorf("try %d: the endpoint got %q, want %s", i+1, got, want)
		}
	}
}

func TestAHedgeIsASpan(t *testing.T) {
	first, second := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{first.addr, second.addr}, options: hedging})
	w := r.watch(0)
	r.learn(time.Millisecond)
	c := r.dial()
	c.say(lines("GET / HTTP/1.1", "Host: a", sampledField))
	one := first.accept()
	oneHead := one.head()
	two := second.accept()
	twoHead := two.head()
	two.say(ok)
	c.hear(ok)
	one.gone()
	spans := w.spans()
	if len(spans) != 3 {
		t.Fatalf("%d spans", len(spans))
	}
	got := tellAll(spans, map[string]string{first.addr: "first", second.addr: "second"})
	for i, part := range []string{
		"sidecar.cause=slower sidecar.service=orders url.full=http://first/",
		"http.request.resend_count=1 http.response.status_code=200 network.peer.address=127.0.0.1 network.peer.port=second",
		"sidecar.tries=2",
	} {
		if !strings.Contains(got[i], part) || strings.Contains(got[i], "FAILED") {
			t.Errorf("%s\nhas no %s", got[i], part)
		}
	}
	if !strings.Contains(got[1], "sidecar.try=hedge") {
		t.Error(got[1])
	}
	for i, head := range []string{oneHead, twoHead} {
		if want := fmt.Sprintf("traceparent: 00-%s-%x-01", traceID, spans[i].SpanId); !strings.Contains(head, want) {
			t.Errorf("%q has no %s", head, want)
		}
	}
}

func TestHowARequestEndedIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(*rig, *peer, *origin)
		want []string // of the spans, in their order
		not  []string
	}{
		"nobody is there": {func(r *rig, c *peer, _ *origin) { c.wantOwn(502, "connect-failed") },
			[]string{"error.type=connect-failed", "error.type=connect-failed http.request.method=POST http.response.status_code=502"}, nil},
		"an endpoint fails": {func(_ *rig, c *peer, o *origin) {
			s := o.accept()
			s.head()
			s.say(lines("HTTP/1.1 500 Oops", "Content-Length: 0"))
			c.head()
		}, []string{"error.type=500", "error.type=500"}, nil},
		"it breaks off": {func(_ *rig, c *peer, o *origin) {
			s := o.accept()
			s.head()
			s.say(lines("HTTP/1.1 200 OK", "Content-Length: 10") + "12345")
			c.head()
			c.hear("12345")
			s.close()
			c.gone()
		}, []string{"error.type=reset http.request.method=POST http.response.status_code=200", "error.type=reset http.request.method=POST http.response.status_code=200"}, nil},
		"the client goes": {func(_ *rig, c *peer, o *origin) {
			s := o.accept()
			s.head()
			c.reset()
			s.gone()
		}, []string{"error.type=client-gone", "error.type=client-gone"}, []string{"http.response.status_code"}},
		"it is the client's mistake": {func(_ *rig, c *peer, o *origin) {
			s := o.accept()
			s.head()
			s.say(lines("HTTP/1.1 400 Bad Request", "Content-Length: 0"))
			c.head()
		}, []string{"error.type=400", "http.response.status_code=400"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			addr := o.addr
			if name == "nobody is there" {
				addr = closedPort(t)
			}
			r := newRig(t, setup{origins: []string{addr}})
			w := r.watch(1)
			p := r.dial()
			p.say(lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0"))
			c.act(r, p, o)
			spans := tellAll(w.spans(), map[string]string{addr: "origin"})
			if len(spans) != len(c.want) {
				t.Fatalf("%d spans: %q", len(spans), spans)
			}
			for i, want := range c.want {
				if !strings.Contains(spans[i], want) || strings.Contains(spans[i], "error.type") != strings.HasSuffix(spans[i], "FAILED") {
					t.Errorf("want %s in %s", want, spans[i])
				}
				for _, not := range c.not {
					if strings.Contains(spans[i], not) {
						t.Errorf("do not want %s in %s", not, spans[i])
					}
				}
			}
			if last := spans[len(spans)-1]; name == "it is the client's mistake" && strings.Contains(last, "FAILED") {
				t.Error(last)
			}
		})
	}
}

func TestATunnelIsASpanAsLongAsItLasts(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	w := r.watch(1)
	c := r.dial()
	c.say(upgrade)
	s := o.accept()
	s.head()
	s.say(switched)
	c.hear(switched)
	r.pass(50 * time.Millisecond)
	c.close()
	s.close()
	spans := w.spans()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	for _, s := range spans {
		if s.EndTimeUnixNano-s.StartTimeUnixNano < uint64(50*time.Millisecond) || !strings.Contains(tell(s, hide(nil)), "http.response.status_code=101") || s.Status != nil {
			t.Error(s)
		}
	}
}

func TestTheAccessLogHasTheTraceThatBeginsHere(t *testing.T) {
	var out bytes.Buffer
	log, err := accesslog.New(accesslog.Options{Output: &out, Format: "$trace_id"})
	if err != nil {
		t.Fatal(err)
	}
	var want string
	t.Run("", func(t *testing.T) {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.AccessLog = log }})
		r.watch(0)
		c := r.dial()
		for _, request := range []string{get, lines("GET / HTTP/1.1", "Host: a", sampledField), lines("GET / HTTP/1.1", "Host: a", unsampled)} {
			c.say(request)
			s := o.accept()
			field := fieldsOf(s.head(), "traceparent")
			if len(field) != 1 {
				t.Fatalf("traceparent %q", field)
			}
			want += field[0][3:35] + "\n"
			s.say(lines("HTTP/1.1 200 OK", "Content-Length: 0", "Connection: close"))
			c.head()
		}
	})
	if err := log.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("the log has\n%s, the endpoint got\n%s", out.String(), want)
	}
}

// A request whose task panics has a line in the access log, and no spans: they would be made of what
// it has left behind.
func TestAPanicIsLoggedAndNotTraced(t *testing.T) {
	var out bytes.Buffer
	log, err := accesslog.New(accesslog.Options{Output: &out, Format: "$flag"})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("", func(t *testing.T) {
		o := newOrigin(t)
		r := newRig(t, setup{origins: []string{o.addr}, panics: 1, options: func(o *Options) { o.AccessLog = log }})
		w := r.watch(1)
		c := r.dial()
		c.say(get)
		s := o.accept()
		s.head()
		r.on(func() { r.shard.set = nil })
		s.say("HTTP/1.1 200")
		c.gone()
		s.gone()
		r.on(func() { r.shard.set = r.proxy.current.Load() })
		if spans := w.spans(); len(spans) != 0 {
			t.Errorf("%v", spans)
		}
	})
	if err := log.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if out.String() != "internal\n" {
		t.Errorf("the log has %q", out.String())
	}
}
