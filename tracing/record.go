package tracing

import (
	"net/netip"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Kind is the side of a request that a span is.
type Kind uint8

// The kinds, by their numbers in OTLP.
const (
	Server Kind = 2 // the request as it was received
	Client Kind = 3 // a request that was made
)

// A Span is what a span has besides attributes. Times are those of Unix, in nanoseconds.
type Span struct {
	Kind   Kind
	Name   []byte
	ID     SpanID
	Parent SpanID // zero: none
	Remote bool   // the parent is somebody else's
	Start  int64
	End    int64  // not before Start
	State  []byte // tracestate; left out when it is longer than MaxState
}

// What a span has at the most of a text, in bytes. The rest is cut off.
const (
	MaxText  = 1024
	MaxState = 512 // the least that has to be passed on (W3C Trace Context, 3.3.1.5)
	maxName  = 256
)

// A Record writes one span. It is good until Done, and there is one per shard at a time.
type Record struct {
	shard  *Shard
	buf    []byte
	failed bool
}

// Record begins to write a span of a trace that is sampled.
func (s *Shard) Record(c *Context, span *Span) *Record {
	r := &s.record
	b := r.buf[:0]
	b = appendBytes(b, spanTraceID, c.Trace[:])
	b = appendBytes(b, spanID, span.ID[:])
	if len(span.State) > 0 && len(span.State) <= MaxState {
		b = appendText(b, spanState, span.State, MaxState)
	}
	flags := uint32(c.Flags) | flagKnowsRemote
	if span.Parent != (SpanID{}) {
		b = appendBytes(b, spanParent, span.Parent[:])
		if span.Remote {
			flags |= flagRemote
		}
	}
	b = appendText(b, spanName, span.Name, maxName)
	b = appendNumber(b, spanKind, uint64(span.Kind))
	b = protowire.AppendFixed64(protowire.AppendTag(b, spanStart, protowire.Fixed64Type), uint64(span.Start))
	b = protowire.AppendFixed64(protowire.AppendTag(b, spanEnd, protowire.Fixed64Type), uint64(max(span.End, span.Start)))
	b = protowire.AppendFixed32(protowire.AppendTag(b, spanFlags, protowire.Fixed32Type), flags)
	*r = Record{shard: s, buf: b}
	return r
}

// Text adds an attribute. A value beyond MaxText is cut, and what is not UTF-8 in it becomes
// question marks.
func (r *Record) Text(key, value string) { r.buf = appendAttribute(r.buf, key, value) }

// Bytes is Text for what is not a string yet.
func (r *Record) Bytes(key string, value []byte) { r.buf = appendAttribute(r.buf, key, value) }

// Int adds an attribute.
func (r *Record) Int(key string, value int64) { r.buf = appendIntAttribute(r.buf, key, value) }

// Address adds two attributes, the address and the port of a peer, or none for an invalid one.
func (r *Record) Address(address, port string, peer netip.AddrPort) {
	if !peer.IsValid() {
		return
	}
	var room [64]byte
	r.Bytes(address, peer.Addr().Unmap().WithZone("").AppendTo(room[:0]))
	r.Int(port, int64(peer.Port()))
}

// Fail says that what the span is about has failed, and why. Only the first reason counts.
func (r *Record) Fail(reason string) {
	if r.failed {
		return
	}
	r.failed = true
	r.Text("error.type", reason)
	r.buf = protowire.AppendString(protowire.AppendTag(r.buf, spanStatus, protowire.BytesType), statusError)
}

// Done ends the span.
func (r *Record) Done() { r.shard.keep(r.buf) }
