package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/internal/eventloop"
)

// ends are the two ends of a connection of the net package.
func ends() (a, b net.Conn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	b, err = ln.Accept()
	return a, b, err
}

// shake makes one handshake of crypto/tls and returns what both sides see.
func shake(server, client *tls.Config) (ofServer, ofClient tls.ConnectionState, err error) {
	a, b, err := ends()
	if err != nil {
		return tls.ConnectionState{}, tls.ConnectionState{}, err
	}
	s, c := tls.Server(a, server), tls.Client(b, client)
	served := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		served <- err
		s.Read(make([]byte, 1))
		a.Close()
	}()
	_, err = io.ReadFull(c, make([]byte, 1))
	b.Close()
	if e := <-served; e != nil {
		err = e
	}
	return s.ConnectionState(), c.ConnectionState(), err
}

// shown is the certificate that a server shows, checked against an authority unless that is nil.
func shown(t *testing.T, cfg *tls.Config, name string, suites ...uint16) *x509.Certificate {
	t.Helper()
	client := &tls.Config{ServerName: name, InsecureSkipVerify: true, CipherSuites: suites}
	if len(suites) > 0 {
		client.MaxVersion = tls.VersionTLS12
	}
	_, state, err := shake(cfg, client)
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0]
}

func TestTheCertificateIsChosenByNameAndKey(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	var o TerminationOptions
	add := func(file string, w wish) {
		certFile, keyFile := files(t, dir, file, ca.issue(w))
		o.CertFiles, o.KeyFiles = append(o.CertFiles, certFile), append(o.KeyFiles, keyFile)
	}
	add("rsa", wish{names: []string{"a.example"}, common: "a-rsa", rsa: true})
	add("ecdsa", wish{names: []string{"a.example"}, common: "a-ecdsa"})
	add("wild", wish{names: []string{"*.b.example", "c.b.example"}, common: "b-wild"})
	add("exact", wish{names: []string{"exact.b.example"}, common: "b-exact", until: 2 * time.Hour})
	add("wild-rsa", wish{names: []string{"*.b.example"}, common: "b-wild-rsa", rsa: true})
	term, err := NewTermination(o)
	if err != nil {
		t.Fatal(err)
	}
	const onlyRSA = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	for _, c := range []struct {
		name   string
		suites []uint16
		want   string
	}{
		{"a.example", nil, "a-ecdsa"}, {"A.Example", nil, "a-ecdsa"}, {"a.example", []uint16{onlyRSA}, "a-rsa"},
		{"x.b.example", nil, "b-wild"}, {"exact.b.example", nil, "b-exact"}, {"c.b.example", nil, "b-wild"},
		{"exact.b.example", []uint16{onlyRSA}, "b-wild-rsa"},
		{"x.y.b.example", nil, "a-ecdsa"}, {"b.example", nil, "a-ecdsa"}, {"", nil, "a-ecdsa"},
		{"unknown.example", []uint16{onlyRSA}, "a-rsa"}, {"", []uint16{onlyRSA}, "a-rsa"},
	} {
		if got := shown(t, term.Config(), c.name, c.suites...).Subject.CommonName; got != c.want {
			t.Errorf("%q with suites %x: %s, want %s", c.name, c.suites, got, c.want)
		}
	}
	list := term.Status().Certificates
	if len(list) != 5 || list[3].File != o.CertFiles[3] || list[3].Names[0] != "exact.b.example" ||
		time.Until(list[3].NotAfter) < 90*time.Minute || time.Until(list[2].NotAfter) > time.Hour {
		t.Errorf("%+v", list)
	}
}

func TestClientsCertificates(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	certFile, keyFile := files(t, dir, "server", ca.issue(wish{names: []string{"a.example"}}))
	with := func(c tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{c}}
	}
	good, other := with(ca.issue(wish{names: []string{"c.example"}})), with(ca.issue(wish{names: []string{"d.example"}, common: "c.example"}))
	named, workload := with(ca.issue(wish{common: "x.c.example"})), with(ca.issue(wish{names: []string{"spiffe://corp/sa/Admin"}}))
	strange, none := with(newAuthority(t, "ours").issue(wish{names: []string{"c.example"}})), &tls.Config{InsecureSkipVerify: true}
	for _, c := range []struct {
		auth    ClientAuth
		client  *tls.Config
		allowed []string
		want    Reason
	}{
		{Off, none, nil, ""}, {Off, strange, nil, ""},
		{Optional, none, []string{"c.example"}, ""}, {Optional, good, nil, ""}, {Optional, strange, nil, UnknownCA},
		{Required, none, nil, NoCertificate}, {Required, good, nil, ""}, {Required, strange, nil, UnknownCA},
		{Required, good, []string{"*.example"}, ""}, {Required, other, []string{"c.example", "*.c.example"}, NotAllowed},
		{Required, named, []string{"c.example", "*.c.example"}, NotAllowed}, {Required, workload, []string{"spiffe://corp/sa/Admin"}, ""},
		{Required, workload, []string{"spiffe://corp/sa/admin"}, NotAllowed}, {Optional, other, []string{"c.example"}, NotAllowed},
	} {
		term, err := NewTermination(TerminationOptions{
			CertFiles: []string{certFile}, KeyFiles: []string{keyFile},
			ClientCAFile: ca.file(dir), ClientAuth: c.auth, ClientNames: c.allowed,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = shake(term.Config(), c.client)
		var r *Refusal
		if errors.As(Explain(err, false), &r); r == nil && c.want != "" || r != nil && r.Reason != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestWhatCannotBeATermination(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	certFile, keyFile := files(t, dir, "a", ca.issue(wish{names: []string{"a.example"}}))
	_, otherKey := files(t, dir, "b", ca.issue(wish{names: []string{"b.example"}}))
	empty := filepath.Join(dir, "empty.pem")
	put(t, empty, []byte("\n"))
	for part, o := range map[string]TerminationOptions{
		"0 certificates and 0 keys":         {},
		"1 certificates and 0 keys":         {CertFiles: []string{certFile}},
		"does not match":                    {CertFiles: []string{certFile}, KeyFiles: []string{otherKey}},
		"no such file":                      {CertFiles: []string{certFile}, KeyFiles: []string{certFile + "x"}},
		"failed to find any PEM data":       {CertFiles: []string{empty}, KeyFiles: []string{keyFile}},
		"without the file of an authority":  {CertFiles: []string{certFile}, KeyFiles: []string{keyFile}, ClientAuth: Required},
		"there is no certificate in " + dir: {CertFiles: []string{certFile}, KeyFiles: []string{keyFile}, ClientAuth: Optional, ClientCAFile: empty},
	} {
		if _, err := NewTermination(o); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
	for part, o := range map[string]OriginationOptions{
		"a certificate needs its key": {ServerName: "a", CertFile: certFile},
		"no such file":                {ServerName: "a", CAFile: certFile + "x"},
		"does not match":              {ServerName: "a", CertFile: certFile, KeyFile: otherKey},
	} {
		if _, err := NewOrigination(o); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
}

// In the bubble Run's ticker is the only clock; files are real.
func TestARenewedCertificateIsInUseWithinASecond(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	renew := func(name string) (string, string) { return files(t, dir, "a", ca.issue(wish{common: name})) }
	certFile, keyFile := renew("first")
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		o := TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}, OnReload: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(err))
		}}
		term, err := NewTermination(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); term.Run(ctx) }()
		wantUse := func(name string, reports int) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := shown(t, term.Config(), "").Subject.CommonName; got != name || len(told) != reports {
				t.Errorf("%s is in use, want %s; told: %q", got, name, told)
			}
		}
		wantUse("first", 0)
		renew("second")
		wantUse("second", 1)

		// A key without its certificate is no news at once, but then it is, once.
		good, _ := os.ReadFile(keyFile)
		renew("third")
		third, _ := os.ReadFile(keyFile)
		put(t, keyFile, good)
		wantUse("second", 2)
		wantUse("second", 2)
		if !strings.Contains(told[1], "does not match") {
			t.Errorf("told: %q", told[1])
		}
		put(t, keyFile, third)
		wantUse("third", 3)

		// A file that is away for a while, and comes back as it was.
		os.Rename(keyFile, keyFile+".away")
		wantUse("third", 4)
		os.Rename(keyFile+".away", keyFile)
		wantUse("third", 5)
		if told[0] != "<nil>" || told[2] != "<nil>" || !strings.Contains(told[3], "no such file") || told[4] != "<nil>" {
			t.Errorf("told: %q", told)
		}
		cancel()
		<-done
	})
}

func TestRenewalTouchesNoConnection(t *testing.T) {
	tt := newTester(t)
	dir := t.TempDir()
	certFile, keyFile := files(t, dir, "a", tt.ca.issue(wish{names: []string{"a.example"}, common: "first"}))
	term, err := NewTermination(TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}})
	if err != nil {
		t.Fatal(err)
	}
	address := tt.serve(term.Config(), func(_ *eventloop.Task, s *Conn, err error) { echo(s.Upper()) })
	dial := func() *tls.Conn {
		c, err := tls.Dial("tcp", address, tt.client())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	before := dial()
	files(t, dir, "a", tt.ca.issue(wish{names: []string{"a.example"}, common: "second"}))
	term.watch.check()
	after := dial()
	for want, c := range map[string]*tls.Conn{"first": before, "second": after} {
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	before.Close()
	after.Close()
}

func TestSessionsAreResumed(t *testing.T) {
	tt := newTester(t)
	dir := t.TempDir()
	certFile, keyFile := files(t, dir, "a", tt.ca.issue(wish{names: []string{"a.example"}}))
	mine, mineKey := files(t, dir, "mine", tt.ca.issue(wish{names: []string{"c.example"}}))
	caFile := tt.ca.file(dir)
	term, err := NewTermination(TerminationOptions{
		CertFiles: []string{certFile}, KeyFiles: []string{keyFile}, ClientCAFile: caFile, ClientAuth: Required, Protocols: []string{"h2", "http/1.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	orig, err := NewOrigination(OriginationOptions{CAFile: caFile, CertFile: mine, KeyFile: mineKey, ServerName: "a.example", Protocols: [][]string{{"http/1.1"}, {"h2"}}})
	if err != nil {
		t.Fatal(err)
	}
	if list := orig.Status().Certificates; len(list) != 1 || !slices.Equal(list[0].Names, []string{"c.example"}) {
		t.Errorf("%+v", list)
	}
	serve := func() string {
		return tt.serve(term.Config(), func(_ *eventloop.Task, s *Conn, err error) {
			if err == nil {
				echo(s.Upper())
			}
		})
	}
	ask := func(address string, list int) (state tls.ConnectionState, err error) {
		tt.run(func(task *eventloop.Task) {
			var c *Conn
			c, err = tt.dial(task, address, orig.Configs()[list])
			defer c.Upper().Close()
			if err == nil {
				c.Upper().Write([]byte("x"))
				_, err = c.Upper().Read(make([]byte, 1)) // the ticket comes with it
				state = c.State()
			}
		})
		return state, err
	}
	one, two := serve(), serve()
	for i, c := range []struct {
		address string
		list    int
		resumed bool
	}{{one, 1, false}, {one, 1, true}, {two, 1, false}, {one, 1, true}, {two, 1, true}, {one, 0, true}, {two, 0, true}, {one, 1, true}} {
		state, err := ask(c.address, c.list)
		if err != nil || state.DidResume != c.resumed || state.NegotiatedProtocol != [...]string{"http/1.1", "h2"}[c.list] {
			t.Errorf("connection %d: %v, resumed: %v", i, err, state.DidResume)
		}
	}
	// Another certificate of the listener changes nothing for sessions, another authority for clients does.
	files(t, dir, "a", tt.ca.issue(wish{names: []string{"a.example"}}))
	term.watch.check()
	if state, err := ask(one, 1); err != nil || !state.DidResume {
		t.Errorf("behind a renewal: %v, %v", err, state.DidResume)
	}
	theirs := newAuthority(t, "ours")
	theirs.file(dir)
	term.watch.check()
	if _, err := ask(one, 1); err == nil {
		t.Error("a session of a client whom nobody trusts any more was resumed")
	}
	// The client does not trust the listener any more either.
	orig.watch.check()
	if _, err := ask(one, 1); err == nil {
		t.Error("a session with an endpoint that nobody trusts any more was resumed")
	} else {
		wantReason(t, err, UnknownCA, false, "the endpoint's certificate")
	}
}

func TestDangerouslySkippingVerification(t *testing.T) {
	ca := newAuthority(t, "ours")
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(wish{until: -time.Minute})}}
	orig, err := NewOrigination(OriginationOptions{DangerouslySkipVerification: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	if _, state, err := shake(server, orig.Configs()[0]); err != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("%v", err)
	}
	if _, _, err := shake(at(tls.VersionTLS12, server), orig.Configs()[0]); err == nil {
		t.Error("an old version is taken")
	}
	if orig, err = NewOrigination(OriginationOptions{DangerouslySkipVerification: true}); err != nil || orig.Configs()[0].MinVersion != tls.VersionTLS12 {
		t.Errorf("%v, or versions below 1.2", err)
	}
}
