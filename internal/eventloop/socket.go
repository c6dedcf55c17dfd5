package eventloop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A Socket listens, and nobody accepts from it yet: clients that connect wait. It is for those who
// open several and can do without none. Group.Accept or Close ends it.
type Socket struct {
	fd     int32
	addr   net.Addr
	unlink string // path of a Unix socket that we made
}

// Bind opens a listening socket; network and address are those of Group.Listen.
func Bind(network, address string) (*Socket, error) {
	fd, err := openListener(network, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	s := &Socket{fd: fd, addr: localAddr(fd)}
	if network == "unix" && !strings.HasPrefix(address, "@") {
		s.unlink = address
	}
	return s, nil
}

// Adopt makes a Socket of a listening socket that was made elsewhere, such as one inherited from
// systemd. It duplicates the descriptor; the file stays the caller's. The socket is made
// non-blocking, as is the caller's, which is the same one. Its path, if it has one, is left when
// it closes.
func Adopt(f *os.File) (*Socket, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", f.Name(), err)
	}
	return &Socket{fd: fd, addr: localAddr(fd)}, nil
}

// Addr is where it listens.
func (s *Socket) Addr() net.Addr { return s.addr }

// Close ends the Socket; clients that wait are reset.
func (s *Socket) Close() {
	if s.unlink != "" {
		os.Remove(s.unlink)
	}
	sysClose(s.fd)
}

// duplicate goes by way of SyscallConn because File.Fd may make the socket a blocking one.
func duplicate(f *os.File) (int32, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if e := raw.Control(func(from uintptr) {
		var listening int
		if listening, err = unix.GetsockoptInt(int(from), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil {
			err = os.NewSyscallError("getsockopt", err)
			return
		}
		if listening == 0 {
			err = errors.New("not a listening socket")
			return
		}
		fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0)
		err = os.NewSyscallError("fcntl", err)
	}); e != nil {
		return -1, e
	}
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		sysClose(int32(fd))
		return -1, os.NewSyscallError("fcntl", err)
	}
	return int32(fd), nil
}
