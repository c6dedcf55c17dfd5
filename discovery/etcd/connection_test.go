package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sidecar/discovery"
	"sidecar/internal/servertest"
)

func TestWrongOptionsAreRefused(t *testing.T) {
	for want, o := range map[string]Options{
		`etcd: endpoint "10.0.0.1" is not host:port`:        {Endpoints: []string{"10.0.0.1"}},
		`endpoint "10.0.0.1:0" is not host:port`:            {Endpoints: []string{"10.0.0.1:0"}},
		`endpoint "" is not host:port`:                      {Endpoints: []string{""}},
		`endpoint "http://" is not host:port`:               {Endpoints: []string{"http://"}},
		`endpoint "https://a:1/x" is not host:port`:         {Endpoints: []string{"https://a:1/x"}},
		`endpoint "a:1 weight=2" is not host:port`:          {Endpoints: []string{"a:1 weight=2"}},
		`endpoint "unix:/x" is not host:port`:               {Endpoints: []string{"unix:/x"}},
		`endpoint "unix://x" has no absolute path`:          {Endpoints: []string{"unix://x"}},
		`endpoint "dns://a:1" has a scheme that is none of`: {Endpoints: []string{"dns://a:1"}},
		`endpoints differ in scheme`:                        {Endpoints: []string{"http://a:1", "https://a:1"}},
		`endpoint "http://a:1" is without TLS`:              {Endpoints: []string{"http://a:1"}, TLS: new(tls.Config)},
		`a user without a password`:                         {Username: "x"},
		`a password without a user`:                         {PasswordFile: "/x"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "etcd: ") {
			t.Errorf("%+v: %v, want an error with %q", o, err, want)
		}
	}
	for _, endpoints := range [][]string{nil, {"a:1", "[::1]:2"}, {"https://a:1", "https://b:1"}, {"unix:///run/etcd.sock"}} {
		newClient(t, Options{Endpoints: endpoints})
	}
}

// A certificate with its key, for 127.0.0.1, in files.
type certificate struct {
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	certFile  string
	keyFile   string
	tlsConfig *tls.Config // that trusts it
}

func newCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sidecar test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{{127, 0, 0, 1}},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := certificate{cert: cert, key: key, certFile: filepath.Join(t.TempDir(), "cert.pem"), keyFile: filepath.Join(t.TempDir(), "key.pem")}
	for path, block := range map[string]*pem.Block{c.certFile: {Type: "CERTIFICATE", Bytes: der}, c.keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.tlsConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	c.tlsConfig.RootCAs.AddCert(cert)
	return c
}

func TestTLSAndWhatMayBeWrongWithIt(t *testing.T) {
	cert := newCertificate(t)
	secure := servertest.Etcd(t, servertest.Option("--cert-file="+cert.certFile), servertest.Option("--key-file="+cert.keyFile))
	strict := servertest.Etcd(t, servertest.Option("--cert-file="+cert.certFile), servertest.Option("--key-file="+cert.keyFile),
		"--client-cert-auth", servertest.Option("--trusted-ca-file="+cert.certFile))
	plain := servertest.Etcd(t)

	known := cert.tlsConfig.Clone()
	known.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.cert.Raw}, PrivateKey: cert.key}}
	for _, o := range []Options{
		{Endpoints: []string{secure.Address()}, TLS: cert.tlsConfig},
		{Endpoints: []string{"https://" + secure.Address()}, TLS: cert.tlsConfig},
		{Endpoints: []string{strict.Address()}, TLS: known},
	} {
		w := startWatch(t, newClient(t, o).Source(Query{Prefix: "/s"}))
		w.eventually()
		w.stop()
	}

	for want, o := range map[string]Options{
		"x509: certificate signed by unknown authority; set ca_file or server_name in [etcd.tls]": {
			Endpoints: []string{"https://" + secure.Address()}},
		"write etcd.endpoints as http://… and leave [etcd.tls] out": {
			Endpoints: []string{"https://" + plain.Address()}},
		"if it speaks TLS write etcd.endpoints as https://…, else check what listens there": {
			Endpoints: []string{"http://" + secure.Address()}},
		"it wants a client's certificate: set cert_file and key_file in [etcd.tls]": {
			Endpoints: []string{strict.Address()}, TLS: cert.tlsConfig},
	} {
		w := startWatch(t, newClient(t, o).Source(Query{Prefix: "/s"}))
		u := w.eventuallyErr(want)
		if text := u.Err.Error(); strings.Count(text, "etcd: watch /s/: ") != 1 || strings.Contains(text, "desc =") {
			t.Errorf("error %v", u.Err)
		}
		w.stop()
	}
}

func TestSocketAndEndpointsThatAreDead(t *testing.T) {
	server := servertest.Etcd(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	w := startWatch(t, newClient(t, Options{Endpoints: []string{dead.Addr().String(), server.Address()}}).Source(Query{Prefix: "/s"}))
	newWriter(t, server.Address()).put("/s/a", "a:1")
	if u := w.next("set", func(u discovery.Update) bool { return len(u.Instances) > 0 || u.Err != nil }); u.Err != nil {
		t.Errorf("one member is enough: %v", u.Err)
	}

	path := filepath.Join(t.TempDir(), "none.sock")
	u := startWatch(t, newClient(t, Options{Endpoints: []string{"unix://" + path}}).Source(Query{Prefix: "/s"})).eventuallyErr(
		"no answer of etcd at unix://" + path + ": no such file or directory; start it or correct etcd.endpoints")
	if !errors.Is(u.Err, syscall.ENOENT) {
		t.Errorf("the cause is not in the chain of %v", u.Err)
	}
}

func TestReasonsOfConnectionsThatFail(t *testing.T) {
	for want, cause := range map[string]error{
		"no answer of etcd at a:1: connection refused, b:1: connection refused; start it or correct etcd.endpoints": &net.OpError{
			Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"a:1: no connection within 2s, b:1: no connection within 2s; check the network and etcd.endpoints": &net.OpError{
			Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded},
		"a:1: lookup a: no such host, b:1: lookup a: no such host; correct etcd.endpoints": &net.OpError{
			Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "a", IsNotFound: true}},
	} {
		unreachable := func(context.Context, string) (net.Conn, error) { return nil, cause }
		story(t, Options{Endpoints: []string{"http://a:1", "http://b:1"}, dial: unreachable}, func(t *testing.T, f *fake) {
			s := f.watch("/s")
			pass(time.Minute)
			n := 0
			for ; len(s.updates) > 0; n++ {
				if u := <-s.updates; u.Err == nil || !strings.Contains(u.Err.Error(), want) || !errors.Is(u.Err, cause) {
					t.Fatalf("error %v, want %q", u.Err, want)
				}
			}
			if n < 55 || n > 130 {
				t.Errorf("%d reports in a minute", n)
			}
		})
	}
}

// TestConnectionsThatDropPacketsAreGivenUp looks at what the kernel was told: with it, what is
// not acknowledged for 3 s ends a connection, instead of for 15 minutes.
func TestConnectionsThatDropPacketsAreGivenUp(t *testing.T) {
	server := servertest.Etcd(t)
	dialled := make(chan net.Conn, 1)
	w := startWatch(t, newClient(t, Options{Endpoints: []string{server.Address()}, dial: func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dialNetwork(ctx, address)
		if err == nil {
			dialled <- conn
		}
		return conn, err
	}}).Source(Query{Prefix: "/s"}))
	w.eventually()
	raw, err := (<-dialled).(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var milliseconds int
	var optionErr error
	err = raw.Control(func(fd uintptr) {
		milliseconds, optionErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	})
	if err != nil || optionErr != nil || milliseconds != int(pingTimeout/time.Millisecond) {
		t.Errorf("TCP_USER_TIMEOUT is %d ms; %v %v", milliseconds, err, optionErr)
	}
}
