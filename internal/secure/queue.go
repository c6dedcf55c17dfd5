package secure

import "sidecar/internal/eventloop"

// A queue is ciphertext that waits for the socket, in the loop's buffers.
type queue struct {
	loop *eventloop.Loop
	bufs [][]byte // each but the last is full
	skip int      // of the first, sent already
	size int
}

// add copies b to the end.
func (q *queue) add(b []byte) {
	q.size += len(b)
	for len(b) > 0 {
		last := len(q.bufs) - 1
		if last < 0 || len(q.bufs[last]) == cap(q.bufs[last]) {
			q.bufs = append(q.bufs, q.loop.Buffer()[:0])
			last++
		}
		buf := q.bufs[last]
		n := copy(buf[len(buf):cap(buf)], b)
		q.bufs[last] = buf[:len(buf)+n]
		b = b[n:]
	}
}

// send writes as much as the socket takes now; nil if that is not all.
func (q *queue) send(to *eventloop.Conn) error {
	for q.size > 0 {
		first := q.bufs[0]
		q.bufs[0] = first[q.skip:]
		n, err := to.TryWritev(q.bufs...)
		q.bufs[0] = first
		q.take(n)
		if is(err, eventloop.ErrWouldBlock) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take gives back the buffers of the first n bytes.
func (q *queue) take(n int) {
	q.size -= n
	n += q.skip
	full := 0
	for full < len(q.bufs) && n >= len(q.bufs[full]) {
		n -= len(q.bufs[full])
		q.loop.Release(q.bufs[full])
		full++
	}
	q.skip = n
	rest := copy(q.bufs, q.bufs[full:])
	clear(q.bufs[rest:])
	q.bufs = q.bufs[:rest]
}

// drop gives everything back unsent.
func (q *queue) drop() { q.take(q.size) }

// framing follows the records in what is read, by their headers (RFC 8446 §5.1).
type framing struct {
	head  int // bytes of the header that have come, of 5
	left  int // bytes of the record that are still to come
	whole int // records that were complete since crypto/tls last had none
}

const headerSize = 5

func (f *framing) pass(b []byte) {
	for len(b) > 0 {
		if f.head < headerSize {
			if f.head >= headerSize-2 {
				f.left = f.left<<8 | int(b[0])
			}
			f.head++
			b = b[1:]
		} else {
			n := min(len(b), f.left)
			f.left -= n
			b = b[n:]
		}
		if f.head == headerSize && f.left == 0 {
			f.head = 0
			f.whole++
		}
	}
}

// between tells whether what has come ends with the end of a record.
func (f *framing) between() bool { return f.head == 0 }
