package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// A PROXY header names the client behind whoever passes its connection on.
// Headers that say the same client and destination, in both versions.
const (
	headerV1 = "PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n"
	headerV2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\x04\xd2\x00\x50"
)

const takesHeaders = "accept_proxy_from = [\"127.0.0.1/32\"]\n"

// telling is an origin that answers with the X-Forwarded-For that it has got.
func telling(t *testing.T) (address string, asked *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int64)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, r.Header.Values("X-Forwarded-For"))
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l) // until it is closed
	}()
	t.Cleanup(func() { s.Close(); <-ended })
	return l.Addr().String(), asked
}

// wantClient asks on a connection, and wants the origin to be told of a client.
func wantClient(t *testing.T, c io.ReadWriter, name, client string) {
	t.Helper()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	body, err := io.ReadAll(resp.Body)
	if want := "[" + client + "]"; err != nil || string(body) != want {
		t.Errorf("%s: the origin is told of %s, %v, want %s", name, body, err, want)
	}
}

// A prefixed connection sends something in front of its first bytes, in one segment with them.
type prefixed struct {
	net.Conn
	first string
}

func (p *prefixed) Write(b []byte) (int, error) {
	all := append([]byte(p.first), b...)
	before := len(p.first)
	p.first = ""
	n, err := p.Conn.Write(all)
	return max(n-before, 0), err
}

func TestAPROXYHeaderNamesTheClient(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	origin, asked := telling(t)
	s := start(t, static("web", takesHeaders, origin)+static("secret", takesHeaders+ending("", ca.issue("orders.test")), origin)+
		static("others", "accept_proxy_from = [\"192.0.2.0/24\"]\n", origin))
	for header, client := range map[string]string{headerV1: "192.0.2.7", headerV2: "192.0.2.7", "PROXY UNKNOWN\r\n": "127.0.0.1"} {
		for _, split := range []int{0, 1, 14} { // headers come in pieces, too
			w := connect(t, s.address("web"))
			fmt.Fprint(w, header[:split])
			wantClient(t, &prefixed{w, header[split:]}, fmt.Sprintf("%q", header), client)
			w.Close()
		}
		c := tls.Client(&prefixed{connect(t, s.address("secret")), header}, ca.client("orders.test"))
		wantClient(t, c, fmt.Sprintf("%q in one segment with TLS", header), client)
		c.Close()
	}
	w := connect(t, s.address("web"))
	fmt.Fprint(w, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if n, err := w.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes for one who sends no header", n)
	}
	before := asked.Load()
	for _, header := range []string{headerV1, headerV2} {
		w := connect(t, s.address("others"))
		fmt.Fprint(w, header+"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, err := http.ReadResponse(bufio.NewReader(w), nil); err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("one who may not name a client gets %+v, %v", resp, err)
		}
	}
	if n := asked.Load(); n != before {
		t.Errorf("the origin was asked %d times for those who may not name a client", n-before)
	}
	wantClient(t, connect(t, s.address("others")), "without a header", "127.0.0.1")
}

// What came with one header goes out with another, the destination too.
func TestAPROXYHeaderIsPassedOn(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	cert := ca.issue("orders.test")
	const tcp = "protocol = \"tcp\"\n"
	echo := echoing(t)
	s := start(t, static("v1", tcp+"send_proxy = \"v1\"\n"+takesHeaders, echo)+static("v2", tcp+"send_proxy = \"v2\"\n"+takesHeaders, echo)+
		static("secret", tcp+"send_proxy = \"v1\"\n"+takesHeaders+ending("", cert), echo))
	for _, in := range []string{headerV1, headerV2} {
		for name, out := range map[string]string{"v1": headerV1, "v2": headerV2, "secret": headerV1} {
			var c net.Conn = &prefixed{connect(t, s.address(name)), in}
			if name == "secret" {
				c = tls.Client(c, ca.client("orders.test"))
			}
			fmt.Fprint(c, "hello\n")
			got := make([]byte, len(out)+len("hello\n"))
			if n, err := io.ReadFull(c, got); err != nil || string(got) != out+"hello\n" {
				t.Errorf("%s behind %q: the endpoint heard %q, %v, want %q", name, in, got[:n], err, out)
			}
			c.Close()
		}
	}
}

// By TLS the header comes in front of the handshake: who receives it is a sidecar here.
func TestAPROXYHeaderComesBeforeTLSWithTheEndpoint(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "endpoints")
	origin, _ := telling(t)
	inner := start(t, static("web", takesHeaders+ending("", ca.issue("127.0.0.1")), origin))
	for _, version := range []string{"v1", "v2"} {
		outer := start(t, static("orders", "protocol = \"tcp\"\n"+takesHeaders+"send_proxy = \""+version+"\"\n"+beginning(trusts(ca)), inner.address("web")))
		c := &prefixed{connect(t, outer.address("orders")), headerV1}
		wantClient(t, c, version, "192.0.2.7")
		c.Close()
	}
}

// echoing is a server that sends back what it hears.
func echoing(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}
