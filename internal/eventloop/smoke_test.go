package eventloop

import (
	"crypto/rand"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

type acceptFunc func(c *Conn)

func (f acceptFunc) Accepted(c *Conn) { f(c) }

func TestEchoesWhatManyClientsSend(t *testing.T) {
	g, err := NewGroup(Options{Loops: 2, OnPanic: func(v any, s []byte) { t.Errorf("panic: %v\n%s", v, s) }})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *Conn) {
		c.Loop().Go(RunFunc(func(*Task) {
			defer c.Close()
			b := c.Loop().Buffer()
			defer c.Loop().Release(b)
			for {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				if _, err := c.Write(b[:n]); err != nil {
					return
				}
			}
		}))
	}), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			data := make([]byte, 300_000)
			rand.Read(data)
			go func() { c.Write(data); c.(*net.TCPConn).CloseWrite() }()
			got, err := io.ReadAll(c)
			if err != nil || string(got) != string(data) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	ln.Close()
	g.Close()
	for _, l := range g.Loops() {
		if s := l.Stats(); s.Conns != 0 || s.Tasks != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestDialSleepDo(t *testing.T) {
	g, _ := NewGroup(Options{Loops: 1})
	defer g.Close()
	srv, _ := net.Listen("tcp", "127.0.0.1:0")
	defer srv.Close()
	go func() {
		c, _ := srv.Accept()
		io.Copy(c, c)
		c.Close()
	}()
	done := make(chan string, 1)
	l := g.Loops()[0]
	l.Post(func() {
		l.Go(RunFunc(func(t *Task) {
			c, err := l.DialAddress("localhost:"+portOf(srv.Addr()), time.Second)
			if err != nil {
				done <- err.Error()
				return
			}
			defer c.Close()
			c.Write([]byte("hallo"))
			b := make([]byte, 10)
			n, err := c.Read(b)
			if err := t.Sleep(20 * time.Millisecond); err != nil {
				done <- err.Error()
			}
			c.SetReadTimeout(10 * time.Millisecond)
			_, err = c.Read(b[n:])
			done <- string(b[:n]) + " " + err.Error()
		}))
	})
	if s := <-done; s != "hallo i/o timeout" {
		t.Error(s)
	}
}

func portOf(a net.Addr) string { _, p, _ := net.SplitHostPort(a.String()); return p }
