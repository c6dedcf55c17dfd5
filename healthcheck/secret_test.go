package healthcheck

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"sidecar/internal/secure"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	own := a.sign(template)
	a.key, a.cert = own.PrivateKey.(*ecdsa.PrivateKey), own.Leaf
	return a
}

// sign makes a certificate, and signs it itself if it is the authority's own.
func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// issue signs a certificate for a host that ends so long from now. It was good for two hours.
func (a *authority) issue(host string, end time.Duration) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		NotBefore: time.Now().Add(end - 2*time.Hour), NotAfter: time.Now().Add(end),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = []net.IP{ip.AsSlice()}
	} else {
		template.DNSNames = []string{host}
	}
	return a.sign(template)
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// trusts is the transport of who trusts the authority, and shows a certificate.
func (a *authority) trusts(name string, shown ...tls.Certificate) Transport {
	c := &tls.Config{RootCAs: a.pool(), ServerName: name}
	if len(shown) > 0 {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown[0], nil }
	}
	return by(c)
}

func by(c *tls.Config) Transport {
	return Transport{TLS: func() *tls.Config { return c }, Explain: inWords}
}

func inWords(err error) error { return secure.Explain(err, true) }

// kinds are the probers of all kinds.
func kinds(t Transport) map[string]Prober {
	return map[string]Prober{
		"tcp":   TCP(TCPOptions{Transport: t}),
		"http":  HTTP(HTTPOptions{Transport: t}),
		"http2": HTTP(HTTPOptions{Transport: t, HTTP2: true}),
		"grpc":  GRPC(GRPCOptions{Transport: t}),
	}
}

// A secret is a server with TLS that passes probes of all kinds.
type secret struct {
	address string
	cert    atomic.Pointer[tls.Certificate]
	config  *tls.Config

	mu      sync.Mutex
	opened  int
	states  []tls.ConnectionState // of handshakes
	changed chan struct{}         // closed when a connection is
	open    map[net.Conn]bool
}

// serveSecret starts one; adjust sets what else there is of TLS.
func serveSecret(t *testing.T, cert tls.Certificate, adjust func(*tls.Config)) *secret {
	t.Helper()
	return serveSecretOn(t, local(t), cert, adjust)
}

func serveSecretOn(t *testing.T, l net.Listener, cert tls.Certificate, adjust func(*tls.Config)) *secret {
	t.Helper()
	s := &secret{address: l.Addr().String(), open: make(map[net.Conn]bool), changed: make(chan struct{})}
	s.cert.Store(&cert)
	calls := grpc.NewServer()
	healthpb.RegisterHealthServer(calls, health.NewServer())
	server := &http.Server{ // not one of httptest, which has a certificate of its own
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Content-Type") == "application/grpc" {
				calls.ServeHTTP(w, r)
			}
		}),
		ErrorLog:  log.New(io.Discard, "", 0), // the probe says why a handshake failed
		ConnState: s.state, ReadHeaderTimeout: time.Minute,
	}
	s.config = &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil },
		VerifyConnection: func(state tls.ConnectionState) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.states = append(s.states, state)
			return nil
		},
	}
	if adjust != nil {
		adjust(s.config)
	}
	server.TLSConfig = s.config
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = server.Close()
		calls.Stop()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

// state hears of connections.
func (s *secret) state(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.opened++
		s.open[c] = true
	case http.StateClosed:
		delete(s.open, c)
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// wantClosed waits until the connections of n probes are closed.
func (s *secret) wantClosed(t *testing.T, n int) {
	t.Helper()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for {
		s.mu.Lock()
		opened, open, changed := s.opened, len(s.open), s.changed
		s.mu.Unlock()
		if opened == n && open == 0 {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("%d connections, of which %d are open; want %d, and none", opened, open, n)
		}
	}
}

// handshakes are those that have ended well.
func (s *secret) handshakes() []tls.ConnectionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]tls.ConnectionState(nil), s.states...)
}
