package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"sidecar/internal/servertest"
)

// named is an endpoint that ends TLS itself, with a certificate of its own, and says who it is.
func named(t *testing.T, name string, c certificate) *server {
	config := &tls.Config{Certificates: []tls.Certificate{c.Certificate}}
	return serve(t, func(conn net.Conn) {
		secured := tls.Server(conn, config)
		defer secured.Close()
		fmt.Fprintf(secured, "this is %s", name)
	})
}

// sharing is a service at an address that others have too.
func sharing(name, address, names, endpoint string) string {
	text := static(name, "protocol = \"tcp\"\n", endpoint)
	if names != "" {
		text += fmt.Sprintf("sni = [%q]\n", names)
	}
	return strings.Replace(text, "127.0.0.1:0", address, 1)
}

// Three services have one port. TLS is between clients and endpoints, and the name that a client
// asks for leads to its service's endpoint; what asks for no name of theirs is for the third.
func TestServicesShareAPortByTheNameThatIsAskedFor(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	orders, stock := named(t, "orders", ca.issue("orders.test")), named(t, "stock", ca.issue("eu.stock.test"))
	plain := serveStream(t)
	address := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	s := serving(t, sharing("orders", address, "orders.test", orders.address)+sharing("stock", address, "*.stock.test", stock.address)+
		sharing("plain", address, "", plain.address))
	for name, want := range map[string]string{"orders.test": "this is orders", "eu.stock.test": "this is stock"} {
		w := connectTLS(t, address, ca.client(name))
		if got, err := textOf(w); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	w := connect(t, address)
	fmt.Fprint(w, "no TLS at all")
	w.Conn.(*net.TCPConn).CloseWrite()
	if got, err := textOf(w); err != nil || !strings.HasPrefix(got, "no TLS at all") {
		t.Errorf("without TLS: %q, %v", got, err)
	}
	for _, l := range s.document().Listeners {
		if l.Address != address {
			t.Errorf("%s listens on %s", l.Service, l.Address)
		}
	}
	if text := s.statusText(); !strings.Contains(text, "tcp, sni orders.test") || !strings.Contains(text, "tcp, sni *.stock.test") {
		t.Errorf("the status does not say who has which name:\n%s", text)
	}
}

// Where nobody has the rest, a client is told that its name is unknown, and the operator which it was.
func TestANameThatNobodyHasIsRefusedWithItsCause(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	orders := named(t, "orders", ca.issue("orders.test"))
	address := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	s := serving(t, sharing("orders", address, "orders.test", orders.address))
	if _, err := dialTLS(address, ca.client("other.test")); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("the handshake ends with %v", err)
	}
	within(t, patience, "the log names what was asked for", func() bool {
		lines := s.lines("for none of the services")
		return len(lines) == 1 && strings.Contains(lines[0], `"server_name":"other.test"`) && strings.Contains(lines[0], `"cause":"unknown-name"`)
	})
	for _, m := range metrics(t, s)["sidecar_listener_unrouted_total"].GetMetric() {
		want := 0.0
		if m.GetLabel()[1].GetValue() == "unknown-name" {
			want = 1
		}
		if got := m.GetCounter().GetValue(); got != want || m.GetLabel()[0].GetValue() != address {
			t.Errorf("counted is %v", m)
		}
	}
}

func textOf(w *wire) (string, error) {
	b, err := io.ReadAll(w.r)
	return string(b), err
}
