package tracing

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
)

// A TraceID names a trace. The zero value is none.
type TraceID [16]byte

// A SpanID names a span within its trace. The zero value is none.
type SpanID [8]byte

// Flags of a traceparent.
type Flags uint8

// The flags that are known. Others are not passed on (W3C Trace Context, 3.2.2.5).
const (
	Sampled Flags = 1 << 0 // spans of the trace are recorded
	Random  Flags = 1 << 1 // the last seven bytes of the trace's id are random (Trace Context, level 2)
)

// A Context is where a request stands in its trace.
type Context struct {
	Trace TraceID
	// Span is the request's own span; of a trace that is not recorded, what goes on as the
	// parent of what others make.
	Span SpanID
	// Parent is the client's span; zero if the trace begins with this request.
	Parent SpanID
	Flags  Flags
}

// Sampled reports whether spans are made.
func (c *Context) Sampled() bool { return c.Flags&Sampled != 0 }

// Root reports whether the trace begins with this request.
func (c *Context) Root() bool { return c.Parent == SpanID{} }

// TraceparentLen is the length of a traceparent of version 00.
const TraceparentLen = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

// AppendTraceparent writes the value of the field by which whoever is told goes on below span.
func (c *Context) AppendTraceparent(out []byte, span SpanID) []byte {
	out = append(out, "00-"...)
	out = hex.AppendEncode(out, c.Trace[:])
	out = append(out, '-')
	out = hex.AppendEncode(out, span[:])
	out = append(out, '-')
	return hex.AppendEncode(out, []byte{byte(c.Flags)})
}

// parse reads the value of a traceparent field, without blanks around it. It is false if the
// value is not valid, which an empty one is not either.
func parse(t []byte) (c Context, ok bool) {
	const version, trace, parent, flags = 0, 3, 36, 53
	var v, f [1]byte
	switch {
	case len(t) < TraceparentLen || t[trace-1] != '-' || t[parent-1] != '-' || t[flags-1] != '-':
		return Context{}, false
	case !decode(v[:], t[version:]) || v[0] == 0xff:
		return Context{}, false
	case len(t) > TraceparentLen && (v[0] == 0 || t[TraceparentLen] != '-'):
		return Context{}, false
	case !decode(c.Trace[:], t[trace:]) || !decode(c.Parent[:], t[parent:]) || !decode(f[:], t[flags:]):
		return Context{}, false
	case c.Trace == TraceID{} || c.Parent == SpanID{}:
		return Context{}, false
	}
	known := Sampled
	if v[0] == 0 {
		known |= Random // what the bit means in other versions nobody knows
	}
	c.Flags = Flags(f[0]) & known
	return c, true
}

// decode reads hexadecimal digits, of which only small ones are allowed, until out is full.
func decode(out, digits []byte) bool {
	for i := range out {
		high, ok := digit(digits[2*i])
		low, also := digit(digits[2*i+1])
		if !ok || !also {
			return false
		}
		out[i] = high<<4 | low
	}
	return true
}

func digit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// A sampler decides about traces that begin here: the numbers below it are sampled, of those
// that 63 bits can be.
type sampler uint64

// newSampler takes the share that is to be sampled, from 0 to 1.
func newSampler(share float64) sampler {
	if share >= 1 {
		return math.MaxUint64
	}
	return sampler(max(share, 0) * (1 << 63))
}

func (s sampler) takes(id *TraceID) bool {
	return binary.BigEndian.Uint64(id[8:])>>1 < uint64(s)
}

// newTrace makes the context of a trace that begins here.
func (s sampler) newTrace(random *rand.ChaCha8) (c Context) {
	for c.Trace == (TraceID{}) {
		binary.BigEndian.PutUint64(c.Trace[:8], random.Uint64())
		binary.BigEndian.PutUint64(c.Trace[8:], random.Uint64())
	}
	c.Span = newSpanID(random)
	if s.takes(&c.Trace) {
		c.Flags = Sampled
	}
	return c
}

func newSpanID(random *rand.ChaCha8) (id SpanID) {
	for id == (SpanID{}) {
		binary.BigEndian.PutUint64(id[:], random.Uint64())
	}
	return id
}
