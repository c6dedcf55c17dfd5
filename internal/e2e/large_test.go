package e2e

import (
	"bytes"
	bin "encoding/binary" // binary is that of the sidecar
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fill writes the bytes that follow position at of a stream that everybody knows: its words
// are their own numbers, mixed well, so that no part of it is like another one.
func fill(p []byte, at int64) {
	var word [8]byte
	for len(p) > 0 {
		x := uint64(at/8) + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
		n := 8
		if skip := int(at % 8); skip > 0 || len(p) < 8 {
			bin.LittleEndian.PutUint64(word[:], x)
			n = copy(p, word[skip:])
		} else {
			bin.LittleEndian.PutUint64(p, x)
		}
		p, at = p[n:], at+int64(n)
	}
}

// A source reads the first n bytes of the stream.
type source struct{ at, n int64 }

func (s *source) Read(p []byte) (int, error) {
	if s.at == s.n {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.n-s.at)]
	fill(p, s.at)
	s.at += int64(len(p))
	return len(p), nil
}

// A sink takes the stream, and nothing else.
type sink struct {
	at   int64
	want []byte
}

func (s *sink) Write(p []byte) (int, error) {
	if len(s.want) < len(p) {
		s.want = make([]byte, len(p))
	}
	want := s.want[:len(p)]
	if fill(want, s.at); !bytes.Equal(p, want) {
		for i := range p {
			if p[i] != want[i] {
				return i, fmt.Errorf("the byte at %d is %#x, want %#x", s.at+int64(i), p[i], want[i])
			}
		}
	}
	s.at += int64(len(p))
	return len(p), nil
}

// drain reads r to its end and says how many bytes of the stream were in it.
func drain(r io.Reader) (int64, error) {
	return io.CopyBuffer(&sink{}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

// A large origin has large bodies.
type large struct {
	address string
	written atomic.Int64 // of responses
}

// serveLarge starts an origin that answers GET /N with N bytes of the stream, in chunks if
// the query says so, and any other request with how many bytes of it its body was.
func serveLarge(t *testing.T) *large {
	t.Helper()
	o := &large{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			n, err := drain(r.Body)
			fmt.Fprintf(w, "%d bytes, %v", n, err)
			return
		}
		n, _ := strconv.ParseInt(r.URL.Path[1:], 10, 64)
		if r.URL.RawQuery != "chunked" {
			w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		}
		io.CopyBuffer(io.MultiWriter(w, o), struct{ io.Reader }{&source{n: n}}, make([]byte, 64<<10))
	}))
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.(*net.TCPConn).SetWriteBuffer(64 << 10) // its bytes shall not all be on their way
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	o.address = server.Listener.Addr().String()
	return o
}

// Write counts what was written of responses.
func (o *large) Write(p []byte) (int, error) {
	o.written.Add(int64(len(p)))
	return len(p), nil
}

func download(w *wire, n int64, chunked bool) error {
	path := fmt.Sprintf("/%d", n)
	if chunked {
		path += "?chunked"
	}
	if err := w.send(path); err != nil {
		return err
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || chunked != (resp.ContentLength < 0) {
		return fmt.Errorf("%s: %s, %d bytes", path, resp.Status, resp.ContentLength)
	}
	if got, err := drain(resp.Body); err != nil || got != n {
		return fmt.Errorf("%s: %d bytes, %w", path, got, err)
	}
	return nil
}

func upload(w *wire, n int64, chunked bool) error {
	req, err := http.NewRequest(http.MethodPut, "http://e2e/", struct{ io.Reader }{&source{n: n}})
	if err != nil {
		return err
	}
	if req.ContentLength = n; chunked {
		req.ContentLength = -1
	}
	if err := req.Write(w); err != nil {
		return err
	}
	a, err := w.receive()
	if want := fmt.Sprintf("%d bytes, <nil>", n); err != nil || a.body != want {
		return fmt.Errorf("an upload of %d bytes: %+v, %w", n, a, err)
	}
	return nil
}

// memory is one of the sizes in /proc/PID/status, in bytes.
func (p *process) memory(key string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return n << 10
		}
	}
	p.t.Fatalf("no %s of the process", key)
	return 0
}

func TestGigabytesPassByteForByteInConstantMemory(t *testing.T) {
	t.Parallel()
	s := start(t, static("orders", "", serveLarge(t).address))
	w := connect(t, s.address("orders"))
	w.SetDeadline(time.Now().Add(20 * patience))
	for _, transfer := range []struct {
		name    string
		run     func(*wire, int64, bool) error
		chunked bool
	}{
		{"download", download, false},
		{"download in chunks", download, true},
		{"upload", upload, false},
		{"upload in chunks", upload, true},
	} {
		if err := transfer.run(w, 1<<20, transfer.chunked); err != nil {
			t.Fatal(err)
		}
		n, begin, before := int64(sized(64<<20, 4<<30)), time.Now(), s.memory("VmHWM")
		if err := transfer.run(w, n, transfer.chunked); err != nil {
			t.Fatal(err)
		}
		grown := s.memory("VmHWM") - before
		t.Logf("%s of %d MiB in %v: its memory has grown by %d KiB at the most", transfer.name, n>>20, time.Since(begin).Round(time.Millisecond), grown>>10)
		if grown > 8<<20 {
			t.Errorf("%s: the memory in use has grown by %d KiB", transfer.name, grown>>10)
		}
	}
}
