package eventloop

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenOnEveryKindOfAddress(t *testing.T) {
	tt := newTester(t, 2)
	path := filepath.Join(t.TempDir(), "socket")
	for _, at := range []struct{ network, listen, dial string }{
		{"tcp", "127.0.0.1:0", "127.0.0.1"},
		{"tcp", "localhost:0", "127.0.0.1"},
		{"tcp", "[::1]:0", "::1"},
		{"tcp", ":0", "127.0.0.1"},
		{"tcp", ":0", "::1"},
		{"tcp", "0.0.0.0:0", "127.0.0.1"},
		{"unix", path, path},
	} {
		if at.network == "tcp" && strings.Contains(at.listen+at.dial, "::1") && !hasIPv6() {
			continue
		}
		peer := make(chan net.Addr, 1)
		ln, err := tt.g.Listen(at.network, at.listen, acceptFunc(func(c *Conn) {
			peer <- c.RemoteAddr()
			c.Loop().Go(RunFunc(func(task *Task) { defer c.Close(); echo(task, c) }))
		}), ListenOptions{})
		if err != nil {
			t.Errorf("%s: %v", at.listen, err)
			continue
		}
		to := at.dial
		if at.network == "tcp" {
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			to = net.JoinHostPort(at.dial, port)
		} else if ln.Addr().String() != path {
			t.Errorf("%s: says it is at %s", path, ln.Addr())
		}
		c, err := net.Dial(at.network, to)
		if err != nil {
			t.Errorf("%s: %v", at.listen, err)
			continue
		}
		if got := (<-peer).String(); at.network == "tcp" && got != c.LocalAddr().String() {
			t.Errorf("%s: peer %s, is %s", at.listen, got, c.LocalAddr())
		}
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		c.Close()
		ln.Close()
		ln.Close()
		if ln.Accepted() != 1 || ln.Errors() != 0 {
			t.Errorf("%s: %d accepted, %d errors", at.listen, ln.Accepted(), ln.Errors())
		}
		if c, err := net.Dial(at.network, to); err == nil {
			c.Close()
			t.Errorf("%s: still listening", at.listen)
		}
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the Unix socket is still there")
	}
	tt.quiet()
}

func TestListenErrors(t *testing.T) {
	tt := newTester(t, 1)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, at := range []struct {
		network, address string
		want             error
	}{
		{"tcp", taken.Addr().String(), syscall.EADDRINUSE},
		{"tcp", "no-address", nil},
		{"tcp", "name.invalid:80", nil},
		{"tcp", "127.0.0.1:http", nil},
		{"udp", "127.0.0.1:0", net.UnknownNetworkError("udp")},
		{"unix", "/does/not/exist", syscall.ENOENT},
	} {
		ln, err := tt.g.Listen(at.network, at.address, nil, ListenOptions{})
		if err == nil || at.want != nil && !errors.Is(err, at.want) {
			t.Errorf("%s %s: %v", at.network, at.address, err)
		}
		if ln != nil {
			ln.Close()
		}
	}
	tt.g.Close()
	if _, err := tt.g.Listen("tcp", "127.0.0.1:0", nil, ListenOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("on a closed group: %v", err)
	}
}

func TestAUnixSocketLeftByADeadProcessIsReplaced(t *testing.T) {
	tt := newTester(t, 1)
	path := filepath.Join(t.TempDir(), "socket")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tt.g.Listen("unix", path, nil, ListenOptions{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("beside a living one: %v", err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	ln, err := tt.g.Listen("unix", path, acceptFunc(func(c *Conn) { c.Close() }), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tt.g.Listen("unix", path, nil, ListenOptions{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("in place of a file: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "precious" {
		t.Error("the file is gone")
	}
}

func TestServeAnInheritedSocket(t *testing.T) {
	tt := newTester(t, 2)
	std, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := std.(*net.TCPListener).File()
	std.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	noDelay := make(chan int, 1)
	ln, err := tt.g.Serve(f, acceptFunc(func(c *Conn) {
		v, _ := unix.GetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
		noDelay <- v
		c.Close()
	}), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := tt.dial(ln)
	io.ReadAll(c)
	if <-noDelay == 0 {
		t.Error("its connections are delayed")
	}
	ln.Close()
	// The socket is the caller's: it still listens, and may be served again.
	again, err := tt.g.Serve(f, acceptFunc(func(c *Conn) { c.Close() }), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	io.ReadAll(tt.dial(again))
	again.Close()

	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := tt.g.Serve(file, nil, ListenOptions{}); err == nil {
		t.Error("served a file")
	}
	connected, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	if _, err := tt.g.Serve(connected, nil, ListenOptions{}); err == nil {
		t.Error("served a socket that does not listen")
	}
}

func TestConnectionsGoToTheLessBusyLoop(t *testing.T) {
	tt := newTester(t, 2)
	const conns = 400
	var mu sync.Mutex
	open := map[*Conn]bool{}
	ln := tt.listen(acceptFunc(func(c *Conn) {
		mu.Lock()
		open[c] = true
		mu.Unlock()
	}))
	// One loop is kept from accepting for a while, so that the other one has to.
	hold := make(chan struct{})
	tt.g.Loops()[0].Post(func() { <-hold })
	for range conns {
		tt.dial(ln)
	}
	eventually(t, "all have been accepted", func() bool { return ln.Accepted() == conns })
	close(hold)
	counts := make([]int64, 2)
	eventually(t, "all have arrived", func() bool { mu.Lock(); defer mu.Unlock(); return len(open) == conns })
	for i, l := range tt.g.Loops() {
		counts[i] = l.Stats().Conns
	}
	low, high := min(counts[0], counts[1]), max(counts[0], counts[1])
	if low+high != conns || low+low/4+loadSlack < high-1 {
		t.Errorf("%d and %d connections", counts[0], counts[1])
	}
	for c := range open {
		c.Loop().Post(func() { c.Close() })
	}
	tt.quiet()
}

func TestNothingIsAcceptedAfterClose(t *testing.T) {
	for range 20 {
		tt := newTester(t, 2)
		var closed atomic.Bool
		ln := tt.listen(acceptFunc(func(c *Conn) {
			if closed.Load() {
				t.Error("accepted after Close")
			}
			c.Close()
		}))
		addr := ln.Addr().String()
		stop := make(chan struct{})
		var dialers sync.WaitGroup
		for range 4 {
			dialers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if c, err := net.Dial("tcp", addr); err == nil {
						c.Close()
					}
				}
			})
		}
		eventually(t, "some have been accepted", func() bool { return ln.Accepted() > 20 })
		ln.Close()
		closed.Store(true)
		close(stop)
		dialers.Wait()
		tt.quiet()
	}
}

func TestTheGroupMayCloseBeforeItsListener(t *testing.T) {
	tt := newTester(t, 2)
	ln := tt.serve(echo)
	tt.dial(ln)
	tt.g.Close()
	ln.Close()
}

// Who waits in the queue of a socket that is closed has been accepted, as far as the client knows, and is
// served: the kernel would reset it.
func TestWhoWaitsInTheQueueOfAClosedSocketIsServed(t *testing.T) {
	const conns = 300 // more than a few turns take
	path := filepath.Join(t.TempDir(), "socket")
	for _, at := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", path}} {
		tt := newTester(t, 2)
		var open atomic.Int64
		ln, err := tt.g.Listen(at.network, at.address, acceptFunc(func(c *Conn) {
			open.Add(1)
			c.Loop().Go(RunFunc(func(task *Task) { defer c.Close(); echo(task, c) }))
		}), ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// As when the loops are busy, or pause: nobody takes from the queue.
		for i, l := range tt.g.Loops() {
			tt.on(l, ln.gates[i].shut)
		}
		var clients []net.Conn
		for range conns {
			c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			clients = append(clients, c)
		}
		ln.Close()
		if n := open.Load(); n != conns {
			t.Errorf("%s: the Acceptor was given %d connections by the end of Close, want %d", at.network, n, conns)
		}
		for i, c := range clients {
			_, err := c.Write([]byte("x"))
			if err == nil {
				_, err = io.ReadFull(c, make([]byte, 1))
			}
			if err != nil {
				t.Fatalf("%s: client %d is not served: %v", at.network, i, err)
			}
			c.Close()
		}
		if c, err := net.Dial(ln.Addr().Network(), ln.Addr().String()); err == nil {
			c.Close()
			t.Errorf("%s: still listening", at.network)
		}
		tt.quiet()
	}
}

// A pause of a loop does not keep Close from serving who waits.
func TestWhoWaitsDuringAPauseIsServedWhenTheSocketCloses(t *testing.T) {
	tt := newTester(t, 1)
	ln := tt.serve(echo)
	gate := ln.gates[0]
	tt.on(tt.loop(), func() {
		gate.pause = maxPause // twice that is as long as a pause gets
		gate.backOff(syscall.EMFILE)
	})
	clients := make([]net.Conn, 40)
	for i := range clients {
		clients[i] = tt.dial(ln)
	}
	ln.Close()
	if n := ln.Paused(); n != 0 {
		t.Errorf("%d loops pause at a closed socket", n)
	}
	for _, c := range clients {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	tt.quiet()
}
