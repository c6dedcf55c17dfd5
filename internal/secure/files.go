package secure

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// A pair is a certificate with its key as it was read last.
type pair struct {
	pair      *tls.Certificate
	described Certificate
}

// pairs are those of a list of files. Each is kept until its own files have a better one.
type pairs []pair

// read reads all files. The list is of what is in use then, whether it has been read now or before;
// it is empty if there is nothing to be used for one of them. The error tells of those that cannot be
// used now.
func (p *pairs) read(certFiles, keyFiles []string) (list []Certificate, err error) {
	if *p == nil {
		*p = make(pairs, len(certFiles))
	}
	now := time.Now()
	for i := range *p {
		kept := &(*p)[i]
		made, failed := readPair(certFiles[i], keyFiles[i])
		if failed == nil && kept.pair != nil && kept.described.valid(now) && !made.described.valid(now) {
			failed = fmt.Errorf("secure: certificate %s: it is valid from %s to %s, and the one before it is valid now",
				certFiles[i], date(made.described.NotBefore), date(made.described.NotAfter))
		}
		if failed == nil {
			*kept = made
		}
		err = both(err, failed)
		if kept.pair != nil {
			list = append(list, kept.described)
		}
	}
	if len(list) < len(*p) {
		return nil, err
	}
	return list, err
}

// both is one error of two, in one line.
func both(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}

// authorities are those of a file as they were read last.
type authorities struct{ pool *x509.CertPool }

// read reads the file. What was there before stays if that fails.
func (a *authorities) read(file string) error {
	pool, err := readAuthorities(file)
	if err == nil {
		a.pool = pool
	}
	return err
}

func readPair(certFile, keyFile string) (pair, error) {
	made, err := loadPair(certFile, keyFile)
	if err != nil {
		return pair{}, fmt.Errorf("secure: certificate %s with key %s: %w", certFile, keyFile, err)
	}
	leaf := made.Leaf
	described := Certificate{
		File: certFile, Names: namesOf(leaf), Subject: leaf.Subject.String(), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		sum: sha256.Sum256(leaf.Raw),
	}
	for _, der := range made.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return pair{}, fmt.Errorf("secure: certificate %s: one of its issuers: %w", certFile, err)
		}
		if issuer.NotAfter.Before(described.NotAfter) {
			described.NotBefore, described.NotAfter = issuer.NotBefore, issuer.NotAfter
		}
	}
	return pair{made, described}, nil
}

func loadPair(certFile, keyFile string) (*tls.Certificate, error) {
	var texts [2][]byte
	for i, file := range [...]string{certFile, keyFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := checkWhole(text); err != nil {
			return nil, err
		}
		texts[i] = text
	}
	made, err := tls.X509KeyPair(texts[0], texts[1])
	return &made, err
}

// errCutOff is for a file that somebody is writing, or has not finished for want of space.
var errCutOff = errors.New("it is cut off, or one of its blocks is damaged")

// checkWhole finds what the decoder of PEM passes over in silence: a block without an end.
func checkWhole(text []byte) error {
	for {
		block, rest := pem.Decode(text)
		read := text[:len(text)-len(rest)]
		if block == nil && bytes.Contains(text, []byte("-----")) || bytes.Count(read, []byte("-----BEGIN")) > 1 {
			return errCutOff
		}
		if block == nil {
			return nil
		}
		text = rest
	}
}

func readAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("secure: authorities: %w", err)
	}
	if err := checkWhole(text); err != nil {
		return nil, fmt.Errorf("secure: authorities: %s: %w", file, err)
	}
	pool := x509.NewCertPool()
	for number := 0; ; {
		block, rest := pem.Decode(text)
		switch {
		case block == nil && number == 0:
			return nil, fmt.Errorf("secure: authorities: there is no certificate in %s; it must hold at least one, in PEM", file)
		case block == nil:
			return pool, nil
		case block.Type == "CERTIFICATE":
			number++
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("secure: authorities: %s: certificate %d: %w", file, number, err)
			}
			pool.AddCert(c)
		}
		text = rest
	}
}
