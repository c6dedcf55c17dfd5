package secure

import (
	"crypto/sha256"
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

	sum [sha256.Size]byte // of the certificate itself
}

// valid tells whether the whole chain can be used.
func (c *Certificate) valid(now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
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
