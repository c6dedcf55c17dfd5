package h2

import "encoding/binary"

// prefaceText is what a client sends first (RFC 9113 §3.4).
const prefaceText = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Preface tells whether b, the first octets of a connection, begins with what a client of
// HTTP/2 sends first; more says that it may yet, when there is more of it.
func Preface(b []byte) (yes, more bool) {
	n := min(len(b), len(prefaceText))
	if string(b[:n]) != prefaceText[:n] {
		return false, false
	}
	return n == len(prefaceText), n < len(prefaceText)
}

// headerSize is the size of a frame's header (RFC 9113 §4.1).
const headerSize = 9

// defaultFrame is the largest payload until a peer's settings allow more, and the largest that
// we take at all.
const defaultFrame = 16 << 10

type frameKind uint8

const (
	frameData frameKind = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoaway
	frameWindow
	frameContinuation
)

const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// A frameHeader is what stands in front of a frame's payload.
type frameHeader struct {
	length int
	kind   frameKind
	flags  uint8
	id     uint32
}

// parseHeader reads a header from the first nine octets of b.
func parseHeader(b []byte) frameHeader {
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   frameKind(b[3]),
		flags:  b[4],
		id:     binary.BigEndian.Uint32(b[5:]) & maxStreamID,
	}
}

func appendHeader(dst []byte, length int, kind frameKind, flags uint8, id uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendReset(dst []byte, id uint32, code Code) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, 4, frameReset, 0, id), uint32(code))
}

func appendWindow(dst []byte, id uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, 4, frameWindow, 0, id), uint32(n))
}

func appendPing(dst []byte, flags uint8, data uint64) []byte {
	return binary.BigEndian.AppendUint64(appendHeader(dst, 8, framePing, flags, 0), data)
}

func appendGoaway(dst []byte, last uint32, code Code, reason string) []byte {
	dst = appendHeader(dst, 8+len(reason), frameGoaway, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, uint32(code))
	return append(dst, reason...)
}

// appendBlock appends a header block as HEADERS and as many CONTINUATIONs as it takes.
func appendBlock(dst, block []byte, id uint32, end bool, most int) []byte {
	kind, flags := frameHeaders, uint8(0)
	if end {
		flags = flagEndStream
	}
	for {
		n := min(len(block), most)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		dst = append(appendHeader(dst, n, kind, flags, id), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return dst
		}
		kind, flags = frameContinuation, 0
	}
}
