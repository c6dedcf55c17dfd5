package h2

import (
	"golang.org/x/net/http2/hpack"

	"sidecar/proxy/http/h1"
)

// A decoder makes HTTP/1.1 text of the header lists of one connection, one after another: begin,
// field for each field as HPACK gives it, then request, response or trailers. The zero value is
// ready for begin. It keeps its memory, so that nothing is allocated in the steady state.
//
// What RFC 9113 calls malformed is an error. What is well-formed HTTP/2 but would not be
// accepted in HTTP/1.1 (a request without any host, a target with an octet that it may not
// have) becomes text that h1 refuses, so that the client gets an answer with the reason.
type decoder struct {
	// single says in each head that the connection ends with the message (Connection: close),
	// since a stream serves one only.
	single bool

	kind    listKind
	regular bool      // an ordinary field has been there
	grpc    bool      // Content-Type says so
	trailer bool      // Trailer announces some
	seen    pseudoSet // the pseudo-fields that have been there
	hosts   uint8
	limit   int // octets of the list, 0: any number
	size    int // of them so far
	length  int64
	err     error // the first mistake

	method, scheme, authority, path, status, host string

	lines  []byte // the ordinary fields, as HTTP/1.1 has them
	cookie []byte // the values of Cookie, as one
}

// pseudoSet is a set of pseudo-fields.
type pseudoSet uint8

const (
	pseudoMethod pseudoSet = 1 << iota
	pseudoScheme
	pseudoAuthority
	pseudoPath
	pseudoStatus
)

// keepLines is how much memory for lines a decoder keeps.
const keepLines = 8 << 10

// begin prepares for a list, whose size by RFC 9113 §6.5.2 may be limit octets, or any number
// if that is 0.
func (d *decoder) begin(kind listKind, limit int) {
	lines, cookie := d.lines[:0], d.cookie[:0]
	if cap(lines) > keepLines {
		lines = nil
	}
	if cap(cookie) > keepLines {
		cookie = nil
	}
	*d = decoder{single: d.single, kind: kind, limit: limit, length: -1, lines: lines, cookie: cookie}
}

// field takes the next field. It is what a hpack.Decoder may call for each; after the first
// mistake the rest is ignored.
func (d *decoder) field(f hpack.HeaderField) {
	if d.err != nil {
		return
	}
	d.size += int(f.Size())
	switch {
	case d.limit > 0 && d.size > d.limit:
		d.err = errListTooLarge
	case f.IsPseudo():
		d.err = d.pseudo(f.Name, f.Value)
	default:
		d.err = d.ordinary(f.Name, f.Value)
	}
}

// pseudo takes a pseudo-field (RFC 9113 §8.3). Their values are checked when all are there.
func (d *decoder) pseudo(name, value string) error {
	if d.regular || d.kind == trailerList {
		return errPseudoLate
	}
	var is pseudoSet
	switch name {
	case ":method":
		is, d.method = pseudoMethod, value
	case ":scheme":
		is, d.scheme = pseudoScheme, value
	case ":authority":
		is, d.authority = pseudoAuthority, value
	case ":path":
		is, d.path = pseudoPath, value
	case ":status":
		is, d.status = pseudoStatus, value
	}
	if is == 0 || d.seen&is != 0 || (is == pseudoStatus) != (d.kind == responseList) {
		return errPseudo
	}
	d.seen |= is
	return nil
}

// ordinary takes a field that is no pseudo-field (RFC 9113 §8.2).
func (d *decoder) ordinary(name, value string) error {
	d.regular = true
	switch {
	case len(name) == 0 || !all(name, charName):
		return errName
	case !validValue(value):
		return errValue
	}
	start := len(d.lines)
	d.lines = append(d.lines, name...)
	kind := h1.KindOf(d.lines[start:])
	if pass, err := d.special(kind, value); !pass {
		d.lines = d.lines[:start]
		return err
	}
	d.lines = append(d.lines, ':', ' ')
	d.lines = append(d.lines, value...)
	d.lines = append(d.lines, '\r', '\n')
	return nil
}

// special looks at the fields with a meaning here and reports whether it is to be passed as it
// is. In trailers those that must not be there are left to h1, which drops them.
func (d *decoder) special(kind h1.Kind, value string) (pass bool, err error) {
	switch kind {
	case h1.KindConnection, h1.KindProxyConnection, h1.KindKeepAlive, h1.KindTransferEncoding, h1.KindUpgrade:
		return false, errHopByHop // RFC 9113 §8.2.2
	case h1.KindTE:
		if d.kind != requestList || !equalFold(value, "trailers") {
			return false, errHopByHop
		}
	case h1.KindHTTP2Settings:
		return false, nil
	}
	if d.kind == trailerList {
		return true, nil
	}
	switch kind {
	case h1.KindHost:
		if d.kind == requestList {
			d.host = value
			d.hosts = min(d.hosts+1, 2)
			return false, nil
		}
	case h1.KindContentLength:
		return false, d.contentLength(value)
	case h1.KindCookie:
		if d.kind == requestList {
			d.addCookie(value)
			return false, nil
		}
	case h1.KindContentType:
		d.grpc = d.grpc || isGRPC(value)
	case h1.KindTrailer:
		d.trailer = true
	}
	return true, nil
}

// addCookie joins what RFC 9113 §8.2.3 allows to be taken apart.
func (d *decoder) addCookie(value string) {
	if len(d.cookie) > 0 && len(value) > 0 {
		d.cookie = append(d.cookie, ';', ' ')
	}
	d.cookie = append(d.cookie, value...)
}

// contentLength takes a Content-Length: 1*DIGIT below 2^63. It may come again with the same
// number (RFC 9110 §8.6); lists are refused, which that allows.
func (d *decoder) contentLength(value string) error {
	const most = 1<<63 - 1
	n := int64(0)
	for i := range len(value) {
		c := int64(value[i]) - '0'
		if c < 0 || c > 9 || n > (most-c)/10 {
			return errLength
		}
		n = n*10 + c
	}
	if len(value) == 0 || d.length >= 0 && n != d.length {
		return errLength
	}
	d.length = n
	return nil
}
