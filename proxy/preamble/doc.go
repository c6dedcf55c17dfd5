// Package preamble reads and writes what comes before the first byte of a protocol: the header
// of the PROXY protocol, and the ClientHello of TLS. It works on byte slices; Receive reads a header
// from a connection of an event loop.
//
// # Flow
//
// The caller reads into a buffer and asks with everything it has, from the first byte on, until
// there is an answer. A listener that takes the header of the PROXY protocol asks for it first:
//
//	header, n, err := preamble.Parse(buf[:have])
//	switch {
//	case err != nil: // not that protocol, or a mistake in it: the connection ends
//	case n == 0:     // incomplete: read more behind buf[:have], ask again
//	}
//	rest := buf[n:have]
//
// Whom a TLS client wants to reach is in its ClientHello, which is only looked at and passes on as
// it is:
//
//	var hello preamble.Hello
//	done, err := hello.Parse(rest)
//	name := hello.ServerName()
//
// Every answer is the same however the bytes are split on their way, and once there is one, what
// stands behind the preamble has no influence on it.
//
// # Strictness
//
// A header of the PROXY protocol says who a client is, and a ClientHello where it goes. Neither
// is repaired: what does not follow the grammar to the letter is an error. Lengths are bounded:
// MaxV1 and MaxV2 for headers, MaxHello for a ClientHello.
//
// Nothing is allocated, but the buffer of Receive.
package preamble
