package consul

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNewSaysWhatIsWrong(t *testing.T) {
	for want, o := range map[string]Options{
		`address "10.0.0.1" has no port`:        {Address: "10.0.0.1"},
		`address "https://consul" has no port`:  {Address: "https://consul"},
		`address "consul:" has no port`:         {Address: "consul:"},
		`unknown scheme "ftp"; use http, https`: {Address: "ftp://10.0.0.1:1"},
		`a socket's path must be absolute`:      {Address: "unix:consul.sock"},
		`consistency "fresh" is none of stale`:  {Consistency: "fresh"},
		`wait 1ms is not from 1s to 10m0s`:      {Wait: time.Millisecond},
		`wait 1h0m0s is not`:                    {Wait: time.Hour},
		`exclude each other; choose one`:        {Cached: true, Consistency: "consistent"},
		`connections -1 is not 1 or more`:       {Connections: -1},
		`tls: `:                                 {TLS: TLS{CAFile: "/nonexistent/ca.pem"}},
		`both client cert and client key`:       {TLS: TLS{CertFile: "/nonexistent/cert.pem"}},
	} {
		_, err := New(o)
		if err == nil || !strings.HasPrefix(err.Error(), "consul: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v): %v, want %q", o, err, want)
		}
	}
}

// quiet is for servers whose complaints about the handshake are what the test is about.
var quiet = log.New(io.Discard, "", 0)

// silentRegistry answers the first query of each watch and lets the second wait for ever.
type silentRegistry struct {
	waiting sync.WaitGroup // one for each watch that is awaited
	paths   sync.Map
	conns   atomic.Int64 // that were opened
	open    atomic.Int64
	most    atomic.Int64 // that were open at once
}

func (s *silentRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.paths.Store(req.URL.Path, req.Proto)
	if req.URL.Query().Has("index") {
		s.waiting.Done()
		<-req.Context().Done()
		return
	}
	w.Header().Set("X-Consul-Index", "5")
	w.Header().Set("X-Consul-KnownLeader", "true")
	w.Header().Set("X-Consul-LastContact", "0")
	fmt.Fprint(w, `[{"Node":{"Node":"n1","Address":"10.0.0.1"},"Service":{"ID":"a","Port":8080},"Checks":[]}]`)
}

// serve starts a server of s, with what prepare changes.
func (s *silentRegistry) serve(t *testing.T, start func(*httptest.Server)) *httptest.Server {
	server := httptest.NewUnstartedServer(s)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
			for open := s.open.Add(1); ; {
				if most := s.most.Load(); open <= most || s.most.CompareAndSwap(most, open) {
					break
				}
			}
		case http.StateClosed:
			s.open.Add(-1)
		}
	}
	start(server)
	t.Cleanup(server.Close)
	return server
}

// watchAll starts n watches, waits until each has its set and a query that waits, and ends them.
func (s *silentRegistry) watchAll(t *testing.T, o Options, n int) {
	t.Helper()
	client, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.waiting.Add(n)
	watches := make([]*watching, n)
	for i := range watches {
		watches[i] = startWatch(t, client.Source(Query{Service: fmt.Sprintf("service-%d", i)}))
	}
	for _, w := range watches {
		if u := w.next(10 * time.Second); u.Err != nil || len(u.Instances) != 1 {
			t.Errorf("update %+v", u)
		}
	}
	s.waiting.Wait()
	for _, w := range watches {
		w.stop()
	}
	client.Close()
}

func TestOneConnectionServesAllWatchesOverTLS(t *testing.T) {
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
	address := server.Listener.Addr().String()
	s.watchAll(t, Options{Address: "https://" + address, TLS: TLS{CAFile: ca}}, 1)
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections for one watch", n)
	}
	s.watchAll(t, Options{Address: address, TLS: TLS{CAFile: ca, ServerName: "example.com"}}, 20)
	if proto, _ := s.paths.Load("/v1/health/service/service-7"); proto != "HTTP/2.0" {
		t.Errorf("protocol %v", proto)
	}
}

func TestCertificateThatNobodyHasSignedIsRefusedWithTheNextStep(t *testing.T) {
	var s silentRegistry
	server := s.serve(t, func(server *httptest.Server) {
		server.Config.ErrorLog = quiet
		server.StartTLS()
	})
	client, err := New(Options{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w := startWatch(t, client.Source(Query{Service: "orders"}))
	if err := w.next(10 * time.Second).Err; err == nil || !strings.Contains(err.Error(), "set ca_file or server_name in [consul.tls]") {
		t.Errorf("error %v", err)
	}
}

func TestWrongProtocolIsNamed(t *testing.T) {
	var s silentRegistry
	plain := s.serve(t, (*httptest.Server).Start)
	secure := s.serve(t, func(server *httptest.Server) {
		server.Config.ErrorLog = quiet
		server.StartTLS()
	})
	for address, want := range map[string]string{
		"https://" + plain.Listener.Addr().String(): "it speaks plain HTTP: write consul.address as http://",
		"http://" + secure.Listener.Addr().String(): "speaks only HTTPS",
	} {
		client, err := New(Options{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		w := startWatch(t, client.Source(Query{Service: "orders"}))
		if err := w.next(10 * time.Second).Err; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
		w.stop()
		client.Close()
	}
}

func TestWatchesShareFewConnections(t *testing.T) {
	var s silentRegistry
	server := s.serve(t, (*httptest.Server).Start)
	s.watchAll(t, Options{Address: server.URL}, 20)
	// One for each query that waits; while a connection is opened, its query may have found another.
	if n := s.conns.Load(); n < 20 || n > 40 {
		t.Errorf("%d connections for 20 watches", n)
	}
}

func TestAgentIsReachedThroughASocketAndAPrefix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consul.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var s silentRegistry
	s.serve(t, func(server *httptest.Server) {
		server.Listener.Close()
		server.Listener = listener
		server.Start()
	})
	for _, address := range []string{"unix:" + path, "unix://" + path} {
		s.watchAll(t, Options{Address: address}, 2)
	}

	behind := s.serve(t, (*httptest.Server).Start)
	s.watchAll(t, Options{Address: behind.URL + "/consul"}, 1)
	if _, ok := s.paths.Load("/consul/v1/health/service/service-0"); !ok {
		t.Error("the prefix of the address is not used")
	}
}

func TestConnectionNoticesAPeerThatHasVanished(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{unix.TCP_USER_TIMEOUT: 6_000, unix.TCP_KEEPIDLE: 3, unix.TCP_KEEPINTVL: 1, unix.TCP_KEEPCNT: 3} {
		var got int
		var optErr error
		err := raw.Control(func(fd uintptr) { got, optErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) })
		if err != nil || optErr != nil || got != want {
			t.Errorf("option %d is %d (%v, %v), want %d", option, got, err, optErr, want)
		}
	}
}
