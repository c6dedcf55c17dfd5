package preamble

// Preface is what an HTTP/2 client sends first (RFC 9113 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// An Answer says what the first bytes of a connection are.
type Answer uint8

// What an Answer may be.
const (
	No   Answer = iota // they are something else
	More               // they may become it; there are too few
	Yes                // they are it
)

// LooksLikeHTTP2 tells whether b begins with the whole Preface. No request of HTTP/1.1 does.
func LooksLikeHTTP2(b []byte) Answer { return begins(b, Preface) }

// LooksLikeTLS tells whether b begins with a record of TLS that has, or has the beginning of, a
// ClientHello (RFC 8446 5.1, 4).
func LooksLikeTLS(b []byte) Answer {
	_, err := checkRecord(b)
	switch {
	case err != nil || len(b) > recordHeader && b[recordHeader] != typeClientHello:
		return No
	case len(b) <= recordHeader:
		return More
	}
	return Yes
}

// begins tells whether b begins with start.
func begins(b []byte, start string) Answer {
	switch n := min(len(b), len(start)); {
	case string(b[:n]) != start[:n]:
		return No
	case n < len(start):
		return More
	}
	return Yes
}
