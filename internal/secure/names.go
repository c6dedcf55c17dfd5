package secure

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// namesOf returns the names that a certificate is for: DNS names, URIs and addresses, or if there
// are none the common name of old.
func namesOf(c *x509.Certificate) []string {
	if c == nil {
		return nil
	}
	names := append([]string(nil), c.DNSNames...)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName)
	}
	return names
}

// nameOf is what to call a certificate.
func nameOf(c *x509.Certificate) string {
	if names := namesOf(c); len(names) > 0 {
		return names[0]
	}
	return c.Subject.String()
}

// list is for messages.
func list(names []string) string {
	const most = 5
	if len(names) == 0 {
		return "(none)"
	}
	more := ""
	if n := len(names) - most; n > 0 {
		names, more = names[:most], fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ") + more
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// matches tells whether a DNS name is the one that is meant, or one label below it: *.example.com is
// a.example.com, but neither example.com nor a.b.example.com (RFC 9525 §6.3). The case of ASCII
// letters says nothing.
func matches(pattern, name string) bool {
	if foldEqual(pattern, name) {
		return true
	}
	domain, wild := strings.CutPrefix(pattern, "*.")
	label, rest, ok := strings.Cut(name, ".")
	return wild && ok && label != "" && !strings.ContainsAny(label, "/:@") && foldEqual(domain, rest)
}

// foldEqual knows no case but that of ASCII: of other letters, some that look alike are not the same.
func foldEqual(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// notAllowed is the error for a good certificate with the wrong names.
type notAllowed struct{ names []string }

func (e *notAllowed) Error() string {
	return "secure: none of the names " + list(e.names) + " is allowed"
}

// onlyNames returns a check for clients' certificates, which is made in resumed sessions as
// well; nil if every name is good. DNS names and URIs count, these octet by octet: their paths
// have a case. The common name does not (RFC 9525 §2): what an authority is allowed to sign is said
// of the other names only.
func onlyNames(allowed []string) func(tls.ConnectionState) error {
	if len(allowed) == 0 {
		return nil
	}
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return nil // it is optional, or crypto/tls has refused already
		}
		leaf := s.PeerCertificates[0]
		names := append([]string(nil), leaf.DNSNames...)
		for _, u := range leaf.URIs {
			names = append(names, u.String())
		}
		for i, name := range names {
			for _, pattern := range allowed {
				if i < len(leaf.DNSNames) && matches(pattern, name) || pattern == name {
					return nil
				}
			}
		}
		return &notAllowed{names}
	}
}
