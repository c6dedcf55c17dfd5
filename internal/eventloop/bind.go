package eventloop

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openListener returns a listening socket. An empty host is every address, IPv6 and IPv4,
// or IPv4 alone where the host has nothing else; localhost is 127.0.0.1.
func openListener(network, address string) (int32, error) {
	switch network {
	case "unix":
		fd, err := listen(unix.AF_UNIX, &unix.SockaddrUnix{Name: address})
		if errors.Is(err, syscall.EADDRINUSE) && removeStale(address) {
			fd, err = listen(unix.AF_UNIX, &unix.SockaddrUnix{Name: address})
		}
		return fd, err
	case "tcp":
	default:
		return -1, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return -1, err
	}
	switch host {
	case "":
		fd, err := listenTCP("::", port)
		if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			fd, err = listenTCP("0.0.0.0", port)
		}
		return fd, err
	case "localhost":
		host = "127.0.0.1"
	}
	return listenTCP(host, port)
}

func listenTCP(host, port string) (int32, error) {
	ap, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return -1, fmt.Errorf("%q is not an address of the form ip:port", net.JoinHostPort(host, port))
	}
	sa, family, err := sockaddr(ap)
	if err != nil {
		return -1, err
	}
	return listen(family, sa)
}

func listen(family int, sa unix.Sockaddr) (int32, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if family != unix.AF_UNIX {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) // whatever bindv6only says
	}
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	// The kernel bounds the queue by net.core.somaxconn.
	if err := unix.Listen(fd, math.MaxUint16); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("listen", err)
	}
	return int32(fd), nil
}

// removeStale removes a socket that nobody listens on any more, left by a process that had
// no time to. Whether somebody does, only connecting tells.
func removeStale(path string) bool {
	if st, err := os.Lstat(path); err != nil || st.Mode().Type() != os.ModeSocket {
		return false
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) == syscall.ECONNREFUSED && os.Remove(path) == nil
}
