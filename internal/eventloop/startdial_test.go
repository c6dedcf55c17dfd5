package eventloop

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settled waits until a handshake has ended.
func settled(task *Task, c *Conn) error {
	for {
		made, err := c.Established()
		if made || err != nil {
			return err
		}
		if err := task.Wait(-1, Interest{c, Writable}); err != nil {
			return err
		}
	}
}

func TestStartDialConnects(t *testing.T) {
	tt := newTester(t, 1)
	ln := tt.serve(echo)
	tt.run(tt.loop(), func(task *Task) {
		c, err := task.Loop().StartDial(addrPort(ln.Addr()))
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if err := settled(task, c); err != nil {
			t.Error(err)
		}
		c.Write([]byte("x"))
		if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
	tt.quiet()
}

func TestStartDialIsRefused(t *testing.T) {
	tt := newTester(t, 1)
	to := netip.MustParseAddrPort(freeAddress(t))
	tt.run(tt.loop(), func(task *Task) {
		c, err := task.Loop().StartDial(to)
		if err == nil {
			err = settled(task, c)
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v, want that it is refused", err)
		}
		if _, err := task.Loop().StartDial(netip.AddrPort{}); err == nil {
			t.Error("dialled no address")
		}
	})
	tt.quiet()
	tt.on(tt.loop(), func() {
		if _, err := tt.loop().StartDial(to); err != errNoTask && !errors.Is(err, errNoTask) {
			t.Errorf("outside of a task: %v", err)
		}
	})
}

// startDeaf begins to connect to somebody who does not answer.
func startDeaf(t *testing.T, task *Task, fd int) *Conn {
	c, err := task.Loop().StartDial(addrPort(localAddr(int32(fd))))
	if err != nil {
		t.Error(err)
		return nil
	}
	if made, err := c.Established(); made || err != nil || c.Has(Writable) {
		t.Errorf("%v, %v at once", made, err)
	}
	return c
}

func TestStartDialIsBoundedByTheWriteDeadline(t *testing.T) {
	tt := newTester(t, 1)
	fd := fullListener(t, unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	tt.run(tt.loop(), func(task *Task) {
		c := startDeaf(t, task, fd)
		defer c.Close()
		c.SetWriteTimeout(10 * time.Millisecond)
		if err := settled(task, c); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, want a timeout", err)
		}
		c.SetWriteTimeout(0)
		if made, err := c.Established(); made || err != nil {
			t.Errorf("without a deadline: %v, %v", made, err)
		}
	})
	tt.quiet()
}

func TestStartDialIsClosedWhilePending(t *testing.T) {
	tt := newTester(t, 1)
	fd := fullListener(t, unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	tt.run(tt.loop(), func(task *Task) {
		c := startDeaf(t, task, fd)
		c.Close()
		if made, err := c.Established(); made || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, %v", made, err)
		}
	})
	tt.quiet()
}

func TestStartDialIsAborted(t *testing.T) {
	tt := newTester(t, 1)
	fd := fullListener(t, unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	why := errors.New("why")
	var c *Conn
	done := tt.start(tt.loop(), func(task *Task) {
		c = startDeaf(t, task, fd)
		defer c.Close()
		if err := settled(task, c); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
	})
	tt.untilParked(tt.loop(), 1)
	tt.on(tt.loop(), func() { c.Abort(why) })
	<-done
}

func TestStartDialDoesNotConnectToItself(t *testing.T) {
	tt := newTester(t, 1)
	tt.run(tt.loop(), func(*Task) {
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
		if made, err := c.Established(); made || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v, %v; it speaks with itself", made, err)
		}
	})
}

// Who connects and is reset at once learns of it, and not of a connection.
func TestStartDialIsReset(t *testing.T) {
	tt := newTester(t, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tt.run(tt.loop(), func(task *Task) {
		c, err := task.Loop().StartDial(addrPort(ln.Addr()))
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		far, err := ln.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		far.(*net.TCPConn).SetLinger(0)
		far.Close()
		for !c.Has(Broken) {
			task.Yield()
		}
		if made, err := c.Established(); made || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, %v", made, err)
		}
	})
	tt.quiet()
}
