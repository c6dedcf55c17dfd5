package secure

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sidecar/internal/eventloop"
)

// BenchmarkHandshake makes connections one after the other, each of a full handshake and a byte
// there and back; the clients are crypto/tls's, on both sides of the comparison.
func BenchmarkHandshake(b *testing.B) {
	for _, w := range []struct {
		name string
		wish wish
	}{{"ecdsa", wish{names: []string{"a.example"}}}, {"rsa", wish{names: []string{"a.example"}, rsa: true}}} {
		for _, resume := range []bool{false, true} {
			name := w.name
			if resume {
				name += "-resumed"
			}
			b.Run(name+"/loop", func(b *testing.B) {
				tt := newTester(b)
				cfg := &tls.Config{Certificates: []tls.Certificate{tt.ca.issue(w.wish)}}
				handshakes(b, tt, resume, tt.serve(cfg, func(_ *eventloop.Task, s *Conn, err error) { echo(s.Upper()) }))
			})
			b.Run(name+"/goroutines", func(b *testing.B) {
				tt := newTester(b)
				cfg := &tls.Config{Certificates: []tls.Certificate{tt.ca.issue(w.wish)}}
				handshakes(b, tt, resume, goroutines(b, cfg))
			})
		}
	}
}

// busy is the CPU time of the loop's thread.
func (t *tester) busy() (d time.Duration) {
	t.on(func() {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			t.Error(err)
		}
		d = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	})
	return d
}

// goroutines is an echo of crypto/tls.
func goroutines(b *testing.B, cfg *tls.Config) string {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, eventloop.BufferSize)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func handshakes(b *testing.B, tt *tester, resume bool, address string) {
	cfg := tt.client()
	if resume {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	one := []byte{1}
	before := tt.busy()
	defer func() { b.ReportMetric(float64((tt.busy()-before).Microseconds())/float64(b.N), "loop-µs/op") }()
	for i := 0; b.Loop(); i++ {
		c, err := tls.Dial("tcp", address, cfg)
		if err != nil {
			b.Fatal(err)
		}
		c.Write(one)
		if _, err := io.ReadFull(c, one); err != nil {
			b.Fatal(err)
		}
		if resume && i > 0 && !c.ConnectionState().DidResume {
			b.Fatal("not resumed")
		}
		c.Close()
	}
}

// BenchmarkEcho sends pieces there and back on one connection.
func BenchmarkEcho(b *testing.B) {
	for name, size := range map[string]int{"128B": 128, "16KiB": 16 << 10, "1MiB": 1 << 20} {
		for _, side := range []string{"loop", "goroutines"} {
			b.Run(name+"/"+side, func(b *testing.B) {
				tt := newTester(b)
				var address string
				if side == "loop" {
					address = tt.serve(tt.server(), func(_ *eventloop.Task, s *Conn, err error) { echo(s.Upper()) })
				} else {
					address = goroutines(b, tt.server())
				}
				c, err := tls.Dial("tcp", address, tt.client())
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				out, in := make([]byte, size), make([]byte, size)
				b.SetBytes(int64(2 * size))
				b.ReportAllocs()
				for b.Loop() {
					if size > 64<<10 {
						go c.Write(out)
					} else {
						c.Write(out)
					}
					if _, err := io.ReadFull(c, in); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkIdle measures the memory of the listener's end of an idle connection: on the heap, and
// without the client's, which is a socket in the same process. One operation is a connection.
func BenchmarkIdle(b *testing.B) {
	const conns = 400
	tt := newTester(b)
	var held []*Conn
	ready := make(chan bool, conns)
	cfg := tt.server()
	ln, err := tt.loop.Group().Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *eventloop.Conn) {
		tt.loop.Go(eventloop.RunFunc(func(task *eventloop.Task) {
			s := Server(c, cfg)
			if s.Handshake(task, patience) != nil {
				return
			}
			buf := make([]byte, 1000)
			n, _ := s.Upper().Read(buf)
			s.Upper().Write(buf[:n])
			s.Upper().Idle(readyFunc(func(c *eventloop.Conn, _ eventloop.Cause) { c.Close() }))
			held = append(held, s)
			ready <- true
		}))
	}), eventloop.ListenOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	for b.Loop() {
		before := heap()
		var clients []net.Conn
		for range conns {
			c, err := tls.Dial("tcp", ln.Addr().String(), tt.client())
			if err != nil {
				b.Fatal(err)
			}
			c.Write(make([]byte, 500))
			io.ReadFull(c, make([]byte, 500))
			<-ready
			clients = append(clients, c.NetConn()) // crypto/tls's part of the client may go
		}
		b.ReportMetric(float64(heap()-before)/conns, "B/conn")
		for _, c := range clients {
			c.Close()
		}
		tt.until("all are closed", func() bool { return tt.loop.Stats().Conns == 0 })
		tt.on(func() { held = nil })
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStorm has many clients begin a handshake at once, and measures for how long all that is
// there already then waits for its turn, in CPU time of the loop's thread: the longest of each storm, of
// which the median is reported. One operation is a storm.
func BenchmarkStorm(b *testing.B) {
	const clients = 128
	for _, w := range []wish{{names: []string{"a.example"}}, {names: []string{"a.example"}, rsa: true}} {
		name := "ecdsa"
		if w.rsa {
			name = "rsa"
		}
		b.Run(name, func(b *testing.B) {
			tt := newTester(b)
			certFile, keyFile := files(b, b.TempDir(), "a", tt.ca.issue(w))
			term, err := NewTermination(TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}})
			if err != nil {
				b.Fatal(err)
			}
			address := tt.serve(term.Config(), func(*eventloop.Task, *Conn, error) {})
			hello := helloOf(b, tt.client())
			stop, longest := false, time.Duration(0)
			ticks := tt.start(func(task *eventloop.Task) {
				for before := threadTime(); !stop; {
					task.Yield()
					now := threadTime()
					longest, before = max(longest, now-before), now
				}
			})
			var waits []time.Duration
			for b.Loop() {
				var storm []net.Conn
				for range clients {
					storm = append(storm, tt.raw(address))
				}
				tt.on(func() { longest = 0 })
				tt.release(newBarrier(0), func() { // all of it is there when the loop looks
					for _, c := range storm {
						c.Write(hello)
					}
				})
				for _, c := range storm {
					c.Read(make([]byte, 1))
					c.Close()
				}
				tt.on(func() {}) // the last turn is measured in the next one
				tt.on(func() { waits = append(waits, longest) })
			}
			tt.on(func() { stop = true })
			<-ticks
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "wait-ms")
		})
	}
}

// threadTime is the CPU time of the thread that it is called on.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// helloOf is the ClientHello of a client.
func helloOf(b *testing.B, cfg *tls.Config) []byte {
	near, far := net.Pipe()
	defer far.Close()
	go func() { tls.Client(near, cfg).Handshake(); near.Close() }()
	hello := make([]byte, eventloop.BufferSize)
	n, err := far.Read(hello)
	if err != nil {
		b.Fatal(err)
	}
	return hello[:n]
}
