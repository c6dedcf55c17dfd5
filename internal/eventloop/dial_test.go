package eventloop

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

func TestDialEveryKindOfAddress(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	path := filepath.Join(t.TempDir(), "socket")
	for _, at := range []struct{ network, listen, dial string }{
		{"tcp", "127.0.0.1:0", "127.0.0.1:PORT"},
		{"tcp", "127.0.0.1:0", "localhost:PORT"},
		{"tcp", "127.0.0.1:0", "[::ffff:127.0.0.1]:PORT"},
		{"tcp", "[::1]:0", "[::1]:PORT"},
		{"tcp", "[::1]:0", "localhost:PORT"},
		{"unix", path, "unix:" + path},
	} {
		if at.listen == "[::1]:0" && (!hasIPv6() || strings.HasPrefix(at.dial, "localhost") && !localhostIsIPv6()) {
			continue
		}
		ln, err := tt.g.Listen(at.network, at.listen, acceptFunc(func(c *Conn) {
			c.Loop().Go(RunFunc(func(task *Task) { defer c.Close(); echo(task, c) }))
		}), ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		to := at.dial
		if at.network == "tcp" {
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			to = strings.Replace(to, "PORT", port, 1)
		}
		for _, timeout := range []time.Duration{0, patience} {
			tt.run(l, func(*Task) {
				c, err := l.DialAddress(to, timeout)
				if err != nil {
					t.Errorf("%s: %v", to, err)
					return
				}
				defer c.Close()
				c.Write([]byte("x"))
				if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
					t.Errorf("%s: %d, %v", to, n, err)
				}
			})
		}
		ln.Close()
	}
	tt.quiet()
}

func hasIPv6() bool {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		ln.Close()
	}
	return err == nil
}

func localhostIsIPv6() bool {
	addrs, _ := net.DefaultResolver.LookupHost(context.Background(), "localhost")
	for _, a := range addrs {
		if a == "::1" {
			return true
		}
	}
	return false
}

func TestDialErrors(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	for to, want := range map[string]error{
		freeAddress(t):                         syscall.ECONNREFUSED,
		"unix:/does/not/exist":                 syscall.ENOENT,
		"localhost":                            nil,
		"localhost:no-such-port-x":             nil,
		"unix:" + strings.Repeat("long/", 100): syscall.EINVAL,
	} {
		tt.run(l, func(*Task) {
			c, err := l.DialAddress(to, patience)
			var op *net.OpError
			if c != nil || !errors.As(err, &op) || op.Op != "dial" || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %v", to, err)
			}
		})
	}
	tt.run(l, func(*Task) {
		if _, err := l.Dial(netip.AddrPort{}, 0); err == nil {
			t.Error("dialled no address")
		}
		if _, err := l.DialAddress("name.invalid:80", time.Nanosecond); err == nil {
			t.Error("dialled a name within a nanosecond")
		}
	})
	tt.quiet()
}

// freeAddress is one on which nobody listens, and nobody will soon: its port is taken.
func freeAddress(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	return localAddr(int32(fd)).String()
}

// fullListener has a queue without room: to whoever connects it does not answer at all.
func fullListener(t *testing.T, family int, at unix.Sockaddr) (fd int) {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, at); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	to, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(c) })
		unix.Connect(c, to)
	}
	return fd
}

func TestDialTimesOut(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	path := filepath.Join(t.TempDir(), "socket")
	tcp := fullListener(t, unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	fullListener(t, unix.AF_UNIX, &unix.SockaddrUnix{Name: path})
	for _, to := range []string{localAddr(int32(tcp)).String(), "unix:" + path} {
		tt.run(l, func(*Task) {
			if _, err := l.DialAddress(to, 10*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", to, err)
			}
		})
		// Closing the loops ends a dial as well.
		tt.start(l, func(*Task) {
			if _, err := l.DialAddress(to, 0); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", to, err)
			}
		})
	}
	tt.until(l, "both are dialling", func() bool { return l.counts.tasks.Load() == 2 })
	tt.g.Close()
}

func TestDialWaitsForRoomInTheQueueOfAUnixSocket(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	path := filepath.Join(t.TempDir(), "socket")
	fd := fullListener(t, unix.AF_UNIX, &unix.SockaddrUnix{Name: path})
	done := tt.start(l, func(*Task) {
		c, err := l.DialUnix(path, 0)
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	})
	tt.untilParked(l, 1)
	for {
		if c, _, err := unix.Accept(fd); err == nil {
			unix.Close(c)
			continue
		}
		break
	}
	<-done
}

func TestDialDoesNotConnectToItself(t *testing.T) {
	tt := newTester(t, 1)
	tt.run(tt.loop(), func(*Task) {
		// A socket bound to the port that it connects to is what the kernel makes of a dial
		// when it happens to choose that port.
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		self, _ := unix.Getsockname(fd)
		if err := unix.Connect(fd, self); err != nil && err != syscall.EINPROGRESS {
			t.Error(err)
		}
		c, err := tt.loop().adopt(int32(fd), endpointOfAddrPort(addrPort(localAddr(int32(fd)))))
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if err := c.connected(0); err != nil {
			t.Error(err)
		}
		if !c.selfConnected() {
			t.Error("not noticed")
		}
	})
	ln := tt.serve(echo)
	tt.run(tt.loop(), func(*Task) {
		c, err := tt.loop().Dial(addrPort(ln.Addr()), 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if c.selfConnected() {
			t.Error("another one is taken for itself")
		}
		c.CloseWrite()
		io.ReadAll(c)
	})
}
