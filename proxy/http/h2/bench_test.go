package h2

import (
	"bytes"
	"io"
	"strconv"
	"testing"

	"sidecar/internal/eventloop"
)

const (
	benchRequest  = "GET /hello HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
	benchResponse = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello, world"
)

// A runner answers streams, one after the other, with the same text as soon as the head is there.
type runner struct {
	c    *eventloop.Conn
	l    *[]*runner
	in   [512]byte
	text []byte
}

func (r *runner) Run(*eventloop.Task) {
	if n, err := r.c.Read(r.in[:]); err == nil && bytes.HasSuffix(r.in[:n], []byte("\r\n\r\n")) {
		_, _ = r.c.Write(r.text)
	}
	r.c.Close()
	*r.l = append(*r.l, r)
}

// BenchmarkStreams is one request and its answer between a client and a server on one loop, over
// a socket, with so many streams at once. There is one write for as many of them as there are.
func BenchmarkStreams(b *testing.B) {
	for _, c := range []struct {
		name  string
		count int
	}{{"1", 1}, {"32", 32}, {"256", 256}} {
		b.Run(c.name, func(b *testing.B) { benchStreams(b, c.count) })
	}
}

// benchPair is a client that is connected to a server with runners, and what ends both.
func benchPair(tt *tester) (k *Client, end func()) {
	var spare []*runner
	ln, err := tt.g.Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *eventloop.Conn) {
		s := NewServer(c, &tt.opts, func(stream *eventloop.Conn) {
			var r *runner
			if n := len(spare); n > 0 {
				r = spare[n-1]
				spare = spare[:n-1]
			} else {
				r = &runner{l: &spare, text: []byte(benchResponse)}
			}
			r.c = stream
			tt.l.Go(r)
		})
		tt.l.Go(eventloop.RunFunc(func(task *eventloop.Task) { s.Serve(task, nil) }))
	}), eventloop.ListenOptions{})
	if err != nil {
		tt.Fatal(err)
	}
	k = tt.client(ln.Addr().String())
	tt.until("the limit is known", func() bool { return k.Limit() == 256 })
	return k, func() {
		ln.Close()
		tt.on(k.Close)
		tt.quiet()
	}
}

func benchStreams(b *testing.B, count int) {
	tt := newTester(b)
	k, end := benchPair(tt)
	left, done := b.N, make(chan struct{}, count)
	request := []byte(benchRequest)
	b.ReportAllocs()
	b.ResetTimer()
	for range count {
		tt.on(func() {
			tt.l.Go(eventloop.RunFunc(func(*eventloop.Task) {
				defer func() { done <- struct{}{} }()
				in := make([]byte, 512)
				for left > 0 {
					left--
					if err := benchCall(k, request, in); err != nil {
						b.Error(err)
						return
					}
				}
			}))
		})
	}
	for range count {
		<-done
	}
	b.StopTimer()
	end()
}

func benchCall(k *Client, request, in []byte) error {
	c, err := k.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(request); err != nil {
		return err
	}
	for {
		switch _, err := c.Read(in); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// BenchmarkBulk is a mebibyte of a response's body, with so many streams at once.
func BenchmarkBulk(b *testing.B) {
	for _, count := range []int{1, 16} {
		b.Run(strconv.Itoa(count), func(b *testing.B) { benchBulk(b, count) })
	}
}

func benchBulk(b *testing.B, count int) {
	const size = 1 << 20
	tt := newTester(b)
	data := make([]byte, 16<<10)
	k := tt.client(tt.serve(func(_ *eventloop.Task, c *eventloop.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(b.N*size/count/len(data)*len(data))+"\r\n\r\n")
		for range b.N * size / count / len(data) {
			if _, err := c.Write(data); err != nil {
				b.Error(err)
				return
			}
		}
	}))
	done := make(chan struct{}, count)
	b.SetBytes(size)
	b.ResetTimer()
	for range count {
		tt.on(func() {
			tt.l.Go(eventloop.RunFunc(func(*eventloop.Task) {
				defer func() { done <- struct{}{} }()
				if err := benchCall(k, []byte(benchRequest), make([]byte, 16<<10)); err != nil {
					b.Error(err)
				}
			}))
		})
	}
	for range count {
		<-done
	}
	b.StopTimer()
	tt.on(k.Close)
}
