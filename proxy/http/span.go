package http

import (
	"bytes"
	"net/http"
	"strconv"

	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/tracing"
	"sidecar/upstream"
)

// The names are those of OpenTelemetry's semantic conventions for HTTP (stable, 1.23 and later) and
// for RPC; those that begin with sidecar are ours. No query is shown, and no field but User-Agent:
// secrets stand there.

// outcomeError tells which outcomes of a try are failures: one that was slower than another is not.
func outcomeError(outcome string) bool { return outcome != "" && outcome != outcomeSlower }

// trySpan writes the span of one try: of kind client, below the request's. outcome is empty when
// the try was answered and the answer has come to its end.
func (x *exchange) trySpan(a *ended, outcome string, code metrics.GRPCCode) {
	t := x.trace
	scheme, version := "http", "1.1"
	if x.shard.set.UpstreamTLS != nil {
		scheme = "https"
	}
	if x.multiplexed() {
		version = "2"
	}
	r := t.shard.Record(&t.context, &tracing.Span{
		Kind: tracing.Client, Name: x.spanName(), ID: a.span, Parent: t.context.Span,
		Start: t.epoch + int64(a.began), End: t.epoch + int64(x.shard.loop.Now()), State: t.state,
	})
	x.common(r)
	t.scratch = append(t.scratch[:0], scheme...)
	t.scratch = append(t.scratch, "://"...)
	t.scratch = append(t.scratch, a.endpoint.Address()...)
	t.scratch = append(t.scratch, t.path...)
	r.Bytes("url.full", t.scratch)
	serverOf(r, a.endpoint)
	r.Text("network.protocol.version", version)
	if a.nth > 0 {
		r.Int("http.request.resend_count", int64(a.nth))
		r.Text("sidecar.try", a.why)
	}
	if outcome != "" {
		r.Text("sidecar.cause", outcome)
	}
	if a.status > 0 {
		r.Int("http.response.status_code", int64(a.status))
	}
	switch {
	case x.grpc && code < metrics.GRPCMissing:
		r.Text("rpc.response.status_code", codeName(code))
		if code != metrics.GRPCOK {
			r.Fail(codeName(code))
		}
	case outcomeError(outcome):
		r.Fail(outcome)
	case x.grpc && outcome == "" && a.status == http.StatusOK:
		r.Fail(codeMissing)
	case a.status >= 400:
		r.Fail(strconv.Itoa(a.status))
	}
	r.Done()
}

// requestSpan writes the span of the request as it was received: of kind server, below the
// client's.
func (x *exchange) requestSpan() {
	t := x.trace
	scheme, version := "http", "1.1"
	if x.shard.set.TLS != nil {
		scheme = "https"
	}
	switch {
	case x.client.stream:
		version = "2"
	case x.req.Minor == 0:
		version = "1.0"
	}
	r := t.shard.Record(&t.context, &tracing.Span{
		Kind: tracing.Server, Name: x.spanName(), ID: t.context.Span, Parent: t.context.Parent, Remote: true,
		Start: t.epoch + int64(x.started), End: t.epoch + int64(x.shard.loop.Now()), State: t.state,
	})
	x.common(r)
	r.Text("url.scheme", scheme)
	if len(t.path) > 0 {
		r.Bytes("url.path", t.path)
	}
	host, port := splitPort(t.host)
	if len(host) > 0 {
		r.Bytes("server.address", host)
	}
	if port > 0 {
		r.Int("server.port", int64(port))
	}
	client := x.conn.RemoteAddrPort()
	r.Address("client.address", "client.port", client)
	r.Address("network.peer.address", "network.peer.port", client)
	r.Text("network.protocol.version", version)
	if len(t.agent) > 0 {
		r.Bytes("user_agent.original", t.agent)
	}
	r.Int("sidecar.tries", int64(t.tries))
	if x.status > 0 {
		r.Int("http.response.status_code", int64(x.status))
	}
	x.judgeSpan(r)
	r.Done()
}

// judgeSpan says whether the request has failed. What was the client's own mistake is no failure of
// who serves it.
func (x *exchange) judgeSpan(r *tracing.Record) {
	t := x.trace
	flag := t.flag
	if flag == "" {
		flag = "ok"
	} else if t.answer.endpoint == nil && x.status >= 400 && x.status < 500 {
		r.Text("sidecar.flag", flag)
		return
	}
	r.Text("sidecar.flag", flag)
	if x.grpc && t.grpc < metrics.GRPCMissing {
		r.Text("rpc.response.status_code", codeName(t.grpc))
	}
	switch {
	case t.flag != "":
		r.Fail(t.flag)
	case x.grpc && serverError(t.grpc):
		r.Fail(codeName(t.grpc))
	case x.grpc && t.grpc == metrics.GRPCMissing && x.status == http.StatusOK:
		r.Fail(codeMissing)
	case x.status >= 500:
		r.Fail(strconv.Itoa(x.status))
	}
}

// common writes what both kinds of span have.
func (x *exchange) common(r *tracing.Record) {
	t := x.trace
	r.Text("sidecar.service", x.shard.proxy.name)
	if x.req.MethodID == h1.MethodOther {
		r.Text("http.request.method", "_OTHER")
		r.Bytes("http.request.method_original", t.method)
	} else {
		r.Bytes("http.request.method", t.method)
	}
	if x.grpc {
		r.Text("rpc.system.name", "grpc")
		r.Bytes("rpc.method", bytes.TrimPrefix(t.path, []byte{'/'}))
	}
}

// spanName is the method, of which there are few: a path may be anything. That of a call of gRPC is
// the name of what is called.
func (x *exchange) spanName() []byte {
	t := x.trace
	switch {
	case x.grpc && len(t.path) > 1:
		return t.path[1:]
	case x.req.MethodID == h1.MethodOther:
		return append(t.scratch[:0], "HTTP"...)
	}
	return t.method
}

// serverOf writes the address of an endpoint.
func serverOf(r *tracing.Record, e *upstream.Endpoint) {
	if ap := e.AddrPort(); ap.IsValid() {
		r.Address("server.address", "server.port", ap)
		r.Address("network.peer.address", "network.peer.port", ap)
		return
	}
	host, port := splitPort([]byte(e.Address()))
	r.Bytes("server.address", host)
	if port > 0 {
		r.Int("server.port", int64(port))
	}
}

// splitPort takes "host:port" apart; the port is 0 where there is none. The brackets of IPv6 go.
func splitPort(address []byte) (host []byte, port int) {
	host = address
	if i := bytes.LastIndexByte(address, ':'); i >= 0 {
		n, ok := parseDigits(address[i+1:])
		if ok && n < 1<<16 {
			host, port = address[:i], int(n)
		}
	}
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	return host, port
}

// codeMissing is why a call has failed that has ended without a status.
const codeMissing = "missing"

// codeName is the name of a status of gRPC (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
func codeName(c metrics.GRPCCode) string {
	const names = "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED " +
		"RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
	from := 0
	for i := range len(names) {
		if names[i] != ' ' {
			continue
		}
		if c == 0 {
			return names[from:i]
		}
		c, from = c-1, i+1
	}
	return names[from:]
}

// serverError tells which statuses are the server's failures (conventions for gRPC, server span).
func serverError(c metrics.GRPCCode) bool {
	switch c {
	case metrics.GRPCUnknown, metrics.GRPCDeadlineExceeded, metrics.GRPCUnimplemented, metrics.GRPCInternal,
		metrics.GRPCUnavailable, metrics.GRPCDataLoss:
		return true
	}
	return false
}
