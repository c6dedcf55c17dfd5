package secure

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"sidecar/internal/eventloop"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func TestAServerEchoesToCryptoTLS(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			tt := newTester(t)
			cfg := tt.server()
			cfg.NextProtos = []string{"h2", "http/1.1"}
			address := tt.serve(cfg, func(_ *eventloop.Task, s *Conn, err error) {
				if err != nil || s.Protocol() != "http/1.1" || s.State().Version != version {
					t.Errorf("%v, %q, %x", err, s.Protocol(), s.State().Version)
					return
				}
				if err := echo(s.Upper()); !is(err, io.EOF) {
					t.Errorf("the echo ends with %v", err)
				}
			})
			cfg = at(version, tt.client())
			cfg.NextProtos = []string{"http/1.1"}
			c, err := tls.Dial("tcp", address, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			data := randomBytes(6 << 20)
			go func() {
				for i := range 1000 { // single bytes first
					c.Write(data[i : i+1])
				}
				c.Write(data[1000:])
				c.CloseWrite()
			}()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
			}
		})
	}
}

func TestAClientSpeaksToCryptoTLS(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			tt := newTester(t)
			cfg := at(version, tt.server())
			address := tt.peer(func(raw net.Conn) {
				c := tls.Server(raw, cfg)
				io.Copy(c, c)
				c.CloseWrite()
			})
			data := randomBytes(3 << 20)
			tt.run(func(task *eventloop.Task) {
				c, err := tt.dial(task, address, tt.client())
				u := c.Upper()
				defer u.Close()
				if err != nil {
					t.Error(err)
					return
				}
				got := make([]byte, 60_000)
				for rest, size := data, 1; len(rest) > 0; size = min(3*size, len(got)) {
					part := rest[:min(size, len(rest))]
					rest = rest[len(part):]
					if n, err := u.Write(part); n != len(part) || err != nil {
						t.Errorf("wrote %d of %d: %v", n, len(part), err)
						return
					}
					if _, err := io.ReadFull(u, got[:len(part)]); err != nil || !bytes.Equal(got[:len(part)], part) {
						t.Errorf("read %d bytes: %v", len(part), err)
						return
					}
				}
				u.CloseWrite()
				if n, err := u.Read(got); n != 0 || !is(err, io.EOF) {
					t.Errorf("behind the end: %d, %v", n, err)
				}
				if _, err := u.Write([]byte("x")); err == nil {
					t.Error("wrote behind the end")
				}
			})
		})
	}
}

func TestASlowReaderHoldsTheWriterBack(t *testing.T) {
	tt := newTester(t)
	data := randomBytes(16 << 20)
	var s *Conn
	address := tt.serve(tt.server(), func(_ *eventloop.Task, c *Conn, err error) {
		s = c
		if n, err := c.Upper().Write(data); n != len(data) || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
	}) // and is closed at once: what waits goes out all the same
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tt.until("the writer waits", func() bool { return s != nil && s.held })
	tt.on(func() {
		if most := outMost + 2*piece; s.out.size > most || s.out.size == 0 || len(s.out.bufs) > most/eventloop.BufferSize+1 {
			t.Errorf("%d bytes wait, in %d buffers", s.out.size, len(s.out.bufs))
		}
	})
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
	}
}

func TestATruncatedStreamIsNoEnd(t *testing.T) {
	tt := newTester(t)
	got := make(chan error, 1)
	address := tt.serve(tt.server(), func(_ *eventloop.Task, s *Conn, err error) { got <- echo(s.Upper()) })
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello"))
	io.ReadFull(c, make([]byte, 5))
	c.NetConn().(*net.TCPConn).CloseWrite()
	if err := <-got; !is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without close_notify: %v", err)
	}
	c.NetConn().Close()
}

func TestResetLeavesNoEnd(t *testing.T) {
	tt := newTester(t)
	address := tt.serve(tt.server(), func(_ *eventloop.Task, s *Conn, err error) {
		s.Upper().Write([]byte("half of i"))
		s.Upper().Reset()
	})
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadAll(c); err == nil {
		t.Error("a reset is taken for an end")
	}
}

func TestAnIdleConnectionIsToldOfBytesOnly(t *testing.T) {
	tt := newTester(t)
	var causes []eventloop.Cause
	var s *Conn
	ready := make(chan bool, 1)
	ln, err := tt.loop.Group().Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *eventloop.Conn) {
		tt.loop.Go(eventloop.RunFunc(func(task *eventloop.Task) {
			s = Server(c, tt.server())
			if err := s.Handshake(task, patience); err != nil {
				t.Error(err)
			}
			ready <- true
		}))
	}), eventloop.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := tls.Dial("tcp", ln.Addr().String(), tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 100)
	idle := func() bool {
		return s.Upper().Idle(readyFunc(func(_ *eventloop.Conn, why eventloop.Cause) { causes = append(causes, why) }))
	}
	tt.on(func() {
		if _, err := s.Upper().TryRead(b); !is(err, eventloop.ErrWouldBlock) {
			t.Errorf("nothing has come, and: %v", err)
		}
		if !idle() {
			t.Error("cannot be idle")
		}
	})
	for i := range 3 {
		c.Write([]byte("hello"))
		tt.until("bytes are told of", func() bool { return len(causes) == i+1 })
		tt.on(func() {
			if n, err := s.Upper().TryRead(b); n != 5 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			// It is known without another read that this was all.
			if !idle() || len(s.out.bufs) != 0 {
				t.Error("not idle behind the record, or with buffers")
			}
		})
	}
	c.Close()
	tt.until("the end is told of", func() bool { return len(causes) == 4 })
	tt.on(func() {
		if _, err := s.Upper().TryRead(b); !is(err, io.EOF) || !s.Upper().Has(eventloop.HalfClosed) {
			t.Errorf("%v", err)
		}
		s.Upper().Close()
	})
	for _, why := range causes {
		if why != eventloop.CauseReadable {
			t.Errorf("%v", causes)
		}
	}
}

type readyFunc func(c *eventloop.Conn, why eventloop.Cause)

func (f readyFunc) Ready(c *eventloop.Conn, why eventloop.Cause) { f(c, why) }

func TestWritesOfATurnLeaveTogether(t *testing.T) {
	tt := newTester(t)
	counted := make(chan int, 1)
	address := tt.serve(tt.server(), func(task *eventloop.Task, s *Conn, err error) {
		task.Yield() // what is left of the handshake goes
		for range 10 {
			s.Upper().Write([]byte("0123456789"))
		}
		counted <- s.out.size
		if !s.queued {
			t.Error("nothing is queued for the end of the turn")
		}
	})
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); len(got) != 100 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if n := <-counted; n < 10*(10+headerSize) {
		t.Errorf("%d bytes wait for the end of the turn", n)
	}
}

func TestAHandshakeIsLate(t *testing.T) {
	tt := newTester(t)
	got := make(chan error, 1)
	ln, err := tt.loop.Group().Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *eventloop.Conn) {
		tt.loop.Go(eventloop.RunFunc(func(task *eventloop.Task) {
			s := Server(c, tt.server())
			defer s.Upper().Close()
			got <- s.Handshake(task, 5*time.Millisecond)
		}))
	}), eventloop.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	wantReason(t, <-got, Late, false, "was not complete in time")
	if _, err := raw.Read(make([]byte, 1)); !is(err, io.EOF) {
		t.Errorf("the client sees %v", err)
	}

	// A client's is bounded by the deadline of its upper connection.
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	tt.run(func(task *eventloop.Task) {
		c, err := tt.loop.StartDial(deaf.Addr().(*net.TCPAddr).AddrPort())
		if err != nil {
			t.Error(err)
			return
		}
		u := Client(c, tt.client()).Upper()
		u.SetWriteTimeout(5 * time.Millisecond)
		if _, err := u.Write([]byte("x")); !is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write: %v", err)
		}
		if made, err := u.Established(); made || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, %v", made, err)
		}
		u.Close()
		if made, err := u.Established(); made || !is(err, net.ErrClosed) {
			t.Errorf("%v, %v", made, err)
		}
	})
}

// fill writes until neither the socket nor the queue takes more, and returns how much that was.
func fill(task *eventloop.Task, c *Conn) (total int) {
	for b := make([]byte, 1<<20); !c.held; task.Yield() {
		n, _ := c.Upper().TryWrite(b)
		total += n
	}
	return total
}

func TestReadingGoesOnBehindCloseWrite(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			tt := newTester(t)
			data := randomBytes(300_000)
			written := make(chan int, 1)
			address := tt.serve(tt.server(), func(task *eventloop.Task, s *Conn, err error) {
				total, u := fill(task, s), s.Upper()
				if err := u.CloseWrite(); err != nil {
					t.Error(err)
				}
				task.Yield() // the end of the turn, but the end of the stream has to wait
				written <- total
				got := make([]byte, len(data)+1)
				if n, err := io.ReadFull(u, got); !is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got[:n], data) {
					t.Errorf("%d bytes, %v", n, err)
				}
				if n, err := u.Read(got); n != 0 || !is(err, io.EOF) {
					t.Errorf("%d, %v", n, err)
				}
			})
			c, err := tls.Dial("tcp", address, at(version, tt.client()))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			want := <-written
			if got, err := io.ReadAll(c); err != nil || len(got) != want {
				t.Errorf("%d bytes of %d, %v", len(got), want, err)
			}
			if n, err := c.NetConn().Read(make([]byte, 1)); n != 0 || !is(err, io.EOF) {
				t.Errorf("behind close_notify: %d, %v", n, err)
			}
			c.Write(data)
			c.CloseWrite()
		})
	}
}

func TestAnEndThatHasComeWithTheBytes(t *testing.T) {
	tt := newTester(t)
	got := make(chan error, 1)
	var s *Conn
	var waits *eventloop.Task
	address := tt.serve(tt.server(), func(task *eventloop.Task, c *Conn, err error) {
		b := make([]byte, 100)
		if _, err := c.Upper().TryRead(b); !is(err, eventloop.ErrWouldBlock) {
			t.Errorf("at the beginning: %v", err)
		}
		s, waits = c, task
		task.Park() // until all has come
		if n, err := c.Upper().Read(b); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		_, end := c.Upper().Read(b)
		got <- end
	})
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tt.until("the listener has read what there was", func() bool { return s != nil })
	c.Write([]byte("hello"))
	c.NetConn().(*net.TCPConn).CloseWrite()
	tt.until("all has come", func() bool { return s.under.Has(eventloop.HalfClosed) })
	tt.on(func() { waits.Wake() })
	if err := <-got; !is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestAPartingThatTakesTooLongIsCutOff(t *testing.T) {
	tt := newTester(t)
	var s *Conn
	address := tt.serve(tt.server(), func(task *eventloop.Task, c *Conn, err error) {
		s = c
		fill(task, c)
		c.partFor = 20 * time.Millisecond
	})
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tt.until("it is cut off", func() bool { return s != nil && s.stage == closed && tt.loop.Stats().Conns == 0 })
	if _, err := io.ReadAll(c); err == nil {
		t.Error("what was cut off looks whole")
	}
	if s.out.size != 0 || len(s.out.bufs) != 0 {
		t.Error("buffers are left")
	}
}
