package eventloop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// tlsConfigs are for a server on 127.0.0.1 and for a client that trusts it.
func tlsConfigs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{{127, 0, 0, 1}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func TestTLSServerAndClientOnLoops(t *testing.T) {
	tt := newTester(t, 2)
	server, client := tlsConfigs(t)
	data := randomBytes(7, 5<<20)
	ln := tt.serve(func(_ *Task, c *Conn) {
		s := tls.Server(c, server)
		b := make([]byte, 10_000)
		for {
			n, err := s.Read(b)
			if _, err := s.Write(b[:n]); err != nil {
				t.Errorf("server writes: %v", err)
				return
			}
			if err == io.EOF { // close-notify
				s.CloseWrite()
				return
			}
			if err != nil {
				t.Errorf("server reads: %v", err)
				return
			}
		}
	})

	// A client of the net package, in both directions at once.
	std, err := tls.Dial("tcp", ln.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	go func() { std.Write(data); std.CloseWrite() }()
	if got, err := io.ReadAll(std); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	std.Close()

	// Clients on the loops, in turns.
	for _, l := range tt.g.Loops() {
		tt.run(l, func(*Task) {
			raw, err := l.Dial(addrPort(ln.Addr()), patience)
			if err != nil {
				t.Error(err)
				return
			}
			c := tls.Client(raw, client)
			defer c.Close()
			b := make([]byte, 50_000)
			for rest := data; len(rest) > 0; rest = rest[min(len(rest), len(b)):] {
				part := rest[:min(len(rest), len(b))]
				if _, err := c.Write(part); err != nil {
					t.Errorf("client writes: %v", err)
					return
				}
				if _, err := io.ReadFull(c, b[:len(part)]); err != nil || !bytes.Equal(b[:len(part)], part) {
					t.Errorf("client reads: %v", err)
					return
				}
			}
			c.CloseWrite()
			if n, err := c.Read(b); n != 0 || err != io.EOF {
				t.Errorf("behind close-notify: %d, %v", n, err)
			}
		})
	}
	tt.quiet()
}

func TestADeadlineEndsATLSHandshake(t *testing.T) {
	tt := newTester(t, 1)
	server, _ := tlsConfigs(t)
	near, far := tt.meet(tt.loop())
	tt.run(tt.loop(), func(*Task) {
		s := tls.Server(near, server)
		defer near.Close()
		near.SetReadTimeout(time.Millisecond)
		if err := s.Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("with a silent client: %v", err)
		}
	})
	far.Close()
	tt.quiet()
}
