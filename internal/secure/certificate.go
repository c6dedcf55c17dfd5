package secure

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// WarnBefore is how long before the end OnExpiry begins to be told of a certificate.
const WarnBefore = 7 * 24 * time.Hour

// A Certificate is one that is in use, for status and metrics.
type Certificate struct {
	File string
	// Names are what it is for: DNS names, URIs and addresses, or the common name; Subject is all that
	// its owner is called.
	Names   []string
	Subject string
	// NotBefore and NotAfter are those of the first certificate of the chain to expire.
	NotBefore, NotAfter time.Time
}

// Name is what to call the certificate: the first of its names, or its subject.
func (c *Certificate) Name() string {
	if len(c.Names) > 0 {
		return c.Names[0]
	}
	return c.Subject
}

// Due tells whether the certificate expires within a time, or has expired. One that is made for a
// short life is due when a third of that is left, if this is less: it is renewed all the time.
func (c *Certificate) Due(now time.Time, within time.Duration) bool {
	return c.NotAfter.Sub(now) < min(within, c.NotAfter.Sub(c.NotBefore)/3)
}

// Status is how a Termination or an Origination stands with its files.
type Status struct {
	// Certificates are those in use, in the order of their files. The slice must not be changed.
	Certificates []Certificate
	// Reloads is how often new files have been taken into use, Failures how often they could not be.
	Reloads, Failures uint64
	// Problem is why what is in the files now is not in use, or empty.
	Problem string
}

func readPair(certFile, keyFile string) (*tls.Certificate, Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, Certificate{}, fmt.Errorf("secure: certificate %s with key %s: %w", certFile, keyFile, err)
	}
	leaf := pair.Leaf
	described := Certificate{
		File: certFile, Names: namesOf(leaf), Subject: leaf.Subject.String(), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
	for _, der := range pair.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, Certificate{}, fmt.Errorf("secure: certificate %s: one of its issuers: %w", certFile, err)
		}
		if issuer.NotAfter.Before(described.NotAfter) {
			described.NotBefore, described.NotAfter = issuer.NotBefore, issuer.NotAfter
		}
	}
	return &pair, described, nil
}
