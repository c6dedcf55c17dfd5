package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sidecar/config"
)

const day = 24 * time.Hour

// certify writes a certificate that has lived for 100 days, and its key, as DIR/NAME.pem and .key.
func certify(t *testing.T, dir, name string, left time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
		NotBefore: time.Now().Add(-100 * day), NotAfter: time.Now().Add(left),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for end, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name+end), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// encrypted is the configuration of a service with the certificates of dir on both sides.
func encrypted(t *testing.T, dir string) *config.Config {
	t.Helper()
	return parse(t, adminOff+text("orders", "http", "unix:"+filepath.Join(dir, "socket"), "127.0.0.1:1")+fmt.Sprintf(`
[service.tls]
cert_files = ["%[1]s/fine.pem", "%[1]s/soon.pem", "%[1]s/month.pem"]
key_files = ["%[1]s/fine.key", "%[1]s/soon.key", "%[1]s/month.key"]
[service.upstream_tls]
enabled = true
cert_file = "%[1]s/past.pem"
key_file = "%[1]s/past.key"
`, dir))
}

func TestCertificatesAreSeenByTheOperator(t *testing.T) {
	dir := t.TempDir()
	certify(t, dir, "fine", 100*day)
	certify(t, dir, "soon", 3*day+time.Hour)
	certify(t, dir, "month", 20*day)
	certify(t, dir, "past", -time.Hour)
	core, logs := observer.New(zap.DebugLevel)
	d, err := New(encrypted(t, dir), Options{Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()

	var seen []string
	st, _ := d.service("orders")
	for _, side := range st.TLS {
		for _, c := range side.Certificates {
			seen = append(seen, fmt.Sprint(side.Side, " ", c.Names, " ", filepath.Base(c.File), " ", c.Due, " ", int(time.Until(c.NotAfter)/day)))
		}
	}
	if want := []string{
		"listener [fine.example] fine.pem false 99", "listener [soon.example] soon.pem true 3", "listener [month.example] month.pem true 19",
		"upstream [past.example] past.pem true 0",
	}; !slices.Equal(seen, want) {
		t.Errorf("status: %q", seen)
	}
	wantLines(t, d.Status().Notices, "orders, listener: the certificate of soon.example expires on ", "orders, upstream: the certificate of past.example has expired on ")

	scrape := httptest.NewRecorder()
	d.metrics.Handler().ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	for _, part := range []string{
		`sidecar_tls_certificate_expiry_timestamp_seconds{name="fine.example",service="orders",side="listener"}`,
		`sidecar_tls_certificate_expiry_timestamp_seconds{name="past.example",service="orders",side="upstream"}`,
		`sidecar_tls_reloads_total{result="failure",service="orders",side="upstream"} 0`,
	} {
		if !strings.Contains(scrape.Body.String(), part) {
			t.Errorf("the scrape lacks %s", part)
		}
	}

	// The watches tell the log as soon as they run.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	d.state.Load().services[0].tls.Run(ended)
	d.state.Load().services[0].upstreamTLS.Run(ended)
	var told []string
	for _, e := range logs.FilterMessageSnippet("a certificate").All() {
		told = append(told, fmt.Sprint(e.Message, " ", e.ContextMap()["service"], " ", e.ContextMap()["side"], " ", e.ContextMap()["name"]))
	}
	wantLines(t, told, "a certificate expires soon, renew it orders listener soon.example", "a certificate has expired, renew it orders upstream past.example")
}

func TestFilesThatCannotBeUsedAreANotice(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fine", "soon", "month", "past"} {
		certify(t, dir, name, 200*day)
	}
	d, err := New(encrypted(t, dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	wantLines(t, d.Status().Notices)
	if err := os.Remove(filepath.Join(dir, "past.key")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.state.Load().services[0].upstreamTLS.Run(ctx) }()
	for giveUp := time.Now().Add(patience); len(d.Status().Notices) == 0 && time.Now().Before(giveUp); {
		<-time.NewTimer(time.Millisecond).C
	}
	cancel()
	<-done
	wantLines(t, d.Status().Notices, "orders, upstream: what is in the certificate files now cannot be used, what was there before stays: certificate "+dir)
	st, _ := d.service("orders")
	if up := st.TLS[1]; up.Failures != 1 || !strings.Contains(up.Problem, "past.key") || len(up.Certificates) != 1 {
		t.Errorf("%+v", up)
	}
}

// One Origination serves both protocols, with the sessions of each.
func TestEndpointsAreAskedForTheProtocolThatIsMeant(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fine", "soon", "month", "past"} {
		certify(t, dir, name, 200*day)
	}
	cfg := encrypted(t, dir)
	d := &Daemon{config: cfg, log: zap.NewNop()}
	o, err := d.originate(&cfg.Services[0])
	if err != nil {
		t.Fatal(err)
	}
	of := upstreamTLS(o)
	one, two := of(false), of(true)
	if !slices.Equal(one.NextProtos, []string{"http/1.1"}) || !slices.Equal(two.NextProtos, []string{"h2"}) || one.ClientSessionCache != two.ClientSessionCache {
		t.Errorf("%q, %q, and sessions apart: %v", one.NextProtos, two.NextProtos, one.ClientSessionCache != two.ClientSessionCache)
	}
	cfg.Services[0].Protocol = config.ProtocolTCP
	if o, err = d.originate(&cfg.Services[0]); err != nil {
		t.Fatal(err)
	}
	if asked := plainUpstreamTLS(o)().NextProtos; asked != nil {
		t.Errorf("sessions of tcp ask for %q", asked)
	}
	cfg.Services[0].UpstreamTLS.Enabled = false
	if o, err = d.originate(&cfg.Services[0]); err != nil || upstreamTLS(o) != nil || plainUpstreamTLS(o) != nil {
		t.Errorf("plain text: %v, %v", o, err)
	}
}

// wantLines compares the beginnings of lines.
func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("%q, want %q", got, want)
	}
}
