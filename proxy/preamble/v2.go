package preamble

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
)

// The 13th byte of a header of version 2 is version and command, the 14th family and protocol.
const (
	versionTwo   = 0x20
	commandLocal = 0x00
	commandProxy = 0x01

	familyNone = 0x00 // UNSPEC
	familyIPv4 = 0x10
	familyIPv6 = 0x20
	familyUnix = 0x30

	protocolNone     = 0x00 // UNSPEC
	protocolStream   = 0x01
	protocolDatagram = 0x02
)

const (
	fixedV2 = 16 // signature, the two bytes above, and the length of what follows

	lengthIPv4 = 2*4 + 2*2
	lengthIPv6 = 2*16 + 2*2
	lengthUnix = 2 * 108
)

// Mistakes in a header of version 2.
var (
	errVersion   = errors.New("proxy header: the version is neither 1 nor 2")
	errCommand   = errors.New("proxy header: the command is neither LOCAL nor PROXY")
	errSocket    = errors.New("proxy header: the address family or the protocol is not known")
	errLarge     = errors.New("proxy header: it has more than 4096 bytes")
	errShort     = errors.New("proxy header: it is too short for the addresses that it announces")
	errExtension = errors.New("proxy header: an extension reaches beyond the end, or has a length that it cannot have")
	errChecksum  = errors.New("proxy header: the checksum is wrong, or there are two")
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeros      = []byte{0, 0, 0, 0} // what a checksum is while it is reckoned
)

// parseV2 reads a binary header, of which b has a beginning at least.
func parseV2(b []byte) (Header, int, error) {
	if err := checkFixed(b); err != nil || len(b) < fixedV2 {
		return Header{}, 0, err
	}
	n := fixedV2 + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case n > MaxV2:
		return Header{}, 0, errLarge
	case n > len(b):
		return Header{}, 0, nil
	}
	h, err := addressesV2(b[:n])
	if err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

// checkFixed checks as much of the version, command, family and protocol as has come.
func checkFixed(b []byte) error {
	const command, family = 12, 13
	switch {
	case len(b) <= command:
		return nil
	case b[command]&0xf0 != versionTwo:
		return errVersion
	case b[command]&0x0f > commandProxy:
		return errCommand
	case len(b) <= family || b[command]&0x0f == commandLocal: // whose family is ignored
		return nil
	case b[family]&0xf0 > familyUnix || b[family]&0x0f > protocolDatagram:
		return errSocket
	}
	return nil
}

// addressesV2 reads a header that is complete and in order up to its 16th byte.
func addressesV2(b []byte) (Header, error) {
	h := Header{Version: 2}
	family, protocol := b[13]&0xf0, b[13]&0x0f
	end := fixedV2
	switch family {
	case familyIPv4:
		end += lengthIPv4
	case familyIPv6:
		end += lengthIPv6
	case familyUnix:
		end += lengthUnix
	}
	h.Local = b[12]&0x0f == commandLocal
	if h.Local || family == familyNone || protocol == protocolNone {
		// All that follows is to be ignored, and may be anything; but a checksum that is there holds.
		if checkExtensions(b, end) == errChecksum {
			return h, errChecksum
		}
		return h, nil
	}
	if len(b) < end {
		return h, errShort
	}
	if err := checkExtensions(b, end); err != nil {
		return h, err
	}
	if protocol != protocolStream || family == familyUnix {
		return h, nil
	}
	var from, to netip.Addr
	if family == familyIPv4 {
		from, to = netip.AddrFrom4([4]byte(b[16:20])), netip.AddrFrom4([4]byte(b[20:24]))
	} else {
		from, to = netip.AddrFrom16([16]byte(b[16:32])), netip.AddrFrom16([16]byte(b[32:48]))
	}
	h.Source = netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(b[end-4:]))
	h.Destination = netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(b[end-2:]))
	return h, nil
}

// checkExtensions walks through the extensions of header b from i on: a byte that says of what
// type it is, two bytes of length, and a value. They are checked and otherwise not looked at.
func checkExtensions(b []byte, i int) error {
	const (
		typeChecksum = 0x03
		typeUniqueID = 0x05
		typeTLS      = 0x20
	)
	const fixed = 3
	checked := false
	for i < len(b) {
		if len(b)-i < fixed {
			return errExtension
		}
		length := int(binary.BigEndian.Uint16(b[i+1:]))
		value := i + fixed
		if length > len(b)-value {
			return errExtension
		}
		switch kind := b[i]; {
		case kind == typeChecksum && length != 4, kind == typeUniqueID && length > 128, kind == typeTLS && length < 5:
			return errExtension
		case kind == typeChecksum && (checked || !sumIsRight(b, value)):
			return errChecksum
		case kind == typeChecksum:
			checked = true
		}
		i = value + length
	}
	return nil
}

// sumIsRight compares the CRC32C at b[at:] with that of header b, in which it counts as zeros.
func sumIsRight(b []byte, at int) bool {
	sum := crc32.Update(0, castagnoli, b[:at])
	sum = crc32.Update(sum, castagnoli, zeros)
	sum = crc32.Update(sum, castagnoli, b[at+4:])
	return sum == binary.BigEndian.Uint32(b[at:])
}
