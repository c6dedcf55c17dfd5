package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socketMode lets the owner and the group ask, and nobody else.
const socketMode = 0o660

// maxSocketPath is what the kernel's sockaddr_un holds, without the final zero.
const maxSocketPath = 107

// parse splits an address as admin.listen holds it into what package net wants.
func parse(address string) (network, where string, err error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return "", "", fmt.Errorf("admin: %q is no address; write host:port or unix:/path", address)
		}
		return "tcp", address, nil
	}
	switch {
	case strings.HasPrefix(path, "@"):
		return "", "", fmt.Errorf("admin: %q is an abstract socket, which has no permissions; write unix:/path", address)
	case !filepath.IsAbs(path):
		return "", "", fmt.Errorf("admin: %q is not an absolute path; write unix:/path", address)
	case len(path) > maxSocketPath:
		return "", "", fmt.Errorf("admin: the path of %q has %d bytes; the kernel allows %d for a socket", address, len(path), maxSocketPath)
	}
	return "unix", path, nil
}

// A socket is a listener that knows its address as the configuration writes it, and which
// file is its own.
type socket struct {
	net.Listener
	path string      // of a unix socket, else empty
	file fs.FileInfo // what was at path when it was opened
	kept atomic.Bool // another process goes on with it
}

// adopt makes a socket of a listener that is open already; nil of nil.
func adopt(l net.Listener) (*socket, error) {
	u, ok := l.(*net.UnixListener)
	if !ok {
		if l == nil {
			return nil, nil //nolint:nilnil // there is none
		}
		return &socket{Listener: l}, nil
	}
	u.SetUnlinkOnClose(false)
	path := u.Addr().String()
	file, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("admin: the file of a socket that was handed over: %w", err)
	}
	return &socket{Listener: u, path: path, file: file}, nil
}

func listen(ctx context.Context, address string) (*socket, error) {
	network, where, err := parse(address)
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		var config net.ListenConfig
		l, err := config.Listen(ctx, network, where)
		if err != nil {
			return nil, explainListen(where, err)
		}
		return &socket{Listener: l}, nil
	}
	return listenUnix(ctx, where)
}

func listenUnix(ctx context.Context, path string) (*socket, error) {
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// The mode of the file descriptor is the one that bind gives the file, less the umask:
		// so there is no moment at which others may connect.
		var failed error
		err := raw.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), socketMode) })
		return errors.Join(err, failed)
	}}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin: cannot listen on %s: %w; does its directory exist, and may this user write there (admin.listen)?", path, root(err))
	}
	// remove does this, and makes sure that the file is still this one.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	// Gives back to the group what the umask took.
	file, err := os.Lstat(path)
	if err = errors.Join(err, os.Chmod(path, socketMode)); err != nil {
		return nil, fmt.Errorf("admin: cannot set the mode of %s: %w", path, errors.Join(err, l.Close()))
	}
	return &socket{Listener: l, path: path, file: file}, nil
}

// removeStale removes the socket that a sidecar left behind when it was killed. It removes
// nothing else: no other kind of file, and no socket that somebody answers on.
func removeStale(ctx context.Context, path string) error {
	file, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("admin: cannot look at the socket's path (admin.listen): %w", err)
	}
	if file.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("admin: %s exists and is not a socket; remove it, or change admin.listen", path)
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close() // nothing was said on it
		return fmt.Errorf("admin: another process answers on %s; stop it, or change admin.listen", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("admin: cannot tell whether somebody answers on %s: %w; remove it if not, or change admin.listen", path, root(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("admin: cannot remove the socket of a process that is gone: %w", err)
	}
	return nil
}

// address is what Client takes, and what admin.listen would be.
func (s *socket) address() string {
	if s.path != "" {
		return "unix:" + s.path
	}
	return s.Addr().String()
}

// remove removes the file of a unix socket, unless a successor has put its own there.
func (s *socket) remove() {
	if s.path == "" || s.kept.Load() {
		return
	}
	if file, err := os.Lstat(s.path); err == nil && os.SameFile(file, s.file) {
		_ = os.Remove(s.path) // whoever comes next removes it as stale
	}
}

func explainListen(where string, err error) error {
	host, port, _ := net.SplitHostPort(where)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("admin: port %s of %s is in use by another process; stop it, or change admin.listen", port, host)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("admin: this host has no address %s; change admin.listen", host)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("admin: this user may not listen on port %s; choose one above 1023 for admin.listen", port)
	}
	return fmt.Errorf("admin: cannot listen on %s: %w; change admin.listen", where, root(err))
}

// root is the system's own word for what failed, without the layers that repeat the address.
func root(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
