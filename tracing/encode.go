package tracing

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of fields, of opentelemetry/proto/{collector/trace,trace,resource,common}/v1
// (https://github.com/open-telemetry/opentelemetry-proto).
const (
	fieldResourceSpans protowire.Number = 1 // of ExportTraceServiceRequest
	fieldResource      protowire.Number = 1 // of ResourceSpans
	fieldScopeSpans    protowire.Number = 2
	fieldScope         protowire.Number = 1 // of ScopeSpans
	fieldSpans         protowire.Number = 2
	scopeName          protowire.Number = 1 // of InstrumentationScope
	scopeVersion       protowire.Number = 2

	resourceAttributes protowire.Number = 1 // of Resource

	spanTraceID    protowire.Number = 1 // of Span
	spanID         protowire.Number = 2
	spanState      protowire.Number = 3
	spanParent     protowire.Number = 4
	spanName       protowire.Number = 5
	spanKind       protowire.Number = 6
	spanStart      protowire.Number = 7
	spanEnd        protowire.Number = 8
	spanAttributes protowire.Number = 9
	spanStatus     protowire.Number = 15
	spanFlags      protowire.Number = 16

	attributeKey   protowire.Number = 1 // of KeyValue
	attributeValue protowire.Number = 2
	valueText      protowire.Number = 1 // of AnyValue
	valueInt       protowire.Number = 3

	responsePartial protowire.Number = 1 // of ExportTraceServiceResponse
	partialRejected protowire.Number = 1 // of ExportTracePartialSuccess
	partialMessage  protowire.Number = 2
	statusMessage   protowire.Number = 2 // of google.rpc.Status
)

// Bits of a span's flags beyond those of traceparent.
const (
	flagKnowsRemote = 1 << 8 // the next one means something
	flagRemote      = 1 << 9 // the parent is somebody else's
)

// statusError is a Status with code 2, as written.
const statusError = "\x18\x02"

func appendBytes(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func appendNumber(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// appendText writes a string. A receiver refuses the whole message for one byte that is not
// UTF-8, and clients send what they like: each such byte becomes a question mark.
func appendText[T string | []byte](b []byte, n protowire.Number, v T, most int) []byte {
	if len(v) > most {
		v = v[:most]
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.BytesType), uint64(len(v)))
	start := len(b)
	b = append(b, v...)
	for text := b[start:]; len(text) > 0; {
		if text[0] < utf8.RuneSelf {
			text = text[1:]
			continue
		}
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			text[0] = '?'
		}
		text = text[size:]
	}
	return b
}

// appendAttribute writes an attribute of a span.
func appendAttribute[T string | []byte](b []byte, key string, v T) []byte {
	if len(v) > MaxText {
		v = v[:MaxText]
	}
	inner := protowire.SizeTag(valueText) + protowire.SizeBytes(len(v))
	b = beginAttribute(b, spanAttributes, key, inner)
	return appendText(b, valueText, v, MaxText)
}

func appendIntAttribute(b []byte, key string, v int64) []byte {
	inner := protowire.SizeTag(valueInt) + protowire.SizeVarint(uint64(v))
	b = beginAttribute(b, spanAttributes, key, inner)
	return appendNumber(b, valueInt, uint64(v))
}

// beginAttribute writes a KeyValue up to the inside of its value, which is inner bytes long.
func beginAttribute(b []byte, n protowire.Number, key string, inner int) []byte {
	size := protowire.SizeTag(attributeKey) + protowire.SizeBytes(len(key)) + protowire.SizeTag(attributeValue) + protowire.SizeBytes(inner)
	b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.BytesType), uint64(size))
	b = protowire.AppendString(protowire.AppendTag(b, attributeKey, protowire.BytesType), key)
	return protowire.AppendVarint(protowire.AppendTag(b, attributeValue, protowire.BytesType), uint64(inner))
}

// An envelope is what is around the spans of a request to the collector.
type envelope struct {
	resource []byte // as a field of ResourceSpans
	scope    []byte // as a field of ScopeSpans
}

// newEnvelope takes the names and values of the resource's attributes, by turns; those that
// are empty are left out.
func newEnvelope(scope, version string, attributes ...string) (e envelope) {
	var resource []byte
	for i := 0; i+1 < len(attributes); i += 2 {
		key, value := attributes[i], attributes[i+1]
		if value == "" {
			continue
		}
		value = value[:min(len(value), MaxText)]
		resource = beginAttribute(resource, resourceAttributes, key, protowire.SizeTag(valueText)+protowire.SizeBytes(len(value)))
		resource = appendText(resource, valueText, value, MaxText)
	}
	e.resource = appendBytes(nil, fieldResource, resource)
	inside := appendText(nil, scopeName, scope, MaxText)
	if version != "" {
		inside = appendText(inside, scopeVersion, version, MaxText)
	}
	e.scope = appendBytes(nil, fieldScope, inside)
	return e
}

// appendHead writes what precedes spans of so many bytes in a request to the collector; nothing
// comes behind them.
func (e *envelope) appendHead(b []byte, spans int) []byte {
	scoped := len(e.scope) + spans
	all := len(e.resource) + protowire.SizeTag(fieldScopeSpans) + protowire.SizeBytes(scoped)
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldResourceSpans, protowire.BytesType), uint64(all))
	b = append(b, e.resource...)
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldScopeSpans, protowire.BytesType), uint64(scoped))
	return append(b, e.scope...)
}

// find returns the last field of that number in a message, which may be anything: an integer, or
// what is in a string or message. What is broken ends it.
func find(message []byte, want protowire.Number) (number uint64, inside []byte) {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return number, inside
		}
		message = message[size:]
		if size = protowire.ConsumeFieldValue(n, kind, message); size < 0 {
			return number, inside
		}
		if n == want {
			switch kind {
			case protowire.VarintType:
				number, _ = protowire.ConsumeVarint(message)
			case protowire.BytesType:
				inside, _ = protowire.ConsumeBytes(message)
			}
		}
		message = message[size:]
	}
	return number, inside
}
