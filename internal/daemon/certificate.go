package daemon

import (
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"sidecar/admin"
	"sidecar/internal/secure"
	"sidecar/metrics"
)

// Sides of a service that have certificates, in metrics and in the status.
const (
	sideListener = "listener" // what clients are shown
	sideUpstream = "upstream" // what endpoints are shown
)

// renewBefore is how long before its end the status begins to tell of a certificate. What is
// renewed by itself is mostly renewed earlier than that.
const renewBefore = 30 * 24 * time.Hour

// onExpiry has the log tell of certificates that are about to expire.
func (d *Daemon) onExpiry(service, side string) func(secure.Certificate) {
	return func(c secure.Certificate) {
		text := "a certificate expires soon, renew it"
		if time.Now().After(c.NotAfter) {
			text = "a certificate has expired, renew it"
		}
		d.log.Warn(text, zap.String("service", service), zap.String("side", side), zap.String("name", c.Name()),
			zap.String("file", c.File), zap.Time("not_after", c.NotAfter))
	}
}

// eachTLS calls fn for either side of the service that speaks TLS.
func (s *service) eachTLS(fn func(side string, st secure.Status)) {
	if s.tls != nil {
		fn(sideListener, s.tls.Status())
	}
	if s.upstreamTLS != nil {
		fn(sideUpstream, s.upstreamTLS.Status())
	}
}

// tlsStatus is what the status tells of the service's certificates.
func (s *service) tlsStatus(now time.Time) (all []admin.TLS) {
	s.eachTLS(func(side string, st secure.Status) {
		one := admin.TLS{Side: side, Reloads: st.Reloads, Failures: st.Failures, Problem: st.Problem}
		for i := range st.Certificates {
			c := &st.Certificates[i]
			one.Certificates = append(one.Certificates, admin.Certificate{
				File: c.File, Names: c.Names, Subject: c.Subject, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Due: c.Due(now, renewBefore),
			})
		}
		all = append(all, one)
	})
	return all
}

// tlsNotices are what the operator should know of certificates at once.
func (s *service) tlsNotices(now time.Time) (lines []string) {
	s.eachTLS(func(side string, st secure.Status) {
		say := func(format string, args ...any) {
			lines = append(lines, fmt.Sprintf("%s, %s: ", s.config.Name, side)+fmt.Sprintf(format, args...))
		}
		if st.Problem != "" {
			say("what is in the certificate files now cannot be used, what was there before stays: %s", strings.TrimPrefix(st.Problem, "secure: "))
		}
		for i := range st.Certificates {
			c := &st.Certificates[i]
			end := c.NotAfter.UTC().Format("2006-01-02 15:04 MST")
			switch {
			case now.After(c.NotAfter):
				say("the certificate of %s has expired on %s; renew %s", c.Name(), end, c.File)
			case c.Due(now, secure.WarnBefore):
				say("the certificate of %s expires on %s; renew %s", c.Name(), end, c.File)
			}
		}
	})
	return lines
}

// observeCertificates lets metrics ask for the certificates.
func (d *Daemon) observeCertificates() {
	d.metrics.ObserveCertificates(func(emit func(metrics.CertificateSample)) {
		for _, s := range d.state.Load().services {
			s.eachTLS(func(side string, st secure.Status) {
				sample := metrics.CertificateSample{Service: s.config.Name, Side: side, Reloads: st.Reloads, Failures: st.Failures}
				for i := range st.Certificates {
					c := &st.Certificates[i]
					sample.Certificates = append(sample.Certificates, metrics.CertificateEnd{Name: c.Name(), NotAfter: c.NotAfter})
				}
				emit(sample)
			})
		}
	})
}
