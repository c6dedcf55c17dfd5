package healthcheck

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// refusing returns an address nothing listens on.
func refusing(t *testing.T) string {
	t.Helper()
	l := listen(t, "tcp", "127.0.0.1:0")
	_ = l.Close()
	return l.Addr().String()
}

// answer accepts one connection on l, reads a request and writes response as it is. The
// request arrives on the channel.
func answer(t *testing.T, l net.Listener, response string) <-chan *http.Request {
	t.Helper()
	requests := make(chan *http.Request, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		requests <- req
		_, _ = conn.Write([]byte(response))
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return requests
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one that says %q", err, text)
	}
}

func TestTCP(t *testing.T) {
	open := listen(t, "tcp", "127.0.0.1:0")
	if err := TCP(TCPOptions{}).Probe(t.Context(), open.Addr().String()); err != nil {
		t.Error(err)
	}
	err := TCP(TCPOptions{}).Probe(t.Context(), refusing(t))
	if err == nil || err.Error() != "connect: connection refused" {
		t.Errorf("error %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, TCP(TCPOptions{}).Probe(ended, open.Addr().String()), "connect: ")
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	wantError(t, TCP(TCPOptions{}).Probe(t.Context(), "unix:"+path), "no such file")
	l := listen(t, "unix", path)
	if err := TCP(TCPOptions{}).Probe(t.Context(), "unix:"+path); err != nil {
		t.Error(err)
	}
	conn, err := l.Accept() // the probe's connection, still in the queue
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	requests := answer(t, l, "HTTP/1.1 204 No Content\r\n\r\n")
	if err := HTTP(HTTPOptions{}).Probe(t.Context(), "unix:"+path); err != nil {
		t.Error(err)
	}
	if host := (<-requests).Host; host != "localhost" {
		t.Errorf("host %q", host)
	}
}

func TestHTTPStatus(t *testing.T) {
	for response, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                     "",
		"HTTP/1.0 200 OK\r\n\r\nfine":                                                      "",
		"HTTP/1.1 204 No Content\r\n\r\n":                                                  "",
		"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n": "",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n":                          "",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n":                                         "status 101",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":                              "status 404 Not Found",
		"HTTP/1.1 503 Service Unavailable\r\n\r\n\n db: no connection\x00\r\nmore":         "status 503 Service Unavailable: db: no connection",
		"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf":                             "status 500 Oops: half",
		"nonsense\r\n\r\n": "reading the response: ",
		"":                 "reading the response: ",
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+1):             "interim",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxResponseBytes) + "\r\n": "reading the response: ",
	} {
		l := listen(t, "tcp", "127.0.0.1:0")
		answer(t, l, response)
		err := HTTP(HTTPOptions{}).Probe(t.Context(), l.Addr().String())
		short := response[:min(len(response), 60)]
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", short, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) && !strings.Contains(err.Error(), want)):
			t.Errorf("%q: error %v, want %q", short, err, want)
		}
	}
}

func TestHTTPRequest(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	requests := answer(t, l, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	p := HTTP(HTTPOptions{
		Path:   "/healthz?deep=1",
		Host:   "orders.internal",
		Header: http.Header{"X-Probe": {"yes"}},
	})
	if err := p.Probe(t.Context(), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	req := <-requests
	if req.Method != "GET" || req.RequestURI != "/healthz?deep=1" || req.Host != "orders.internal" {
		t.Errorf("%s %s, host %s", req.Method, req.RequestURI, req.Host)
	}
	if req.Header.Get("X-Probe") != "yes" || req.UserAgent() != "sidecar-health-check" || !req.Close {
		t.Errorf("fields %v, close %v", req.Header, req.Close)
	}
}

func TestHTTPRefusedAndBadPath(t *testing.T) {
	wantError(t, HTTP(HTTPOptions{}).Probe(t.Context(), refusing(t)), "connect: connection refused")
	wantError(t, HTTP(HTTPOptions{Path: "no slash"}).Probe(t.Context(), refusing(t)), `path "no slash"`)
}

// A server that accepts and says nothing is left when the probe's context ends.
func TestHTTPSilentServer(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		cancel()
		_, _ = conn.Read(make([]byte, 4096)) // the request
		_, _ = conn.Read(make([]byte, 1))    // until the probe closes
		_ = conn.Close()
	}()
	if err := HTTP(HTTPOptions{}).Probe(ctx, l.Addr().String()); err == nil {
		t.Error("a server that says nothing passes")
	}
	<-ended
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	wantError(t, HTTP(HTTPOptions{}).Probe(past, l.Addr().String()), "connect: ")
}
