package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// beginning is the line of a service whose endpoints are spoken to by TLS; more are keys.
func beginning(more ...string) string {
	return "upstream_tls = { " + strings.Join(append([]string{"enabled = true"}, more...), ", ") + " }\n"
}

func trusts(a *authority) string { return fmt.Sprintf("ca_file = %q", a.file) }

func shows(c certificate) string {
	return fmt.Sprintf("cert_file = %q, key_file = %q", c.certFile, c.keyFile)
}

// A secret is an origin with TLS, which knows what it has agreed on.
type secret struct {
	address string
	served  atomic.Int64
	resumed atomic.Int64 // connections that continued a session
	conns   atomic.Int64
	stands  atomic.Bool  // it answers nobody
	gone    atomic.Int64 // requests that were given up by who asked

	mu   sync.Mutex
	last tls.ConnectionState
}

// serveSecret starts an origin with a certificate. Clients have to show one of clients, unless
// it is nil.
func serveSecret(t *testing.T, cert certificate, clients *authority) *secret {
	t.Helper()
	o := &secret{}
	server := httptest.NewUnstartedServer(o)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the sidecar tells why a handshake failed
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert.Certificate}}
	server.TLS.VerifyConnection = func(s tls.ConnectionState) error {
		o.conns.Add(1)
		if s.DidResume {
			o.resumed.Add(1)
		}
		return nil
	}
	if clients != nil {
		server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients.pool()
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	o.address = server.Listener.Addr().String()
	return o
}

func (o *secret) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.served.Add(1)
	o.mu.Lock()
	o.last = *r.TLS
	o.mu.Unlock()
	if o.stands.Load() {
		<-r.Context().Done()
		o.gone.Add(1)
		return
	}
	fmt.Fprintf(w, "%s by %s\n", r.URL.Path, r.Proto)
}

// state is that of the connection by which it was asked last.
func (o *secret) state() tls.ConnectionState {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// Endpoints are spoken to by TLS in either protocol, from clients with and without TLS.
func TestEndpointsWithTLS(t *testing.T) {
	t.Parallel()
	front, ca, clients := newAuthority(t, "front"), newAuthority(t, "endpoints"), newAuthority(t, "clients")
	byAddress, byName := serveSecret(t, ca.issue("127.0.0.1"), nil), serveSecret(t, ca.issue("orders.internal"), clients)
	cert := front.issue("orders.test")
	mine := clients.issue("sidecar.test")
	named := beginning(trusts(ca), `server_name = "orders.internal"`, shows(mine))
	s := serving(t, static("address", beginning(trusts(ca)), byAddress.address)+
		static("address2", beginning(trusts(ca))+"upstream_protocol = \"h2c\"\n", byAddress.address)+
		static("named", named+ending("", cert), byName.address)+
		static("named2", named+"upstream_protocol = \"h2c\"\n"+ending("", cert), byName.address)+
		static("blind", beginning("dangerously_skip_verification = true"), byAddress.address))
	for service, proto := range map[string]string{"address": "HTTP/1.1", "address2": "HTTP/2.0", "named": "HTTP/1.1", "named2": "HTTP/2.0", "blind": "HTTP/1.1"} {
		gets := map[string]func(string) (answer, error){}
		if strings.HasPrefix(service, "named") {
			gets["HTTP/1.1"] = connectTLS(t, s.address(service), front.client("orders.test")).get
			gets["HTTP/2"] = connectH2(t, s.address(service), front.client("orders.test")).get
		} else {
			gets["HTTP/1.1"] = connect(t, s.address(service)).get
		}
		for by, get := range gets {
			for i := range 3 {
				path := fmt.Sprintf("/%d", i)
				if a, err := get(path); err != nil || a.status != http.StatusOK || a.body != path+" by "+proto+"\n" {
					t.Errorf("%s by %s: %+v, %v", service, by, a, err)
				}
			}
		}
	}
	if got := byName.state(); got.ServerName != "orders.internal" || !got.PeerCertificates[0].Equal(mine.Leaf) {
		t.Errorf("it was asked for %q, by %v", got.ServerName, got.PeerCertificates[0].DNSNames)
	}
	if n := s.lines("cannot be used"); len(n) > 0 {
		t.Errorf("the log complains: %q", n)
	}
}

// An endpoint that is not who it has to be gets nothing of a request, and everybody is told why:
// who has asked, who reads the log, and who asks for an explanation.
func TestEndpointsThatAreNotTrusted(t *testing.T) {
	t.Parallel()
	ca, others, clients := newAuthority(t, "endpoints"), newAuthority(t, "others"), newAuthority(t, "clients")
	plain := serveOrigin(t, "plain")
	for name, test := range map[string]struct {
		origin *secret // nil: one without TLS
		more   []string
		cause  string
	}{
		"an unknown authority":     {serveSecret(t, others.issue("127.0.0.1"), nil), nil, "the endpoint's certificate is signed by none of the trusted authorities"},
		"expired":                  {serveSecret(t, ca.expired("127.0.0.1"), nil), nil, "the endpoint's certificate (127.0.0.1) has expired on"},
		"another name":             {serveSecret(t, ca.issue("users.internal"), nil), []string{`server_name = "orders.internal"`}, `the endpoint's certificate is for users.internal, and not for "orders.internal"`},
		"another address":          {serveSecret(t, ca.issue("192.0.2.1"), nil), nil, `the endpoint's certificate is for 192.0.2.1, and not for "127.0.0.1"`},
		"it wants a certificate":   {serveSecret(t, ca.issue("127.0.0.1"), clients), nil, "the endpoint wants a certificate, and has been shown none"},
		"it wants another one":     {serveSecret(t, ca.issue("127.0.0.1"), clients), []string{shows(others.issue("sidecar.test"))}, "the endpoint refuses the sidecar's certificate: it does not trust who has signed it"},
		"it wants one that is new": {serveSecret(t, ca.issue("127.0.0.1"), clients), []string{shows(clients.expired("sidecar.test"))}, "the endpoint refuses the sidecar's certificate: it has expired"},
		"it does not speak TLS":    {nil, nil, "the endpoint speaks plain HTTP, and TLS is spoken here"},
	} {
		address := plain.address
		if test.origin != nil {
			address = test.origin.address
		}
		for _, protocol := range []string{"http1", "h2c"} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				s := serving(t, static("orders", beginning(append(test.more, trusts(ca))...)+fmt.Sprintf("upstream_protocol = %q\n", protocol), address))
				a := get(t, s.address("orders"), "/")
				if a.status != http.StatusBadGateway || !strings.Contains(a.body, test.cause) {
					t.Errorf("%+v, want status 502 with %q", a, test.cause)
				}
				within(t, soon, "the log has a line on the request", func() bool { return len(s.lines("request failed")) > 0 })
				if all := s.lines("request failed"); len(all) != 1 || !strings.Contains(strings.ReplaceAll(all[0], `\"`, `"`), test.cause) {
					t.Errorf("the log has, instead of one line with %q:\n%s", test.cause, strings.Join(all, ""))
				}
				within(t, soon, fmt.Sprintf("explain says %q", test.cause), func() bool { return strings.Contains(s.explain("orders"), test.cause) })
				if test.origin != nil && test.origin.served.Load() != 0 {
					t.Error("it got the request")
				}
			})
		}
	}
}

// Connections to an endpoint continue its session, and not that of another one.
func TestSessionsOfEndpointsAreResumed(t *testing.T) {
	t.Parallel()
	const requests = 40
	ca := newAuthority(t, "endpoints")
	cert := ca.issue("orders.internal")
	one, two := serveSecret(t, cert, nil), serveSecret(t, cert, nil)
	s := serving(t, static("orders", beginning(trusts(ca), `server_name = "orders.internal"`)+
		"http.pool = 0\nbalancer.policy = \"round_robin\"\n", one.address, two.address), "SIDECAR_RUNTIME_LOOPS=1")
	w := connect(t, s.address("orders"))
	for range requests {
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	for i, o := range []*secret{one, two} {
		if conns, resumed := o.conns.Load(), o.resumed.Load(); conns != requests/2 || resumed < conns-1 {
			t.Errorf("endpoint %d: %d of %d connections were resumed, want all but the first of %d", i, resumed, conns, requests/2)
		}
	}
}

// What is trusted, and what is shown, may be replaced.
func TestCertificatesForEndpointsAreRenewed(t *testing.T) {
	t.Parallel()
	ca, next, clients := newAuthority(t, "endpoints"), newAuthority(t, "next"), newAuthority(t, "clients")
	o := serveSecret(t, next.issue("127.0.0.1"), clients)
	old, renewed := clients.expired("sidecar.test"), clients.issue("sidecar.test")
	s := serving(t, static("orders", beginning(trusts(ca), shows(old))+"breaker = { consecutive_failures = 0, success_rate = 0 }\n", o.address))
	for _, step := range []struct {
		replace func()
		status  int
		text    string
	}{
		{func() {}, http.StatusBadGateway, "signed by none of the trusted authorities"},
		{func() { putPEM(t, ca.file, "CERTIFICATE", next.cert.Raw) }, http.StatusBadGateway, "the endpoint refuses the sidecar's certificate: it has expired"},
		{func() { renewed.put(old.certFile, old.keyFile) }, http.StatusOK, "/ by HTTP/1.1"},
	} {
		step.replace()
		replaced := time.Now()
		within(t, soon, "it counts", func() bool {
			a := get(t, s.address("orders"), "/")
			return a.status == step.status && strings.Contains(a.body, step.text)
		})
		t.Logf("%q after %v", step.text, time.Since(replaced).Round(time.Millisecond))
	}
}

// A call of gRPC by TLS all the way.
func TestGRPCByTLS(t *testing.T) {
	t.Parallel()
	front, ca := newAuthority(t, "front"), newAuthority(t, "endpoints")
	cert := ca.issue("127.0.0.1")
	g := serveGRPC(t, "calls-1", grpc.Creds(credentials.NewServerTLSFromCert(&cert.Certificate)))
	s := serving(t, static("calls", ending("", front.issue("calls.test"))+beginning(trusts(ca)), g.address))
	c, err := grpc.NewClient("passthrough:///"+s.address("calls"), grpc.WithTransportCredentials(credentials.NewTLS(front.client("calls.test"))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx := lasting(t)
	if origin, err := echo(ctx, c, "hello"); err != nil || origin != "calls-1" {
		t.Errorf("%q, %v", origin, err)
	}
	talk := open(ctx, t, c, methodTalk)
	for i := range 100 {
		talk.say(fmt.Sprint("message ", i))
		talk.wantHear(fmt.Sprint("message ", i))
	}
	if err := talk.CloseSend(); err != nil {
		t.Fatal(err)
	}
	talk.wantEnd()
}
