package inherit

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// storePatience is how long systemd may take to read a message.
const storePatience = 5 * time.Second

// longestName is how long the name of a descriptor may be, in bytes (sd_pid_notify_with_fds(3)).
const longestName = 255

// Stores tells whether systemd may keep sockets for this process. From systemd 254 on it says so;
// before, whoever may talk to it can only try, and FileDescriptorStoreMax= in the unit decides:
// what does not fit there is dropped, with a line in systemd's log.
func Stores() bool {
	if n, ok := os.LookupEnv("FDSTORE"); ok {
		room, err := strconv.Atoi(n)
		return err == nil && room > 0
	}
	return os.Getenv("NOTIFY_SOCKET") != ""
}

// Store has systemd keep a duplicate of a listening socket, under a name (see StoreName), for the
// process that it starts after this one: FromSystemd hands it out there. A socket that systemd has
// already is not kept twice. It does nothing where systemd is not there; with an error the socket
// is not kept. The file stays the caller's. It may be called from any goroutine, and waits for
// systemd for at most five seconds.
func Store(f *os.File, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("keep %s: %w", f.Name(), err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("keep %s: %w", f.Name(), err)
	}
	// By SyscallConn, because File.Fd makes the socket a blocking one, for every process that has it.
	var sent error
	if err := raw.Control(func(fd uintptr) {
		// Without FDPOLL=0 systemd watches it, and a listening socket that is shut down is dropped.
		sent = tell("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, unix.UnixRights(int(fd)))
	}); err != nil {
		return fmt.Errorf("keep %s: %w", f.Name(), err)
	}
	if sent != nil {
		return fmt.Errorf("keep %s in systemd's store: %w", f.Name(), sent)
	}
	return nil
}

// Unstore has systemd forget all sockets that it keeps under a name. It does nothing where
// systemd is not there or has none. Its other rules are those of Store.
func Unstore(name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("forget %q: %w", name, err)
	}
	if err := tell("FDSTOREREMOVE=1\nFDNAME="+name, nil); err != nil {
		return fmt.Errorf("take %q out of systemd's store: %w", name, err)
	}
	return nil
}

// StoreName is the name under which a socket at an address is kept: "tcp-127.0.0.1%3A7001". No two
// addresses have the same one, and none is a name that a person would give a socket.
func StoreName(network, address string) string {
	var b strings.Builder
	b.WriteString(network + "-")
	for i := range len(address) {
		if c := address[i]; c <= ' ' || c >= 0x7f || c == ':' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(address[i])
	}
	name := b.String()
	if len(name) <= longestName {
		return name
	}
	sum := fmt.Sprintf("%%~%x", sha256.Sum256([]byte(name)))
	return name[:longestName-len(sum)] + sum
}

// settle waits until systemd has done what it was told before, for at most storePatience: it closes
// the descriptor of a barrier when it comes to it (sd_notify_barrier(3)).
func settle() error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	defer func() { _ = unix.Close(pipe[0]) }() // nothing comes out of it
	err := tell("BARRIER=1", unix.UnixRights(pipe[1]))
	_ = unix.Close(pipe[1]) // systemd has the last one, or nobody
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(storePatience); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pipe[0]), Events: unix.POLLIN}}, int(max(time.Until(deadline), 0).Milliseconds()))
		switch {
		case err == unix.EINTR: // go on
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return fmt.Errorf("systemd has not read it within %v", storePatience)
		default:
			return nil
		}
	}
}

// checkName holds a name to what systemd takes; it drops the others without a word.
func checkName(name string) error {
	if name == "" || len(name) > longestName {
		return fmt.Errorf("the name of a descriptor has 1 to %d bytes, %q has %d", longestName, name, len(name))
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c >= 0x7f || c == ':' {
			return fmt.Errorf("the name of a descriptor has neither colons nor control characters nor letters beyond ASCII: %q", name)
		}
	}
	return nil
}

// tell sends a message to systemd, with descriptors, and does nothing if it is not there.
func tell(message string, rights []byte) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] != '/' && path[0] != '@' {
		return fmt.Errorf("NOTIFY_SOCKET is %q, which is not a unix socket", path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }() // what was sent has been taken
	limit := unix.NsecToTimeval(storePatience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	for {
		err := unix.Sendmsg(fd, []byte(message), rights, &unix.SockaddrUnix{Name: path}, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}
