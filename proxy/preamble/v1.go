package preamble

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
)

// Mistakes in a header of version 1.
var (
	errLine   = errors.New("proxy header: the line has a control character, or does not end in CRLF")
	errLong   = errors.New("proxy header: the line does not end within 107 bytes")
	errFamily = errors.New("proxy header: the protocol is none of TCP4, TCP6 and UNKNOWN")
	errFields = errors.New("proxy header: the line does not have two addresses and two ports, with one blank before each")
	errAddr   = errors.New("proxy header: an address is not one of the family that the line names")
	errPort   = errors.New("proxy header: a port is not a number from 0 to 65535 without leading zeros")
)

// parseV1 reads "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", of which b has a beginning at least.
func parseV1(b []byte) (Header, int, error) {
	end, err := lineEnd(b)
	if end == 0 || err != nil {
		return Header{}, 0, err
	}
	line, n := b[len(startV1):end], end+len("\r\n")
	family, rest, more := bytes.Cut(line, []byte{' '})
	h := Header{Version: 1}
	switch string(family) {
	case "UNKNOWN":
		return h, n, nil // whatever follows is for nobody
	case "TCP4", "TCP6":
	default:
		return Header{}, 0, errFamily
	}
	var fields [4][]byte
	for i := range fields {
		if !more || len(rest) == 0 || rest[0] == ' ' {
			return Header{}, 0, errFields
		}
		fields[i], rest, more = bytes.Cut(rest, []byte{' '})
	}
	if more {
		return Header{}, 0, errFields
	}
	v4 := family[3] == '4'
	source, ok := parseAddr(fields[0], v4)
	destination, ok2 := parseAddr(fields[1], v4)
	if !ok || !ok2 {
		return Header{}, 0, errAddr
	}
	from, ok := parsePort(fields[2])
	to, ok2 := parsePort(fields[3])
	if !ok || !ok2 {
		return Header{}, 0, errPort
	}
	h.Source, h.Destination = netip.AddrPortFrom(source.Unmap(), from), netip.AddrPortFrom(destination.Unmap(), to)
	return h, n, nil
}

// lineEnd is where the CRLF of the line is, or 0 when it has yet to come.
func lineEnd(b []byte) (int, error) {
	for i := range min(len(b), MaxV1) {
		switch {
		case b[i] == '\n' && b[i-1] == '\r':
			return i - 1, nil
		case b[i] == '\r' && i+1 < MaxV1 && (i+1 == len(b) || b[i+1] == '\n'):
		case b[i] < ' ' || b[i] == 0x7f:
			return 0, errLine
		}
	}
	if len(b) >= MaxV1 {
		return 0, errLong
	}
	return 0, nil
}

// appendAddr writes an address of TCP6, which has no dotted tail in the grammar: an IPv4 address is
// two groups of hexadecimal digits as well.
func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.Is4() {
		return a.AppendTo(dst)
	}
	x := a.As16()
	dst = append(dst, "::ffff:"...)
	dst = strconv.AppendUint(dst, uint64(x[12])<<8|uint64(x[13]), 16)
	dst = append(dst, ':')
	return strconv.AppendUint(dst, uint64(x[14])<<8|uint64(x[15]), 16)
}
