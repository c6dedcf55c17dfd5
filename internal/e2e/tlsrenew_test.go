package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// renewal is how soon a certificate is in use that has taken the place of another one.
	renewal = time.Second

	renewedLine = "new certificates are in use"
	brokenLine  = "new certificates cannot be used, those before them stay"
)

// wantRenewed makes connections until one gets the certificate want. The first that is begun when
// the time for a renewal is over has to.
func wantRenewed(t *testing.T, address string, c *tls.Config, want certificate, replaced time.Time) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		begin := time.Since(replaced)
		w, err := dialTLS(address, c)
		if err != nil {
			t.Fatalf("%v after the files were replaced: %v", begin, err)
		}
		got := w.state().PeerCertificates[0]
		w.Close()
		if got.Equal(want.Leaf) {
			t.Logf("the new certificate is in use %v after the files were replaced (required: %v)", begin.Round(time.Millisecond), renewal)
			return
		}
		if begin > renewal {
			t.Fatalf("a connection begun %v after the files were replaced gets the old certificate", begin)
		}
	}
}

// A steady client asks without a pause on one connection.
type steady struct {
	stop  chan struct{}
	once  sync.Once
	ended sync.WaitGroup
	t     *testing.T
}

func (s *steady) ask(name string, get func(string) (answer, error)) {
	s.ended.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-s.stop:
				if n == 0 {
					s.t.Errorf("%s: nothing was asked", name)
				}
				return
			default:
			}
			if a, err := get("/"); err != nil || a.status != http.StatusOK {
				s.t.Errorf("%s: request %d: %+v, %v", name, n, a, err)
				return
			}
		}
	})
}

func (s *steady) end() {
	s.once.Do(func() { close(s.stop) })
	s.ended.Wait()
}

func TestARenewedCertificateIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	o := serveOrigin(t, "orders-1")
	echo := serveStream(t)
	old := ca.issue("orders.test")
	s := serving(t, static("orders", ending("", old), o.address)+static("queue", "protocol = \"tcp\"\n"+ending("", old), echo.address))
	address, c := s.address("orders"), ca.client("orders.test")

	clients := &steady{stop: make(chan struct{}), t: t}
	t.Cleanup(clients.end)
	clients.ask("HTTP/1.1", connectTLS(t, address, c).get)
	clients.ask("HTTP/2", connectH2(t, address, c).get)
	session := connectTLS(t, s.address("queue"), c)
	session.exchange(t, "before")
	responding := connectTLS(t, address, c)
	if err := responding.send("/half"); err != nil {
		t.Fatal(err)
	}
	<-o.halves
	if _, err := responding.r.Peek(1); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		renewed := ca.issue("orders.test")
		renewed.put(old.certFile, old.keyFile)
		replaced := time.Now()
		wantRenewed(t, address, c, renewed, replaced)
		wantRenewed(t, s.address("queue"), c, renewed, replaced)
	}

	close(o.hold)
	if a, err := responding.receive(); err != nil || a.body != half+half {
		t.Errorf("an answer that was under way: %+v, %v", a, err)
	}
	if got := session.exchange(t, "afterwards"); got != "afterwards" {
		t.Errorf("a session that was under way echoes %q", got)
	}
	clients.end()
	for _, service := range []string{"orders", "queue"} {
		told := func() int { return len(s.lines(renewedLine, fmt.Sprintf("%q", service))) }
		within(t, soon, "the log tells of both renewals for "+service, func() bool { return told() >= 2 })
		if told() != 2 {
			t.Errorf("the log tells of %d renewals for %s, want 2", told(), service)
		}
	}
	if all := s.lines(brokenLine); len(all) > 0 {
		t.Errorf("the log complains:\n%s", strings.Join(all, ""))
	}
}

// Files that are of no use change nothing, and the log says so once.
func TestBrokenFilesLeaveTheOldCertificate(t *testing.T) {
	t.Parallel()
	const looks = 1500 * time.Millisecond // in which the files are looked at three times
	for name, test := range map[string]struct {
		spoil func(ca *authority, old certificate)
		cause string
	}{
		"no certificate at all": {func(ca *authority, old certificate) {
			putFile(ca.t, old.certFile, []byte("to be renewed\n"))
		}, "failed to find any PEM data"},
		"half a file": {func(ca *authority, old certificate) {
			putFile(ca.t, old.certFile, []byte("-----BEGIN CERTIFICATE-----\nMIIB\n"))
		}, "it is cut off"},
		"the key of another one": {func(ca *authority, old certificate) {
			ca.issue("other.test").put(old.certFile+".other", old.keyFile)
		}, "private key does not match public key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t, "servers")
			o := serveOrigin(t, "orders-1")
			old := ca.issue("orders.test")
			s := serving(t, static("orders", ending("", old), o.address))
			c := ca.client("orders.test")
			test.spoil(ca, old)
			within(t, soon, "the log says that the files cannot be used", func() bool { return len(s.lines(brokenLine)) > 0 })
			for told := time.Now(); time.Since(told) < looks; { // in which all is served with the old one
				w := connectTLS(t, s.address("orders"), c)
				if a, err := w.get("/"); err != nil || a.status != http.StatusOK || !w.state().PeerCertificates[0].Equal(old.Leaf) {
					t.Fatalf("%+v, %v, by %v", a, err, w.state().PeerCertificates[0].SerialNumber)
				}
				w.Close()
			}
			if all := s.lines(brokenLine); len(all) != 1 || !hasAll(all[0], []string{test.cause, "orders", old.certFile}) {
				t.Errorf("the log has, instead of one line with %q:\n%s", test.cause, strings.Join(all, ""))
			}
			renewed := ca.issue("orders.test")
			renewed.put(old.certFile, old.keyFile)
			wantRenewed(t, s.address("orders"), c, renewed, time.Now())
		})
	}
}

// Who is not trusted any more cannot come in by a session of the time when he was, whose
// ticket has his certificate in it.
func TestAnAuthorityThatIsTrustedNoMore(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			servers, first, second := newAuthority(t, "servers"), newAuthority(t, "first"), newAuthority(t, "second")
			o := serveOrigin(t, "orders-1")
			s := serving(t, static("orders", ending(fmt.Sprintf(`client_auth = "required", client_ca_file = %q`, first.file), servers.issue("orders.test")), o.address))
			c := servers.client("orders.test", first.issue("a.shops.test"))
			c.MinVersion, c.MaxVersion, c.ClientSessionCache = version, version, tls.NewLRUClientSessionCache(8)
			for range 2 {
				if a, err := connectTLS(t, s.address("orders"), c).get("/"); err != nil || a.status != http.StatusOK {
					t.Fatalf("%+v, %v", a, err)
				}
			}
			putPEM(t, first.file, "CERTIFICATE", second.cert.Raw)
			within(t, soon, "the new authorities count", func() bool { return len(s.lines(renewedLine)) > 0 })
			served := o.served.Load()
			w, err := refused(t, s.address("orders"), c)
			if err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
				t.Errorf("who was trusted once gets %v", err)
			}
			s.wantLogged(w, "TLS handshake failed", "signed by none of the trusted authorities")
			if o.served.Load() != served {
				t.Error("the endpoint was asked")
			}
			if a, err := connectTLS(t, s.address("orders"), servers.client("orders.test", second.issue("a.shops.test"))).get("/"); err != nil || a.status != http.StatusOK {
				t.Errorf("who is trusted now gets %+v, %v", a, err)
			}
		})
	}
}
