package eventloop

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

func zoneName(index int) string { return strconv.Itoa(index) }

// sockaddr returns ap in the form that connect and bind take, and its family.
func sockaddr(ap netip.AddrPort) (unix.Sockaddr, int, error) {
	a := ap.Addr()
	switch {
	case a.Is4() || a.Is4In6():
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: a.Unmap().As4()}, unix.AF_INET, nil
	case a.Is6():
		sa := &unix.SockaddrInet6{Port: int(ap.Port()), Addr: a.As16()}
		if zone := a.Zone(); zone != "" {
			index, err := strconv.Atoi(zone)
			if err != nil {
				ifi, err := net.InterfaceByName(zone)
				if err != nil {
					return nil, 0, err
				}
				index = ifi.Index
			}
			sa.ZoneId = uint32(index)
		}
		return sa, unix.AF_INET6, nil
	}
	return nil, 0, &net.AddrError{Err: "not an IP address", Addr: ap.String()}
}

func endpointOfAddrPort(ap netip.AddrPort) (e endpoint) {
	a := ap.Addr().Unmap()
	e.port = ap.Port()
	if a.Is4() {
		e.fam = unix.AF_INET
		ip := a.As4()
		copy(e.ip[:], ip[:])
	} else {
		e.fam = unix.AF_INET6
		e.ip = a.As16()
	}
	return e
}

// netAddr returns e as a net.Addr; a Unix socket's path is not kept in an endpoint.
func netAddr(e endpoint, path string) net.Addr {
	if e.fam == unix.AF_UNIX {
		return &net.UnixAddr{Name: path, Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(e.addrPort())
}

func localAddr(fd int32) net.Addr {
	sa, err := unix.Getsockname(int(fd))
	if err != nil {
		return netAddr(endpoint{}, "")
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)))
	case *unix.SockaddrInet6:
		e := endpoint{fam: unix.AF_INET6, ip: sa.Addr, port: uint16(sa.Port), zone: sa.ZoneId}
		return netAddr(e, "")
	case *unix.SockaddrUnix:
		return netAddr(endpoint{fam: unix.AF_UNIX}, sa.Name)
	}
	return netAddr(endpoint{}, "")
}
