package h1

import "math"

// chunkState is what a chunked body expects next (RFC 9112 §7.1).
type chunkState uint8

const (
	chunkSize      chunkState = iota // the first digit of a size
	chunkDigits                      // more digits, or what follows them
	chunkSizeLF                      // LF behind the size line
	chunkData                        // left octets of data
	chunkDataCR                      // CR behind data
	chunkDataLF                      // LF behind that
	chunkTrailer                     // a trailer line, or the empty line
	chunkExtension                   // this state and all behind it: see extension.go
)

const (
	// maxChunkDigits bounds a size with its leading zeros.
	maxChunkDigits = 16
	// maxChunkLine bounds a size line with its extensions.
	maxChunkLine = 2048
	// Each chunk may come with freeOverhead octets of framing and as many as
	// it has data; maxOverhead bounds what is beyond that, over all chunks.
	freeOverhead = 16
	maxOverhead  = 16 << 10
)

// nextChunked is Next for a chunked body. The state tells in advance whether
// the octets it takes are passed on, so that a run ends where that changes.
// The run to take always ends at i, and what is before it in p is to be
// skipped.
func (b *Body) nextChunked(p []byte) (skip, take int, f *fault) {
	i := 0
	for i < len(p) && !b.done {
		var n int
		pass := !b.Decode
		switch {
		case b.state == chunkData:
			pass = true
			n = int(min(b.left, int64(len(p)-i)))
			b.Skip(int64(n))
		case b.state == chunkTrailer:
			var drop bool
			if n, drop, f = b.peekTrailer(p[i:]); f != nil || n == 0 {
				return i - take, take, f
			}
			if pass = pass && !drop; !pass && take > 0 {
				return i - take, take, nil
			}
			b.takeTrailer(n)
		case b.state >= chunkExtension:
			if take > 0 {
				return i - take, take, nil
			}
			pass = false
			n, f = b.extension(p[i:])
		default:
			if !pass && take > 0 {
				return i - take, take, nil
			}
			n, f = b.frame(p[i:])
		}
		if f != nil {
			return i - take, take, f
		}
		i += n
		if pass {
			take += n
		}
	}
	return i - take, take, nil
}

// frame takes a size or a line end, and returns how many octets it has.
func (b *Body) frame(p []byte) (int, *fault) {
	for i, c := range p {
		switch b.state {
		case chunkSize:
			if !is(c, charHex) {
				return 0, faultChunkSize
			}
			b.left, b.digits, b.line = hex(c), 1, 1
			b.state = chunkDigits
		case chunkDigits:
			b.line++
			switch {
			case is(c, charHex):
				if b.digits == maxChunkDigits || b.left > math.MaxInt64>>4 {
					return 0, faultChunkHuge
				}
				b.left = b.left<<4 | hex(c)
				b.digits++
			case c == '\r':
				b.state = chunkSizeLF
			case c == ';' || isSpace(c):
				b.state = chunkExtension
				return i, nil
			default:
				return 0, faultChunkSize
			}
		case chunkSizeLF:
			if c != '\n' {
				return 0, faultChunkSize
			}
			return i + 1, b.endSize()
		case chunkDataCR:
			if c != '\r' {
				return 0, faultChunkEnd
			}
			b.state = chunkDataLF
		case chunkDataLF:
			if c != '\n' {
				return 0, faultChunkEnd
			}
			b.state = chunkSize
		}
	}
	return len(p), nil
}

// endSize is called behind a size line.
func (b *Body) endSize() *fault {
	if b.left == 0 {
		b.state, b.line = chunkTrailer, 0
		return nil
	}
	b.state = chunkData
	over := int64(b.overhead) + int64(b.line) - freeOverhead - b.left
	if over > maxOverhead {
		return faultChunkOverhead
	}
	b.overhead = int32(max(over, 0))
	return nil
}

// hex returns the value of a HEXDIG.
func hex(c byte) int64 {
	if c > '9' {
		return int64(c&0xf) + 9
	}
	return int64(c & 0xf)
}
