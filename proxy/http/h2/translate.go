package h2

import "errors"

// listKind says what a header list is the head or the end of.
type listKind uint8

const (
	requestList listKind = iota
	responseList
	trailerList
)

// malformed is the mistake that makes a message malformed (RFC 9113 §8.1.1), which is answered
// by a stream error of type PROTOCOL_ERROR.
type malformed struct{ text string }

func (m *malformed) Error() string { return "h2: " + m.text }

func newMalformed(text string) error { return &malformed{text} }

// What can be wrong with a message.
var (
	errName       = newMalformed("a field name is not a lower-case token")
	errValue      = newMalformed("a field value has a control character, or whitespace at an end")
	errHopByHop   = newMalformed("a field is specific to a connection of HTTP/1.1")
	errPseudo     = newMalformed("a pseudo-field is unknown, is not for this kind of message, or comes twice")
	errPseudoLate = newMalformed("a pseudo-field comes behind another field, or in trailers")
	errMissing    = newMalformed("a pseudo-field is missing")
	errMethod     = newMalformed("the method is not a token")
	errScheme     = newMalformed("the scheme is not valid")
	errPath       = newMalformed("the path is not valid")
	errAuthority  = newMalformed("the authority is not valid")
	errHost       = newMalformed("there are several Host fields, or one that differs from the authority")
	errConnect    = newMalformed("CONNECT needs an authority, and neither scheme nor path")
	errStatus     = newMalformed("the status is not a number that is allowed here")
	errLength     = newMalformed("Content-Length is not one number, or not that of the octets of data")
	errInterimEnd = newMalformed("the stream ends with an interim response")

	errTrailersOpen = newMalformed("a header list behind the head does not end the stream")
)

// errListTooLarge says that a header list is larger than it may be (RFC 9113 §6.5.2, §10.5.1).
var errListTooLarge = errors.New("h2: the header list is too large")

// What an encoder cannot make a message of HTTP/2 from.
var (
	errTunnel    = errors.New("h2: neither CONNECT nor a switch of protocols passes")
	errBehindEnd = errors.New("h2: text follows behind the end of a message")
	errText      = errors.New("h2: the text is no message of HTTP/1.1")
)

// Classes of octets, as bits in the table class.
const (
	charName  = 1 << iota // tchar, but for the upper-case letters (RFC 9113 §8.2.1)
	charToken             // tchar (RFC 9110 §5.6.2)
	charText              // what may stand in a field value (RFC 9110 §5.5)
	charGraph             // what cannot end a part of a request line: VCHAR, and what is above
)

var class = classes()

func classes() (t [256]uint8) {
	for c := range 256 {
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= charText
		}
		if c > ' ' && c != 0x7f {
			t[c] |= charGraph
		}
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] |= charName | charToken
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] |= charToken
	}
	return t
}

// all reports whether s consists of octets of the class. The empty string does.
func all(s string, bit uint8) bool {
	for i := range len(s) {
		if class[s[i]]&bit == 0 {
			return false
		}
	}
	return true
}

// validValue checks a field value by RFC 9113 §8.2.1, and by RFC 9110 §5.5, which allows no
// control characters at all.
func validValue(s string) bool {
	if n := len(s); n > 0 && (isSpace(s[0]) || isSpace(s[n-1])) {
		return false
	}
	for len(s) >= 8 {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if suspicious(x) && !all(s[:8], charText) {
			return false
		}
		s = s[8:]
	}
	return all(s, charText)
}

// suspicious reports whether one of the eight octets of x is below space or is DEL: a tab is.
// (x - n) &^ x & 0x80 marks the octets below n.
func suspicious(x uint64) bool {
	const each01, each80 = 0x0101010101010101, 0x8080808080808080
	del := x ^ each01*0x7f
	return ((x-each01*0x20)&^x|(del-each01)&^del)&each80 != 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// equalFold reports whether two ASCII texts are the same but for the case of their letters.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// isGRPC reports whether a Content-Type is that of gRPC. gRPC-Web is not: its messages are
// ordinary ones of HTTP.
func isGRPC[T []byte | string](value T) bool {
	const grpc = "application/grpc"
	if len(value) < len(grpc) || string(value[:len(grpc)]) != grpc {
		return false
	}
	return len(value) == len(grpc) || value[len(grpc)] == '+' || value[len(grpc)] == ';'
}
