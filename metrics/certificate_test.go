package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestCertificatesThatAreGoneVanish(t *testing.T) {
	r := New(Options{})
	end := time.Unix(1_000_000, 0)
	listener := CertificateSample{Service: "orders", Side: "listener", Reloads: 2, Failures: 1, Certificates: []CertificateEnd{
		{"a.example", end.Add(time.Hour)}, {"a.example", end}, {"a.example", end.Add(time.Minute)}, // by other kinds of keys
		{"*.b.example\xff", end.Add(time.Second)},
	}}
	upstream := CertificateSample{Service: "orders", Side: "upstream"} // shows none
	r.ObserveCertificates(func(emit func(CertificateSample)) { emit(listener); emit(upstream) })
	problems, err := testutil.GatherAndLint(r.Gatherer())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	const expiry = "sidecar_tls_certificate_expiry_timestamp_seconds"
	got := scrape(t, r)
	got.want(t, expiry+`{name="a.example",service="orders",side="listener"}`, 1_000_000)
	got.want(t, expiry+`{name="*.b.example�",service="orders",side="listener"}`, 1_000_001)
	got.want(t, `sidecar_tls_reloads_total{result="success",service="orders",side="listener"}`, 2)
	got.want(t, `sidecar_tls_reloads_total{result="failure",service="orders",side="listener"}`, 1)
	got.want(t, `sidecar_tls_reloads_total{result="success",service="orders",side="upstream"}`, 0)
	got.want(t, `sidecar_tls_reloads_total{result="failure",service="orders",side="upstream"}`, 0)

	listener.Certificates = []CertificateEnd{{"c.example", end}}
	got = scrape(t, r)
	got.want(t, expiry+`{name="c.example",service="orders",side="listener"}`, 1_000_000)
	for _, name := range []string{"a.example", "*.b.example�"} {
		if _, there := got[expiry+`{name="`+name+`",service="orders",side="listener"}`]; there {
			t.Errorf("%s is still there", name)
		}
	}
}
