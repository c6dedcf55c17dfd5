package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A CertificateSample is what one side of a service that speaks TLS has for certificates, at the
// moment of a scrape.
type CertificateSample struct {
	Service string
	Side    string // listener or upstream

	Certificates []CertificateEnd
	Reloads      uint64 // how often new files were taken into use
	Failures     uint64 // how often they could not be
}

// A CertificateEnd is when a certificate expires.
type CertificateEnd struct {
	Name     string // its first name, or its subject
	NotAfter time.Time
}

type certificateFamily struct {
	each            atomic.Pointer[func(func(CertificateSample))]
	expiry, reloads *prometheus.Desc
}

func newCertificateFamily() *certificateFamily {
	const sub = "tls"
	return &certificateFamily{
		expiry: desc(sub, "certificate_expiry_timestamp_seconds",
			"When the certificate expires, or the first of its chain; of several with one name the one that is first to.", "service", "side", "name"),
		reloads: desc(sub, "reloads_total",
			"How often certificate files had changed: success, they were taken into use, or failure, they could not be.", "service", "side", "result"),
	}
}

// ObserveCertificates registers who tells of all certificates, as ObserveEndpoints does.
func (r *Registry) ObserveCertificates(each func(emit func(CertificateSample))) {
	r.certificates.each.Store(&each)
}

// Describe is prometheus.Collector's.
func (f *certificateFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.expiry, f.reloads)
}

// Collect is prometheus.Collector's.
func (f *certificateFamily) Collect(ch chan<- prometheus.Metric) {
	type side struct{ service, side string }
	type name struct {
		side
		name string
	}
	sides, ends := map[side]CertificateSample{}, map[name]time.Time{}
	gather(&f.each, func(s CertificateSample) {
		by := side{label(s.Service), label(s.Side)}
		sides[by] = s
		for _, c := range s.Certificates {
			k := name{by, label(c.Name)}
			if end, known := ends[k]; !known || c.NotAfter.Before(end) {
				ends[k] = c.NotAfter
			}
		}
	})
	for k, end := range ends {
		gauge(ch, f.expiry, seconds(end), k.service, k.side.side, k.name)
	}
	for k, s := range sides {
		counter(ch, f.reloads, s.Reloads, k.service, k.side, "success")
		counter(ch, f.reloads, s.Failures, k.service, k.side, "failure")
	}
}
