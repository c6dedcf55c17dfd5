package h1

// chunkState is what a chunked body expects next (RFC 9112 §7.1).
type chunkState uint8

const (
	chunkSize      chunkState = iota // a size line
	chunkExtension                   // extra octets of it, which are dropped
	chunkSizeEnd                     // CRLF behind them
	chunkData                        // left octets of data
	chunkDataEnd                     // CRLF behind data
	chunkTrailer                     // a trailer line, or the empty line
)

const (
	// maxChunkSize is above all sizes: no chunk is that large, and there are
	// readers with no room for the number, or for what they add to it.
	maxChunkSize = 1 << 62
	// maxChunkDigits bounds a size with its leading zeros.
	maxChunkDigits = 16
	// maxExtensions bounds the extensions in a size line.
	maxExtensions = 2048
	// Each chunk may come with freeOverhead octets of framing and as many as
	// it has data; maxOverhead bounds what is beyond that, over all chunks.
	freeOverhead = 16
	maxOverhead  = 16 << 10
)

// nextChunked is Next for a chunked body. The state tells in advance whether
// the octets it takes are passed on, so that a run ends where that changes.
// The run to take always ends at i, and what is before it in p is to be
// skipped. Lines are taken whole or not at all: what has passed of a message
// that breaks off in one must not look like another line.
func (b *Body) nextChunked(p []byte) (skip, take int, f *fault) {
	i := 0
	for i < len(p) && !b.done {
		var n int
		pass := !b.Decode
		switch b.state {
		case chunkData:
			pass = true
			n = int(min(b.left, int64(len(p)-i)))
			b.Skip(int64(n))
		case chunkTrailer:
			var drop bool
			if n, drop, f = b.peekTrailer(p[i:]); f != nil || n == 0 {
				return i - take, take, f
			}
			if pass = pass && !drop; !pass && take > 0 {
				return i - take, take, nil
			}
			b.takeTrailer(n)
		default:
			if b.state == chunkExtension {
				pass = false
			}
			if !pass && take > 0 {
				return i - take, take, nil
			}
			if n, f = b.frame(p[i:]); f != nil || n == 0 {
				return i - take, take, f
			}
		}
		i += n
		if pass {
			take += n
		}
	}
	return i - take, take, nil
}

// frame takes a size line, a part of one, or a line end, and returns how many
// octets it has, 0 if it is incomplete.
func (b *Body) frame(p []byte) (n int, f *fault) {
	switch b.state {
	case chunkDataEnd:
		if n, f = lineEnd(p, faultChunkEnd); n == 0 {
			return 0, f
		}
		if b.state = chunkSize; len(p) == n {
			return n, nil
		}
		size, f := b.sizeLine(p[n:])
		return n + size, f
	case chunkExtension:
		n = min(int(b.extra), len(p))
		if b.extra -= int32(n); b.extra == 0 {
			b.state = chunkSizeEnd
		}
		return n, nil
	case chunkSizeEnd:
		if n, f = lineEnd(p, faultChunkSize); n > 0 {
			b.endSize()
		}
		return n, f
	}
	return b.sizeLine(p)
}

// lineEnd takes CRLF.
func lineEnd(p []byte, mistake *fault) (int, *fault) {
	switch {
	case p[0] != '\r' || len(p) > 1 && p[1] != '\n':
		return 0, mistake
	case len(p) == 1:
		return 0, nil
	}
	return len("\r\n"), nil
}

// sizeLine takes a size line, of one with extensions only the size.
func (b *Body) sizeLine(p []byte) (int, *fault) {
	size, digits := int64(0), 0
	for digits < len(p) && is(p[digits], charHex) {
		if digits == maxChunkDigits || size >= maxChunkSize>>4 {
			return 0, faultChunkHuge
		}
		size = size<<4 | hex(p[digits])
		digits++
	}
	if digits == 0 {
		return 0, faultChunkSize
	}
	extra := 0
	if digits < len(p) && p[digits] != '\r' {
		var f *fault
		if c := p[digits]; c != ';' && !isSpace(c) {
			return 0, faultChunkSize
		}
		if extra, f = extension(p[digits:]); f != nil {
			return 0, f
		}
	}
	end := digits + extra
	if end == len(p) {
		return 0, nil
	}
	if end+1 >= len(p) || p[end+1] != '\n' {
		_, f := lineEnd(p[end:], faultChunkSize)
		return 0, f
	}
	if size > 0 {
		over := int64(b.overhead) + int64(end) - freeOverhead - size
		if over > maxOverhead {
			return 0, faultChunkOverhead
		}
		b.overhead = int32(max(over, 0))
	}
	b.left, b.extra = size, int32(extra)
	if extra > 0 {
		b.state = chunkExtension
		return digits, nil
	}
	b.endSize()
	return end + len("\r\n"), nil
}

// endSize is called behind a size line.
func (b *Body) endSize() {
	b.state = chunkData
	if b.left == 0 {
		b.state = chunkTrailer
	}
}

// hex returns the value of a HEXDIG.
func hex(c byte) int64 {
	if c > '9' {
		return int64(c&0xf) + 9
	}
	return int64(c & 0xf)
}
