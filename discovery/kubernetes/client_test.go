package kubernetes

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// patience is how long tests with a real network wait for what has to come.
const patience = 20 * time.Second

// account writes the files that a pod finds, and returns their folder.
func account(t *testing.T, token string, ca []byte) string {
	t.Helper()
	folder := t.TempDir()
	put(t, filepath.Join(folder, "token"), token+"\n")
	put(t, filepath.Join(folder, "namespace"), "shop")
	put(t, filepath.Join(folder, "ca.crt"), string(ca))
	return folder
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func certificate(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// inPod sets the environment that a pod has.
func inPod(t *testing.T, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// eventually reads updates until one is as wanted.
func (w *watching) eventually(what string, is func(set, err string) bool) {
	w.t.Helper()
	deadline := time.After(patience)
	for last := ""; ; {
		select {
		case u := <-w.updates:
			text := ""
			if u.Err != nil {
				text = u.Err.Error()
			}
			if is(ids(u), text) {
				return
			}
			last = ids(u) + text
		case <-deadline:
			w.t.Fatalf("after %v no update is %s, the last was %s", patience, what, last)
		}
	}
}

func (w *watching) eventuallyErr(want string) {
	w.t.Helper()
	w.eventually("an error with "+want, func(_, err string) bool { return strings.Contains(err, want) })
}

func (w *watching) eventuallySet(want string) {
	w.t.Helper()
	w.eventually("the set "+want, func(set, err string) bool { return err == "" && set == want })
}

// In a pod nothing has to be configured: address, token, authority and namespace are found, and
// read again when they are replaced.
func TestPodFindsEverything(t *testing.T) {
	const first, second = "eyJhbGciOi.first", "eyJhbGciOi.second"
	var valid atomic.Value // the token that the server takes
	valid.Store(first)
	var protocols atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols.Store(int64(r.ProtoMajor))
		switch {
		case r.Header.Get("Authorization") != "Bearer "+valid.Load().(string):
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"kind":"Status","message":"Unauthorized","code":401}`))
		case r.URL.Query().Has("watch"):
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			_, _ = w.Write([]byte(encode(pageOf("1", "", slice1("orders-a", "1", pod("a", "10.0.0.1"))))))
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	inPod(t, server.Listener.Addr().String())
	folder := account(t, first, []byte("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n"))
	w := startWatch(t, newClient(t, Options{account: folder}), Query{Service: "orders"})
	w.eventuallyErr("CA file " + folder + "/ca.crt holds no certificate; write the server's authority into it, as PEM")
	put(t, filepath.Join(folder, "ca.crt"), string(certificate(server)))
	w.eventuallySet("a")
	if got := protocols.Load(); got != 2 {
		t.Errorf("HTTP/%d: each watch takes a connection of its own", got)
	}

	// The token is replaced. What is open goes on; whoever asks anew has the new one.
	valid.Store(second)
	w.source.(*source).Refresh()
	w.eventuallyErr("does not accept the token in " + folder + "/token (401: Unauthorized); write a valid one of its own service accounts")
	put(t, filepath.Join(folder, "token"), "two words")
	w.eventuallyErr("token file " + folder + "/token holds no token, or more than that")
	if err := os.Remove(filepath.Join(folder, "token")); err != nil {
		t.Fatal(err)
	}
	w.eventuallyErr("token file: open " + folder + "/token: no such file or directory; let the pod mount its service account's token")
	put(t, filepath.Join(folder, "token"), second)
	w.eventuallySet("a")
	w.stop()
	close(w.updates)
	for u := range w.updates {
		if u.Err != nil && strings.Contains(u.Err.Error(), "eyJ") {
			t.Errorf("the token is told: %v", u.Err)
		}
	}
}

func TestCertificateIsChecked(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("somebody has come through, with the token %s", r.Header.Get("Authorization"))
	}))
	t.Cleanup(server.Close)
	folder := account(t, "secret", nil)
	if err := os.Remove(filepath.Join(folder, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	// Nothing in the pod, and nothing configured: the system's authorities, of whom none knows it.
	w := startWatch(t, newClient(t, Options{account: folder, Address: server.URL}), Query{Service: "orders"})
	w.eventuallyErr("set kubernetes.ca_file to the authority of its certificate")
	w.stop()
	// A file that is configured has to be there.
	w = startWatch(t, newClient(t, Options{account: folder, Address: server.URL, CAFile: "/nowhere/ca.crt"}), Query{Service: "orders"})
	w.eventuallyErr("CA file: open /nowhere/ca.crt: no such file or directory; correct kubernetes.ca_file")
	w.stop()
	// And so has the pod's where nothing is configured.
	inPod(t, server.Listener.Addr().String())
	w = startWatch(t, newClient(t, Options{account: folder}), Query{Service: "orders"})
	w.eventuallyErr("CA file: open " + folder + "/ca.crt: no such file")
	w.stop()

	plain := httptest.NewServer(nil)
	t.Cleanup(plain.Close)
	put(t, filepath.Join(folder, "ca.crt"), string(certificate(server)))
	w = startWatch(t, newClient(t, Options{account: folder, Address: strings.Replace(plain.URL, "http:", "https:", 1)}), Query{Service: "orders"})
	w.eventuallyErr("it speaks plain HTTP: correct kubernetes.address")
}

func TestPlainHTTPIsToldNoToken(t *testing.T) {
	heard := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- r.Header.Get("Authorization") }))
	t.Cleanup(server.Close)
	w := startWatch(t, newClient(t, Options{account: account(t, "secret", nil), Address: server.URL + "/"}), Query{Service: "orders"})
	w.eventuallyErr("that is no answer of Kubernetes")
	if got := <-heard; got != "" {
		t.Errorf("told %q", got)
	}
}

func TestAddressesThatCannotBeOne(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for address, want := range map[string]string{
		"":                     "kubernetes: this is no pod, KUBERNETES_SERVICE_HOST and _PORT are not set; set kubernetes.address",
		"10.0.0.1:6443":        `kubernetes: address "10.0.0.1:6443" is not https://host:port; correct kubernetes.address`,
		"ftp://10.0.0.1":       "is not https://host:port",
		"https://":             "is not https://host:port",
		"https://u:p@10.0.0.1": "is not https://host:port",
		"https://10.0.0.1?x=y": "is not https://host:port",
	} {
		if _, err := New(Options{Address: address}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestNamesThatWouldBeAnotherPathAreRefused(t *testing.T) {
	c := newClient(t, Options{Address: "http://127.0.0.1:1", account: t.TempDir()})
	for q, want := range map[Query]string{
		{Service: "orders"}:                           "no namespace is given, and this pod's is not known: open ",
		{Service: "", Namespace: "shop"}:              `kubernetes: watch "shop/": "" is no service's name; correct it`,
		{Service: "orders,x=y", Namespace: "shop"}:    `"orders,x=y" is no service's name`,
		{Service: "orders", Namespace: "shop/../all"}: `"shop/../all" is no namespace's name`,
	} {
		w := startWatch(t, c, q)
		w.eventuallyErr(want)
		w.stop()
	}
}

// A freezing connection passes nothing on once it is frozen, as when packets are dropped.
type freezing struct {
	net.Conn
	frozen *atomic.Bool
}

func (f freezing) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	for f.frozen.Load() && err == nil {
		n, err = f.Conn.Read(p)
	}
	return n, err
}

func (f freezing) Write(p []byte) (int, error) {
	if f.frozen.Load() {
		return len(p), nil
	}
	return f.Conn.Write(p)
}

// Nothing is ever sent while nothing changes, so that a stream whose server has vanished looks
// like one that has nothing to say. Pings tell them apart.
func TestDeadStreamIsNoticedWithinSeconds(t *testing.T) {
	template := httptest.NewTLSServer(nil)
	template.Close()
	folder := account(t, "secret", certificate(template))
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		var frozen atomic.Pointer[atomic.Bool] // of the connection that was dialled last
		c, err := New(Options{Address: "https://example.com:6443", account: folder, dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := s.dial(ctx, network, address)
			f := freezing{conn, &atomic.Bool{}}
			frozen.Store(f.frozen)
			return f, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: s, TLSConfig: template.TLS.Clone()}
		server.TLSConfig.NextProtos = []string{"h2"}
		go func() { _ = server.ServeTLS(s, "", "") }()
		t.Cleanup(func() {
			c.Close()
			server.Close()
		})

		w := startWatch(t, c, Query{Service: "orders"})
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		stream := s.wantStream("100")
		stream.begin()
		time.Sleep(time.Minute)
		if n := s.asked.Load(); n != 2 || stream.ProtoMajor != 2 {
			t.Fatalf("%d requests over HTTP/%d: pings are no reason to ask again", n, stream.ProtoMajor)
		}
		frozen.Load().Store(true)
		dead := time.Now()
		r := s.wantList("")
		if after := time.Since(dead); after > deadAfter+time.Second {
			t.Errorf("noticed after %v", after)
		} else {
			t.Logf("noticed after %v", after)
		}
		r.list("101", "", slice1("orders-a", "90", pod("b", "10.0.0.2")))
		w.wantIDs("b")
	})
}
