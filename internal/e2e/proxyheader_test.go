package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A PROXY header names the client behind whoever passes its connection on.
func TestAPROXYHeaderNamesTheClient(t *testing.T) {
	t.Parallel()
	origin := serveOrigin(t, "first")
	s := start(t, static("web", `accept_proxy_from = ["127.0.0.1/32"]`, origin.address)+static("raw", "protocol = \"tcp\"\nsend_proxy = \"v1\"\naccept_proxy_from = [\"127.0.0.1/32\"]", echoing(t)))
	for _, header := range []string{
		"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\x04\xd2\x00\x50",
	} {
		for _, split := range []int{0, 1, 20} { // headers come in pieces, too
			w := connect(t, s.address("web"))
			fmt.Fprint(w, header[:split])
			fmt.Fprint(w, header[split:]+"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(w), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != 200 {
				t.Errorf("status %d", resp.StatusCode)
			}
			w.Close()
		}
	}
	w := connect(t, s.address("web"))
	fmt.Fprint(w, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if n, err := w.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes for one who sends no header", n)
	}

	raw := connect(t, s.address("raw"))
	fmt.Fprint(raw, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\nhello\n")
	line, err := bufio.NewReader(raw).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "PROXY TCP4 192.0.2.7 127.0.0.1 1234 ") {
		t.Errorf("the endpoint heard %q, %v", line, err)
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
