package h2

import "sidecar/internal/eventloop"

// keepOwn is up to which size a stream keeps memory for text for the next one.
const keepOwn = 4 << 10

// An inbox holds the text that has been received on a stream and not been read. What is short,
// as most heads are, lies in memory of its own, and the rest in buffers of the loop.
type inbox struct {
	own   []byte
	parts [][]byte
	read  int // of parts[0]
	size  int
}

// open returns what text is to be appended to, with room for n octets if that is known.
func (b *inbox) open(l *eventloop.Loop, n int) []byte {
	if k := len(b.parts); k > 0 {
		last := b.parts[k-1]
		if cap(last)-len(last) >= n {
			return last
		}
		if k == 1 && cap(last) <= keepOwn && len(last)+n <= keepOwn {
			// A head and a small body, as most messages are: a buffer of the loop for each of many
			// streams would be most of what a request costs.
			b.parts[0] = append(make([]byte, 0, ownSize(2*(len(last)+n))), last...)
			return b.parts[0]
		}
	} else if n <= keepOwn {
		if cap(b.own) < n {
			b.own = make([]byte, 0, ownSize(n))
		}
		b.parts = append(b.parts, b.own[:0])
		return b.own[:0]
	}
	b.parts = append(b.parts, l.Buffer()[:0])
	return b.parts[len(b.parts)-1]
}

// ownSize is how much memory a stream takes for n octets of its own.
func ownSize(n int) int { return min(max(n, 512), keepOwn) }

// put takes back what open has returned, with text appended.
func (b *inbox) put(text []byte) {
	last := &b.parts[len(b.parts)-1]
	b.size += len(text) - len(*last)
	*last = text
}

// take copies to p what is there.
func (b *inbox) take(l *eventloop.Loop, p []byte) int {
	done := 0
	for done < len(p) && b.size > 0 {
		n := copy(p[done:], b.parts[0][b.read:])
		done += n
		b.size -= n
		if b.read += n; b.read == len(b.parts[0]) {
			b.drop(l)
		}
	}
	return done
}

// drop gives the first part back.
func (b *inbox) drop(l *eventloop.Loop) {
	first := b.parts[0]
	if cap(first) < eventloop.BufferSize {
		if cap(first) <= keepOwn {
			b.own = first[:0]
		}
	} else {
		l.Release(first)
	}
	n := copy(b.parts, b.parts[1:])
	b.parts[n] = nil
	b.parts, b.read = b.parts[:n], 0
}

// clear throws everything away.
func (b *inbox) clear(l *eventloop.Loop) {
	for len(b.parts) > 0 {
		b.drop(l)
	}
	b.size = 0
}
