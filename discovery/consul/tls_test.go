package consul

import (
	"crypto/tls"
	"encoding/pem"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lossy is a connection whose packets are dropped once it is cut, in both directions and
// without a word: when upTo reaches its number.
type lossy struct {
	net.Conn
	number int64
	upTo   *atomic.Int64
}

func (l lossy) cut() bool { return l.upTo.Load() >= l.number }

func (l lossy) Read(p []byte) (int, error) {
	for {
		n, err := l.Conn.Read(p)
		if err != nil || !l.cut() {
			return n, err
		}
	}
}

func (l lossy) Write(p []byte) (int, error) {
	if l.cut() {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

// certificate returns one for example.com, and the file of who has signed it.
func certificate(t *testing.T) (cert tls.Certificate, ca string) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	ca = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.TLS.Certificates[0], ca
}

// Over TLS all queries share one connection. When that one is dead while the agent is well,
// they all go on over another one.
func TestSharedConnectionThatIsDeadIsLeftBehind(t *testing.T) {
	cert, ca := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		var accepted, upTo atomic.Int64
		r := newRegistry(t, Options{Address: "https://agent:8501", TLS: TLS{CAFile: ca, ServerName: "example.com"}}, func(r *registry, s *http.Server) error {
			s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
			s.ErrorLog = quiet
			return s.ServeTLS(accepting{r, func(c net.Conn) net.Conn {
				return lossy{c, accepted.Add(1), &upTo}
			}}, "", "")
		})
		w, first := r.waiting(t, "orders")
		other, _ := r.waiting(t, "stock")
		if first.ProtoMajor != 2 {
			t.Fatalf("protocol %s", first.Proto)
		}
		pass(30 * time.Second)
		synctest.Wait()
		opened := r.dialled.Load()
		upTo.Store(accepted.Load())
		start := time.Now()
		for _, w := range []*watching{w, other} {
			u := w.next(6 * time.Second)
			if u.Err == nil {
				t.Errorf("update %+v", u)
			}
		}
		for answered := 0; answered < 2; {
			q := r.query(2 * time.Second)
			if q == nil {
				t.Fatal("nobody asks")
			}
			if !q.URL.Query().Has("index") {
				q.with(6, entry("b"))
				answered++
			}
		}
		w.wantIDs("n1/b")
		other.wantIDs("n1/b")
		if after := time.Since(start); after > 6*time.Second+pauseMost {
			t.Errorf("updates resume after %v", after)
		}
		if n := r.dialled.Load() - opened; n < 1 || n > 2 {
			t.Errorf("%d new connections", n)
		}
		w.cancel()
		other.cancel()
	})
}

// Until the first connection is there, net/http opens one for each query.
func TestManyWatchesOverTLSOpenFewConnections(t *testing.T) {
	const services, allowed = 1000, 200 // by agents, per address
	var s silentRegistry
	server := s.serve(t, func(server *httptest.Server) {
		server.EnableHTTP2 = true
		server.Config.ErrorLog = quiet // of connections that were not needed after all
		server.StartTLS()
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.watchAll(t, Options{Address: server.URL, TLS: TLS{CAFile: ca}}, services)
	t.Logf("%d connections for %d watches, %d at once", s.conns.Load(), services, s.most.Load())
	if n := s.most.Load(); n > allowed {
		t.Errorf("%d connections at once", n)
	}
}

// What speaks TLS without HTTP/2 is a proxy in front of the agent. Each query takes a connection
// then, as it does without TLS.
func TestWatchesTakeTurnsOverTLSWithoutHTTP2(t *testing.T) {
	const services, connections = 50, 10
	cert, ca := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		o := Options{Address: "https://agent:8501", TLS: TLS{CAFile: ca, ServerName: "example.com"}, Connections: connections}
		c := newCrowd(t, o, func(r *registry, s *http.Server) error {
			s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
			return s.ServeTLS(r, "", "")
		})
		watches := c.watchMany(services)
		if text, want := c.client.Crowded(), "50 services share 10 connections to the agent, so that changes arrive up to 5s late; have it speak HTTP/2, or raise"; !strings.HasPrefix(text, want) {
			t.Errorf("crowded: %q", text)
		}
		pass(2 * briefly)
		c.counts()
		pass(time.Minute)
		asked, most, longest := c.counts()
		if len(asked) != services || most > connections || longest > round {
			t.Errorf("%d services, %d queries at once, which wait for up to %v", len(asked), most, longest)
		}
		if least := slices.Min(slices.Collect(maps.Values(asked))); least < 10 {
			t.Errorf("a service was asked for %d times in a minute, want some 12", least)
		}
		for _, w := range watches {
			if u := w.latest(); u.Err != nil {
				t.Error(u.Err)
			}
			w.cancel()
		}
	})
}

// accepting changes what a registry accepts.
type accepting struct {
	*registry
	change func(net.Conn) net.Conn
}

func (a accepting) Accept() (net.Conn, error) {
	c, err := a.registry.Accept()
	if err != nil {
		return nil, err
	}
	return a.change(c), nil
}
