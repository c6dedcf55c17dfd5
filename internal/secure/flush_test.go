package secure

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"sidecar/internal/eventloop"
)

func TestFlushEndsWhenAllHasLeft(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			tt := newTester(t)
			var s *Conn
			total := make(chan int, 1)
			flushed := make(chan error, 1)
			address := tt.serve(tt.server(), func(task *eventloop.Task, c *Conn, err error) {
				n, u := fill(task, c), c.Upper()
				if err := u.CloseWrite(); err != nil {
					t.Error(err)
				}
				s = c
				total <- n
				flushed <- u.Flush(0)
				if c.out.size > 0 || c.shut {
					t.Errorf("%d bytes wait; the end waits: %v", c.out.size, c.shut)
				}
			})
			c, err := tls.Dial("tcp", address, at(version, tt.client()))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			want := <-total
			tt.until("it waits for the client", func() bool { return s != nil && s.told > 0 })
			if len(flushed) > 0 {
				t.Fatal("it has ended with bytes in the queue")
			}
			if got, err := io.ReadAll(c); err != nil || len(got) != want {
				t.Errorf("%d bytes of %d, %v", len(got), want, err)
			}
			if err := <-flushed; err != nil {
				t.Error(err)
			}
		})
	}
}

// Nobody has been held back, and yet somebody waits.
func TestFlushEndsWhenTheLastHasLeftAtOnce(t *testing.T) {
	tt := newTester(t)
	var s *Conn
	flushed := make(chan error, 1)
	address := tt.serve(tt.server(), func(task *eventloop.Task, c *Conn, err error) {
		fill(task, c)
		c.held = false
		s = c
		flushed <- c.Upper().Flush(0)
	})
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tt.until("it waits for the client", func() bool { return s != nil && s.told > 0 })
	go func() { _, _ = io.Copy(io.Discard, c) }()
	select {
	case err := <-flushed:
		if err != nil {
			t.Error(err)
		}
	case <-time.NewTimer(patience).C:
		t.Error("nobody is told that all has left")
	}
}

func TestFlushEndsWithTheSocket(t *testing.T) {
	tt := newTester(t)
	var s *Conn
	flushed := make(chan error, 1)
	address := tt.serve(tt.server(), func(task *eventloop.Task, c *Conn, err error) {
		fill(task, c)
		s = c
		flushed <- c.Upper().Flush(0)
	})
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	tt.until("it waits for the client", func() bool { return s != nil && s.told > 0 })
	c.NetConn().(*net.TCPConn).SetLinger(0)
	c.NetConn().Close()
	if err := <-flushed; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%v", err)
	}
}

// What the kernel has taken is the client's, even if the loop ends or the time is over; only what has
// not left is lost, which the missing close_notify tells.
func TestAPartingThatIsCutOffLeavesTheKernelsPart(t *testing.T) {
	for name, cut := range map[string]func(*tester, *Conn){
		"by time":           func(_ *tester, c *Conn) { c.partFor = time.Millisecond },
		"by the loop's end": nil,
	} {
		t.Run(name, func(t *testing.T) {
			g, err := eventloop.NewGroup(eventloop.Options{Loops: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			tt := &tester{TB: t, loop: g.Loops()[0], ca: newAuthority(t, "ours")}
			var s *Conn
			var waits int
			address := tt.serve(tt.server(), func(task *eventloop.Task, c *Conn, err error) {
				total := fill(task, c)
				waits = total - c.out.size
				s = c
				if cut != nil {
					cut(tt, c)
				}
			})
			c, err := tls.Dial("tcp", address, tt.client())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			tt.until("it is closed", func() bool { return s != nil && s.stage >= parting })
			if cut == nil {
				g.Close()
			} else {
				tt.until("it is cut off", func() bool { return s.stage == closed })
			}
			// Records and their heads are not told apart here: one of them may be cut in two.
			if got, err := io.ReadAll(c); !is(err, io.ErrUnexpectedEOF) || len(got) < waits-2*piece {
				t.Errorf("%d bytes, %v; want about %d and a stream cut off", len(got), err, waits)
			}
		})
	}
}
