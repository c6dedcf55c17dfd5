package h2

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sidecar/internal/eventloop"
)

func TestAServerOfNetHTTPIsAsked(t *testing.T) {
	tt := newTester(t)
	k := tt.client(tt.peer(0, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 {
			// With a length, which the server finds out otherwise, HTTP/1.1 has no trailers.
			w.Header().Set("X-Path", r.URL.RequestURI())
			w.Header().Set("X-Host", r.Host)
			w.(http.Flusher).Flush()
		}
		echo(w, r)
	}))
	for _, size := range []int{0, 1, 1000, 16384, 70_000, 3_000_000} {
		body := strings.Repeat("0123456789", size/10+1)[:size]
		tt.run(func(*eventloop.Task) {
			req := request(t, "POST", "http://example.org/a?b=c", io.MultiReader(strings.NewReader(body)))
			resp, got, err := roundTrip(k, req)
			if err != nil || got != body {
				t.Errorf("%d octets: got %d, %v", size, len(got), err)
				return
			}
			if resp.Header.Get("X-Path") != "/a?b=c" || resp.Header.Get("X-Host") != "example.org" || resp.Trailer.Get("X-Sum") != strconv.Itoa(size) {
				t.Errorf("head %v, trailers %v", resp.Header, resp.Trailer)
			}
		})
	}
	if tt.all.ResetsOut.Load() != 0 || k.Streams() != 0 {
		t.Errorf("%d resets, %d streams", tt.all.ResetsOut.Load(), k.Streams())
	}
	tt.on(k.Close)
	tt.quiet()
}

func TestABulkBothWaysAtOnce(t *testing.T) {
	tt := newTester(t)
	k := tt.client(tt.peer(0, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	const streams, size = 20, 1 << 20
	left := make(chan struct{}, streams)
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for range streams {
		tt.on(func() {
			c, err := k.Open()
			if err != nil {
				t.Error(err)
				return
			}
			tt.l.Go(eventloop.RunFunc(func(task *eventloop.Task) {
				defer func() { c.Close(); left <- struct{}{} }()
				if n, err := pump(task, c, body); err != nil || n < size {
					t.Errorf("got %d octets, %v", n, err)
				}
			}))
		})
	}
	for range streams {
		<-left
	}
}

// pump sends body and receives as much at the same time, as a task that serves two connections
// does. It returns how many octets came in all.
func pump(task *eventloop.Task, c *eventloop.Conn, body []byte) (int, error) {
	out := append([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"), body...)
	in, got := make([]byte, 16<<10), 0
	for {
		want := eventloop.Readable
		if len(out) > 0 {
			n, err := c.TryWrite(out[:min(len(out), 16<<10)])
			out = out[n:]
			if err != nil && err != eventloop.ErrWouldBlock {
				return got, err
			}
			want |= eventloop.Writable
		}
		n, err := c.TryRead(in)
		got += n
		switch {
		case err == io.EOF:
			return got, nil
		case err == eventloop.ErrWouldBlock:
			if err := task.Wait(-1, eventloop.Interest{Conn: c, Events: want}); err != nil {
				return got, err
			}
		case err != nil:
			return got, err
		}
	}
}

func TestTheStreamLimitIsKept(t *testing.T) {
	tt := newTester(t)
	goOn := make(chan struct{})
	k := tt.client(tt.peer(3, func(w http.ResponseWriter, r *http.Request) { <-goOn }))
	changes := 0
	tt.until("the settings are there", func() bool { return k.Limit() == 3 })
	var open []*eventloop.Conn
	tt.on(func() {
		k.OnChange(func() { changes++ })
		for range 3 {
			c, err := k.Open()
			if err != nil {
				t.Error(err)
				return
			}
			open = append(open, c)
		}
		if k.Free() {
			t.Error("a fourth stream is free")
		}
		_, err := k.Open()
		if !errors.Is(err, ErrUnprocessed) || !errors.Is(err, ErrFull) {
			t.Error("a fourth stream:", err)
		}
		open[1].Close()
		if changes != 1 || !k.Free() {
			t.Errorf("%d changes, free %v", changes, k.Free())
		}
	})
	close(goOn)
	tt.on(func() {
		open[0].Close()
		open[2].Close()
		k.Close()
	})
	tt.quiet()
}
