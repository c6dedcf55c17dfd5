package preamble

import "net/netip"

// Addresses are read here and not by netip.ParseAddr, which takes a string: each header would
// cost two allocations.

// parseAddr reads an IPv4 address, or else an IPv6 address without a zone.
func parseAddr(s []byte, v4 bool) (netip.Addr, bool) {
	if v4 {
		a, ok := parseIPv4(s)
		return netip.AddrFrom4(a), ok
	}
	a, ok := parseIPv6(s)
	return netip.AddrFrom16(a), ok
}

// parseIPv4 reads four decimal numbers without leading zeros.
func parseIPv4(s []byte) (a [4]byte, ok bool) {
	for i := range a {
		if i > 0 {
			if len(s) == 0 || s[0] != '.' {
				return a, false
			}
			s = s[1:]
		}
		digits := 0
		for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
			digits++
		}
		n, ok := parseNumber(s[:digits], 255)
		if !ok {
			return a, false
		}
		a[i] = byte(n)
		s = s[digits:]
	}
	return a, len(s) == 0
}

// parseIPv6 reads groups of hexadecimal digits, "::" for some of them once, and an IPv4 address
// in place of the last two, as inet_ntop writes it and senders therefore do (RFC 4291 2.2).
func parseIPv6(s []byte) (a [16]byte, ok bool) {
	at, gap := 0, -1
	if len(s) >= 2 && s[0] == ':' && s[1] == ':' {
		gap, s = 0, s[2:]
	}
	for len(s) > 0 && at < len(a) {
		group, digits := parseGroup(s)
		switch {
		case digits == 0:
			return a, false
		case digits < len(s) && s[digits] == '.':
			tail, ok := parseIPv4(s)
			if !ok || at > len(a)-4 {
				return a, false
			}
			at += copy(a[at:], tail[:])
			s = nil
			continue
		}
		a[at], a[at+1] = byte(group>>8), byte(group)
		at, s = at+2, s[digits:]
		switch {
		case len(s) == 0:
		case s[0] != ':' || len(s) == 1:
			return a, false
		case s[1] != ':':
			s = s[1:]
		case gap >= 0:
			return a, false
		default:
			gap, s = at, s[2:]
		}
	}
	switch {
	case len(s) > 0 || gap < 0 && at < len(a) || gap >= 0 && at == len(a):
		return a, false
	case gap >= 0:
		moved := copy(a[len(a)-(at-gap):], a[gap:at])
		clear(a[gap : len(a)-moved])
	}
	return a, true
}

// parseGroup reads the one to four hexadecimal digits that s begins with; digits is 0 when there
// are none, or more.
func parseGroup(s []byte) (group uint16, digits int) {
	for digits < len(s) {
		c := s[digits]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return group, digits
		}
		if digits == 4 {
			return 0, 0
		}
		group = group<<4 | uint16(c)
		digits++
	}
	return group, digits
}

func parsePort(s []byte) (uint16, bool) {
	n, ok := parseNumber(s, 65535)
	return uint16(n), ok
}

// parseNumber reads a decimal number of at most five digits without leading zeros.
func parseNumber(s []byte, most int) (n int, ok bool) {
	if len(s) == 0 || len(s) > 5 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= most
}
