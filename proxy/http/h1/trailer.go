package h1

import (
	"bytes"
	"math"
)

// bound has a trailer section bounded as the head was that it belongs to.
func (b *Body) bound(lim *Limits) {
	if b.Kind == Chunked {
		b.maxTrailer, b.maxFields = int32(lim.head()), uint16(lim.fields())
	}
}

// limits are those of the trailer section, in octets and in field lines.
func (b *Body) limits() (octets, fields int) {
	if b.maxTrailer == 0 {
		return defaultMaxHead, defaultMaxFields
	}
	return int(b.maxTrailer), int(b.maxFields)
}

// peekTrailer looks at one line of the trailer section (RFC 9112 §7.1.2) and
// returns its length, or 0 if its end is not there yet, and whether it is one
// that must not be merged into anything and is dropped (RFC 9110 §6.5.1).
func (b *Body) peekTrailer(p []byte) (n int, drop bool, f *fault) {
	octets, fields := b.limits()
	octets -= int(b.trailer)
	end := bytes.IndexByte(p[:min(len(p), octets)], '\n')
	if end < 0 {
		if len(p) >= octets {
			return 0, false, faultTrailerLarge
		}
		return 0, false, nil
	}
	if end == 0 || p[end-1] != '\r' {
		return 0, false, faultTrailer
	}
	n = end + 1
	line := p[:end-1]
	if len(line) == 0 {
		return n, false, nil
	}
	if int(b.fields) == fields {
		return 0, false, faultTrailerLarge
	}
	colon := scanToken(line, 0)
	if colon == 0 || colon == len(line) || line[colon] != ':' || scanText(line, colon) < len(line) {
		return 0, false, faultTrailer
	}
	if equalFold(line[:colon], "grpc-status") {
		b.grpc = 0
		if code, ok := number(trim(line[colon+1:])); ok && code < math.MaxInt32 {
			b.grpc = int32(code) + 1
		}
	}
	return n, !Trailable(line[:colon]), nil
}

// GRPCStatus returns the grpc-status that the trailer section had, and false
// if it had none, or one that is not a number. Of several the last counts.
func (b *Body) GRPCStatus() (code int, ok bool) {
	return int(b.grpc) - 1, b.grpc > 0
}

// Trailable reports whether the field with that name, a token in whatever case,
// passes in a trailer section: one that says how to read, route or trust a
// message does not (RFC 9110 §6.5.1).
func Trailable(name []byte) bool { return !untrailable.Has(KindOf(name)) }

// takeTrailer takes the line of n octets that was looked at.
func (b *Body) takeTrailer(n int) {
	if n == len("\r\n") {
		b.done = true
		return
	}
	b.trailer += int32(n)
	b.fields++
}
