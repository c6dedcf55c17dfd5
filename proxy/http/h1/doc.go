// Package h1 is the HTTP/1.1 message: it parses request and response heads,
// tracks how far a body reaches, and writes heads. It knows nothing of
// sockets, pools or balancing; it works on byte slices only.
//
// # Flow
//
// The caller reads into a buffer and calls Parse with everything it has, until
// Parse returns the length of the head:
//
//	n, err := req.Parse(buf[:have], &limits)
//	switch {
//	case err != nil: // an *Error, with the status to answer
//	case n == 0:     // incomplete: read more behind buf[:have], call again
//	}
//
// A Request or Response is a set of offsets and slices into that buffer: it is
// good for as long as the bytes stay where they are. Between two calls of
// Parse the buffer may move or grow as long as it begins with the same bytes;
// what was seen is not scanned again.
//
// The head to send on is built by the caller with append functions: a start
// line, AppendFields for everything that passes end to end, and what the
// caller adds itself:
//
//	out = req.AppendRequestLine(out[:0])
//	out = req.AppendFields(out, h1.Kinds(h1.KindXForwardedFor, h1.KindVia))
//	…
//
// Body then says, for each piece of the body, which octets to pass on:
//
//	for len(p) > 0 && !body.Done() {
//		skip, take, err := body.Next(p)
//		if err != nil || skip+take == 0 {
//			break // broken, or the rest of p is for later, with more behind it
//		}
//		out = append(out, p[skip:skip+take]...)
//		p = p[skip+take:]
//	}
//
// # Strictness
//
// What RFC 9110 and RFC 9112 let a recipient repair is mostly refused, since
// every repair is a chance for two readers to disagree. Where this package is
// stricter than it has to be, the comment at the place says so:
//
//   - lines end in CRLF, never in LF alone; no obs-fold; no bare CR or NUL;
//   - Transfer-Encoding is "chunked", once, alone, in HTTP/1.1;
//   - Transfer-Encoding together with Content-Length is refused on both sides;
//   - octets above 0x7e and the fragment's "#" do not pass in a target;
//   - a chunk size is below 2^62, and its line passes whole or not at all;
//   - chunk extensions are checked, bounded, and dropped; trailer fields are
//     checked and bounded, and those that must not be trailers are dropped.
//
// Nothing is allocated in the steady state.
package h1
