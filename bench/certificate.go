package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// What is negotiated is the same with every proxy, and what most clients and servers agree on:
// TLS 1.3, X25519, AES with 128 bits, a certificate with a key on P-256.
const (
	tlsSuite = "TLS_AES_128_GCM_SHA256"
	tlsCurve = tls.X25519
)

// A certificate is what the proxies show, signed by itself, for 127.0.0.1.
type certificate struct {
	certFile, keyFile string
	bothFile          string // one after the other, as HAProxy takes them
	roots             *x509.CertPool
}

func (b *bench) certificate() (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "bench"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{netip.MustParseAddr("127.0.0.1").AsSlice()},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	dir, err := b.folder("certificate")
	if err != nil {
		return nil, err
	}
	c := &certificate{
		certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem"),
		bothFile: filepath.Join(dir, "both.pem"),
	}
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyText := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for path, text := range map[string][]byte{c.certFile: certText, c.keyFile: keyText, c.bothFile: append(certText, keyText...)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}
	}
	return c, c.load()
}

// load reads the certificate from its file, as a client has it.
func (c *certificate) load() error {
	text, err := os.ReadFile(c.certFile)
	if err != nil {
		return err
	}
	c.roots = x509.NewCertPool()
	c.roots.AppendCertsFromPEM(text)
	return nil
}

// client is the configuration of a client that trusts the certificate.
func (c *certificate) client() *tls.Config {
	return &tls.Config{
		RootCAs: c.roots, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tlsCurve},
		ServerName: "127.0.0.1",
	}
}
