package consul

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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
