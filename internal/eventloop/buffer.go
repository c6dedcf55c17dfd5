package eventloop

// BufferSize is the size of the buffers of Loop.Buffer: large enough for nearly every
// message head and for a response of a few pages, small enough for thousands of them.
const BufferSize = 16 << 10

// keepBuffers and keepPipes bound what a loop keeps for later; the rest goes back to the
// garbage collector and the kernel.
const (
	keepBuffers = 256
	keepPipes   = 32
)

// Buffer returns a buffer of BufferSize bytes with arbitrary content. Give it back with
// Release as soon as it is empty. For use on the loop only.
func (l *Loop) Buffer() []byte {
	if n := len(l.buffers); n > 0 {
		b := l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		return b
	}
	return make([]byte, BufferSize)
}

// Release takes back a buffer of Buffer; the caller must not touch it any more. Slices of
// any other capacity are left to the garbage collector, so that a buffer which had to grow
// can be given here as well.
func (l *Loop) Release(b []byte) {
	if cap(b) == BufferSize && len(l.buffers) < keepBuffers {
		l.buffers = append(l.buffers, b[:BufferSize])
	}
}
