package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"sidecar/upstream"
)

const probes = `interval = "1s", timeout = "1s", fall = 2, rise = 2`

// A guarded is an origin with TLS that probes of every kind may ask, with a certificate that can be
// replaced while it runs. Its clients can resume their sessions all the time.
type guarded struct {
	name, address string
	cert          atomic.Pointer[tls.Certificate]
	served        atomic.Int64 // requests that are no probes
}

func serveGuarded(t *testing.T, name string, cert certificate) *guarded {
	t.Helper()
	g := &guarded{name: name}
	g.cert.Store(&cert.Certificate)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.address = l.Addr().String()
	calls := grpc.NewServer()
	healthpb.RegisterHealthServer(calls, health.NewServer())
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Content-Type") == "application/grpc":
				calls.ServeHTTP(w, r)
			case r.URL.Path != "/healthz":
				g.served.Add(1)
				fmt.Fprint(w, g.name)
			}
		}),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.cert.Load(), nil }},
		ErrorLog:  log.New(io.Discard, "", 0), ReadHeaderTimeout: patience,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		server.Close()
		calls.Stop()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return g
}

// An endpoint whose certificate has expired is down for checks of every kind, though who spoke to
// it before could go on with his session, and explain says why. A renewed one brings it back.
func TestProbesSpeakTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "endpoints")
	good, expired := ca.issue("127.0.0.1"), ca.expired("127.0.0.1")
	one, two := serveGuarded(t, "one", good), serveGuarded(t, "two", ca.issue("127.0.0.1"))
	config, services := "", []string{}
	for name, keys := range map[string]string{
		"http":    `health_check = { type = "http", ` + probes + " }\n",
		"http1":   `health_check = { type = "http", ` + probes + " }\nupstream_protocol = \"http1\"\n",
		"http2":   `health_check = { type = "http", ` + probes + " }\nupstream_protocol = \"h2c\"\n",
		"grpc":    `health_check = { type = "grpc", ` + probes + " }\n",
		"connect": `health_check = { type = "tcp", ` + probes + " }\n",
		"raw":     `health_check = { type = "tcp", ` + probes + " }\nprotocol = \"tcp\"\n",
		"asked":   `health_check = { type = "http", ` + probes + " }\nprotocol = \"tcp\"\n",
	} {
		services = append(services, name)
		config += static(name, keys+beginning(trusts(ca)), one.address, two.address)
	}
	s := serving(t, config)
	stand := func(state upstream.State, why string) {
		t.Helper()
		for _, service := range services {
			within(t, patience, fmt.Sprintf("%s: the first is %s: %s", service, state, why), func() bool {
				e := s.endpoint(service, one.address)
				return e.State == state && strings.Contains(e.Why, why)
			})
			if e := s.endpoint(service, two.address); e.State != upstream.StateUsable {
				t.Errorf("%s: the second is %s: %s", service, e.State, e.Why)
			}
		}
	}
	stand(upstream.StateUsable, "health check passed")
	one.cert.Store(&expired.Certificate)
	stand(upstream.StateDown, "the endpoint's certificate (127.0.0.1) has expired on ")
	for _, service := range services {
		if said := s.explain(service); !strings.Contains(said, "the endpoint's certificate (127.0.0.1) has expired on ") {
			t.Errorf("%s: explain says\n%s", service, said)
		}
	}
	before := one.served.Load()
	for range 10 {
		for _, service := range []string{"http", "http2"} {
			if a := get(t, s.address(service), "/"); a.status != http.StatusOK || a.body != two.name {
				t.Errorf("%s: %+v", service, a)
			}
		}
	}
	if n := one.served.Load() - before; n > 0 {
		t.Errorf("it is down, and got %d requests", n)
	}
	one.cert.Store(&good.Certificate)
	stand(upstream.StateUsable, "passed 2 times in a row")
	within(t, patience, "it gets traffic", func() bool { return get(t, s.address("http"), "/").body == one.name })
}

// An endpoint that takes nobody without a PROXY header is well, though nobody has come yet.
func TestProbesBeginWithAPROXYHeader(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "endpoints")
	o := serveOrigin(t, "first")
	const takes = "accept_proxy_from = [\"127.0.0.1/32\"]\n"
	inner := serving(t, static("plain", takes, o.address)+static("secret", takes+ending("", ca.issue("127.0.0.1")), o.address))
	config := ""
	type route struct{ outer, address string }
	var routes []route
	for _, version := range []string{"v1", "v2"} {
		for name, more := range map[string]string{"plain": "", "secret": beginning(trusts(ca))} {
			r := route{name + version, inner.address(name)}
			routes = append(routes, r)
			config += static(r.outer, fmt.Sprintf("protocol = \"tcp\"\nsend_proxy = %q\nhealth_check = { type = \"http\", %s }\n", version, probes)+more, r.address)
		}
	}
	s := serving(t, config)
	for _, r := range routes {
		within(t, patience, r.outer+" is well", func() bool {
			e := s.endpoint(r.outer, r.address)
			return e.State == upstream.StateUsable && strings.Contains(e.Why, "health check passed")
		})
		if a := get(t, s.address(r.outer), "/"); a.status != http.StatusOK || a.origin() != o.name {
			t.Errorf("%s: %+v", r.outer, a)
		}
	}
	o.health.Store(http.StatusInternalServerError)
	for _, r := range routes {
		if why := s.waitState(r.outer, r.address, upstream.StateDown); !strings.Contains(why, "status 500") {
			t.Errorf("%s is down: %s", r.outer, why)
		}
	}
}
