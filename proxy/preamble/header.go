package preamble

import (
	"errors"
	"net/netip"
	"strconv"
)

const (
	// MaxV1 is how many bytes a header of version 1 has at most, its line end included.
	MaxV1 = 107
	// MaxV2 is how many bytes a header of version 2 may have here. The protocol would allow
	// 64 KiB, which nobody needs: addresses take 232 bytes at most, the rest is what senders
	// add about TLS.
	MaxV2 = 4096
)

// A Header is what a sender says about a connection that it passes on.
type Header struct {
	// Source is the client, Destination the address that it connected to. Neither is valid
	// when the sender does not know, or speaks of sockets other than of TCP; the addresses of
	// the connection itself hold then. An IPv4 address is never in its IPv6 form.
	Source, Destination netip.AddrPort
	// Local tells that the sender has opened the connection on its own account, such as for
	// a health check. There are no addresses then.
	Local bool
	// Version is 1 or 2.
	Version int
}

// ErrNoHeader tells that the bytes do not begin as a header of the PROXY protocol does.
var ErrNoHeader = errors.New("proxy header: there is none")

const (
	startV1 = "PROXY "
	startV2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// Parse reads the header of the PROXY protocol, version 1 or 2, at the beginning of b. Its length
// is n, or 0 when b ends before the header does. An error is final: more bytes do not help.
//
// The reference is the PROXY protocol specification of HAProxy (doc/proxy-protocol.txt), versions
// 1 and 2, sections 2.1 and 2.2.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case agrees(b, startV2):
		return parseV2(b)
	case agrees(b, startV1):
		return parseV1(b)
	}
	return Header{}, 0, ErrNoHeader
}

// agrees tells whether b begins with start, as far as either goes.
func agrees(b []byte, start string) bool {
	n := min(len(b), len(start))
	return string(b[:n]) == start[:n]
}

// AppendV1 appends a header of version 1 to dst. Where one of the addresses is not valid, which is
// that of a unix socket, it says UNKNOWN. Zones are left out.
func AppendV1(dst []byte, source, destination netip.AddrPort) []byte {
	from, to, family := pair(source, destination)
	switch family {
	case familyNone:
		return append(dst, "PROXY UNKNOWN\r\n"...)
	case familyIPv4:
		dst = from.AppendTo(append(dst, "PROXY TCP4 "...))
		dst = to.AppendTo(append(dst, ' '))
	default:
		dst = appendAddr(append(dst, "PROXY TCP6 "...), from)
		dst = appendAddr(append(dst, ' '), to)
	}
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(source.Port()), 10)
	dst = strconv.AppendUint(append(dst, ' '), uint64(destination.Port()), 10)
	return append(dst, "\r\n"...)
}

// AppendV2 is AppendV1 for version 2, which says UNSPEC.
func AppendV2(dst []byte, source, destination netip.AddrPort) []byte {
	from, to, family := pair(source, destination)
	dst = append(dst, startV2...)
	dst = append(dst, versionTwo|commandProxy)
	switch family {
	case familyNone:
		return append(dst, familyNone, 0, 0)
	case familyIPv4:
		dst = append(dst, familyIPv4|protocolStream, 0, lengthIPv4)
		x, y := from.As4(), to.As4()
		dst = append(append(dst, x[:]...), y[:]...)
	default:
		dst = append(dst, familyIPv6|protocolStream, 0, lengthIPv6)
		x, y := from.As16(), to.As16()
		dst = append(append(dst, x[:]...), y[:]...)
	}
	a, z := source.Port(), destination.Port()
	return append(dst, byte(a>>8), byte(a), byte(z>>8), byte(z))
}

// AppendLocal appends a header of version 2 that says LOCAL: the connection is the sender's own.
func AppendLocal(dst []byte) []byte {
	dst = append(dst, startV2...)
	return append(dst, versionTwo|commandLocal, familyNone, 0, 0)
}

// pair finds the family that both addresses can be told in. With one of each, it is IPv6.
func pair(source, destination netip.AddrPort) (from, to netip.Addr, family byte) {
	from, to = source.Addr().Unmap(), destination.Addr().Unmap()
	switch {
	case !from.IsValid() || !to.IsValid():
		return from, to, familyNone
	case from.Is4() && to.Is4():
		return from, to, familyIPv4
	}
	return from.WithZone(""), to.WithZone(""), familyIPv6
}
