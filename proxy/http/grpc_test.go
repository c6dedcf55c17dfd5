package http

import (
	"strings"
	"testing"
	"time"

	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

func TestWhatACallOfGRPCIs(t *testing.T) {
	for _, tt := range []struct {
		head string
		want bool
	}{
		{"POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n\r\n", true},
		{"POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\n\r\n", true},
		{"POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc;x=y\r\n\r\n", true},
		{"POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web+proto\r\n\r\n", false},
		{"POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n", false},
		{"POST /a.B/C HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"GET /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n\r\n", false},
	} {
		var r h1.Request
		if n, err := r.Parse([]byte(tt.head), &h1.Limits{MaxHead: 1024, MaxFields: 10, MaxTarget: 100}); err != nil || n == 0 {
			t.Fatalf("%q: %d, %v", tt.head, n, err)
		}
		if got := isGRPC(&r); got != tt.want {
			t.Errorf("%q: %v", tt.head, got)
		}
	}
}

func TestStatusesOfGRPCAreJudged(t *testing.T) {
	for value, want := range map[string]upstream.Outcome{
		"0": upstream.Success, "1": upstream.Success, "2": upstream.ServerError, "3": upstream.Success, "4": upstream.TimedOut,
		"5": upstream.Success, "7": upstream.Success, "8": upstream.Success, "12": upstream.Success, "13": upstream.ServerError,
		"14": upstream.ServerError, "15": upstream.ServerError, "16": upstream.Success,
		"17": upstream.Reset, "": upstream.Reset, "-1": upstream.Reset, "OK": upstream.Reset, "99999999999": upstream.Reset,
	} {
		r := grpcResult(grpcCode([]byte(value)))
		if r.Outcome != want || (r.Err == nil) != (want == upstream.Success) {
			t.Errorf("grpc-status %q: %v, %v", value, r.Outcome, r.Err)
		}
	}
}

// A call that fails before anybody has answered it is told so in gRPC's way.
func TestOwnFailuresAreToldInGRPCsWay(t *testing.T) {
	for _, tt := range []struct {
		f    failure
		want metrics.GRPCCode
	}{
		{failure{cause: metrics.CauseConnectFailed, status: 502}, metrics.GRPCUnavailable},
		{failure{cause: metrics.CauseConnectTimeout, status: 504}, metrics.GRPCUnavailable},
		{failure{cause: metrics.CauseTimeout, status: 504}, metrics.GRPCDeadlineExceeded},
		{failure{cause: metrics.CauseNoInstances, status: 503}, metrics.GRPCUnavailable},
		{failure{cause: metrics.CauseShed, status: 503}, metrics.GRPCUnavailable},
		{failure{cause: metrics.CauseTooLarge, status: 413}, metrics.GRPCResourceExhausted},
		{failure{cause: metrics.CauseBadRequest, status: 400}, metrics.GRPCInternal},
		{failure{cause: metrics.CauseClientGone}, metrics.GRPCCancelled},
		{failure{cause: metrics.CauseClientTimeout, status: 408}, metrics.GRPCCancelled},
	} {
		if got := tt.f.grpcCode(); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.f.cause, got, tt.want)
		}
	}
	const want = "grpc-status: 14\r\ngrpc-message: 100%25 of %C3%A4%0A\r\n"
	if got := string(appendGRPC(nil, metrics.GRPCUnavailable, "100% of ä\n")); got != want {
		t.Errorf("got %q", got)
	}
}

const grpcCall = "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 0\r\n"

func TestACallOfGRPCIsTriedAgainByItsStatus(t *testing.T) {
	for _, tt := range []struct {
		name, fields, answer string
		tries                int
	}{
		{"with a key", "Idempotency-Key: 1\r\n", "grpc-status: 14\r\n", 2},
		{"without", "", "grpc-status: 14\r\n", 1},
		{"another status", "Idempotency-Key: 1\r\n", "grpc-status: 3\r\n", 1},
		{"pushed back", "Idempotency-Key: 1\r\n", "grpc-status: 14\r\ngrpc-retry-pushback-ms: -1\r\n", 1},
		{"after a message", "Idempotency-Key: 1\r\n", "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one, two := newOrigin(t), newOrigin(t)
			r := newRig(t, setup{origins: []string{one.addr, two.addr}, options: func(o *Options) {
				o.Upstream = UpstreamHTTP1 // how it is told is the same
				o.Retry.Attempts, o.Retry.GRPC[metrics.GRPCUnavailable] = 1, true
				o.Retry.Backoff, o.Retry.BackoffMax = time.Millisecond, time.Millisecond
			}})
			c := r.dial()
			c.say(grpcCall + tt.fields + "\r\n")
			for try := range tt.tries {
				o := one
				if try > 0 {
					o = two
				}
				s := o.accept()
				s.head()
				s.say("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n" + tt.answer + "\r\n")
			}
			if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Errorf("answer %q", head)
			}
			if n := int(r.metric("sidecar_http_retries_total", "grpc-status")); n != tt.tries-1 {
				t.Errorf("%d retries", n)
			}
		})
	}
}

func TestNobodyToCallIsToldInGRPCsWay(t *testing.T) {
	r := newRig(t, setup{origins: []string{closedPort(t)}})
	c := r.dial()
	c.say(grpcCall + "\r\n")
	head := c.head()
	for _, want := range []string{"HTTP/1.1 200 OK\r\n", "\r\ngrpc-status: 14\r\n", "\r\ngrpc-message: sidecar: ", "\r\nSidecar-Error: connect-failed\r\n", "\r\nContent-Length: 0\r\n"} {
		if !strings.Contains(head, want) {
			t.Errorf("answer %q lacks %q", head, want)
		}
	}
	if n := r.metric("sidecar_grpc_responses_total", "14"); n != 1 {
		t.Errorf("%v calls are counted", n)
	}
}

// chunkedCall is a response over HTTP/1.1 with a message and a trailer section.
func chunkedCall(section string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n" + section + "\r\n"
}

func TestACallByHTTP11CountsByItsTrailers(t *testing.T) {
	for _, tt := range []struct {
		section, code string
		want          upstream.Counters
	}{
		{"grpc-status: 0\r\n", "0", upstream.Counters{Successes: 1}},
		{"grpc-status: 5\r\n", "5", upstream.Counters{Successes: 1}},
		{"X: 1\r\nGrpc-Status: 14\r\ngrpc-message: away\r\n", "14", upstream.Counters{ServerErrors: 1}},
		{"", "missing", upstream.Counters{Resets: 1}},
		{"grpc-status: x\r\n", "missing", upstream.Counters{Resets: 1}},
		{"grpc-status: 17\r\n", "missing", upstream.Counters{Resets: 1}},
	} {
		t.Run(tt.section, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Upstream = UpstreamHTTP1 }})
			c := r.dial()
			c.say(grpcCall + "\r\n")
			s := o.accept()
			s.head()
			answer := chunkedCall(tt.section)
			s.say(answer)
			c.head()
			c.hear(answer[strings.Index(answer, "2\r\nhi"):])
			r.wantMetric(1, "sidecar_grpc_responses_total", tt.code)
			r.wantMetric(1, "sidecar_grpc_responses_total")
			r.until("the call is on the endpoint's account", func() bool {
				n := r.outcomes()
				return n.Successes == tt.want.Successes && n.ServerErrors == tt.want.ServerErrors && n.Resets == tt.want.Resets
			})
		})
	}
}

// A status that is tried again is the endpoint's all the same.
func TestAStatusThatIsTriedAgainCounts(t *testing.T) {
	one, two := newOrigin(t), newOrigin(t)
	r := newRig(t, setup{origins: []string{one.addr, two.addr}, options: func(o *Options) {
		o.Upstream = UpstreamHTTP1
		o.Retry.Attempts, o.Retry.GRPC[metrics.GRPCUnavailable] = 1, true
		o.Retry.Backoff, o.Retry.BackoffMax = time.Millisecond, time.Millisecond
	}})
	c := r.dial()
	c.say(grpcCall + "Idempotency-Key: 1\r\n\r\n")
	for i, o := range []*origin{one, two} {
		s := o.accept()
		s.head()
		s.say("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\ngrpc-status: " + []string{"14", "0"}[i] + "\r\n\r\n")
	}
	c.head()
	r.until("the first is blamed, the second is not", func() bool {
		return r.outcomesOf(0).ServerErrors == 1 && r.outcomesOf(1).Successes == 1
	})
	r.wantMetric(1, "sidecar_grpc_responses_total", "14")
	r.wantMetric(1, "sidecar_grpc_responses_total", "0")
}

// A stream in both directions may be there to listen: its client need not say anything.
func TestAClientThatOnlyListensIsNotCut(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Upstream = UpstreamHTTP1 }})
	c := r.dial()
	c.say("POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n")
	r.change(func(o *Options) { o.ClientIdle = 20 * time.Millisecond })
	c.say("2\r\nhi\r\n")
	s := o.accept()
	s.head()
	s.hear("2\r\nhi\r\n")
	r.pass(60 * time.Millisecond) // before there is a response
	s.say("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n")
	c.head()
	r.pass(60 * time.Millisecond) // and behind its head
	r.change(func(o *Options) { o.ClientIdle = time.Minute })
	s.say("2\r\nyo\r\n")
	c.hear("2\r\nyo\r\n")
	c.say("0\r\n\r\n")
	s.hear("0\r\n\r\n")
	s.say("0\r\ngrpc-status: 0\r\n\r\n")
	c.hear("0\r\ngrpc-status: 0\r\n\r\n")
}

// One that stops within its request is cut when nothing has moved for StreamIdle.
func TestAClientThatSaysNoMoreIsCutInTheEnd(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.Upstream, o.StreamIdle = UpstreamHTTP1, 20*time.Millisecond }})
	c := r.dial()
	c.say("POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n")
	o.accept().head()
	if head := c.head(); !strings.Contains(head, "\r\ngrpc-status: 1\r\n") || !strings.Contains(head, "\r\nSidecar-Error: client-timeout\r\n") {
		t.Errorf("answer %q", head)
	}
}

// A copy that fails at once does not win over the first try, which is slow but may succeed.
func TestAStatusOfACopyIsNoAnswerYet(t *testing.T) {
	g := ready(t, func(o *Options) {
		o.Upstream, o.Retry.Attempts = UpstreamHTTP1, 1
		o.Retry.GRPC[metrics.GRPCUnavailable] = true
	})
	g.client.say(grpcCall + "Idempotency-Key: 1\r\n\r\n")
	g.first = g.origins[0].accept()
	g.first.head()
	g.answers(1)
	g.second = g.origins[1].accept()
	g.second.head()
	g.second.say("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\ngrpc-status: 14\r\n\r\n")
	g.until("the second is judged", func() bool { return g.outcomesOf(1).ServerErrors == 1 })
	g.first.say("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\ngrpc-status: 0\r\n\r\n")
	if head := g.client.head(); !strings.Contains(head, "\r\ngrpc-status: 0\r\n") {
		t.Errorf("answer %q", head)
	}
}
