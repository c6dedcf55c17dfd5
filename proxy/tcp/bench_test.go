package tcp

import (
	"io"
	"net"
	"testing"
)

// pair opens a session whose endpoint gives back what it gets.
func pair(t testing.TB) (s *stage, client net.Conn) {
	t.Helper()
	o := newOrigin(t)
	s = enter(t, setup{instances: []string{o.addr}})
	client = s.dial()
	server := o.accept()
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if err != nil {
				server.Close()
				return
			}
			if _, err := server.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		client.Close()
		s.drained()
	})
	return s, client
}

// ping sends b and waits for it to come back.
func ping(t testing.TB, c net.Conn, b []byte) {
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, size := range map[string]int{"small": 100, "bulk": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			_, client := pair(t)
			b := make([]byte, size)
			if size <= 64<<10 {
				for range 100 {
					ping(t, client, b)
				}
				if n := testing.AllocsPerRun(1000, func() { ping(t, client, b) }); n != 0 {
					t.Errorf("%v allocations per message", n)
				}
				return
			}
			back := make([]byte, size)
			written := make(chan error)
			writes := make(chan struct{})
			defer close(writes)
			go func() {
				for range writes {
					_, err := client.Write(b)
					written <- err
				}
			}()
			stream := func() {
				writes <- struct{}{}
				if _, err := io.ReadFull(client, back); err != nil {
					t.Fatal(err)
				}
				if err := <-written; err != nil {
					t.Fatal(err)
				}
			}
			for range 20 {
				stream()
			}
			if n := testing.AllocsPerRun(100, stream); n != 0 {
				t.Errorf("%v allocations per stream of %d bytes", n, size)
			}
		})
	}
}

// A session in which nothing happens has neither task nor buffer nor pipe.
func TestQuietSessionsHoldNothing(t *testing.T) {
	s, client := pair(t)
	quiet := func() {
		t.Helper()
		eventually(t, "no task is left", func() bool {
			return s.group.Loops()[0].Stats().Tasks == 0
		})
		held := make(chan bool, 1)
		l := s.proxy.lanes[0]
		l.loop.Post(func() {
			se := l.all.first.session
			held <- se.up.buf != nil || se.down.buf != nil || se.up.pipe != nil || se.down.pipe != nil
		})
		if <-held {
			t.Error("a quiet session holds a buffer or a pipe")
		}
	}
	quiet()
	ping(t, client, make([]byte, 100))
	quiet()
	for range 10 {
		ping(t, client, make([]byte, 60<<10))
	}
	quiet()
}

// Bulk turns into messages again: what follows is neither lost nor stuck.
func TestMessagesAfterBulk(t *testing.T) {
	_, client := pair(t)
	for round := range 3 {
		for range 5 {
			ping(t, client, make([]byte, 60<<10))
		}
		for range 20 {
			ping(t, client, []byte{byte(round)})
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	_, client := pair(b)
	msg := make([]byte, 128)
	ping(b, client, msg)
	b.ReportAllocs()
	for b.Loop() {
		ping(b, client, msg)
	}
}

func BenchmarkBulk(b *testing.B) {
	o := newOrigin(b)
	s := enter(b, setup{instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	go io.Copy(io.Discard, bare{server})
	chunk := make([]byte, 1<<20)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
	server.Close()
	s.drained()
}

func BenchmarkSession(b *testing.B) {
	o := newOrigin(b)
	s := enter(b, setup{instances: []string{o.addr}})
	b.ReportAllocs()
	for b.Loop() {
		client, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		server := <-o.conns
		client.(*net.TCPConn).SetLinger(0)
		client.Close()
		server.Close()
	}
	s.drained()
}
