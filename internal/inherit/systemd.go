package inherit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstDescriptor is where systemd puts the first one (sd_listen_fds(3)).
const firstDescriptor = 3

// variables are what systemd says about the sockets that it hands over. They are for this process
// only: one that it starts would take them for its own.
var variables = [...]string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}

// FromSystemd takes the listening sockets that systemd has handed to this process: those of its
// socket units, and those that an earlier process has left in the fd store. There may be none,
// and there are none where systemd did not start it. One that comes in both ways is there once.
//
// It removes the variables that tell of them from the environment and marks the descriptors as
// close-on-exec, whatever it returns: it is called once, early, before anything is started. With
// an error all of them are closed; the error names each socket that cannot be listened on, such as
// a datagram socket, and what to do.
func FromSystemd() (*Sockets, error) {
	var values [len(variables)]string
	for i, name := range variables {
		values[i] = os.Getenv(name)
		if err := os.Unsetenv(name); err != nil {
			return nil, fmt.Errorf("sockets from systemd: %w", err)
		}
	}
	s, err := receive(firstDescriptor, os.Getpid(), values[0], values[1], values[2])
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	return s, nil
}

// receive takes the descriptors from first on that the variables tell of.
func receive(first, self int, pid, count, names string) (*Sockets, error) {
	if pid == "" || count == "" {
		return &Sockets{}, nil
	}
	if p, err := strconv.Atoi(pid); err != nil || p <= 0 {
		return nil, fmt.Errorf("LISTEN_PID is %q, want the number of a process; start it by systemd or systemd-socket-activate, or unset LISTEN_PID and LISTEN_FDS", pid)
	} else if p != self {
		return &Sockets{}, nil // somebody forgot to remove them; they are not for this process
	}
	n, err := strconv.ParseUint(count, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_FDS is %q, want how many sockets were handed over; unset it if there are none", count)
	}
	if err := seal(first, int(n)); err != nil {
		return nil, err
	}
	labels, err := labels(int(n), names)
	if err != nil {
		closeAll(first, int(n))
		return nil, err
	}
	s := &Sockets{stored: true}
	var wrong []error
	var twice []int
	for i, label := range labels {
		k, err := newSocket(first+i, label)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%q (descriptor %d) %w", label, first+i, err))
			continue
		}
		// A socket of a unit may be in the store as well. The unit's come first, with the names that the
		// operator has chosen.
		if slices.ContainsFunc(s.waiting, k.same) {
			twice = append(twice, k.fd)
			continue
		}
		s.waiting = append(s.waiting, k)
	}
	if len(wrong) > 0 {
		closeAll(first, int(n))
		return nil, errors.Join(wrong...)
	}
	closeEach(twice) // not before: a number that is free may be somebody else's by the time all are closed
	return s, nil
}

// seal makes sure that no child process gets them, before anything else can happen. Nothing is
// touched unless all of them are there: what has such a number otherwise is somebody else's.
func seal(first, n int) error {
	for fd := first; fd < first+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return fmt.Errorf("LISTEN_FDS is %d, but descriptor %d is not open; unset it if no sockets are handed over", n, fd)
		}
	}
	for fd := first; fd < first+n; fd++ {
		unix.CloseOnExec(fd)
	}
	return nil
}

// unnamed is what systemd calls a socket that has no name.
const unnamed = "unknown"

// labels are the names of n sockets.
func labels(n int, names string) ([]string, error) {
	if names == "" {
		out := make([]string, n)
		for i := range out {
			out[i] = unnamed
		}
		return out, nil
	}
	out := strings.Split(names, ":")
	if len(out) != n {
		return nil, fmt.Errorf("LISTEN_FDNAMES is %q, which has %d names, and LISTEN_FDS is %d; unset LISTEN_FDNAMES, or give each socket a name", names, len(out), n)
	}
	return out, nil
}

func closeAll(first, n int) {
	for fd := first; fd < first+n; fd++ {
		_ = unix.Close(fd) // nothing was written to it
	}
}
