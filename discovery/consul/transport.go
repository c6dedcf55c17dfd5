package consul

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds the memory that one answer may take; 10,000 instances are some 10 MB.
const maxAnswer = 64 << 20

// trusted is how much memory is taken on the word of a header alone.
const trusted = 1 << 20

var errTooLarge = errors.New("the answer is larger than 64 MiB")

// bounded fails the reading of an answer that is larger than any of Consul's: the library
// reads whatever comes into memory, bodies of errors included.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

// sensing tells of each answer whether it came by HTTP/2, where queries share a connection.
type sensing struct {
	http.RoundTripper
	tell func(http2 bool)
}

func (s sensing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(req)
	if err == nil {
		s.tell(resp.ProtoMajor >= 2)
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A memory is the answer that a watch has decoded last, as its sum. Most answers say again
// what the last one said: the wait was over, or something else has changed. To decode them
// is what would cost most of a watch's time. The index tells less: it is what the server
// says of itself, and moves for other services' changes too.
type memory struct {
	seed maphash.Seed
	sum  uint64
	size int  // of the body, 0: there is none yet
	same bool // the answer to the last query was the same again
}

// memoryKey is where a query's context holds its *memory.
type memoryKey struct{}

// recalling gives "null" to the library in place of a body that its query remembers.
type recalling struct{ http.RoundTripper }

func (r recalling) RoundTrip(req *http.Request) (*http.Response, error) {
	m, _ := req.Context().Value(memoryKey{}).(*memory)
	if m != nil {
		m.same = false
	}
	resp, err := r.RoundTripper.RoundTrip(req)
	if err != nil || m == nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	var body bytes.Buffer
	body.Grow(int(min(max(resp.ContentLength, 0), trusted)) + bytes.MinRead)
	_, err = body.ReadFrom(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	text := body.Bytes()
	sum := maphash.Bytes(m.seed, text)
	if len(text) > 0 && len(text) == m.size && sum == m.sum {
		m.same = true
		text = []byte("null")
	} else {
		m.sum, m.size = sum, len(text)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

// connections are those to the agent. They can be left behind all at once, which a transport
// does only with those that are idle.
type connections struct {
	current atomic.Pointer[http.Transport]
}

func (c *connections) RoundTrip(req *http.Request) (*http.Response, error) {
	return c.current.Load().RoundTrip(req)
}

// renew makes all further queries open connections of their own. The old ones are closed as
// soon as nobody uses them.
func (c *connections) renew() {
	old := c.current.Load()
	c.current.Store(old.Clone())
	old.CloseIdleConnections()
}

// widen has further queries open up to n connections. Queries that run go on with theirs.
func (c *connections) widen(n int) {
	old := c.current.Load()
	if old.MaxConnsPerHost >= n {
		return
	}
	wider := old.Clone()
	wider.MaxConnsPerHost = n
	if c.current.CompareAndSwap(old, wider) {
		old.CloseIdleConnections()
	}
}

func (c *connections) close() { c.current.Load().CloseIdleConnections() }

// newTransport returns a transport over connections that dial opens.
func newTransport(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext:         dial,
		TLSHandshakeTimeout: 5 * time.Second,
		// No proxy from the environment: a query that waits for minutes is what proxies cut.
		// No limit on idle connections short of the agent's: after each answer all are idle for a
		// moment, and those over the limit would be closed only to be opened again.
		MaxIdleConnsPerHost: 1000,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true, // the agent is on this host as a rule: it would cost both of us CPU
		ForceAttemptHTTP2:   true, // setting DialContext switches it off otherwise
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 3 * time.Second},
	}
}

// dialer notices a peer that has vanished within 6 s although nothing is ever sent while a
// query waits. Without it the kernel gives up after some 15 minutes, and instances that left
// stay in use so long (https://github.com/traefik/traefik/issues/11688).
var dialer = &net.Dialer{
	Timeout:         2 * time.Second, // SYN is sent again after 1 s; then rather a new attempt
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3},
	Control: func(network, _ string, raw syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return nil
		}
		var err error
		if cerr := raw.Control(func(fd uintptr) {
			err = os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 6_000))
		}); cerr != nil {
			return cerr
		}
		return err
	},
}
