package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sidecar/internal/eventloop"
)

func wantReason(t *testing.T, err error, reason Reason, byPeer bool, part string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Reason != reason || r.ByPeer != byPeer || !strings.Contains(r.Error(), part) {
		t.Errorf("%v, want %s (by the peer: %v) with %q", err, reason, byPeer, part)
	}
	if r != nil && r.Unwrap() == nil {
		t.Error("what crypto/tls said is lost")
	}
}

// A quarrel is a handshake that fails: what a listener and what a client make of it, each once
// with our side as the listener and once as the client.
type quarrel struct {
	name           string
	server, client func(t *tester, s, c *tls.Config)

	ofServer, ofClient     Reason
	serverRefuses          bool
	serverText, clientText string
}

var quarrels = []quarrel{
	{
		name: "an expired certificate",
		server: func(t *tester, s, _ *tls.Config) {
			s.Certificates[0] = t.ca.issue(wish{names: []string{"a.example"}, until: -time.Minute})
		},
		ofServer: BadCertificate, serverText: "refuses the listener's certificate",
		ofClient: Expired, clientText: "the endpoint's certificate (a.example) has expired on ",
	},
	{
		name:     "a wrong name",
		client:   func(_ *tester, _, c *tls.Config) { c.ServerName = "b.example" },
		ofServer: BadCertificate, serverText: "refuses the listener's certificate: bad certificate",
		ofClient: WrongName, clientText: `the endpoint's certificate is for a.example, and not for "b.example"`,
	},
	{
		name:     "an unknown authority",
		client:   func(t *tester, _, c *tls.Config) { c.RootCAs = newAuthority(t, "theirs").pool() },
		ofServer: BadCertificate, serverText: "refuses the listener's certificate",
		ofClient: UnknownCA, clientText: "signed by none of the trusted authorities (by CN=ours)",
	},
	{
		name: "no client certificate",
		server: func(t *tester, s, _ *tls.Config) {
			s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, t.ca.pool()
		},
		serverRefuses: true,
		ofServer:      NoCertificate, serverText: "the client has shown no certificate",
		ofClient: NoCertificate, clientText: "wants a certificate, and has been shown none",
	},
	{
		name: "a client certificate of another authority",
		server: func(t *tester, s, _ *tls.Config) {
			s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, t.ca.pool()
		},
		client: func(t *tester, _, c *tls.Config) {
			cert := newAuthority(t, "theirs").issue(wish{names: []string{"c.example"}})
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		},
		serverRefuses: true,
		ofServer:      UnknownCA, serverText: "the client's certificate is signed by none of the trusted authorities",
		ofClient: UnknownCA, clientText: "refuses the sidecar's certificate: it does not trust who has signed it",
	},
	{
		name: "an expired client certificate",
		server: func(t *tester, s, _ *tls.Config) {
			s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, t.ca.pool()
		},
		client: func(t *tester, _, c *tls.Config) {
			cert := t.ca.issue(wish{names: []string{"c.example"}, until: -time.Minute})
			c.Certificates = []tls.Certificate{cert}
		},
		serverRefuses: true,
		ofServer:      Expired, serverText: "the client's certificate (c.example) has expired",
		ofClient: Expired, clientText: "refuses the sidecar's certificate: it has expired",
	},
	{
		name: "names that are not allowed",
		server: func(t *tester, s, _ *tls.Config) {
			s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, t.ca.pool()
			s.VerifyConnection = onlyNames([]string{"*.example.com", "spiffe://x/y"})
		},
		client: func(t *tester, _, c *tls.Config) {
			c.Certificates = []tls.Certificate{t.ca.issue(wish{names: []string{"c.example"}})}
		},
		serverRefuses: true,
		ofServer:      NotAllowed, serverText: "none of its names c.example is allowed",
		ofClient: BadCertificate, clientText: "refuses the sidecar's certificate",
	},
	{
		name:          "no common version",
		server:        func(_ *tester, s, _ *tls.Config) { s.MinVersion = tls.VersionTLS13 },
		client:        func(_ *tester, _, c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		serverRefuses: true,
		ofServer:      NoVersion, serverText: "no version of TLS that is allowed here",
		ofClient: NoVersion, clientText: "no version of TLS in common",
	},
	{
		name: "no common suite",
		server: func(_ *tester, s, _ *tls.Config) {
			at(tls.VersionTLS12, s).CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
		},
		client: func(_ *tester, _, c *tls.Config) {
			c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		},
		serverRefuses: true,
		ofServer:      NoSuite, serverText: "no cipher suite that is allowed here",
		ofClient: NoSuite, clientText: "no cipher suite or curve in common",
	},
	{
		name:          "no common protocol",
		server:        func(_ *tester, s, _ *tls.Config) { s.NextProtos = []string{"h2"} },
		client:        func(_ *tester, _, c *tls.Config) { c.NextProtos = []string{"acme-tls/1"} },
		serverRefuses: true,
		ofServer:      NoProtocol, serverText: "none of the protocols that are offered here",
		ofClient: NoProtocol, clientText: "none of the protocols that were offered by ALPN",
	},
}

func (q *quarrel) configs(t *tester) (server, client *tls.Config) {
	server, client = t.server(), t.client()
	if q.server != nil {
		q.server(t, server, client)
	}
	if q.client != nil {
		q.client(t, server, client)
	}
	return server, client
}

func TestAListenerSaysWhyAHandshakeFailed(t *testing.T) {
	for _, q := range quarrels {
		t.Run(q.name, func(t *testing.T) {
			tt := newTester(t)
			server, client := q.configs(tt)
			got := make(chan error, 1)
			address := tt.serve(server, func(_ *eventloop.Task, s *Conn, err error) { got <- err })
			c, err := tls.Dial("tcp", address, client)
			if err == nil { // in TLS 1.3 a client is told behind its own end of the handshake
				c.Write([]byte("what nobody reads must not keep the cause from arriving"))
				_, err = c.Read(make([]byte, 1))
				c.Close()
			}
			wantReason(t, <-got, q.ofServer, !q.serverRefuses, q.serverText)
			wantReason(t, Explain(err, true), q.ofClient, q.serverRefuses, q.clientText)
		})
	}
}

func TestAClientSaysWhyAHandshakeFailed(t *testing.T) {
	for _, q := range quarrels {
		t.Run(q.name, func(t *testing.T) {
			tt := newTester(t)
			server, client := q.configs(tt)
			got := make(chan error, 1)
			address := tt.peer(func(c net.Conn) { got <- tls.Server(c, server).Handshake() })
			tt.run(func(task *eventloop.Task) {
				c, err := tt.dial(task, address, client)
				defer c.Upper().Close()
				if err == nil {
					_, err = c.Upper().Read(make([]byte, 1))
				}
				wantReason(t, err, q.ofClient, q.serverRefuses, q.clientText)
			})
			wantReason(t, Explain(<-got, false), q.ofServer, !q.serverRefuses, q.serverText)
		})
	}
}

func TestPlainHTTPOnATLSPort(t *testing.T) {
	for request, kind := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n": "HTTP", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "HTTP", "SSH-2.0-x\r\n": "SSH",
	} {
		tt := newTester(t)
		got := make(chan error, 1)
		address := tt.serve(tt.server(), func(_ *eventloop.Task, s *Conn, err error) { got <- err })
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, request+strings.Repeat("what nobody reads", 3000))
		answer, err := io.ReadAll(c)
		c.Close()
		if kind == "HTTP" {
			wantReason(t, <-got, NotTLS, false, "the client speaks plain HTTP")
			if err != nil || !strings.HasSuffix(string(answer), "\r\n\r\nsidecar: this port speaks TLS: use https://\r\n") {
				t.Errorf("%q, %v", answer, err)
			}
		} else {
			wantReason(t, <-got, NotTLS, false, `its first bytes are "SSH-2"`)
		}
	}
}

func TestTLSToAPlainPort(t *testing.T) {
	tt := newTester(t)
	answer := make(chan string, 1)
	address := tt.peer(func(c net.Conn) {
		c.Read(make([]byte, 10_000))
		io.WriteString(c, <-answer)
	})
	for text, want := range map[string]struct {
		reason Reason
		part   string
	}{
		"HTTP/1.1 400 Bad Request\r\n\r\n": {NotTLS, "the endpoint speaks plain HTTP"},
		"220 mail.example ESMTP\r\n":       {NotTLS, "does not speak TLS"},
		"":                                 {Gone, "closed the connection during"},
	} {
		answer <- text
		tt.run(func(task *eventloop.Task) {
			c, err := tt.dial(task, address, tt.client())
			defer c.Upper().Close()
			wantReason(t, err, want.reason, false, want.part)
			if _, again := c.Upper().TryRead(make([]byte, 1)); !is(again, err) {
				t.Errorf("a read says %v", again)
			}
			if _, again := c.Upper().TryWrite([]byte("x")); !is(again, err) {
				t.Errorf("a write says %v", again)
			}
		})
	}
}

func TestADialThatFailsStaysWhatItIs(t *testing.T) {
	tt := newTester(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	tt.run(func(task *eventloop.Task) {
		c, err := tt.dial(task, ln.Addr().String(), tt.client())
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("%v", err)
		}
		if c != nil {
			c.Upper().Close()
		}
	})
}

func TestWhatIsNoRefusalIsLeftAlone(t *testing.T) {
	for _, err := range []error{nil, net.ErrClosed, eventloop.ErrClosed} {
		if got := Explain(err, true); !is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	wantReason(t, Explain(errors.New("novelty"), true), Other, false, "the TLS handshake with the endpoint failed: novelty")
	wantReason(t, Explain(&net.OpError{Op: "remote error", Err: tls.AlertError(80)}, false), Other, true, "the client ends the TLS handshake: internal error (alert 80)")
	wantReason(t, Explain(&tls.CertificateVerificationError{Err: x509.UnhandledCriticalExtension{}}, true), BadCertificate, false, "cannot be used")
	first := Explain(io.EOF, true)
	if !is(Explain(first, true), first) {
		t.Error("explained twice")
	}
}

func TestNamesMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.example", "A.Example", true}, {"a.example", "b.example", false},
		{"*.example.com", "a.example.com", true}, {"*.example.com", "a.b.example.com", false}, {"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false}, {"*.Example.com", "A.eXample.com", true}, {"*", "a", false}, {"", "", true},
		{"kube.internal", "\u212aube.internal", false}, {"*.kube.internal", "a.\u212aube.internal", false}, // the sign for Kelvin
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q and %q: %v", c.pattern, c.name, got)
		}
	}
}
