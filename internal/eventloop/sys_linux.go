package eventloop

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls on non-blocking sockets return at once, so they are made without telling Go's
// scheduler: that costs more than a small read itself. Only calls that may block (the wait
// of an idle loop) go through the scheduler.

// recvfrom and sendto rather than read and write: they reach the socket without the file
// layer in between.
func sysRead(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
	return int(n), e
}

// siocoutqnsd is SIOCOUTQNSD of linux/sockios.h: bytes that have not been sent yet.
const siocoutqnsd = 0x894b

func sysUnsent(fd int32) (int, syscall.Errno) {
	var n int32
	_, _, e := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), siocoutqnsd, uintptr(unsafe.Pointer(&n)))
	return int(n), e
}

// sysPeek is EAGAIN if a read would find nothing, and no end either.
func sysPeek(fd int32) syscall.Errno {
	var b [1]byte
	_, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 1,
		unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return e
}

func sysWrite(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

func sysWritev(fd int32, iov []unix.Iovec) (int, syscall.Errno) {
	hdr := unix.Msghdr{Iov: &iov[0]}
	hdr.SetIovlen(len(iov))
	n, _, e := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdr)), unix.MSG_NOSIGNAL)
	return int(n), e
}

func sysSplice(from, to int32, n int) (int, syscall.Errno) {
	m, _, e := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n),
		unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(m), e
}

func sysClose(fd int32) {
	// The descriptor is gone whatever close says (close(2), Linux).
	syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
}

func sysShutdown(fd int32, how int) syscall.Errno {
	_, _, e := syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(fd), uintptr(how), 0)
	return e
}

func sysAccept(fd int32, sa *unix.RawSockaddrAny) (int32, syscall.Errno) {
	size := uint32(unix.SizeofSockaddrAny)
	n, _, e := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(sa)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int32(n), e
}

func sysName(fd int32, sa *unix.RawSockaddrAny) syscall.Errno {
	size := uint32(unix.SizeofSockaddrAny)
	_, _, e := syscall.RawSyscall(syscall.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(sa)),
		uintptr(unsafe.Pointer(&size)))
	return e
}

// sysPoll asks for events without waiting.
func sysPoll(epfd int32, events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), 0, 0, 0)
	return int(n), e
}

// sysWait waits for events, up to ms milliseconds or for ever if ms is negative.
func sysWait(epfd int32, events []unix.EpollEvent, ms int) (int, syscall.Errno) {
	n, _, e := syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(ms), 0, 0)
	return int(n), e
}

// An endpoint is a socket address kept small: connections are many and idle.
type endpoint struct {
	ip   [16]byte
	port uint16
	fam  uint16 // AF_INET, AF_INET6, AF_UNIX, or 0: not known
	zone uint32 // IPv6 scope, by interface index
}

func endpointOf(sa *unix.RawSockaddrAny) (e endpoint) {
	e.fam = sa.Addr.Family
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		copy(e.ip[:], in.Addr[:])
		e.port = ntohs(in.Port)
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		e.ip = in.Addr
		e.port = ntohs(in.Port)
		e.zone = in.Scope_id
	}
	return e
}

func (e endpoint) addrPort() netip.AddrPort {
	switch e.fam {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(e.ip[:4])), e.port)
	case unix.AF_INET6:
		a := netip.AddrFrom16(e.ip).Unmap()
		if e.zone != 0 && a.Is6() {
			a = a.WithZone(zoneName(int(e.zone)))
		}
		return netip.AddrPortFrom(a, e.port)
	}
	return netip.AddrPort{}
}

func ntohs(p uint16) uint16 { return p<<8 | p>>8 }
