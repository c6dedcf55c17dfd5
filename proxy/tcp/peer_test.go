package tcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An origin is a server behind the proxy, each of whose connections is given to the test.
type origin struct {
	t     testing.TB
	addr  string
	conns chan net.Conn
}

func newOrigin(t testing.TB) *origin { return newOriginAt(t, "tcp", "127.0.0.1:0") }

func newOriginAt(t testing.TB, network, address string) *origin {
	t.Helper()
	watchFiles(t)
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, addr: ln.Addr().String(), conns: make(chan net.Conn, 1000)}
	if network == "unix" {
		o.addr = "unix:" + address
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				close(o.conns)
				return
			}
			o.conns <- c
		}
	})
	t.Cleanup(func() {
		ln.Close()
		accepting.Wait()
		for c := range o.conns {
			c.Close()
		}
	})
	return o
}

// accept returns the next connection.
func (o *origin) accept() net.Conn {
	o.t.Helper()
	c := <-o.conns
	o.t.Cleanup(func() { c.Close() })
	return c
}

// closedPort returns an address at which nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// deafPort returns an address whose queue of connections is full: dialling it hangs.
func deafPort(t testing.TB) string {
	t.Helper()
	watchFiles(t)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
	for {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
}

func say(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("write %q: %v", text, err)
	}
}

func hear(t testing.TB, c net.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v; want %q", b[:n], err, text)
	}
}

func hearEnd(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, %v; want the end", n, err)
	}
}

func hearReset(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %d bytes, %v; want a reset", n, err)
	}
}

func closeWrite(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func reset(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// eventually waits for what other threads are about to do.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for range 1_000_000 {
		if f() {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("never: %s", what)
}

var watched sync.Map // tests whose descriptors are counted, by name

// watchFiles has the descriptors counted at the end of the test. Everything that opens some
// for a test calls it first, so that it runs after everything has been closed.
func watchFiles(t testing.TB) {
	if _, again := watched.LoadOrStore(t.Name(), true); again {
		return
	}
	before := openFiles(t)
	t.Cleanup(func() {
		watched.Delete(t.Name())
		if now := openFiles(t); now > before {
			t.Errorf("%d descriptors are open, %d were before", now, before)
		}
	})
}

// openFiles counts the sockets and pipes of this process.
func openFiles(t testing.TB) (n int) {
	t.Helper()
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if to, err := os.Readlink(name); err == nil && (strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "pipe:")) {
			n++
		}
	}
	return n
}
