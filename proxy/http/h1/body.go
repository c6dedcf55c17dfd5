package h1

import "math"

// BodyKind says what delimits a body (RFC 9112 §6.3).
type BodyKind uint8

// The ways to delimit a body.
const (
	NoBody     BodyKind = iota
	Length              // Content-Length
	Chunked             // Transfer-Encoding: chunked
	UntilClose          // the end of the connection; responses only
)

// Body follows a message's body through the octets of its connection and says
// which of them to pass on. It is a value: a copy goes on from where the
// original was.
type Body struct {
	Kind BodyKind
	// Decode makes a chunked body come out as its data alone, for a recipient
	// that speaks HTTP/1.0 or for a different framing. Otherwise its framing
	// passes too. It is set before the first call of Next.
	Decode bool

	done     bool
	response bool // faults are the instance's
	state    chunkState
	fields   uint16 // in the trailer section so far
	extra    int32  // octets of the size line that are still to be dropped
	trailer  int32  // octets of the trailer section so far
	overhead int32  // framing in excess of what data justifies
	grpc     int32  // grpc-status of the trailer section, plus one
	left     int64  // data up to the next framing, or up to the end
	seen     int64  // data so far

	maxTrailer int32 // octets of the trailer section, 0: the default; see Limits
	maxFields  uint16
}

// Init makes b a body that begins; n is the length of a Length body.
func (b *Body) Init(kind BodyKind, n int64) {
	*b = Body{Kind: kind, left: n}
	switch kind {
	case NoBody:
		b.done = true
	case Length:
		b.done = n == 0
	case UntilClose:
		b.left = math.MaxInt64
	}
}

// Done reports whether the body is complete.
func (b *Body) Done() bool { return b.done }

// Between reports whether a chunked body that passes with its framing is between two chunks: a
// last chunk, with trailers, may stand here.
func (b *Body) Between() bool {
	return b.Kind == Chunked && !b.Decode && !b.done && b.state == chunkSize
}

// Seen returns the octets of data so far, without chunk framing.
func (b *Body) Seen() int64 { return b.seen }

// Remaining returns how many of the octets that come next are data for sure,
// and need not be shown to Next: the rest of a Length body, or of a chunk.
func (b *Body) Remaining() int64 {
	if b.done || b.Kind == Chunked && b.state != chunkData {
		return 0
	}
	return b.left
}

// Skip takes note of n octets, at most Remaining, that were moved past Next,
// by splice for example.
func (b *Body) Skip(n int64) {
	b.seen += n
	switch b.Kind {
	case Length:
		b.left -= n
		b.done = b.left == 0
	case Chunked:
		if b.left -= n; b.left == 0 {
			b.state = chunkDataEnd
		}
	}
}

// Next looks at p, the octets that come next on the connection. Of these the
// first skip are not to be passed on and the take behind them are; what
// follows them is for the next call. Octets behind the end of the body are
// never taken.
//
// Next takes all there is, over several calls if need be, with one exception:
// an incomplete line of a chunked body's framing or trailer section is left
// alone (skip and take are 0), to be presented again, with more behind it: at
// most as many octets as the head before it was allowed (Limits.MaxHead), after
// Init alone as many as by default.
//
// An error is an *Error; skip and take then tell what precedes the mistake. The
// message cannot be completed any more.
func (b *Body) Next(p []byte) (skip, take int, err error) {
	if b.done || len(p) == 0 {
		return 0, 0, nil
	}
	if b.Kind == Chunked {
		skip, take, f := b.nextChunked(p)
		if f != nil {
			return skip, take, b.error(f)
		}
		return skip, take, nil
	}
	n := len(p)
	if b.Kind == Length && int64(n) > b.left {
		n = int(b.left)
	}
	b.Skip(int64(n))
	return 0, n, nil
}

// End says that the connection has ended. That completes an UntilClose body
// and breaks any other that is not complete.
func (b *Body) End() error {
	if b.Kind == UntilClose {
		b.done = true
	}
	if !b.done {
		return b.error(faultTruncated)
	}
	return nil
}

func (b *Body) error(f *fault) error {
	if b.response {
		return f.response
	}
	return f.request
}
