package tcp

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sidecar/metrics"
	"sidecar/proxy/preamble"
)

// endpointTLS is what endpoints are spoken to with that prove nothing.
func endpointTLS() func() *tls.Config {
	c := &tls.Config{ServerName: "a.example", InsecureSkipVerify: true}
	return func() *tls.Config { return c }
}

func TestEndpointsAreToldTheClientBeforeAnythingElse(t *testing.T) {
	for name, upstreamTLS := range map[string]func() *tls.Config{"in plain text": nil, "by TLS": endpointTLS()} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{SendProxy: 1, UpstreamTLS: upstreamTLS}}})
			client := s.dial()
			say(t, client, "\x16 hello")
			server := o.accept()
			r := bufio.NewReader(server)
			line, err := r.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "PROXY TCP4 127.0.0.1 127.0.0.1 "+portOf(client)) {
				t.Fatalf("the first line is %q, %v", line, err)
			}
			if first, err := r.ReadByte(); err != nil || first != 0x16 {
				t.Errorf("behind it is %x, %v, want the beginning of what follows", first, err)
			}
			reset(t, client)
			s.drained()
		})
	}
}

func portOf(c net.Conn) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

func TestTheSecondVersionOfTheHeader(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{SendProxy: 2}}})
	client := s.dial()
	server := o.accept()
	b := make([]byte, preamble.MaxV2)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	h, size, err := preamble.Parse(b[:n])
	if err != nil || size != n || h.Source.String() != client.LocalAddr().String() {
		t.Errorf("got %+v, %d of %d bytes, %v", h, size, n, err)
	}
	end(t, client, server)
	s.wantClean(1)
}

// The endpoint accepts and says nothing more. Who waits for it may leave, and it is not to blame.
func TestAClientThatLeavesEndsTheHandshakeWithTheEndpoint(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{UpstreamTLS: endpointTLS(), ConnectTimeout: time.Hour}}})
	client := s.dial()
	server := o.accept()
	hear(t, server, "\x16\x03\x01")
	reset(t, client)
	_, _ = io.Copy(io.Discard, server) // the rest of its hello, and a reset
	s.wantFailed(metrics.CauseClientGone)
	if st := s.service.Status().Endpoints[0]; st.Failures != 0 {
		t.Errorf("%d failures are held against the endpoint", st.Failures)
	}
}
