package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	file string // of its own certificate
	key  crypto.Signer
	cert *x509.Certificate
}

// newAuthority makes one with a folder of its own, in which everything that it signs is.
func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: folder(t), key: newKey(t)}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	a.cert = a.sign(template, template, a.key)
	a.file = filepath.Join(a.dir, "ca.pem")
	putPEM(t, a.file, "CERTIFICATE", a.cert.Raw)
	return a
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// A certificate is one with its key, which are in files as well.
type certificate struct {
	tls.Certificate
	t                 *testing.T
	certFile, keyFile string
}

// issue signs a certificate for names: of hosts, addresses or URIs. The first one is that of its files.
func (a *authority) issue(names ...string) certificate {
	a.t.Helper()
	return a.issueUntil(time.Now().Add(time.Hour), names...)
}

// expired is a certificate that was good until a minute ago.
func (a *authority) expired(names ...string) certificate {
	a.t.Helper()
	return a.issueUntil(time.Now().Add(-time.Minute), names...)
}

func (a *authority) issueUntil(end time.Time, names ...string) certificate {
	a.t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"e2e"}}, NotBefore: end.Add(-2 * time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
		} else if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			template.URIs = append(template.URIs, u)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(a.t)
	leaf := a.sign(template, a.cert, key)
	c := certificate{Certificate: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, t: a.t}
	dir, err := os.MkdirTemp(a.dir, "")
	if err != nil {
		a.t.Fatal(err)
	}
	c.certFile, c.keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	c.put(c.certFile, c.keyFile)
	return c
}

// put writes the certificate over files that may be there.
func (c certificate) put(certFile, keyFile string) {
	c.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		c.t.Fatal(err)
	}
	putPEM(c.t, certFile, "CERTIFICATE", c.Certificate.Certificate[0])
	putPEM(c.t, keyFile, "PRIVATE KEY", der)
}

func putPEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	putFile(t, path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// putFile replaces a file as careful people do: another one is given its name.
func putFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// client is the TLS of a client that asks for a name and trusts the authority. It shows its
// certificate, if it has one, whether the server would have it or not.
func (a *authority) client(name string, shown ...certificate) *tls.Config {
	c := &tls.Config{RootCAs: a.pool(), ServerName: name}
	if len(shown) > 0 {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown[0].Certificate, nil }
	}
	return c
}
