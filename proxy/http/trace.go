package http

import (
	"time"

	"sidecar/accesslog"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/tracing"
	"sidecar/upstream"
)

// A trace is the place of an exchange in its trace. An exchange has one only while there is
// tracing; it is kept for the next request.
type trace struct {
	shard   *tracing.Shard
	context tracing.Context
	text    [tracing.TraceparentLen]byte // for the access log

	// What follows is set only while spans are made.
	texts
	memory  []byte // of texts, which outlive the buffer that they were read in
	scratch []byte
	epoch   int64 // the loop's time 0, in nanoseconds of Unix
	tries   int
	answer  ended            // the try whose answer the client gets; its span ends with that
	flag    string           // why the request did not end well, or empty
	grpc    metrics.GRPCCode // how a call has ended
}

// texts are what spans show of a request.
type texts struct {
	method, path, host, agent, state []byte
}

// A mark is what a try is in the trace. It has none until it is sent, or has failed before.
type mark struct {
	span tracing.SpanID
	nth  int    // from 0
	why  string // it was made besides the first
}

// Why there is more than one try.
const (
	tryAgain  = "retry"
	tryHedge  = "hedge"
	tryRescue = "rescue"
)

// An ended is a try of which everything is known but what became of its answer.
type ended struct {
	mark
	endpoint *upstream.Endpoint // nil: there is none
	began    time.Duration
	status   int
}

var (
	parentKinds = h1.Kinds(h1.KindTraceparent)
	traceKinds  = h1.Kinds(h1.KindTraceparent, h1.KindTracestate)
)

// beginTrace finds out which trace the request belongs to, or begins one.
func (x *exchange) beginTrace() {
	shard := x.shard.trace
	if shard == nil {
		return
	}
	t := x.trace
	if t == nil {
		t = new(trace)
		x.trace = t
	}
	t.shard = shard
	t.context = shard.Begin(x.clientsParent())
	x.traced, x.sampled = true, t.context.Sampled()
	switch {
	case t.context.Root():
		x.retraced = traceKinds // the state of a trace that is not gone on with says nothing
	case x.sampled:
		x.retraced = parentKinds
	}
	if !x.sampled {
		return
	}
	t.epoch = time.Now().UnixNano() - int64(x.shard.loop.Now())
	t.tries, t.answer, t.flag, t.grpc = 0, ended{}, "", metrics.GRPCMissing
	x.mark = mark{}
	t.keep(x)
}

// clientsParent is the value of the client's traceparent: of several none is valid, nor is one that
// was not meant to pass.
func (x *exchange) clientsParent() []byte {
	if !x.req.Passes(h1.KindTraceparent) {
		return nil
	}
	return x.only(h1.KindTraceparent)
}

// traceparent is what the access log reads the trace's id in.
func (x *exchange) traceparent() []byte {
	if !x.traced {
		return x.only(h1.KindTraceparent)
	}
	return x.trace.context.AppendTraceparent(x.trace.text[:0], x.trace.context.Span)
}

// append writes the field by which an endpoint goes on below span.
func (t *trace) append(out []byte, span tracing.SpanID) []byte {
	out = append(out, "traceparent: "...)
	return append(t.context.AppendTraceparent(out, span), "\r\n"...)
}

// What is shown of a path and of a User-Agent at the most, in bytes.
const (
	mostPath  = tracing.MaxText
	mostAgent = 256
)

// keep copies what spans show of the request.
func (t *trace) keep(x *exchange) {
	r := &x.req
	path := r.Path
	for i, c := range path {
		if c == '?' { // what is behind it may be secret
			path = path[:i]
			break
		}
	}
	b := t.memory[:0]
	var ends [4]int
	for i, text := range [...][]byte{r.Method, cut(path, mostPath), cut(r.Host, mostAgent), cut(x.field("user-agent"), mostAgent)} {
		b = append(b, text...)
		ends[i] = len(b)
	}
	if !t.context.Root() {
		b = appendState(b, r)
	}
	t.memory = b
	t.method, t.path, t.host, t.agent, t.state = b[:ends[0]], b[ends[0]:ends[1]], b[ends[1]:ends[2]], b[ends[2]:ends[3]], b[ends[3]:]
}

func cut(text []byte, most int) []byte { return text[:min(len(text), most)] }

// appendState puts the fields tracestate together (RFC 9110 §5.3), unless that would be more than a
// span takes.
func appendState(out []byte, r *h1.Request) []byte {
	if !r.Passes(h1.KindTracestate) {
		return out
	}
	start := len(out)
	for i := range r.Fields {
		if r.Fields[i].Kind != h1.KindTracestate || len(r.Value(i)) == 0 {
			continue
		}
		if len(out) > start {
			out = append(out, ',')
		}
		if out = append(out, r.Value(i)...); len(out)-start > tracing.MaxState {
			return out[:start]
		}
	}
	return out
}

// markTry gives a try its place in the trace.
func (x *exchange) markTry(t *try) {
	trace := x.trace
	why := ""
	switch {
	case x.second != nil && t == &x.second.try && x.second.rescue:
		why = tryRescue
	case x.second != nil && t == &x.second.try:
		why = tryHedge
	case trace.tries > 0:
		why = tryAgain
	}
	t.mark = mark{trace.shard.NewSpan(), trace.tries, why}
	trace.tries++
}

// traceTry takes down the end of a try. That of one that was answered is not its end: it goes on
// until the request ends.
func (x *exchange) traceTry(t *try, outcome string, status int) {
	e := t.lease.Endpoint()
	if e == nil {
		return
	}
	if t.mark.span == (tracing.SpanID{}) {
		x.markTry(t) // it has failed before it was sent
	}
	a := ended{t.mark, e, t.began, status}
	t.mark = mark{}
	switch outcome {
	case accesslog.OutcomeOK:
		x.trace.answer = a
		return
	case accesslog.OutcomeStatus:
		code := metrics.GRPCMissing
		if x.grpc {
			a.status = t.resp.Status
			code, _ = t.grpcHead()
		}
		x.trySpan(&a, "", code)
	default:
		x.trySpan(&a, outcome, metrics.GRPCMissing)
	}
}

// endTrace writes the spans that end with the request.
func (x *exchange) endTrace() {
	if !x.sampled {
		return
	}
	t := x.trace
	if t.answer.endpoint != nil {
		x.trySpan(&t.answer, t.flag, t.grpc)
	}
	x.requestSpan()
	t.answer, x.sampled = ended{}, false
}
