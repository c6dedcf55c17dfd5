package http

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

// gRPC says how a call has ended in a field of the response's head or of its trailers, behind a
// status of 200 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). For who only
// looks at statuses every call is a success; here a call counts as what its grpc-status says.
const (
	grpcStatus   = "grpc-status"
	grpcMessage  = "grpc-message"
	grpcPushback = "grpc-retry-pushback-ms"
)

var grpcType = []byte("application/grpc")

// isGRPC tells whether the request is a call of gRPC. gRPC-Web, which carries its status in the
// body, is left alone.
func isGRPC(r *h1.Request) bool {
	if !r.Seen.Has(h1.KindContentType) || r.MethodID != h1.MethodPost {
		return false
	}
	rest, ok := bytes.CutPrefix(r.Get(h1.KindContentType), grpcType)
	return ok && (len(rest) == 0 || rest[0] == '+' || rest[0] == ';')
}

// grpcCode reads a grpc-status.
func grpcCode(value []byte) metrics.GRPCCode {
	n, ok := parseDigits(value)
	if !ok || n >= int64(metrics.GRPCMissing) {
		return metrics.GRPCMissing
	}
	return metrics.GRPCCode(n)
}

// grpcHead is the status in the head of the response, of a call that has ended with it.
func (t *try) grpcHead() (metrics.GRPCCode, bool) {
	i := t.resp.Lookup(grpcStatus)
	if i < 0 {
		return metrics.GRPCMissing, false
	}
	return grpcCode(t.resp.Value(i)), true
}

// grpcResult is what an endpoint is told of a status. What speaks against it is what gRPC's own
// mapping gives a status of 5xx (its doc/http-grpc-status-mapping.md, read backwards), and a
// stream that has ended without one.
func grpcResult(c metrics.GRPCCode) upstream.Result {
	r := upstream.Result{Outcome: upstream.Success}
	switch c {
	case metrics.GRPCUnknown, metrics.GRPCInternal, metrics.GRPCUnavailable, metrics.GRPCDataLoss:
		r.Outcome = upstream.ServerError
	case metrics.GRPCDeadlineExceeded:
		r.Outcome = upstream.TimedOut
	case metrics.GRPCMissing:
		r.Outcome = upstream.Reset
	default:
		return r
	}
	r.Err = grpcError(c)
	return r
}

// countGRPC counts how a call has ended for its client.
func (x *exchange) countGRPC(c metrics.GRPCCode) {
	x.shard.requests.GRPC(c)
	x.recordGRPC(c)
}

// grpcError is a status as an error.
type grpcError metrics.GRPCCode

func (e grpcError) Error() string {
	if metrics.GRPCCode(e) == metrics.GRPCMissing {
		return "the call ended without a grpc-status"
	}
	return "grpc-status " + metrics.GRPCCode(e).String()
}

// pushback is for how long the server wants a call not to be tried again (gRPC's A6), and false
// when it wants none at all.
func (t *try) pushback() (time.Duration, bool) {
	i := t.resp.Lookup(grpcPushback)
	if i < 0 {
		return 0, true
	}
	ms, ok := parseDigits(t.resp.Value(i))
	return time.Duration(ms) * time.Millisecond, ok
}

// grpcJudgement is judgement for a call of gRPC. One that has not ended with its head is a
// success so far.
func (x *exchange) grpcJudgement(r upstream.Result) upstream.Result {
	code, ended := x.grpcHead()
	if !ended {
		return r
	}
	x.countGRPC(code)
	judged := grpcResult(code)
	judged.Latency, judged.At = r.Latency, r.At
	if after, _ := x.pushback(); after > 0 && code == metrics.GRPCResourceExhausted {
		judged.Outcome, judged.RetryAfter, judged.Err = upstream.Overloaded, after, grpcError(code)
	}
	return judged
}

// unwantedStatus is a failure if the response is a status of gRPC without a message before it,
// is one of those that are tried again, and this has been agreed on.
func (x *exchange) unwantedStatus() *failure {
	code, ended := x.grpcHead()
	retry := &x.shard.set.Retry
	if !ended || !retry.grants(code) || x.attempts > retry.Attempts || x.late() || !x.repeatable() || len(x.tried) >= maxTried {
		return nil
	}
	after, may := x.pushback()
	if !may {
		return nil
	}
	f := &failure{status: http.StatusServiceUnavailable, text: "the endpoint answered", err: grpcError(code),
		retry: metrics.RetryGRPC, granted: true, after: after}
	x.tried = append(x.tried, x.lease.Endpoint())
	granted := x.grant(f)
	x.tried = x.tried[:len(x.tried)-1] // judge adds it
	if !granted {
		return nil
	}
	now := x.shard.loop.Now()
	f.judged = x.grpcJudgement(upstream.Result{Outcome: upstream.Success, Latency: now - x.waited, At: x.shard.now()})
	return f
}

// grpcCode is the status by which a failure of ours is told to a client of gRPC.
func (x *exchange) grpcCode(f *failure) metrics.GRPCCode {
	if x.deadline > 0 && x.shard.loop.Now() >= x.deadline && f.status == http.StatusGatewayTimeout {
		return metrics.GRPCDeadlineExceeded
	}
	return f.grpcCode()
}

func (f *failure) grpcCode() metrics.GRPCCode {
	switch {
	case f.cause == metrics.CauseClientGone, f.cause == metrics.CauseClientTimeout:
		return metrics.GRPCCancelled
	case f.status == http.StatusGatewayTimeout && f.cause != metrics.CauseConnectTimeout:
		return metrics.GRPCDeadlineExceeded
	case f.status >= 500:
		return metrics.GRPCUnavailable
	case f.cause == metrics.CauseTooLarge:
		return metrics.GRPCResourceExhausted
	}
	return metrics.GRPCInternal // a request that is none
}

// grpcText is what a person is told of a failure in grpc-message.
func (x *exchange) grpcText(f *failure) string {
	return "sidecar: " + x.shard.proxy.name + ": " + f.message()
}

// appendGRPC writes a status as fields, in a head or behind the last chunk.
func appendGRPC(out []byte, code metrics.GRPCCode, text string) []byte {
	out = appendNumber(out, grpcStatus+": ", int(code))
	out = append(out, grpcMessage+": "...)
	for _, c := range []byte(text) {
		if c >= ' ' && c <= '~' && c != '%' {
			out = append(out, c)
		} else {
			out = fmt.Appendf(out, "%%%02X", c)
		}
	}
	return append(out, "\r\n"...)
}

// endCall ends a call whose endpoint has failed in the middle with a status of ours, in place of
// the endpoint's. It is false where nothing can be said any more, or nobody listens.
func (x *exchange) endCall(f *failure) bool {
	x.countGRPC(metrics.GRPCMissing)
	if f.status == 0 || !x.back.body.Between() || x.back.pending() {
		return false
	}
	code := x.grpcCode(f)
	x.recordGRPC(code)
	x.head = append(append(x.head[:0], "0\r\n"...), appendGRPC(nil, code, x.grpcText(f))...)
	x.head = append(x.head, "\r\n"...)
	return x.tell(x.head) == nil
}
