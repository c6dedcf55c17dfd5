package h1

import "bytes"

const (
	// MaxTrailerLine bounds one trailer field line: that much a caller of
	// Body.Next must be able to hold.
	MaxTrailerLine = 4096
	// maxTrailer and maxTrailerFields bound the trailer section.
	maxTrailer       = 16 << 10
	maxTrailerFields = 100
)

// peekTrailer looks at one line of the trailer section (RFC 9112 §7.1.2) and
// returns its length, or 0 if its end is not there yet, and whether it is one
// that must not be merged into anything and is dropped (RFC 9110 §6.5.1).
func (b *Body) peekTrailer(p []byte) (n int, drop bool, f *fault) {
	end := bytes.IndexByte(p[:min(len(p), MaxTrailerLine)], '\n')
	if end < 0 {
		if len(p) >= MaxTrailerLine {
			return 0, false, faultTrailerLarge
		}
		return 0, false, nil
	}
	if end == 0 || p[end-1] != '\r' {
		return 0, false, faultTrailer
	}
	n = end + 1
	if int(b.trailer)+n > maxTrailer {
		return 0, false, faultTrailerLarge
	}
	line := p[:end-1]
	if len(line) == 0 {
		return n, false, nil
	}
	if b.fields == maxTrailerFields {
		return 0, false, faultTrailerLarge
	}
	colon := scanToken(line, 0)
	if colon == 0 || colon == len(line) || line[colon] != ':' || scanText(line, colon) < len(line) {
		return 0, false, faultTrailer
	}
	return n, untrailable.Has(KindOf(line[:colon])), nil
}

// takeTrailer takes the line of n octets that was looked at.
func (b *Body) takeTrailer(n int) {
	if n == len("\r\n") {
		b.done = true
		return
	}
	b.trailer += int32(n)
	b.fields++
}
