package healthcheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	lasting = time.Hour
	over    = -time.Minute
	loop    = "127.0.0.1"
)

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func wants(clients *authority, version uint16) func(*tls.Config) {
	return func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, clients.pool(), version
	}
}

// Probes of all kinds take the certificates that requests take, and say the same of others.
func TestTLS(t *testing.T) {
	ca, others, clients := newAuthority(t, "servers"), newAuthority(t, "others"), newAuthority(t, "clients")
	good, expired, future := ca.issue(loop, lasting), ca.issue(loop, over), ca.issue(loop, 4*lasting)
	const (
		none     = "the endpoint wants a certificate, and has been shown none"
		other    = "the endpoint refuses the sidecar's certificate: it does not trust who has signed it"
		none12   = "the endpoint refuses the handshake: most likely there is no cipher suite or curve in common" // it does not say more
		outdated = "the endpoint refuses the sidecar's certificate: it has expired"
	)
	for name, test := range map[string]struct {
		cert      tls.Certificate
		adjust    func(*tls.Config)
		transport Transport
		want      string
	}{
		"the address":  {good, nil, ca.trusts(""), ""},
		"a name":       {ca.issue("orders.internal", lasting), nil, ca.trusts("orders.internal"), ""},
		"not verified": {expired, nil, by(&tls.Config{InsecureSkipVerify: true}), ""},
		"expired":      {expired, nil, ca.trusts(""), "the endpoint's certificate (127.0.0.1) has expired on " + when(expired.Leaf.NotAfter) + "; renew it"},
		"too early":    {future, nil, ca.trusts(""), "the endpoint's certificate (127.0.0.1) is not valid before " + when(future.Leaf.NotBefore) + "; look at the clocks"},
		"another name": {ca.issue("users.internal", lasting), nil, ca.trusts("orders.internal"),
			`the endpoint's certificate is for users.internal, and not for "orders.internal"`},
		"another address": {ca.issue("192.0.2.1", lasting), nil, ca.trusts(""), `the endpoint's certificate is for 192.0.2.1, and not for "127.0.0.1"`},
		"another authority": {others.issue(loop, lasting), nil, ca.trusts(""),
			"the endpoint's certificate is signed by none of the trusted authorities (by CN=others)"},
		"ours is shown":             {good, wants(clients, 0), ca.trusts("", clients.issue("sidecar", lasting)), ""},
		"ours is shown, 1.2":        {good, wants(clients, tls.VersionTLS12), ca.trusts("", clients.issue("sidecar", lasting)), ""},
		"ours is missing":           {good, wants(clients, 0), ca.trusts(""), none},
		"ours is missing, 1.2":      {good, wants(clients, tls.VersionTLS12), ca.trusts(""), none12},
		"ours has expired":          {good, wants(clients, 0), ca.trusts("", clients.issue("sidecar", over)), outdated},
		"ours has expired, 1.2":     {good, wants(clients, tls.VersionTLS12), ca.trusts("", clients.issue("sidecar", over)), outdated},
		"ours is another's":         {good, wants(clients, 0), ca.trusts("", others.issue("sidecar", lasting)), other},
		"ours is another's, 1.2":    {good, wants(clients, tls.VersionTLS12), ca.trusts("", others.issue("sidecar", lasting)), other},
		"a version that is too old": {good, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, by(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS13}), "the endpoint has no version of TLS in common with us"},
	} {
		for kind, p := range kinds(test.transport) {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				s := serveSecret(t, test.cert, test.adjust)
				for range 2 {
					wantResult(t, p.Probe(t.Context(), s.address), test.want)
				}
				s.wantClosed(t, 2)
			})
		}
	}
}

// Who writes when the server has refused and is gone gets to know why all the same.
func TestTLSRefusedBeforeTheRequest(t *testing.T) {
	ca, clients := newAuthority(t, "servers"), newAuthority(t, "clients")
	s := serveSecret(t, ca.issue(loop, lasting), wants(clients, 0))
	l, err := ca.trusts("").connect(t.Context(), s.address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s.wantClosed(t, 1)
	for err == nil { // the first is taken, and reset
		_, err = l.Write([]byte("GET "))
	}
	wantResult(t, l.why(err), "the endpoint wants a certificate, and has been shown none")
}

// Without Explain the words are those of crypto/tls.
func TestTLSInTheWordsOfTheLibrary(t *testing.T) {
	ca, clients := newAuthority(t, "servers"), newAuthority(t, "clients")
	s := serveSecret(t, ca.issue(loop, lasting), wants(clients, 0))
	transport := ca.trusts("")
	transport.Explain = nil
	for kind, p := range kinds(transport) {
		if err := p.Probe(t.Context(), s.address); err == nil || err.Error() != "TLS handshake: remote error: tls: certificate required" {
			t.Errorf("%s: %v", kind, err)
		}
	}
	other := newAuthority(t, "others").trusts("")
	other.Explain = nil
	for kind, p := range kinds(other) {
		err := p.Probe(t.Context(), s.address)
		if failed := new(tls.CertificateVerificationError); !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), "TLS handshake: tls: ") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// What speaks no TLS does not pass.
func TestTLSWithServersThatHaveNone(t *testing.T) {
	plain := "the endpoint speaks plain HTTP, and TLS is spoken here"
	for name, test := range map[string]struct {
		handler func(net.Conn)
		want    string
	}{
		"plain HTTP": {func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}, plain},
		"closes": {func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<10)) }, "the endpoint closed the connection during the TLS handshake"},
	} {
		for kind, p := range kinds(newAuthority(t, "servers").trusts("")) {
			t.Run(name+" "+kind, func(t *testing.T) {
				wantResult(t, p.Probe(t.Context(), serveRaw(t, test.handler)), test.want)
			})
		}
	}
}

// A certificate that has taken the place of another one is seen at once, though sessions of
// the time before could be resumed, and so is what the sidecar trusts.
func TestTLSIsWhatItIsNow(t *testing.T) {
	ca, next := newAuthority(t, "servers"), newAuthority(t, "next")
	good, expired := ca.issue(loop, lasting), ca.issue(loop, over)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{RootCAs: ca.pool(), MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		transport := Transport{TLS: func() *tls.Config { return config }, Explain: inWords}
		for kind, p := range kinds(transport) {
			t.Run(tls.VersionName(version)+" "+kind, func(t *testing.T) {
				s := serveSecret(t, good, nil)
				for range 3 {
					wantResult(t, p.Probe(t.Context(), s.address), "")
				}
				s.cert.Store(&expired)
				wantError(t, p.Probe(t.Context(), s.address), "the endpoint's certificate (127.0.0.1) has expired on ")
				s.cert.Store(&good)
				wantResult(t, p.Probe(t.Context(), s.address), "")
				s.wantClosed(t, 5)
				for i, state := range s.handshakes() {
					if state.DidResume {
						t.Errorf("probe %d resumed a session", i)
					}
				}
				before := config
				defer func() { config = before }()
				config = &tls.Config{RootCAs: next.pool(), MaxVersion: version}
				wantError(t, p.Probe(t.Context(), s.address), "the endpoint's certificate is signed by none of the trusted authorities")
			})
		}
	}
}

// What is offered by ALPN, and asked for by name, is the prober's business; the config is not.
func TestTLSOffers(t *testing.T) {
	ca := newAuthority(t, "servers")
	config := &tls.Config{RootCAs: ca.pool(), NextProtos: []string{"http/1.1"}}
	transport := by(config)
	all := kinds(transport)
	all["tcp2"] = TCP(TCPOptions{Transport: transport, Protocols: []string{"h2", "http/1.1"}})
	for kind, want := range map[string]string{"tcp": "http/1.1", "tcp2": "h2 http/1.1", "http": "http/1.1", "http2": "h2", "grpc": "h2"} {
		offered := make(chan string, 1)
		s := serveSecret(t, ca.issue("localhost", lasting), func(c *tls.Config) {
			get := c.GetCertificate
			c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				offered <- strings.Join(hello.SupportedProtos, " ") + " for " + hello.ServerName
				return get(hello)
			}
		})
		_, port, _ := net.SplitHostPort(s.address)
		wantResult(t, all[kind].Probe(t.Context(), "localhost:"+port), "")
		if got := <-offered; got != want+" for localhost" {
			t.Errorf("%s offers %s, want %s", kind, got, want)
		}
	}
	if config.ServerName != "" || !slices.Equal(config.NextProtos, []string{"http/1.1"}) {
		t.Errorf("the config has changed: %q, %q", config.ServerName, config.NextProtos)
	}
}

// ignorant returns the address of a server that ends each connection after the handshake.
func ignorant(t *testing.T, config *tls.Config) string {
	t.Helper()
	l := tls.NewListener(local(t), config)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).HandshakeContext(context.Background())
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

// HTTP/2 has to be agreed on. Who knows no ALPN may speak HTTP/1.1, which this one does not.
func TestTLSNothingInCommonByALPN(t *testing.T) {
	const nothing = "the endpoint speaks none of the protocols that were offered by ALPN"
	ca := newAuthority(t, "servers")
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(loop, lasting)}}
	other := config.Clone()
	other.NextProtos = []string{"postgresql"}
	for address, want := range map[string]map[string]string{
		ignorant(t, config): {"tcp": "", "http": "an end", "http2": nothing, "grpc": nothing},
		ignorant(t, other):  {"tcp": "", "http": nothing, "http2": nothing, "grpc": nothing}, // the first offers none
	} {
		for kind, p := range kinds(ca.trusts("")) {
			if err := p.Probe(t.Context(), address); kind == "http" && want[kind] != nothing {
				wantError(t, err, "") // how it ends depends on who is faster
			} else {
				wantResult(t, err, want[kind])
			}
		}
	}
}

// The scheme of requests is that of the connection.
func TestTLSScheme(t *testing.T) {
	ca := newAuthority(t, "servers")
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(loop, lasting)}, NextProtos: []string{"h2"}}
	for want, transport := range map[string]Transport{"https": ca.trusts(""), "http": {}} {
		for _, kind := range []string{"http2", "grpc"} {
			schemes := make(chan string, 1)
			address := serveRaw(t, func(conn net.Conn) {
				if want == "https" {
					conn = tls.Server(conn, config)
				}
				speaks(func(_ net.Conn, f *http2.Framer) {
					f.ReadMetaHeaders = hpack.NewDecoder(hpackTableBytes, nil)
					for {
						switch frame, err := f.ReadFrame(); fields := frame.(type) {
						case *http2.MetaHeadersFrame:
							schemes <- fields.PseudoValue("scheme")
							return
						default:
							if err != nil {
								schemes <- err.Error()
								return
							}
						}
					}
				})(conn)
			})
			if err := kinds(transport)[kind].Probe(t.Context(), address); err == nil {
				t.Error("passes without a response")
			}
			if got := <-schemes; got != want {
				t.Errorf("%s: scheme %q, want %q", kind, got, want)
			}
		}
	}
}

// A heraldListener takes a header from each connection before anybody else sees it.
type heraldListener struct {
	net.Listener
	header string
	wrong  chan string
}

func (l *heraldListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	got := make([]byte, len(l.header))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != l.header {
		l.wrong <- fmt.Sprintf("%q, %v", got, err)
	}
	return conn, nil
}

// A header comes before anything else, TLS included.
func TestHeader(t *testing.T) {
	const header = "PROXY UNKNOWN\r\n"
	ca := newAuthority(t, "servers")
	l := &heraldListener{local(t), header, make(chan string, 10)}
	s := serveSecretOn(t, l, ca.issue(loop, lasting), nil)
	transport := ca.trusts("")
	transport.Header = []byte(header)
	for kind, p := range kinds(transport) {
		if err := p.Probe(t.Context(), s.address); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	s.wantClosed(t, len(kinds(transport)))
	if len(l.wrong) > 0 {
		t.Errorf("the header was %s", <-l.wrong)
	}
	request := HTTP(HTTPOptions{Transport: Transport{Header: []byte(header)}})
	plain := &heraldListener{local(t), header, make(chan string, 1)}
	requests := answer(t, plain, "HTTP/1.1 204 No Content\r\n\r\n")
	wantResult(t, request.Probe(t.Context(), plain.Addr().String()), "")
	if r := <-requests; r.RequestURI != "/" || len(plain.wrong) > 0 {
		t.Errorf("the request is for %q", r.RequestURI)
	}
}

// The header of a probe that sends nothing else arrives, and then the end: nothing is reset.
func TestHeaderAlone(t *testing.T) {
	header := []byte("PROXY UNKNOWN\r\n")
	read := make(chan error, 1)
	address := serveRaw(t, func(conn net.Conn) {
		got, err := io.ReadAll(conn)
		if err == nil && !bytes.Equal(got, header) {
			err = fmt.Errorf("got %q", got)
		}
		read <- err
	})
	wantResult(t, TCP(TCPOptions{Transport: Transport{Header: header}}).Probe(t.Context(), address), "")
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// A server that begins with TLS and says nothing is left when the probe's context ends.
func TestTLSSilentServer(t *testing.T) {
	for kind, p := range kinds(newAuthority(t, "servers").trusts("")) {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := p.Probe(ctx, serveRaw(t, func(conn net.Conn) {
				_, _ = conn.Read(make([]byte, 1))
				cancel()
				_, _ = io.Copy(io.Discard, conn) // until the probe closes
			}))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A server that takes the handshake and says nothing is not well, unless no more is asked of it.
func TestTLSSilentAfterTheHandshake(t *testing.T) {
	ca := newAuthority(t, "servers")
	cert := ca.issue(loop, lasting)
	for kind, p := range kinds(ca.trusts("")) {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := p.Probe(ctx, serveRaw(t, func(conn net.Conn) {
				s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
				if err := s.HandshakeContext(context.Background()); err != nil {
					t.Error(err)
				}
				cancel()
				for err := error(nil); err == nil; { // until the probe closes
					_, err = conn.Read(make([]byte, 1<<10))
				}
			}))
			if err == nil {
				t.Error("passes")
			}
		})
	}
}

// A deadline is a context that ends by its deadline, when a test says so.
type deadline struct {
	context.Context
	done chan struct{}
}

func (d *deadline) Done() <-chan struct{} { return d.done }

func (d *deadline) Err() error {
	select {
	case <-d.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// A server that does not say that it has taken the handshake, and neither that it has not, passes.
func TestTLSNotConfirmedInTime(t *testing.T) {
	ca := newAuthority(t, "servers")
	cert := ca.issue(loop, lasting)
	d := &deadline{t.Context(), make(chan struct{})}
	probed := make(chan struct{})
	address := serveRaw(t, func(conn net.Conn) {
		s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		if got, err := io.ReadAll(s); err != nil || len(got) > 0 {
			t.Errorf("got %q, %v", got, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("behind the end of TLS: %v", err)
		}
		close(d.done)
		<-probed
	})
	wantResult(t, TCP(TCPOptions{Transport: ca.trusts("")}).Probe(d, address), "")
	close(probed)
}
