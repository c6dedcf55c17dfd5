package nacos

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestAnswersThatAreErrorsAreExplained(t *testing.T) {
	for body, c := range map[string]struct {
		status int
		want   string
	}{
		`{"code":10001,"message":"access denied","data":"user not found!"}`:         {403, `nacos: watch "orders": server at n1:8848 wants a login (403, code 10001: access denied: user not found!); set nacos.username and nacos.password_file`},
		`{"code":22001,"message":"namespace not exist","data":null}`:                {404, `does not know the namespace "n-1" (404, code 22001: namespace not exist); correct nacos.namespace`},
		`{"code":21000,"message":"service name error","data":""}`:                   {200, "rejects the service's name (200, code 21000: service name error)"},
		`{"code":30000,"message":"server error","data":"java.lang.OutOfMemory"}`:    {500, "cannot answer (500, code 30000: server error: java.lang.OutOfMemory); see its log"},
		"server is STARTING now, please try again later!":                           {503, "is not ready (503: server is STARTING now, please try again later!); it answers when"},
		`{"code":30000,"message":"Current API will be deprecated","data":"switch"}`: {410, "has this version of its API switched off"},
		"Too Many": {429, "limits this client (429: Too Many)"},
		"Bad Request\nThis combination of host and port requires TLS.\n": {400, "speaks only HTTPS (400: Bad Request This combination of host and port requires TLS.)"},
		"<html><body>Moved":                   {302, "has no Nacos API at this address (302: Found)"},
		notFound:                              {404, "has no Nacos API at this address (404: Not Found); correct nacos.addresses"},
		"not Nacos":                           {200, "cannot be asked: that is no answer of Nacos: invalid character"},
		strings.Repeat(" ", maxAnswer) + "{}": {200, "the answer is larger than 16 MiB; see who has registered so much"},
		strings.Repeat("long ", 1000):         {500, "(500: " + strings.TrimSpace(strings.Repeat("long ", 40)) + "); see its log"},
	} {
		story(t, Options{Namespace: "n-1"}, func(t *testing.T, f *fake) {
			f.answer(listV2, c.status, body)
			if err := f.watch(Query{Service: "orders"}).wantErr(c.want); strings.Count(err.Error(), "n1:8848") != 1 {
				t.Errorf("the server is named more or less than once: %v", err)
			}
		})
	}
}

func TestBrokenConnectionsAreExplained(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.setDown("n1:8848", true)
		err := f.watch(Query{Service: "orders"}).wantErr(`nacos: watch "orders": server at n1:8848 is not there: connection refused; start it or correct nacos.addresses`)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error("the cause is not in the chain")
		}
	})
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.answer(listV2, 0, "")
		f.watch(Query{Service: "orders"}).wantErr("does not answer within 3s; it hangs, or the network drops packets")
	})
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
		w := f.watch(Query{Service: "orders"})
		w.wantSet("10.0.0.1:80*1")
		f.answer(listV2, 500, "")
		w.wantErr("cannot answer (500: Internal Server Error)")
		f.answer(listV2, -1, "")
		w.wantErr("it closed the connection, as it does when it restarts")
	})
}

func TestUnknownNamespaceIsNoReasonToAskInAnotherVersion(t *testing.T) {
	story(t, Options{Namespace: "n-1"}, func(t *testing.T, f *fake) {
		f.answer(listV2, 404, `{"code":22001,"message":"namespace not exist","data":null}`)
		f.answer(listV1, 200, listOf()) // which would be an unknown service
		f.watch(Query{Service: "orders"}).wantErr(`does not know the namespace "n-1"`)
	})
}

// endless is a transport whose answers never end, within reason.
type endless struct{ read int }

func (e *endless) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(e)}, nil
}

func (e *endless) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > 8*maxAnswer {
		return 0, io.EOF
	}
	return len(p), nil
}

func TestNoMoreIsReadThanAnAnswerMayHave(t *testing.T) {
	client, err := New(Options{Addresses: []string{"n1:8848"}, Version: "v2"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	e := &endless{}
	client.http.Transport = e
	if _, _, err := client.list(t.Context(), Query{Service: "orders"}); !errors.Is(err, errTooLarge) || e.read > maxAnswer+1<<20 {
		t.Errorf("%v after %d bytes", err, e.read)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := atomic.Int64{}
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer server.Close()
	client, err := New(Options{Addresses: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, _, err = client.list(t.Context(), Query{Service: "orders"})
	if err == nil || !strings.Contains(client.explain(Query{Service: "orders"}, err).Error(), "has no Nacos API at this address (302: Found)") || asked.Load() != 0 {
		t.Errorf("%v, the other server was asked %d times", err, asked.Load())
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/registry/v2/ns/instance/list" {
			_, _ = w.Write([]byte(enveloped(listOf(hostAt("10.0.0.1")))))
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	known := x509.NewCertPool()
	known.AddCert(server.Certificate())
	for name, c := range map[string]struct {
		address string
		config  *tls.Config
		want    string // of the error; empty: none
	}{
		"known":        {server.URL + "/registry/", &tls.Config{RootCAs: known}, ""},
		"not known":    {server.URL + "/registry", nil, "set ca_file or server_name in [nacos.tls]"},
		"another name": {server.URL + "/registry", &tls.Config{RootCAs: known, ServerName: "other.test"}, "set ca_file or server_name in [nacos.tls]"},
		"plain HTTP":   {strings.Replace(plain.URL, "http:", "https:", 1), nil, "it speaks plain HTTP: write its address as http://…"},
		"needs TLS":    {strings.Replace(server.URL, "https:", "http:", 1), nil, "(400: "},
	} {
		client, err := New(Options{Addresses: []string{c.address}, TLS: c.config})
		if err != nil {
			t.Fatal(err)
		}
		l, _, err := client.list(t.Context(), Query{Service: "orders"})
		if c.want == "" {
			if set, _, _ := l.instances(); err != nil || len(set) != 1 {
				t.Errorf("%s: %v, %v", name, set, err)
			}
		} else if err == nil || !strings.Contains(client.explain(Query{Service: "orders"}, err).Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
		client.Close()
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"no address; name its servers":             {},
		`address "n1" is neither host:port`:        {Addresses: []string{"n1"}},
		`address ":8848" is neither`:               {Addresses: []string{":8848"}},
		`address "ftp://n1:8848": "ftp" is`:        {Addresses: []string{"ftp://n1:8848"}},
		`address "http://u:p@n1:8848" is neither`:  {Addresses: []string{"http://u:p@n1:8848"}},
		`address "http://n1:8848" is not for TLS`:  {Addresses: []string{"http://n1:8848"}, TLS: &tls.Config{}},
		`version "v9" is none of auto, v1, v2, v3`: {Addresses: []string{"n1:8848"}, Version: "v9"},
		"there is a password, and nobody":          {Addresses: []string{"n1:8848"}, Password: "x"},
	} {
		if c, err := New(o); err == nil {
			c.Close()
			t.Errorf("%+v is taken", o)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for address, want := range map[string]string{
		"n1:8848":                "http://n1:8848/nacos",
		"http://[::1]:8848/":     "http://[::1]:8848/nacos",
		"https://n1:443/a/b/":    "https://n1:443/a/b",
		"http://n1:8848/nacos//": "http://n1:8848/nacos",
	} {
		if s, err := newServer(address, false); err != nil || s.base != want {
			t.Errorf("%s: %+v, %v", address, s, err)
		}
	}
	if s, err := newServer("n1:8848", true); err != nil || s.base != "https://n1:8848/nacos" {
		t.Errorf("with TLS: %+v, %v", s, err)
	}
}
