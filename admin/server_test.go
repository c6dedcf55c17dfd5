package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// ask puts a request to a Server's handler, without a connection.
func ask(o Options, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:9901"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	New(o).http.Handler.ServeHTTP(w, r)
	return w
}

// full has every page.
func full() Options {
	return Options{
		Version:  "1.2.3",
		Revision: "abc",
		Healthy:  func(context.Context) error { return nil },
		Ready:    func() []string { return nil },
		Status:   func() Document { return sample() },
		Config:   func() ([]byte, error) { return []byte("[admin]\n"), nil },
		Metrics:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
	}
}

// start runs a Server on a free port, or where o says, until the test ends.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	s := New(o)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return s
}

func TestPagesAnswer(t *testing.T) {
	for page, part := range map[string]string{
		"/":                    "\n/explain/SERVICE  one service",
		"/healthz":             "ok\n",
		"/readyz":              "ready\n",
		"/metrics":             "up 1",
		"/status":              `"orders"`,
		"/status?format=text":  "ENDPOINT",
		"/explain":             `"verdict": "unavailable: `,
		"/explain/orders":      `"window_attempts": `,
		"/config":              "[admin]",
		"/version":             `"version": "1.2.3"`,
		"/version?format=text": "sidecar 1.2.3 (abc)",
	} {
		w := ask(full(), "GET", page)
		if w.Code != 200 || !strings.Contains(w.Body.String(), part) {
			t.Errorf("%s: %d %q, want 200 and %q", page, w.Code, w.Body, part)
		}
		if !strings.HasPrefix(w.Header().Get("Server"), "sidecar/1.2.3") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", page, w.Header())
		}
		if w := ask(full(), "HEAD", page); w.Code != 200 {
			t.Errorf("HEAD %s: %d", page, w.Code)
		}
	}
}

func TestWhatIsNotOfferedDoesNotExist(t *testing.T) {
	for _, page := range []string{"/status", "/explain", "/explain/orders", "/explain/", "/config", "/metrics", "/debug/pprof/", "/debug/pprof/heap", "/nothing", "/healthz/x"} {
		if w := ask(Options{}, "GET", page); w.Code != 404 {
			t.Errorf("%s: %d, want 404", page, w.Code)
		}
	}
	if w := ask(Options{}, "GET", "/"); strings.Contains(w.Body.String(), "/status") {
		t.Errorf("the index offers what does not exist: %q", w.Body)
	}
	for _, page := range []string{"/healthz", "/readyz"} {
		if w := ask(Options{}, "GET", page); w.Code != 200 {
			t.Errorf("%s: %d without a callback, want 200", page, w.Code)
		}
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		for _, page := range []string{"/", "/healthz", "/status", "/explain", "/explain/orders", "/config"} {
			w := ask(full(), method, page)
			if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, page, w.Code, w.Header().Get("Allow"))
			}
		}
	}
}

func TestHealthTellsWhatDoesNotWork(t *testing.T) {
	o := Options{Healthy: func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("there is no deadline")
		}
		return errors.New("loop 1 does not answer")
	}}
	if w := ask(o, "GET", "/healthz"); w.Code != 503 || w.Body.String() != "loop 1 does not answer\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	o := Options{Ready: func() []string {
		return []string{"orders: consul at 127.0.0.1:8500: connection refused", "mail: unknown service"}
	}}
	w := ask(o, "GET", "/readyz")
	if want := "not ready\norders: consul at 127.0.0.1:8500: connection refused\nmail: unknown service\n"; w.Code != 503 || w.Body.String() != want {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	w = ask(o, "GET", "/readyz", "Accept", "application/json")
	var r Readiness
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 503 || r.Ready || len(r.Missing) != 2 {
		t.Errorf("%d %q: %v", w.Code, w.Body, err)
	}
	if w := ask(o, "GET", "/readyz?format=xml"); w.Code != 400 {
		t.Errorf("format=xml: %d, want 400", w.Code)
	}
}

func TestStatusIsCompletedByTheServer(t *testing.T) {
	o := full()
	o.Ready = func() []string { return []string{"mail: no instances"} }
	var d Document
	w := ask(o, "GET", "/status", "Accept", "*/*")
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Readiness.Ready || len(d.Readiness.Missing) != 1 || d.Build.Version != "1.2.3" || time.Since(d.At) > time.Minute {
		t.Errorf("%+v", d)
	}
	if w := ask(o, "GET", "/status", "Accept", "text/plain"); !strings.Contains(w.Body.String(), "missing: mail: no instances") {
		t.Errorf("%q", w.Body)
	}
}

func TestListsWithoutMembersAreNotNull(t *testing.T) {
	w := ask(Options{Status: func() Document { return Document{} }}, "GET", "/status")
	if w.Code != 200 || strings.Contains(w.Body.String(), "null") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAConfigurationThatCannotBeShownIsAnError(t *testing.T) {
	o := Options{Config: func() ([]byte, error) { return nil, errors.New("too odd") }}
	if w := ask(o, "GET", "/config"); w.Code != 500 || !strings.Contains(w.Body.String(), "too odd") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestNamesThatADNSServerMayHaveMadeUpAreRefused(t *testing.T) {
	hosts := map[string]int{
		"127.0.0.1:9901": 200, "127.0.0.1": 200, "10.1.2.3:80": 200, "[::1]:9901": 200, "[::1]": 200, "[fe80::1%25eth0]:1": 200,
		"localhost": 200, "LocalHost:9901": 200, "admin.internal:9901": 200, "Admin.Internal": 200, "": 200,
		"evil.example": 403, "evil.example:9901": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
		"127.0.0.1:9901:1": 403, "0x7f000001": 403, "localhost.": 403,
	}
	o := full()
	o.Listen = "admin.internal:9901"
	for host, want := range hosts {
		if w := ask(o, "GET", "/status", "Host", host); w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
	}
	o.Listen = ":9901"
	if w := ask(o, "GET", "/status", "Host", ":9901"); w.Code != 403 {
		t.Errorf("an empty name is trusted: %d", w.Code)
	}
	o.Listen = "unix:/run/x.sock"
	if w := ask(o, "GET", "/status", "Host", "anything"); w.Code != 200 {
		t.Errorf("on a unix socket: %d", w.Code)
	}
}

func TestProfilesAreThereWhenAskedFor(t *testing.T) {
	o := full()
	o.Profiling = true
	s := start(t, o)
	for _, page := range []string{"/debug/pprof/", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline"} {
		if _, err := (&Client{Address: s.Address()}).get(t.Context(), page, typeText, 200); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
	if w := ask(o, "POST", "/debug/pprof/heap"); w.Code != 405 {
		t.Errorf("POST: %d, want 405", w.Code)
	}
}

func TestTheAddressIsFreeAfterShutdown(t *testing.T) {
	s := New(Options{Listen: "127.0.0.1:0"})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := net.Listen("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	if err := New(Options{}).Shutdown(t.Context()); err != nil {
		t.Errorf("a server that was never started: %v", err)
	}
}

func TestShutdownLetsAnAnswerFinishAndCutsOneThatHangs(t *testing.T) {
	entered, release := make(chan struct{}, 2), make(chan struct{})
	s := New(Options{Listen: "127.0.0.1:0", Healthy: func(context.Context) error {
		entered <- struct{}{}
		<-release
		return nil
	}})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &Client{Address: s.Address()}
	answered := make(chan error, 1)
	go func() { answered <- client.Healthy(context.Background()) }()
	<-entered

	// Out of time: it is cut.
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(short); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "cut") {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the answer that hung was not cut")
	}
	close(release)

	// In time: it is written.
	s = New(s.options)
	s.options.Listen = "127.0.0.1:0"
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("%q, %v", line, err)
	}
}

func TestAPageThatPanicsIsLoggedAndHarmsNothingElse(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	s := start(t, Options{
		Log:     zap.New(core),
		Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }),
	})
	client := &Client{Address: s.Address()}
	if _, err := client.get(t.Context(), "/metrics", typeText, 200); err == nil {
		t.Error("a panic was answered with 200")
	}
	if err := client.Healthy(t.Context()); err != nil {
		t.Errorf("after a panic: %v", err)
	}
	if logs.FilterMessageSnippet("boom").Len() != 1 {
		t.Errorf("log: %v", logs.All())
	}
}

func TestListeningBeyondLoopbackIsWarnedOf(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	start(t, Options{Listen: "0.0.0.0:0", Log: zap.New(core)})
	start(t, Options{Listen: "127.0.0.1:0", Log: zap.New(core)})
	if logs.FilterMessageSnippet("other hosts").Len() != 1 {
		t.Errorf("log: %v", logs.All())
	}
}

func TestAcceptDecidesTheForm(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                   typeJSON,
		"*/*":                                typeJSON,
		"text/plain":                         typeText,
		"text/*":                             typeText,
		"application/json":                   typeJSON,
		"text/plain;q=0.5, application/json": typeJSON,
		"application/json;q=0.1, text/plain": typeText,
		"*/*;q=0.1, text/plain":              typeText,
		"text/*, text/plain;q=0":             typeJSON,
		"image/png":                          typeJSON,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": typeJSON,
		"!, text/plain": typeText,
	} {
		if got := preferred([]string{accept}, []string{typeJSON, typeText}); got != want {
			t.Errorf("Accept %q: %s, want %s", accept, got, want)
		}
	}
}
