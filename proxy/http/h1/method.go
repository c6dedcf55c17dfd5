package h1

// Method names the methods the proxy has to know; every other is MethodOther
// and passes as it was written. Methods are case-sensitive (RFC 9110 §9.1).
type Method uint8

// The methods.
const (
	MethodOther Method = iota
	MethodGet
	MethodHead
	MethodPost
	MethodPut
	MethodDelete
	MethodConnect
	MethodOptions
	MethodTrace
	MethodPatch
)

// maxMethod bounds the length of a method; the longest registered one,
// UPDATEREDIRECTREF, has 17 octets.
const maxMethod = 64

// MethodOf returns the Method written in b.
func MethodOf(b []byte) Method {
	switch string(b) {
	case "GET":
		return MethodGet
	case "HEAD":
		return MethodHead
	case "POST":
		return MethodPost
	case "PUT":
		return MethodPut
	case "DELETE":
		return MethodDelete
	case "CONNECT":
		return MethodConnect
	case "OPTIONS":
		return MethodOptions
	case "TRACE":
		return MethodTrace
	case "PATCH":
		return MethodPatch
	}
	return MethodOther
}

// Safe reports whether the method is read-only by definition (RFC 9110 §9.2.1).
func (m Method) Safe() bool {
	switch m {
	case MethodGet, MethodHead, MethodOptions, MethodTrace:
		return true
	}
	return false
}

// Idempotent reports whether doing it twice is meant to be the same as doing
// it once (RFC 9110 §9.2.2).
func (m Method) Idempotent() bool {
	return m.Safe() || m == MethodPut || m == MethodDelete
}
