package eventloop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mute keeps the kernel from telling of bytes and of room, for a task that wants neither for
// a while: otherwise each segment that arrives wakes the loop, for nothing. The ends of
// streams and errors are told all the same. The connection must not become idle before
// Unmute.
func (c *Conn) Mute() {
	if c.fd >= 0 && !c.muted && c.layer == nil {
		c.muted = true
		c.rewatch(unix.EPOLLRDHUP)
	}
}

// Unmute undoes Mute. Bytes and room may have come meanwhile: until a call finds that they
// have not, both are taken for there.
func (c *Conn) Unmute() {
	if c.fd >= 0 && c.muted {
		c.muted = false
		c.ready |= Readable | Writable
		c.rewatch(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP)
	}
}

// rewatch changes what epoll reports on. What is true already it reports once more, so
// nothing is lost. On a registered socket it cannot fail.
func (c *Conn) rewatch(events uint32) {
	ev := unix.EpollEvent{Events: events | unix.EPOLLET&(1<<32-1)}
	setEventData(&ev, c.id, c.loop.slots[c.id].gen)
	syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(c.loop.epfd), unix.EPOLL_CTL_MOD, uintptr(c.fd),
		uintptr(unsafe.Pointer(&ev)), 0, 0)
}
