package preamble

import (
	"encoding/binary"
	"errors"
)

// MaxHello is how many bytes may come until a ClientHello is complete, the headers of its records
// included. Real ones have some 2 KiB at most.
const MaxHello = 16384

// Mistakes in a ClientHello. ErrNotTLS is the one that other protocols lead to.
var (
	ErrNotTLS    = errors.New("client hello: this is not TLS")
	errRecord    = errors.New("client hello: a record is empty, too long, or of another type")
	errHelloLong = errors.New("client hello: it is not complete within 16384 bytes")
	errHello     = errors.New("client hello: a length does not agree with those around it")
	errExtra     = errors.New("client hello: an extension is there twice")
	errName      = errors.New("client hello: the server name is not the name of a host")
	errProtocols = errors.New("client hello: the list of protocols is malformed")
)

const (
	recordHeader    = 5 // type, version, length
	helloHeader     = 4 // type, length
	typeHandshake   = 22
	typeClientHello = 1
	longestRecord   = 1 << 14
	longestName     = 253 // of a host
)

// A Hello is what a TLS client says it wants, read from its ClientHello without ending its TLS.
// The zero Hello is ready. It belongs to one goroutine, holds no part of the bytes it has read,
// and does not allocate.
type Hello struct {
	next int // where the next record begins
	have int // bytes of the handshake in the records before it

	name      [longestName]byte
	nameLen   int
	protocols [256]byte // as many whole ones of the list as fit, each with its length before it
	listLen   int
}

// Parse reads the ClientHello at the beginning of b, which is what has come so far: always the
// same bytes, and more of them from call to call. Done tells that it was complete, and that the
// other methods say what was in it. An error is final: ErrNotTLS where b is of another protocol.
//
// The reference is RFC 8446 (4.1.2 for the message, 5.1 for records), RFC 6066 3 for the server
// name and RFC 7301 3.1 for protocols.
func (h *Hello) Parse(b []byte) (done bool, err error) {
	b = b[:min(len(b), MaxHello)]
	whole, err := h.walk(b)
	if !whole || err != nil {
		return false, err
	}
	c := newCursor(b)
	if err := h.message(&c); err != nil {
		return false, err
	}
	return true, nil
}

// Reset makes h ready for another connection.
func (h *Hello) Reset() { h.next, h.have, h.nameLen, h.listLen = 0, 0, 0, 0 }

// ServerName is the host that the client wants to reach, in small letters; empty when it does not
// say. It is good until the next Reset, and not to be changed.
func (h *Hello) ServerName() []byte { return h.name[:h.nameLen] }

// Offers tells whether the client offers a protocol (ALPN), such as "h2". Of a very long list only
// the first 256 bytes are known.
func (h *Hello) Offers(protocol string) bool {
	for list := h.protocols[:h.listLen]; len(list) > 0; {
		n := 1 + int(list[0])
		if string(list[1:n]) == protocol {
			return true
		}
		list = list[n:]
	}
	return false
}

// walk goes on from record to record until b has the whole message. It does not begin anew with
// each call, since a client that sends single bytes would make that expensive.
func (h *Hello) walk(b []byte) (whole bool, err error) {
	for {
		length, err := checkRecord(b[h.next:])
		if err != nil {
			if h.next > 0 {
				err = errRecord
			}
			return false, err
		}
		at := h.next + recordHeader
		have := h.have + min(length, max(len(b)-at, 0))
		if h.next == 0 && have > 0 && b[recordHeader] != typeClientHello {
			return false, ErrNotTLS
		}
		if have >= helloHeader {
			c := newCursor(b)
			c.uint8()
			want := helloHeader + c.uint24()
			switch {
			case have >= want:
				return true, nil
			case recordHeader+want > MaxHello:
				return false, errHelloLong
			}
		}
		switch {
		case length > 0 && at+length <= len(b):
			h.next, h.have = at+length, have
		case len(b) == MaxHello:
			return false, errHelloLong
		default:
			return false, nil
		}
	}
}

// checkRecord checks as much of the header of a record of a handshake as b has. Length is what
// follows the header, and 0 when the header is not complete.
func checkRecord(b []byte) (length int, err error) {
	// The second half of the version says nothing (RFC 8446 5.1).
	if len(b) > 0 && b[0] != typeHandshake || len(b) > 1 && b[1] != 3 {
		return 0, ErrNotTLS
	}
	if len(b) < recordHeader {
		return 0, nil
	}
	length = int(binary.BigEndian.Uint16(b[3:]))
	if length == 0 || length > longestRecord {
		return 0, ErrNotTLS
	}
	return length, nil
}

// message reads the message, which c has all of.
func (h *Hello) message(c *cursor) error {
	h.nameLen, h.listLen = 0, 0
	c.uint8()
	c.left = c.uint24()
	c.skip(2 + 32) // version, random
	session := c.uint8()
	c.skip(session)
	suites := c.uint16()
	c.skip(suites)
	compressions := c.uint8()
	c.skip(compressions)
	if session > 32 || suites < 2 || suites%2 != 0 || compressions < 1 {
		return errHello
	}
	if c.left > 0 { // old clients end here
		if n := c.uint16(); n != c.left {
			return errHello
		}
	}
	return h.extensions(c)
}

// extensions reads the extensions, and passes over those that it does not know.
func (h *Hello) extensions(c *cursor) error {
	const serverName, protocols = 0, 16
	var named, listed bool
	for c.left > 0 {
		kind, length := c.uint16(), c.uint16()
		if length > c.left {
			return errHello
		}
		rest := c.left - length
		c.left = length
		var err error
		switch {
		case kind == serverName && named, kind == protocols && listed:
			err = errExtra
		case kind == serverName:
			named, err = true, h.readName(c)
		case kind == protocols:
			listed, err = true, h.readProtocols(c)
		default:
			c.skip(length)
		}
		if err != nil {
			return err
		}
		c.left = rest
	}
	if c.broken {
		return errHello
	}
	return nil
}

// readName reads the names of a server, of which one is that of a host (RFC 6066 3).
func (h *Hello) readName(c *cursor) error {
	const hostName = 0
	if n := c.uint16(); n != c.left || n == 0 {
		return errHello
	}
	for c.left > 0 {
		kind, length := c.uint8(), c.uint16()
		switch {
		case length > c.left || length == 0:
			return errHello
		case kind != hostName:
			c.skip(length)
			continue
		case h.nameLen > 0:
			return errExtra
		case length > longestName:
			return errName
		}
		c.read(h.name[:length])
		if !lowerHost(h.name[:length]) {
			return errName
		}
		h.nameLen = length
	}
	return nil
}

// readProtocols reads the list of protocols (RFC 7301 3.1).
func (h *Hello) readProtocols(c *cursor) error {
	if n := c.uint16(); n != c.left || n == 0 {
		return errProtocols
	}
	full := false
	for c.left > 0 {
		length := c.uint8()
		if length == 0 || length > c.left {
			return errProtocols
		}
		if full = full || h.listLen+1+length > len(h.protocols); full {
			c.skip(length)
			continue
		}
		h.protocols[h.listLen] = byte(length)
		c.read(h.protocols[h.listLen+1:][:length])
		h.listLen += 1 + length
	}
	return nil
}

// lowerHost turns capitals into small letters, and tells whether name may be that of a host: in
// letters, digits, "-" and "_", with single dots between them and none at the end (RFC 6066 3).
func lowerHost(name []byte) bool {
	last := byte('.')
	for i, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
			name[i] = c
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		case c == '.' && last != '.':
		default:
			return false
		}
		last = c
	}
	return last != '.'
}
