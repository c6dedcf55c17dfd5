package inherit

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Sockets are listening sockets that nobody in this process uses yet. The zero value has none.
// Its methods are called from one goroutine at a time.
//
// A file that is taken is the caller's, who closes it. That should be soon, once the socket has
// been duplicated by who serves it: each connection to a socket that is open as an *os.File wakes
// a thread of the runtime besides.
type Sockets struct {
	waiting []socket
	stored  bool // systemd's store may have them, too
}

// A socket is an open descriptor that listens.
type socket struct {
	fd   int
	name string // "" if it has none
	at   place
}

// Named takes all sockets that have a name, in the order in which they were handed over: those
// that `listen = "systemd:NAME"` stands for. It returns nil if there are none.
func (s *Sockets) Named(name string) []*os.File {
	if name == "" {
		return nil
	}
	var files []*os.File
	s.keep(func(k socket) bool {
		if k.name != name {
			return true
		}
		files = append(files, os.NewFile(uintptr(k.fd), "systemd:"+name))
		return false
	})
	return files
}

// At takes one socket that listens at an address: network "tcp" (address ip:port) or "unix" (a
// path, or @ and an abstract name). It returns nil if there is none. An address is only ever itself:
// a socket at [::]:80 is not taken for 0.0.0.0:80, although it serves IPv4 as well. Nothing
// listens at port 0, which asks for a new one. A unix socket whose path has been removed is not
// taken either, as nobody can reach it.
func (s *Sockets) At(network, address string) *os.File {
	wanted, err := parsePlace(network, address)
	if err != nil {
		return nil
	}
	var file *os.File
	s.keep(func(k socket) bool {
		if file != nil || k.at != wanted || !k.at.reachable() {
			return true
		}
		file = os.NewFile(uintptr(k.fd), k.at.String())
		return false
	})
	return file
}

// Len is how many sockets nobody has taken yet.
func (s *Sockets) Len() int { return len(s.waiting) }

// Close closes what nobody has taken and says what that was, one text for each: a client that
// connects there is refused from now on, which the operator should know. What systemd kept in its
// store is taken out there, or nobody would be refused, and nobody served either; Close waits until
// that is done, for at most five seconds. A socket that overlaps one of these, such as that of
// 127.0.0.1:80 with 0.0.0.0:80, can be opened after it only.
func (s *Sockets) Close() []string {
	var out []string
	forgotten := false
	s.keep(func(k socket) bool {
		text := k.String()
		if s.stored && k.name != "" {
			// It does no harm to forget what came from a unit: the store does not have its name.
			if err := Unstore(k.name); err != nil {
				text += fmt.Sprintf(" (and systemd still has it: %v)", err)
			} else {
				forgotten = true
			}
		}
		out = append(out, text)
		_ = unix.Close(k.fd) // nothing was written to it
		return false
	})
	if forgotten {
		_ = settle() // a systemd that is slow will do it all the same
	}
	return out
}

// keep drops the sockets for which stays says no.
func (s *Sockets) keep(stays func(socket) bool) {
	rest := s.waiting[:0]
	for _, k := range s.waiting {
		if stays(k) {
			rest = append(rest, k)
		}
	}
	clear(s.waiting[len(rest):])
	s.waiting = rest
}

func (k socket) String() string {
	if k.name == "" {
		return k.at.String()
	}
	return fmt.Sprintf("%q at %s", k.name, k.at)
}

// same tells whether two descriptors are of one socket.
func (k socket) same(other socket) bool {
	var a, b unix.Stat_t
	return k.at == other.at && unix.Fstat(k.fd, &a) == nil && unix.Fstat(other.fd, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// newSocket looks at a descriptor. The error says what it is instead of a listening socket.
func newSocket(fd int, name string) (socket, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == unix.ENOTSOCK { //nolint:errorlint // because unix returns the bare number
		return socket{}, fmt.Errorf("is no socket")
	}
	if err != nil {
		return socket{}, os.NewSyscallError("getsockopt", err)
	}
	if kind != unix.SOCK_STREAM {
		return socket{}, fmt.Errorf("is a %s; what is served here are streams (ListenStream=)", kindName(kind))
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return socket{}, os.NewSyscallError("getsockopt", err)
	}
	at, err := placeOf(fd)
	if err != nil {
		return socket{}, err
	}
	if listens == 0 {
		return socket{}, fmt.Errorf("at %s does not listen: it is a connection (Accept=no is needed in the socket unit) or was never told to", at)
	}
	return socket{fd: fd, name: name, at: at}, nil
}

func kindName(kind int) string {
	switch kind {
	case unix.SOCK_DGRAM:
		return "datagram socket"
	case unix.SOCK_SEQPACKET:
		return "socket of sequential packets"
	case unix.SOCK_RAW:
		return "raw socket"
	}
	return fmt.Sprintf("socket of type %d", kind)
}
