package inherit

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// A place is where a socket listens; two are the same if they are equal.
type place struct {
	tcp  netip.AddrPort // not valid for a unix socket; the zone is a number
	unix string         // "@" and more for an abstract name
}

func (p place) String() string {
	if p.tcp.IsValid() {
		return p.tcp.String()
	}
	return "unix:" + p.unix
}

// reachable tells whether a client can find the socket.
func (p place) reachable() bool {
	if p.tcp.IsValid() || p.unix[0] == '@' {
		return true
	}
	info, err := os.Stat(p.unix)
	return err == nil && info.Mode().Type() == os.ModeSocket
}

// parsePlace reads an address as Sockets.At takes it.
func parsePlace(network, address string) (place, error) {
	switch network {
	case "unix":
		if address == "" {
			return place{}, errors.New("a unix socket without a path")
		}
		if address[0] != '@' {
			address = path.Clean(address)
		}
		return place{unix: address}, nil
	case "tcp":
	default:
		return place{}, net.UnknownNetworkError(network)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return place{}, err
	}
	if ap.Port() == 0 {
		return place{}, fmt.Errorf("%s: nothing listens at port 0", address)
	}
	ip := ap.Addr().Unmap()
	if zone := ip.Zone(); zone != "" {
		if _, err := strconv.Atoi(zone); err != nil {
			i, err := net.InterfaceByName(zone)
			if err != nil {
				return place{}, err
			}
			ip = ip.WithZone(strconv.Itoa(i.Index))
		}
	}
	return place{tcp: netip.AddrPortFrom(ip, ap.Port())}, nil
}

// placeOf is where a socket is bound to.
func placeOf(fd int) (place, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return place{}, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return place{tcp: netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))}, nil
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return place{tcp: netip.AddrPortFrom(ip, uint16(sa.Port))}, nil
	case *unix.SockaddrUnix:
		if sa.Name == "" {
			return place{}, errors.New("is a unix socket without an address")
		}
		if sa.Name[0] != '@' {
			return place{unix: path.Clean(sa.Name)}, nil
		}
		return place{unix: sa.Name}, nil
	}
	return place{}, errors.New("is of a family other than IPv4, IPv6 and unix")
}
