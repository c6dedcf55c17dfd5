package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// secureServer answers as the proxies do, with a certificate of the bench.
func secureServer(t *testing.T) (addr string, cert *certificate) {
	t.Helper()
	b := &bench{ctx: context.Background(), dir: t.TempDir()}
	cert, err := b.certificate()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert.bothFile, cert.bothFile)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, smallBody.text())
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), cert
}

func TestHandshakesAreResumedWhenAsked(t *testing.T) {
	addr, cert := secureServer(t)
	for _, resumed := range []bool{false, true} {
		h := handshaker{addr: addr, config: cert.client(), resumed: resumed}
		if resumed {
			h.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		for i := range 3 {
			got, err := h.once()
			if err != nil || got != (resumed && i > 0) {
				t.Errorf("resumed %v, connection %d: got %v, %v", resumed, i, got, err)
			}
		}
	}
}

func TestAHandshakeOfTheWrongSortIsAFailure(t *testing.T) {
	addr, cert := secureServer(t)
	h := handshaker{addr: addr, config: cert.client(), resumed: false}
	h.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	var r handshakeResult
	for range 3 {
		h.count(&r)
	}
	if r.Done != 1 || r.Failed != 2 || !strings.Contains(r.Cause, "resumed") {
		t.Errorf("got %+v, want one full handshake, and two failures because sessions were resumed", r)
	}
}

func TestTheProxiesCertificateIsVerified(t *testing.T) {
	addr, _ := secureServer(t)
	_, other := secureServer(t)
	h := handshaker{addr: addr, config: other.client()}
	if _, err := h.once(); err == nil {
		t.Error("a certificate of nobody's was taken")
	}
}
