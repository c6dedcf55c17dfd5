package http

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sidecar/internal/eventloop"
	"sidecar/internal/secure"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/proxy/http/h2"
	"sidecar/upstream"
)

// A failure is why an attempt, or the whole exchange, did not succeed; nil is success.
type failure struct {
	cause   metrics.Cause
	status  int    // what to answer; 0: nobody is there to be answered
	text    string // for a person, behind what err says
	err     error
	granted bool // another attempt has been agreed on
	stale   bool // a connection from the pool was closed under a request; says nothing of the endpoint
	spared  bool // it says nothing of the endpoint, or is on its account already
	retry   metrics.RetryReason
	same    bool            // there is no other endpoint to try
	after   time.Duration   // for which the endpoint has asked to be left alone
	wait    time.Duration   // before the next attempt, if there is one
	judged  upstream.Result // what a status of gRPC says of the endpoint
}

// result is what the endpoint is told.
func (f *failure) result() upstream.Result {
	if f.retry == metrics.RetryGRPC {
		return f.judged
	}
	r := upstream.Result{Outcome: f.outcome(), RetryAfter: f.after}
	switch r.Outcome {
	case upstream.Canceled:
	case upstream.ServerError:
		r.Status = f.status
	default:
		r.Err = f.err
	}
	return r
}

// outcome is what the endpoint is judged by.
func (f *failure) outcome() upstream.Outcome {
	switch {
	case f.stale, f.spared, f.retry == metrics.RetryRefused:
		return upstream.Canceled
	case f.retry == metrics.Retry502, f.retry == metrics.Retry503, f.retry == metrics.Retry504, f.retry == metrics.Retry5xx:
		return upstream.ServerError
	case f.cause == metrics.CauseConnectFailed:
		return upstream.ConnectFailed
	case f.cause == metrics.CauseConnectTimeout, f.cause == metrics.CauseTimeout, f.cause == metrics.CauseStalled:
		return upstream.TimedOut
	case f.cause == metrics.CauseReset, f.cause == metrics.CauseBadResponse:
		return upstream.Reset
	}
	return upstream.Canceled
}

func dialFailure(err error) *failure {
	var full *upstream.Unavailable
	switch {
	case errors.As(err, &full):
		return unavailable(err)
	case errors.Is(err, errNoAddress), errors.Is(err, errNoTrunk):
		return &failure{cause: metrics.CauseOther, err: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{cause: metrics.CauseConnectTimeout, status: http.StatusGatewayTimeout,
			text: "the endpoint did not accept a connection in time", err: err, retry: metrics.RetryConnect}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		// Ports are lacking per endpoint, so another one may still do.
		return &failure{cause: metrics.CauseOverload, status: http.StatusServiceUnavailable,
			text: "this host has no port left for a connection to the endpoint", err: err, retry: metrics.RetryConnect}
	case local(err):
		return &failure{cause: metrics.CauseOverload, status: http.StatusServiceUnavailable,
			text: "the sidecar is out of descriptors or memory", err: err, retry: metrics.RetryOther}
	}
	f := &failure{cause: metrics.CauseConnectFailed, status: http.StatusBadGateway,
		text: "the endpoint does not accept connections", err: err, retry: metrics.RetryConnect}
	switch {
	case isRefusal(err):
		f.text = "no TLS with the endpoint"
	case errors.Is(err, errNoH2):
		f.text = "the endpoint does not speak HTTP/2"
	}
	return f
}

// isRefusal tells that a TLS handshake has failed.
func isRefusal(err error) bool {
	var r *secure.Refusal
	return errors.As(err, &r)
}

// local tells errors that no other endpoint would mend.
func local(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// upstreamFailure judges what went wrong while the endpoint's response was expected.
func upstreamFailure(err error) *failure {
	var bad *h1.Error
	switch {
	case isRefusal(err):
		// By TLS 1.3 it comes when the request is on its way. Nothing should have been done with that,
		// but only the endpoint knows: it is repeated as after a reset.
		f := dialFailure(err)
		f.retry = metrics.RetryReset
		return f
	case errors.Is(err, h2.ErrUnprocessed):
		return refusedFailure(err)
	case errors.As(err, &bad):
		return &failure{cause: metrics.CauseBadResponse, status: http.StatusBadGateway, text: "the endpoint's answer is not HTTP", err: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{cause: metrics.CauseTimeout, status: http.StatusGatewayTimeout,
			text: "the endpoint did not answer in time", err: err, retry: metrics.RetryTimeout}
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return &failure{cause: metrics.CauseReset, status: http.StatusBadGateway,
		text: "the endpoint closed the connection before its answer was complete", err: err, retry: metrics.RetryReset}
}

// clientFailure judges what went wrong while the client's request was expected.
func clientFailure(err error) *failure {
	var bad *h1.Error
	switch {
	case errors.As(err, &bad):
		return requestFailure(bad)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{cause: metrics.CauseClientTimeout, status: http.StatusRequestTimeout, text: "the request was not complete in time", err: err}
	case errors.Is(err, errDraining), errors.Is(err, eventloop.ErrClosed):
		return &failure{cause: metrics.CauseDraining, err: err}
	}
	return &failure{cause: metrics.CauseClientGone, err: err}
}

func requestFailure(bad *h1.Error) *failure {
	f := &failure{cause: metrics.CauseBadRequest, status: bad.Status, text: bad.Text, err: bad}
	switch bad.Status {
	case http.StatusRequestHeaderFieldsTooLarge, http.StatusRequestURITooLong, http.StatusRequestEntityTooLarge:
		f.cause = metrics.CauseTooLarge
	}
	return f
}

// errBodyTooLarge is the limit that h1 does not know.
var errBodyTooLarge = &h1.Error{Status: http.StatusRequestEntityTooLarge, Cause: "body-too-large", Text: "the request's body is larger than allowed"}

// unavailable is for when there is no endpoint to try.
func unavailable(err error) *failure {
	f := &failure{cause: metrics.CauseOther, status: http.StatusServiceUnavailable, err: err}
	var u *upstream.Unavailable
	if errors.As(err, &u) {
		f.cause = metrics.CauseOf(u.Cause)
	}
	return f
}

// unusable reports whether nothing of the service could be used: then a fixed response stands
// in for it. What was refused by a limit is not of that kind.
func (f *failure) unusable() bool {
	switch f.cause {
	case metrics.CauseNotDiscovered, metrics.CauseUnknownService, metrics.CauseNoInstances,
		metrics.CauseNoneHealthy, metrics.CauseAllEjected:
		return true
	}
	return false
}

// errNoTime is the cause where the client's time was over before anything could be done.
var errNoTime = errors.New("the client's own deadline has passed")

// errClientGone is the cause where the loop has said so, and no call has failed.
var errClientGone = errors.New("the client closed its connection")

// fail answers the client with the failure, if its response has not begun, and otherwise
// sees to it that what the client has got cannot be taken for the whole.
func (x *exchange) fail(f *failure) {
	s := x.shard
	s.requests.Error(f.cause)
	x.logFailure(f)
	x.flag(f.cause.String())
	x.last = true
	if x.begun {
		if x.grpc && x.endCall(f) {
			return
		}
		if x.back.bare() || x.client.stream {
			x.conn.Reset()
		}
		return
	}
	if f.status == 0 {
		return
	}
	status, contentType, body := f.status, "text/plain; charset=utf-8", "sidecar: "+x.shard.proxy.name+": "+f.message()+"\n"
	if b := &x.shard.set.Fallback; b.Status != 0 && f.unusable() {
		status, contentType, body = b.Status, b.ContentType, b.Body
		s.requests.FallbackAnswers.Add(1)
	}
	out := x.head[:0]
	if x.grpc {
		code := x.grpcCode(f)
		x.countGRPC(code)
		x.status, body = http.StatusOK, ""
		out = append(out, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n"...)
		out = appendGRPC(out, code, x.grpcText(f))
	} else {
		x.status = status
		out, body = x.appendOwn(out, status, contentType, body)
	}
	out = append(out, "Date: "...)
	out = time.Now().UTC().AppendFormat(out, http.TimeFormat)
	out = append(out, "\r\n"...)
	out = appendField(out, "Sidecar-Error: ", f.cause.String())
	x.last = !x.answerable()
	x.begun = true
	out = x.appendConnection(out)
	out = append(out, "\r\n"...)
	if x.req.MethodID != h1.MethodHead {
		out = append(out, body...)
		if x.record != nil {
			x.record.body = int64(len(body))
		}
	}
	x.head = out
	if x.tell(out) != nil {
		x.last = true
	}
}

// appendOwn begins the head of an answer of our own, and returns the body that belongs to it.
func (x *exchange) appendOwn(out []byte, status int, contentType, body string) (head []byte, rest string) {
	out = append(out, "HTTP/1.1 "...)
	start := len(out)
	out = append(appendNumber(out, "", status)[:start+len("000")], ' ')
	out = appendField(out, "", http.StatusText(status))
	if bodied := status != http.StatusNoContent && status != http.StatusNotModified; bodied {
		if status == http.StatusResetContent {
			body = "" // RFC 9110 §15.3.6
		}
		out = appendField(out, "Content-Type: ", contentType)
		out = appendNumber(out, "Content-Length: ", len(body))
	} else {
		body = ""
	}
	return out, body
}

// answerable reports whether the connection can go on behind an answer of our own: the
// request has been read to its end.
func (x *exchange) answerable() bool {
	if !x.complete || !x.req.KeepAlive || x.shard.draining {
		return false
	}
	if !x.out.broken {
		x.out.check() // all of it may be there without anyone having looked
	}
	return x.out.body.Done()
}

func (f *failure) message() string {
	if f.text == "" {
		return f.err.Error()
	}
	return f.text + ": " + f.err.Error()
}

// maxLogged bounds what of a request line stands in a log line.
const maxLogged = 256

// logFailure writes one line per failed request. What a client does to itself is for
// debugging only.
func (x *exchange) logFailure(f *failure) {
	level := zapcore.WarnLevel
	if f.status < 500 {
		level = zapcore.DebugLevel
	}
	ce := x.shard.proxy.log.Check(level, "request failed")
	if ce == nil {
		return
	}
	fields := []zap.Field{
		zap.String("service", x.shard.proxy.name), zap.Stringer("cause", f.cause), zap.Int("status", f.status),
		zap.String("client", x.conn.RemoteAddrPort().String()), zap.Int("attempts", x.attempts), zap.Error(f.err),
	}
	if x.complete {
		line, _, _ := bytes.Cut(x.reqHead[:min(len(x.reqHead), maxLogged)], []byte(" HTTP/"))
		fields = append(fields, zap.String("request", string(line)), zap.Bool("begun", x.begun))
	}
	if len(x.tried) > 0 {
		fields = append(fields, zap.String("endpoint", x.tried[len(x.tried)-1].Address()))
	}
	ce.Write(fields...)
}
