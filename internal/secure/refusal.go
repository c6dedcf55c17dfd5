package secure

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"sidecar/internal/eventloop"
)

// A Reason is the kind of a Refusal, for counters and tests.
type Reason string

// Reasons for which handshakes fail.
const (
	Expired        Reason = "expired"         // a certificate is not valid any more, or not yet
	WrongName      Reason = "wrong-name"      // it is for other names
	UnknownCA      Reason = "unknown-ca"      // nobody who is trusted has signed it
	NoCertificate  Reason = "no-certificate"  // the client has shown none
	NotAllowed     Reason = "not-allowed"     // it is good, but its names are not on the list
	BadCertificate Reason = "bad-certificate" // it is of no use otherwise, or the peer says no more
	NoVersion      Reason = "no-version"      // no version of TLS that both have
	NoSuite        Reason = "no-suite"        // no cipher suite or curve that both have
	NoProtocol     Reason = "no-protocol"     // none by ALPN that both have
	NotTLS         Reason = "not-tls"         // the peer speaks something else
	Late           Reason = "timeout"
	Gone           Reason = "closed" // the peer has closed the connection
	Other          Reason = "other"
)

// A Refusal is why a handshake failed: Error says it in words for who has to mend it.
type Refusal struct {
	Reason Reason
	// ByPeer says that it was the peer that refused, and not we.
	ByPeer bool
	// Err is the error as it came.
	Err  error
	text string
}

// Error is the cause in words.
func (r *Refusal) Error() string { return r.text }

// Unwrap returns the error as it came.
func (r *Refusal) Unwrap() error { return r.Err }

// Explain makes a *Refusal of the error of a handshake with crypto/tls, on the client's or on the
// server's side. Errors that are no handshake's, as those of a closed connection, stay as
// they are.
func Explain(err error, client bool) error {
	var known *Refusal
	if err == nil || errors.As(err, &known) || errors.Is(err, eventloop.ErrClosed) || errors.Is(err, net.ErrClosed) {
		return err
	}
	r := &Refusal{Err: err}
	side := sides{peer: "the client", ours: "the listener's certificate"}
	if client {
		side = sides{peer: "the endpoint", ours: "the sidecar's certificate"}
	}
	if !r.ofCertificate(side) && !r.ofAlert(side) && !r.ofText(side) && !r.ofConnection(side) {
		r.set(Other, "the TLS handshake with %s failed: %v", side.peer, err)
	}
	return r
}

// later explains what a peer may say only after the handshake: in TLS 1.3 a client has ended its
// part before the server has looked at its certificate.
func later(err error, client bool) error {
	if number, ok := alertOf(err); ok && certificateAlert(number) {
		return Explain(err, client)
	}
	return err
}

type sides struct{ peer, ours string }

func (r *Refusal) set(reason Reason, format string, args ...any) bool {
	r.Reason, r.text = reason, fmt.Sprintf(format, args...)
	return true
}

// ofCertificate is for certificates of the peer's that we do not take.
func (r *Refusal) ofCertificate(s sides) bool {
	var (
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		banned  *notAllowed
		failed  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(r.Err, &banned):
		return r.set(NotAllowed, "%s's certificate is good, but none of its names %s is allowed", s.peer, list(banned.names))
	case errors.As(r.Err, &invalid) && invalid.Reason == x509.Expired:
		if c := invalid.Cert; c != nil && time.Now().Before(c.NotBefore) {
			return r.set(Expired, "%s's certificate (%s) is not valid before %s; look at the clocks", s.peer, nameOf(c), date(c.NotBefore))
		} else if c != nil {
			return r.set(Expired, "%s's certificate (%s) has expired on %s; renew it", s.peer, nameOf(c), date(c.NotAfter))
		}
		return r.set(Expired, "%s's certificate has expired; renew it", s.peer)
	case errors.As(r.Err, &name):
		return r.set(WrongName, "%s's certificate is for %s, and not for %q", s.peer, list(namesOf(name.Certificate)), name.Host)
	case errors.As(r.Err, &unknown):
		issuer := ""
		if unknown.Cert != nil {
			issuer = fmt.Sprintf(" (by %s)", unknown.Cert.Issuer)
		}
		return r.set(UnknownCA, "%s's certificate is signed by none of the trusted authorities%s", s.peer, issuer)
	case errors.As(r.Err, &failed):
		return r.set(BadCertificate, "%s's certificate cannot be used: %v", s.peer, failed.Err)
	}
	return false
}

// ofAlert is for what the peer says.
func (r *Refusal) ofAlert(s sides) bool {
	number, ok := alertOf(r.Err)
	if !ok {
		return false
	}
	r.ByPeer = true
	switch number {
	case alertExpired:
		return r.set(Expired, "%s refuses %s: it has expired", s.peer, s.ours)
	case alertUnknownCA:
		return r.set(UnknownCA, "%s refuses %s: it does not trust who has signed it", s.peer, s.ours)
	case alertRequired:
		return r.set(NoCertificate, "%s wants a certificate, and has been shown none", s.peer)
	case alertUnrecognized:
		return r.set(WrongName, "%s has no certificate for the name that was asked for", s.peer)
	case alertVersion:
		return r.set(NoVersion, "%s has no version of TLS in common with us", s.peer)
	case alertFailure, alertInsecure:
		return r.set(NoSuite, "%s refuses the handshake: most likely there is no cipher suite or curve in common", s.peer)
	case alertProtocol:
		return r.set(NoProtocol, "%s speaks none of the protocols that were offered by ALPN", s.peer)
	}
	if certificateAlert(number) {
		return r.set(BadCertificate, "%s refuses %s: %s", s.peer, s.ours, alertText(number))
	}
	return r.set(Other, "%s ends the TLS handshake: %s", s.peer, alertText(number))
}

// ofText is for errors of crypto/tls that can only be told by their words.
func (r *Refusal) ofText(s sides) bool {
	text := r.Err.Error()
	switch {
	case strings.HasPrefix(text, "tls: client didn't provide a certificate"):
		return r.set(NoCertificate, "%s has shown no certificate, and one is required", s.peer)
	case strings.HasPrefix(text, "tls: client offered only unsupported versions"),
		strings.HasPrefix(text, "tls: server selected unsupported protocol version"):
		return r.set(NoVersion, "%s has no version of TLS that is allowed here: %s", s.peer, strings.TrimPrefix(text, "tls: "))
	case strings.HasPrefix(text, "tls: no cipher suite supported by both"):
		return r.set(NoSuite, "%s has no cipher suite that is allowed here: %s", s.peer, strings.TrimPrefix(text, "tls: "))
	case strings.HasPrefix(text, "tls: client requested unsupported application protocols"):
		return r.set(NoProtocol, "%s speaks none of the protocols that are offered here: %s", s.peer, strings.TrimPrefix(text, "tls: "))
	}
	return false
}

// ofConnection is for what has nothing to do with TLS.
func (r *Refusal) ofConnection(s sides) bool {
	var strange tls.RecordHeaderError
	switch {
	case errors.As(r.Err, &strange):
		if speaksHTTP(strange.RecordHeader[:]) {
			return r.set(NotTLS, "%s speaks plain HTTP, and TLS is spoken here", s.peer)
		}
		return r.set(NotTLS, "%s does not speak TLS: its first bytes are %q", s.peer, strange.RecordHeader[:])
	case errors.Is(r.Err, os.ErrDeadlineExceeded):
		return r.set(Late, "the TLS handshake with %s was not complete in time", s.peer)
	case errors.Is(r.Err, io.EOF), errors.Is(r.Err, io.ErrUnexpectedEOF), errors.Is(r.Err, syscall.ECONNRESET), errors.Is(r.Err, syscall.EPIPE):
		return r.set(Gone, "%s closed the connection during the TLS handshake", s.peer)
	}
	return false
}

// speaksHTTP knows requests and responses by their first five bytes.
func speaksHTTP(b []byte) bool {
	for _, word := range []string{"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ", "CONNECT ", "PRI * ", "HTTP/"} {
		if bytes.HasPrefix([]byte(word), b) || bytes.HasPrefix(b, []byte(word)) {
			return true
		}
	}
	return false
}
