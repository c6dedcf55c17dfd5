package h2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sidecar/internal/eventloop"
)

// A raw is a peer that sends and receives single frames.
type raw struct {
	*tester
	conn net.Conn
	fr   *http2.Framer
	buf  bytes.Buffer
	enc  *hpack.Encoder
}

func (t *tester) raw(conn net.Conn) *raw {
	r := &raw{tester: t, conn: conn, fr: http2.NewFramer(conn, conn)}
	r.fr.AllowIllegalWrites = true
	r.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.buf)
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return r
}

// dial connects to a server of ours, and has said and heard what stands at the beginning.
func (t *tester) dial(addr string, settings ...http2.Setting) *raw {
	t.Helper()
	r := t.connect(addr)
	r.check(r.fr.WriteSettings(settings...))
	r.greet()
	return r
}

// connect sends the preface only.
func (t *tester) connect(addr string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := t.raw(conn)
	_, err = io.WriteString(conn, prefaceText)
	r.check(err)
	return r
}

// greet reads our settings, the window, and the acknowledgement, and acknowledges.
func (r *raw) greet() {
	r.Helper()
	for acked := false; !acked; {
		switch f := r.read().(type) {
		case *http2.SettingsFrame:
			if acked = f.IsAck(); !acked {
				r.check(r.fr.WriteSettingsAck())
			}
		case *http2.WindowUpdateFrame:
		default:
			r.Fatalf("got %v", f)
		}
	}
}

// listen is a raw server, which a client of ours connects to.
func (t *tester) listen() (*Client, *raw) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	k := t.client(ln.Addr().String())
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := t.raw(conn)
	preface := make([]byte, len(prefaceText))
	if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != prefaceText {
		t.Fatalf("preface %q, %v", preface, err)
	}
	return k, r
}

func (r *raw) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// read returns the next frame.
func (r *raw) read() http2.Frame {
	r.Helper()
	f, err := r.fr.ReadFrame()
	r.check(err)
	return f
}

// next is read without what may come at any time.
func (r *raw) next() http2.Frame {
	r.Helper()
	for {
		f := r.read()
		switch g := f.(type) {
		case *http2.WindowUpdateFrame:
			continue
		case *http2.SettingsFrame:
			if g.IsAck() {
				continue
			}
		}
		return f
	}
}

// block encodes a header list: names and values in turn.
func (r *raw) block(fields ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		r.check(r.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return bytes.Clone(r.buf.Bytes())
}

func (r *raw) get(more ...string) []byte {
	return r.block(append([]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a"}, more...)...)
}

func (r *raw) post(more ...string) []byte {
	return r.block(append([]string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a"}, more...)...)
}

func (r *raw) headers(id uint32, end bool, block []byte) {
	r.Helper()
	r.check(r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: end}))
}

// wantReset reads frames until the stream is reset.
func (r *raw) wantReset(id uint32, code http2.ErrCode) {
	r.Helper()
	for {
		switch f := r.read().(type) {
		case *http2.RSTStreamFrame:
			if f.StreamID != id || f.ErrCode != code {
				r.Fatalf("stream %d is reset with %v", f.StreamID, f.ErrCode)
			}
			return
		case *http2.GoAwayFrame:
			r.Fatalf("GOAWAY %v %s", f.ErrCode, f.DebugData())
		}
	}
}

// wantGoaway reads frames until GOAWAY, and the end of the connection behind it.
func (r *raw) wantGoaway(code http2.ErrCode) {
	r.Helper()
	for {
		f, ok := r.read().(*http2.GoAwayFrame)
		if !ok {
			continue
		}
		if f.ErrCode != code {
			r.Fatalf("GOAWAY with %v (%s), want %v", f.ErrCode, f.DebugData(), code)
		}
		break
	}
	for {
		f, err := r.fr.ReadFrame()
		if errors.Is(err, io.EOF) {
			return
		}
		r.check(err)
		if _, ok := f.(*http2.RSTStreamFrame); !ok {
			r.Fatalf("behind GOAWAY comes %v", f)
		}
	}
}

// wantAlive asks whether the connection is still there.
func (r *raw) wantAlive() {
	r.Helper()
	r.check(r.fr.WritePing(false, [8]byte{1, 2, 3}))
	for {
		switch f := r.read().(type) {
		case *http2.PingFrame:
			if f.IsAck() && f.Data == [8]byte{1, 2, 3} {
				return
			}
		case *http2.GoAwayFrame:
			r.Fatalf("GOAWAY %v %s", f.ErrCode, f.DebugData())
		}
	}
}

// wantAnswer reads the response to a stream up to its end, and returns its status and size.
func (r *raw) wantAnswer(id uint32) (status string, size int) {
	r.Helper()
	for {
		switch f := r.read().(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				r.Fatalf("got %v", f)
			}
			if v := f.PseudoValue("status"); v != "" {
				status = v
			}
			if f.StreamEnded() {
				return status, size
			}
		case *http2.DataFrame:
			size += len(f.Data())
			if f.StreamEnded() {
				return status, size
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			r.Fatalf("got %v", f)
		}
	}
}

// ok answers with 200 and nothing else, without waiting for a body.
func ok(_ *eventloop.Task, c *eventloop.Conn) {
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

// hang answers nothing until the client is gone.
func hang(task *eventloop.Task, c *eventloop.Conn) {
	for !c.Has(eventloop.Broken) {
		if task.Wait(-1, eventloop.Interest{Conn: c}) != nil {
			return
		}
	}
}
