package eventloop

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scale makes a test smaller under the race detector and with -short.
func scale(n int) int {
	if raceEnabled || testing.Short() {
		return n / 5
	}
	return n
}

// pairs is scale for tests that hold n pairs of descriptors open at the same time.
func pairs(t *testing.T, n int) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return min(scale(n), int(min(limit.Cur, 1<<20)-200)/2)
}

// Thousands of connections live and die at random: both sides send, half-close, reset,
// stop reading, time out or are aborted by others. newTester finds what is left over.
func TestChurn(t *testing.T) {
	tt := newTester(t, 2)
	var lives atomic.Int64
	ln := tt.listen(acceptFunc(func(c *Conn) {
		lives.Add(1)
		if rand.IntN(4) == 0 && c.Idle(readyFunc(startRandomLife)) {
			c.SetReadTimeout(time.Duration(rand.IntN(20)) * time.Millisecond)
			return
		}
		startRandomLife(c, CauseReadable)
	}))
	clients := scale(5000)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range clients {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if i%3 == 0 {
				clientOnLoop(tt, ln)
			} else {
				clientOfNet(t, ln.Addr().String())
			}
		})
	}
	wg.Wait()
	eventually(t, "all have been accepted", func() bool { return lives.Load() >= int64(clients) })
	// Whoever waits for a client that is gone without a word is told by others.
	tt.g.Each(abortAll)
	tt.quiet()
}

func startRandomLife(c *Conn, _ Cause) {
	c.Loop().Go(RunFunc(func(task *Task) { defer c.Close(); randomLife(task, c) }))
}

func abortAll(l *Loop) {
	for _, s := range l.slots {
		if s.conn != nil {
			s.conn.Abort(errAborted)
		}
	}
}

func randomLife(task *Task, c *Conn) {
	l := c.Loop()
	b := l.Buffer()
	defer l.Release(b)
	c.SetReadTimeout(time.Duration(1+rand.IntN(30)) * time.Millisecond)
	c.SetWriteTimeout(time.Duration(1+rand.IntN(30)) * time.Millisecond)
	for range rand.IntN(20) {
		var err error
		switch rand.IntN(12) {
		case 0, 1, 2:
			_, err = c.Read(b[:1+rand.IntN(len(b))])
		case 3, 4:
			_, err = c.Write(b[:rand.IntN(len(b))])
		case 5:
			_, err = c.Writev(b[:10], nil, b[:rand.IntN(len(b))])
		case 6:
			err = c.CloseWrite()
		case 7:
			c.SetReadTimeout(time.Duration(rand.IntN(30)) * time.Millisecond)
		case 8:
			task.Yield()
		case 9:
			task.Wait(time.Millisecond, Interest{c, Readable})
		case 10: // somebody else's connection
			if s := l.slots[rand.IntN(len(l.slots))]; s.conn != nil {
				s.conn.Abort(errAborted)
			}
		case 11:
			c.Reset()
		}
		if err != nil && rand.IntN(2) == 0 {
			return
		}
	}
}

func clientOnLoop(tt *tester, ln *Listener) {
	l := tt.g.Loops()[rand.IntN(2)]
	done := make(chan struct{})
	l.Post(func() {
		l.Go(RunFunc(func(task *Task) {
			defer close(done)
			if c, err := l.Dial(addrPort(ln.Addr()), patience); err == nil {
				defer c.Close()
				randomLife(task, c)
			}
		}))
	})
	<-done
}

func clientOfNet(t *testing.T, addr string) {
	c, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return // accepted and reset before connect has returned
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Duration(1+rand.IntN(30)) * time.Millisecond))
	b := make([]byte, 20_000)
	for range rand.IntN(10) {
		switch rand.IntN(8) {
		case 0, 1, 2:
			c.Read(b)
		case 3, 4, 5:
			c.Write(b[:rand.IntN(len(b))])
		case 6:
			c.(*net.TCPConn).CloseWrite()
		case 7:
			c.(*net.TCPConn).SetLinger(0)
		}
	}
}

func TestDeadlineStorm(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	n := pairs(t, 2500)
	var late atomic.Int64
	var conns []*Conn
	tt.on(l, func() {
		for range n {
			x, y := twins(t, l)
			conns = append(conns, x, y)
			for _, c := range []*Conn{x, y} {
				l.Go(RunFunc(func(task *Task) {
					for range 3 {
						c.SetReadTimeout(time.Duration(1+rand.IntN(30)) * time.Millisecond)
						if _, err := c.Read(make([]byte, 1)); err != os.ErrDeadlineExceeded {
							t.Errorf("read: %v", err)
							return
						}
						late.Add(1)
					}
					// The last one is moved by others until they let go.
					c.SetReadTimeout(time.Hour)
					if _, err := c.Read(make([]byte, 1)); err == os.ErrDeadlineExceeded {
						late.Add(1)
					}
				}))
			}
		}
	})
	tt.until(l, "all have been late three times", func() bool { return late.Load() == int64(3*2*n) })
	for range 20 {
		tt.on(l, func() {
			for _, c := range conns {
				c.SetReadTimeout(time.Minute + time.Duration(rand.IntN(1000))*time.Second)
			}
		})
	}
	tt.on(l, func() {
		for _, c := range conns {
			c.SetReadTimeout(time.Duration(1 + rand.IntN(int(20*time.Millisecond))))
		}
	})
	tt.until(l, "all tasks have ended", func() bool { return l.counts.tasks.Load() == 0 })
	tt.on(l, func() {
		for _, c := range conns {
			c.Close()
		}
	})
	tt.quiet()
	if late.Load() != int64(4*2*n) {
		t.Errorf("%d deadlines passed, want %d", late.Load(), 4*2*n)
	}
}

func TestManySlowReadersCostNoMemory(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	n := pairs(t, 500)
	block := randomBytes(8, 64<<10)
	var conns []*Conn
	tt.on(l, func() {
		for range n {
			x, y := twins(t, l)
			conns = append(conns, x, y)
			l.Go(RunFunc(func(*Task) {
				defer x.Close()
				for range 16 {
					if _, err := x.Write(block); err != nil {
						t.Error(err)
						return
					}
				}
			}))
		}
	})
	tt.untilParked(l, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	// They go on a little at a time; the writers never hold more than the one block.
	for range 10 {
		tt.on(l, func() {
			for i := 1; i < len(conns); i += 2 {
				b := l.Buffer()
				conns[i].TryRead(b[:1000])
				l.Release(b)
			}
		})
	}
	tt.untilParked(l, n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > int64(n)*4096 {
		t.Errorf("%d bytes more for %d writers", grown, n)
	}
	tt.on(l, func() {
		for i := 1; i < len(conns); i += 2 {
			l.Go(RunFunc(func(*Task) {
				defer conns[i].Close()
				got, err := io.ReadAll(conns[i])
				if err != nil || !bytes.HasSuffix(got, block) || len(got) != 16*len(block)-10*1000 {
					t.Errorf("%d bytes came through, %v", len(got), err)
				}
			}))
		}
	})
	tt.quiet()
}
