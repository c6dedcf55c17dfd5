package http

import (
	"time"

	"sidecar/accesslog"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/tap"
)

// A record is what the access log, and who watches the service, wants to know of a request. An
// exchange has one only while there is one of these.
type record struct {
	line   accesslog.Record
	tries  accesslog.Attempts
	memory []byte // of the line's texts, which outlive the buffer that they were read in
	body   int64  // of an answer of our own
	heads  tap.Heads
}

// beginRecord takes down what is gone from memory before the request ends. With head false
// what came was no request.
func (x *exchange) beginRecord(head bool) {
	watched := x.shard.proxy.tap.Watched()
	if x.shard.log == nil && !watched {
		x.record = nil // that of the request before may have been watched
		return
	}
	if x.record == nil {
		x.record = new(record)
	}
	rec := x.record
	rec.tries.Reset()
	rec.body = 0
	rec.heads.Request, rec.heads.Response = rec.heads.Request[:0], rec.heads.Response[:0]
	rec.line = accesslog.Record{
		Service: x.shard.proxy.name, Client: x.conn.RemoteAddrPort(), Attempts: &rec.tries, Flag: accesslog.FlagOK,
	}
	if !head {
		return
	}
	r, line := &x.req, &rec.line
	line.Protocol = accesslog.HTTP11
	switch {
	case x.client.stream:
		line.Protocol = accesslog.HTTP2
	case r.Minor == 0:
		line.Protocol = accesslog.HTTP10
	}
	line.Method, line.Target, line.Host = r.Method, r.Target, r.Host
	line.Referer, line.UserAgent = x.field("referer"), x.field("user-agent")
	line.Traceparent = x.traceparent()
	rec.memory = line.Own(rec.memory)
	if watched && x.shard.proxy.tap.Headers() {
		rec.heads.Request = appendFields(rec.heads.Request, &r.Head)
	}
}

// recordResponse takes down the header fields of what an endpoint has answered.
func (x *exchange) recordResponse() {
	if x.record != nil && x.shard.proxy.tap.Headers() {
		x.record.heads.Response = appendFields(x.record.heads.Response[:0], &x.resp.Head)
	}
}

// mostFields is how many bytes of header fields are taken down.
const mostFields = 16 << 10

// appendFields appends the fields of a head in the form that package tap has them in.
func appendFields(to []byte, h *h1.Head) []byte {
	for i := range h.Fields {
		if len(to) > mostFields {
			break
		}
		to = append(append(to, h.Name(i)...), ':')
		to = append(append(to, h.Value(i)...), '\n')
	}
	return to
}

func (x *exchange) field(name string) []byte {
	if i := x.req.Lookup(name); i >= 0 {
		return x.req.Value(i)
	}
	return nil
}

// only is the value of a field that there is once.
func (x *exchange) only(k h1.Kind) (value []byte) {
	if !x.req.Seen.Has(k) {
		return nil
	}
	found := 0
	for i := range x.req.Fields {
		if x.req.Fields[i].Kind == k {
			value = x.req.Value(i)
			found++
		}
	}
	if found > 1 {
		return nil
	}
	return value
}

// outcomeSlower is the access log's word for a try that was given up because the other one had
// been answered.
const outcomeSlower = "slower"

// recordTry takes down the first try's end.
func (x *exchange) recordTry(outcome string, status int) { x.recordEnd(&x.try, outcome, status) }

// recordEnd takes down one attempt.
func (x *exchange) recordEnd(t *try, outcome string, status int) {
	if x.sampled {
		x.traceTry(t, outcome, status)
	}
	e := t.lease.Endpoint()
	if x.record == nil || e == nil {
		return
	}
	x.record.tries.Add(accesslog.Attempt{
		Endpoint: e.Address(), Outcome: outcome, Status: status, Duration: x.shard.loop.Now() - t.began,
	})
}

// recordFailure takes down a failed attempt: those that failed behind the head of their
// response have been taken down already, as what they were then.
func (x *exchange) recordFailure(f *failure) {
	if !x.begun {
		x.recordLoss(&x.try, f)
	}
}

// recordLoss takes down a try that has failed.
func (x *exchange) recordLoss(t *try, f *failure) {
	if f.granted {
		x.recordEnd(t, accesslog.OutcomeStatus, f.status)
		return
	}
	x.recordEnd(t, f.cause.String(), 0)
}

// endRecord writes the line, and shows it to who watches.
func (x *exchange) endRecord(took time.Duration, in int64) {
	if x.record == nil {
		return
	}
	line := &x.record.line
	line.Status, line.Duration, line.FirstByte = x.status, took, x.firstByte
	line.BytesIn, line.BytesOut = in, x.sent
	line.BodyOut = x.back.body.Seen() + x.record.body
	line.Tunnel = x.tunneled()
	if x.shard.log != nil {
		x.shard.log.Log(line)
	}
	x.shard.proxy.tap.Pass(line, x.record.heads)
}

// recordGRPC takes down how a call of gRPC has ended.
func (x *exchange) recordGRPC(c metrics.GRPCCode) {
	if x.sampled {
		x.trace.grpc = c
	}
	if x.record != nil {
		x.record.line.GRPC = c.String()
	}
}

// flag notes why the request did not end well.
func (x *exchange) flag(cause string) {
	if x.sampled {
		x.trace.flag = cause
	}
	if x.record != nil {
		x.record.line.Flag = cause
	}
}
