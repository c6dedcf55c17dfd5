package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// lines are those of the log that have all of words.
func (s *sidecar) lines(words ...string) []string {
	var found []string
	for line := range strings.Lines(s.err.String()) {
		if hasAll(line, words) {
			found = append(found, line)
		}
	}
	return found
}

// wantLogged waits until the log tells of a client's connection, with which words, and sees
// that there is one line on it and no more.
func (s *sidecar) wantLogged(w *wire, words ...string) {
	s.t.Helper()
	client := fmt.Sprintf("%q", w.LocalAddr())
	within(s.t, soon, fmt.Sprintf("the log says of %s what is wanted: %q", client, words), func() bool {
		return len(s.lines(append(words, client)...)) > 0
	})
	if all := s.lines(client); len(all) != 1 {
		s.t.Errorf("the log has %d lines on %s, want 1:\n%s", len(all), client, strings.Join(all, ""))
	}
}

// wantTLSFailures wants as many handshakes to have failed at the listeners of a service.
func (s *sidecar) wantTLSFailures(service string, want int) {
	s.t.Helper()
	got := -1.0
	for _, m := range metrics(s.t, s)["sidecar_listener_tls_failures_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "service" && l.GetValue() == service {
				got = m.GetCounter().GetValue()
			}
		}
	}
	if got != float64(want) {
		s.t.Errorf("%s: %v handshakes have failed, want %d", service, got, want)
	}
}

// refused begins TLS, and returns what the client gets to know. With TLS 1.3 its handshake has
// ended before the server has seen its certificate.
func refused(t *testing.T, address string, c *tls.Config) (*wire, error) {
	t.Helper()
	w := connect(t, address)
	conn := tls.Client(w.Conn, c)
	if err := conn.Handshake(); err != nil {
		return w, err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: e2e\r\n\r\n"); err != nil {
		return w, err
	}
	b, err := io.ReadAll(conn)
	if err == nil {
		err = fmt.Errorf("it was served: %q", b)
	}
	return w, err
}

// Who may not come in is told so by the alert that says it, and the log says why.
func TestClientsWithoutTheRightCertificateAreRefused(t *testing.T) {
	t.Parallel()
	servers, clients, others := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "others")
	o := serveOrigin(t, "orders-1")
	var sessions atomic.Int64
	queue := serve(t, func(c net.Conn) {
		sessions.Add(1)
		io.Copy(c, c)
	})
	required := ending(fmt.Sprintf(`client_auth = "required", client_ca_file = %q, client_names = ["*.shops.test", "spiffe://shops/buyer"]`, clients.file),
		servers.issue("orders.test"))
	s := serving(t, static("orders", required, o.address)+static("queue", "protocol = \"tcp\"\n"+required, queue.address))

	cases := []struct {
		shown   []certificate
		alert   string
		alert12 string // by TLS 1.2, where it is another one
		log     string
	}{
		{nil, "certificate required", "handshake failure", "the client has shown no certificate, and one is required"},
		{[]certificate{others.issue("a.shops.test")}, "unknown certificate authority", "", "signed by none of the trusted authorities"},
		{[]certificate{clients.expired("a.shops.test")}, "expired certificate", "", "the client's certificate (a.shops.test) has expired on "},
		{[]certificate{clients.issue("a.kiosks.test")}, "bad certificate", "", "none of its names a.kiosks.test is allowed"},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, test := range cases {
			for service, line := range map[string]string{"orders": "TLS handshake failed", "queue": "session failed"} {
				c := servers.client("orders.test", test.shown...)
				c.MinVersion, c.MaxVersion = version, version
				alert := test.alert
				if version == tls.VersionTLS12 && test.alert12 != "" {
					alert = test.alert12
				}
				w, err := refused(t, s.address(service), c)
				if err == nil || !strings.Contains(err.Error(), alert) {
					t.Errorf("%s, %s: the client gets %v, want %q", service, tls.VersionName(version), err, alert)
				}
				s.wantLogged(w, line, test.log)
			}
		}
	}
	for _, service := range []string{"orders", "queue"} {
		s.wantTLSFailures(service, 2*len(cases))
	}
	if o.served.Load() != 0 || sessions.Load() != 0 {
		t.Errorf("endpoints got %d requests and %d sessions of clients that were refused", o.served.Load(), sessions.Load())
	}
	for _, good := range []certificate{clients.issue("a.shops.test"), clients.issue("spiffe://shops/buyer")} {
		if a, err := connectTLS(t, s.address("orders"), servers.client("orders.test", good)).get("/"); err != nil || a.status != http.StatusOK {
			t.Errorf("who has the right certificate gets %+v, %v", a, err)
		}
		if got := connectTLS(t, s.address("queue"), servers.client("orders.test", good)).exchange(t, "ping"); got != "ping" {
			t.Errorf("who has the right certificate gets %q", got)
		}
	}
}

// Where a certificate is optional none is good, and a bad one is not.
func TestAnOptionalCertificateIsJudgedIfItIsThere(t *testing.T) {
	t.Parallel()
	servers, clients, others := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "others")
	o := serveOrigin(t, "orders-1")
	s := serving(t, static("orders", ending(fmt.Sprintf(`client_auth = "optional", client_ca_file = %q`, clients.file), servers.issue("orders.test")), o.address))
	for name, shown := range map[string][]certificate{"none": nil, "a good one": {clients.issue("any.test")}} {
		if a, err := connectTLS(t, s.address("orders"), servers.client("orders.test", shown...)).get("/"); err != nil || a.status != http.StatusOK {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	w, err := refused(t, s.address("orders"), servers.client("orders.test", others.issue("any.test")))
	if err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("a bad one: %v", err)
	}
	s.wantLogged(w, "signed by none of the trusted authorities")
}

func TestVersionsBelowTheLowestAreRefused(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	o := serveOrigin(t, "orders-1")
	cert := ca.issue("orders.test")
	s := serving(t, static("usual", ending("", cert), o.address)+static("strict", ending(`min_version = "1.3"`, cert), o.address))
	for _, test := range []struct {
		service string
		version uint16
		good    bool
	}{
		{"usual", tls.VersionTLS11, false}, {"usual", tls.VersionTLS12, true},
		{"strict", tls.VersionTLS12, false}, {"strict", tls.VersionTLS13, true},
	} {
		c := ca.client("orders.test")
		c.MinVersion, c.MaxVersion = test.version, test.version
		if test.good {
			if a, err := connectTLS(t, s.address(test.service), c).get("/"); err != nil || a.status != http.StatusOK {
				t.Errorf("%s, %s: %+v, %v", test.service, tls.VersionName(test.version), a, err)
			}
			continue
		}
		w, err := refused(t, s.address(test.service), c)
		if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
			t.Errorf("%s, %s: %v", test.service, tls.VersionName(test.version), err)
		}
		s.wantLogged(w, "TLS handshake failed", "the client has no version of TLS that is allowed here")
	}
}

// A client may refuse as well: it trusts others, or has asked for another name.
func TestClientsThatRefuseTheListenerAreTold(t *testing.T) {
	t.Parallel()
	ca, others := newAuthority(t, "servers"), newAuthority(t, "others")
	o := serveOrigin(t, "orders-1")
	s := serving(t, static("orders", ending("", ca.issue("orders.test")), o.address))
	w, err := refused(t, s.address("orders"), others.client("orders.test"))
	if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
		t.Errorf("a client that trusts another authority: %v", err)
	}
	s.wantLogged(w, "TLS handshake failed", "the client refuses the listener's certificate")
	w, err = refused(t, s.address("orders"), ca.client("elsewhere.test"))
	if wrong := (x509.HostnameError{}); !errors.As(err, &wrong) {
		t.Errorf("a client that wants another name: %v", err)
	}
	s.wantLogged(w, "TLS handshake failed", "the client refuses the listener's certificate")
	s.wantTLSFailures("orders", 2)
}

// Who has taken the port for one without TLS gets an answer that it can read.
func TestPlainTextToAPortWithTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	o := serveOrigin(t, "orders-1")
	s := serving(t, static("orders", ending("", ca.issue("orders.test")), o.address))
	w := connect(t, s.address("orders"))
	if a, err := w.get("/"); err != nil || a.status != http.StatusBadRequest || !strings.Contains(a.body, "use https://") {
		t.Errorf("plain HTTP gets %+v, %v", a, err)
	}
	s.wantLogged(w, "TLS handshake failed", "the client speaks plain HTTP, and TLS is spoken here")

	w = connect(t, s.address("orders"))
	io.WriteString(w, "SSH-2.0-nobody\r\n")
	io.Copy(io.Discard, w.r) // until it is closed, in one way or the other
	s.wantLogged(w, "TLS handshake failed", "the client does not speak TLS: its first bytes are")

	c := ca.client("orders.test")
	c.NextProtos = []string{"acme-tls/1"}
	w, err := refused(t, s.address("orders"), c)
	if err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("who offers only other protocols gets %v", err)
	}
	s.wantLogged(w, "TLS handshake failed", "the client speaks none of the protocols that are offered here")
	s.wantTLSFailures("orders", 3)
	if o.served.Load() != 0 {
		t.Error("the endpoint was asked")
	}
}
