package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ending is the line of a service whose listeners end the TLS of clients; more are keys.
func ending(more string, all ...certificate) string {
	certs, keys := make([]string, len(all)), make([]string, len(all))
	for i, c := range all {
		certs[i], keys[i] = c.certFile, c.keyFile
	}
	if more != "" {
		more = ", " + more
	}
	return fmt.Sprintf("tls = { cert_files = [\"%s\"], key_files = [\"%s\"]%s }\n", strings.Join(certs, `", "`), strings.Join(keys, `", "`), more)
}

// dialTLS makes a connection with TLS, over which HTTP/1.1 or anything else can be spoken.
func dialTLS(address string, c *tls.Config) (*wire, error) {
	w, err := dial(address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(w.Conn, c)
	if err := conn.Handshake(); err != nil {
		w.Close()
		return nil, err
	}
	return &wire{conn, bufio.NewReader(conn)}, nil
}

// connectTLS is dialTLS for the length of a test.
func connectTLS(t *testing.T, address string, c *tls.Config) *wire {
	t.Helper()
	w, err := dialTLS(address, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// state is what the two sides have agreed on.
func (w *wire) state() tls.ConnectionState { return w.Conn.(*tls.Conn).ConnectionState() }

// A trunk is a client's connection of HTTP/2. Like a wire it never asks again.
type trunk struct{ *http.ClientConn }

// connectH2 makes a connection of HTTP/2 for the length of a test.
func connectH2(t *testing.T, address string, c *tls.Config) trunk {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: c.Clone(), Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP2(true)
	cc, err := tr.NewClientConn(lasting(t), "https", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return trunk{cc}
}

// get asks on a stream of its own; any number may at once.
func (w trunk) get(path string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, "https://e2e"+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	resp, err := w.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body)}, err
}

// Which protocol is spoken is agreed on in the handshake. Endpoints are told that it was TLS.
func TestClientsAreServedByTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	o := serveOrigin(t, "orders-1")
	s := serving(t, static("orders", ending("", ca.issue("orders.test")), o.address))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, test := range map[string]struct {
			offered []string
			agreed  string
		}{
			"HTTP/2":                {[]string{"h2"}, "h2"},
			"HTTP/1.1":              {[]string{"http/1.1"}, "http/1.1"},
			"either":                {[]string{"http/1.1", "h2"}, "h2"},
			"a client without ALPN": {nil, ""},
		} {
			c := ca.client("orders.test")
			c.NextProtos, c.MinVersion, c.MaxVersion = test.offered, version, version
			w := connectTLS(t, s.address("orders"), c)
			if st := w.state(); st.NegotiatedProtocol != test.agreed || st.Version != version {
				t.Fatalf("%s: %q was agreed on with %s", name, st.NegotiatedProtocol, tls.VersionName(st.Version))
			}
			get := w.get
			if test.agreed == "h2" {
				get = connectH2(t, s.address("orders"), c).get
			}
			for range 3 { // also over a connection that was used
				a, err := get("/head")
				if err != nil || a.status != http.StatusOK || !strings.Contains(a.body, "X-Forwarded-Proto: https\r\n") {
					t.Errorf("%s: %+v, %v", name, a, err)
				}
			}
		}
	}
	if log := s.err.String(); strings.Contains(log, "TLS handshake failed") {
		t.Error("the log says that handshakes failed")
	}
}

// Large bodies pass byte for byte, in both directions.
func TestLargeBodiesPassByTLS(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	ca := newAuthority(t, "servers")
	o := serveLarge(t)
	s := serving(t, static("large", ending("", ca.issue("large.test")), o.address))
	w := connectTLS(t, s.address("large"), ca.client("large.test"))
	for _, chunked := range []bool{false, true} {
		if err := download(w, size, chunked); err != nil {
			t.Error(err)
		}
		if err := upload(w, size, chunked); err != nil {
			t.Error(err)
		}
	}

	two := connectH2(t, s.address("large"), ca.client("large.test"))
	resp, err := two.RoundTrip(must(http.NewRequest(http.MethodGet, fmt.Sprintf("https://e2e/%d", size), http.NoBody)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := drain(resp.Body); err != nil || n != size {
		t.Errorf("by HTTP/2: %d bytes, %v", n, err)
	}
	resp, err = two.RoundTrip(must(http.NewRequest(http.MethodPut, "https://e2e/", struct{ io.Reader }{&source{n: size}})))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != fmt.Sprintf("%d bytes, <nil>", size) {
		t.Errorf("by HTTP/2: %q, %v", b, err)
	}
}

// must is for what cannot fail.
func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}

// The name that a client asks for says which certificate it gets, and the first one is for all else.
func TestTheNameChoosesTheCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	o := serveOrigin(t, "orders-1")
	echo := serveStream(t)
	first, second, wild := ca.issue("first.test"), ca.issue("second.test", "two.test"), ca.issue("*.wild.test")
	s := serving(t, static("orders", ending("", first, second, wild), o.address)+
		static("queue", "protocol = \"tcp\"\n"+ending("", second, wild, first), echo.address))
	for name, want := range map[string][2]certificate{ // of orders and of queue
		"first.test":    {first, first},
		"second.test":   {second, second},
		"TWO.test":      {second, second},
		"a.wild.test":   {wild, wild},
		"a.b.wild.test": {first, second},
		"other.test":    {first, second},
		"":              {first, second},
	} {
		for i, service := range []string{"orders", "queue"} {
			c := ca.client(name)
			c.InsecureSkipVerify = true // the test looks itself
			w := connectTLS(t, s.address(service), c)
			if got := w.state().PeerCertificates[0]; !got.Equal(want[i].Leaf) {
				t.Errorf("%s: who asks for %q gets %v, want %v", service, name, got.DNSNames, want[i].Leaf.DNSNames)
			}
		}
	}
}

// A session that is resumed costs neither side a signature. Loops share the keys of tickets,
// and which of them gets a connection is chance.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	ca, clients := newAuthority(t, "servers"), newAuthority(t, "clients")
	o := serveOrigin(t, "orders-1")
	echo := serveStream(t)
	cert := ca.issue("orders.test")
	mutual := fmt.Sprintf(`client_auth = "required", client_ca_file = %q, client_names = ["*.shops.test"]`, clients.file)
	s := serving(t, static("orders", ending("", cert), o.address)+static("mutual", ending(mutual, cert), o.address)+
		static("queue", "protocol = \"tcp\"\n"+ending("", cert), echo.address))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, service := range []string{"orders", "mutual", "queue"} {
			c := ca.client("orders.test", clients.issue("a.shops.test"))
			c.MinVersion, c.MaxVersion, c.ClientSessionCache = version, version, tls.NewLRUClientSessionCache(8)
			for i := range 8 {
				w := connectTLS(t, s.address(service), c)
				if service == "queue" {
					w.exchange(t, "ping") // what is needed to resume comes along with the answer
				} else if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
					t.Fatalf("%s: %+v, %v", service, a, err)
				}
				if st := w.state(); st.DidResume != (i > 0) {
					t.Errorf("%s, %s: connection %d is resumed: %v", service, tls.VersionName(version), i, st.DidResume)
				}
			}
		}
	}
}

// Who has begun a handshake has to end it in time. Before its first byte a connection is as idle
// as one between two requests.
func TestAHandshakeHasToEndInTime(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	o := serveOrigin(t, "orders-1")
	s := serving(t, static("orders", "http = { head_timeout = \"100ms\", client_idle = \"200ms\" }\n"+ending("", ca.issue("orders.test")), o.address))
	begun, silent := connect(t, s.address("orders")), connect(t, s.address("orders"))
	io.WriteString(begun, "\x16\x03\x01\x02\x00\x01")
	for _, w := range []*wire{begun, silent} {
		begin := time.Now()
		if b, err := io.ReadAll(w.r); err != nil || len(b) > 0 {
			t.Errorf("%q, %v", b, err)
		}
		t.Logf("closed after %v", time.Since(begin).Round(time.Millisecond))
	}
	s.wantLogged(begun, "TLS handshake failed", "the TLS handshake with the client was not complete in time")
	if all := s.lines("TLS handshake failed"); len(all) != 1 {
		t.Errorf("the log tells of idle connections:\n%s", strings.Join(all, ""))
	}
}
