package h1

import (
	"encoding/binary"
	"math/bits"
)

// Classes of octets, as bits in the table class.
const (
	charToken  = 1 << iota // tchar, RFC 9110 §5.6.2
	charText               // what may stand in a field value: VCHAR, obs-text, SP, HTAB (RFC 9110 §5.5)
	charTarget             // VCHAR without "#": what passes in a request target
	charName               // unreserved and sub-delims: a registered name without percent-encoding (RFC 3986 §3.2.2)
	charHex                // HEXDIG
	charDigit              // DIGIT
)

var class = classes()

func classes() (t [256]uint8) {
	for c := range 256 {
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= charText
		}
		if c > ' ' && c < 0x7f && c != '#' {
			t[c] |= charTarget
		}
	}
	add := func(bit uint8, chars string) {
		for _, c := range []byte(chars) {
			t[c] |= bit
		}
	}
	const digits, lower, upper = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	add(charToken, digits+lower+upper+"!#$%&'*+-.^_`|~")
	add(charName, digits+lower+upper+"-._~"+"!$&'()*+,;=")
	add(charHex, digits+"abcdefABCDEF")
	add(charDigit, digits)
	return t
}

func is(c byte, bit uint8) bool { return class[c]&bit != 0 }

// Words of eight equal octets, for looking at eight octets at once.
const (
	each01 = 0x0101010101010101
	each80 = 0x8080808080808080
)

// scanText returns the index of the first octet of b, from i on, that may not
// stand in a field value: CR at the end of a well-formed line. It returns
// len(b) if there is none.
//
// (x - n) &^ x & 0x80 marks the octets of x below n. A mark can be false only
// above a true one, so the lowest mark is always right.
func scanText(b []byte, i int) int {
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		del := x ^ each01*0x7f
		m := ((x-each01*0x20)&^x | (del-each01)&^del) & each80
		if m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if b[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(b) && is(b[i], charText) {
		i++
	}
	return i
}

// scanTarget returns the index of the first octet of b, from i on, that may
// not stand in a request target: the space behind a well-formed one.
func scanTarget(b []byte, i int) int {
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		del := x ^ each01*0x7f
		hash := x ^ each01*'#'
		m := ((x-each01*0x21)&^x | (del-each01)&^del | (hash-each01)&^hash | x) & each80
		if m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	for i < len(b) && is(b[i], charTarget) {
		i++
	}
	return i
}

// scanToken returns the index of the first octet of b, from i on, that is not
// a tchar.
func scanToken(b []byte, i int) int {
	for i < len(b) && is(b[i], charToken) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// trim removes optional whitespace from both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold reports whether a is name, whose letters are lower-case. Setting
// the bit that makes a letter lower-case turns no other octet that can stand
// in a head into a letter, digit or hyphen, so eight can be compared at once.
func equalFold(a []byte, name string) bool {
	if len(a) != len(name) {
		return false
	}
	i := 0
	for ; i+8 <= len(a); i += 8 {
		if binary.LittleEndian.Uint64(a[i:])|each01*0x20 != word(name, i) {
			return false
		}
	}
	for ; i < len(a); i++ {
		if a[i]|0x20 != name[i] {
			return false
		}
	}
	return true
}

// word returns the eight octets of s from i on as a number.
func word(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// equalTokens reports whether two tokens are the same but for the case of
// their letters.
func equalTokens[T []byte | string](a []byte, b T) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower(c) != lower(b[i]) {
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

// element cuts the first element off a comma-separated list (RFC 9110 §5.6.1).
// It knows no quoted strings: none of the lists it is used for has them.
func element(list []byte) (first, rest []byte) {
	for i, c := range list {
		if c == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), nil
}
