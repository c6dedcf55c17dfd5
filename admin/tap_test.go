package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sidecar/accesslog"
	"sidecar/tap"
)

// tapped has a service that can be watched at p, and one that cannot.
func tapped(p *tap.Point) Options {
	o := full()
	o.Tap = func(service string) (*tap.Point, error) {
		switch service {
		case "orders":
			return p, nil
		case "mail":
			return nil, errors.New("service mail is of protocol tcp, and has no requests")
		}
		return nil, ErrNoService
	}
	return o
}

func overUnix(t *testing.T, o Options) Options {
	o.Listen = "unix:" + filepath.Join(t.TempDir(), "admin")
	return o
}

// pass lets a request pass.
func pass(p *tap.Point, status int) {
	p.Pass(&accesslog.Record{
		Service: "orders", Client: netip.MustParseAddrPort("10.1.2.3:4567"), Method: []byte("GET"), Target: []byte("/a?token=geheim"),
		Status: status, Flag: accesslog.FlagOK, Time: time.Now(),
	}, tap.Heads{Request: []byte("Cookie: geheim\n")})
}

// open begins to watch and returns the stream, which may be read when p is watched.
func open(t *testing.T, c *Client, query string) *bufio.Reader {
	t.Helper()
	response, err := c.send(t.Context(), http.MethodGet, "/tap/orders"+query, http.Header{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != typeLines {
		t.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	return bufio.NewReader(response.Body)
}

// next reads one record.
func next(t *testing.T, r *bufio.Reader) *tap.Record {
	t.Helper()
	line, err := r.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	record := new(tap.Record)
	if err := json.Unmarshal(line, record); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return record
}

func TestTapShowsRequestsAsTheyPass(t *testing.T) {
	p := new(tap.Point)
	s := start(t, overUnix(t, tapped(p)))
	r := open(t, &Client{Address: s.Address()}, "?status=5xx&headers=1")
	for _, status := range []int{200, 503, 404, 500} {
		pass(p, status)
	}
	for _, want := range []int{503, 500} {
		got := next(t, r)
		if got.Status != want || got.Target != "/a?token=geheim" || len(got.RequestHeaders) != 1 || got.RequestHeaders[0].Value != "<hidden>" {
			t.Errorf("%+v, want status %d", got, want)
		}
	}
	all := open(t, &Client{Address: s.Address()}, "?headers=all")
	pass(p, 200)
	if got := next(t, all); got.RequestHeaders[0].Value != "geheim" {
		t.Errorf("%+v", got)
	}
}

func TestTapOnAPortShowsNoSecrets(t *testing.T) {
	p := new(tap.Point)
	o := tapped(p)
	s := start(t, o)
	r := open(t, &Client{Address: s.Address()}, "")
	pass(p, 200)
	if got := next(t, r); got.Target != "/a?…" || got.RequestHeaders != nil {
		t.Errorf("%+v", got)
	}
	for _, query := range []string{"?headers=1", "?headers=all"} {
		if w := ask(o, "GET", "/tap/orders"+query); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "admin.actions = true") {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	o.Actions = true
	s = start(t, o)
	r = open(t, &Client{Address: s.Address()}, "?headers=1")
	pass(p, 200)
	if got := next(t, r); got.Target != "/a?token=geheim" || len(got.RequestHeaders) != 1 {
		t.Errorf("with actions: %+v", got)
	}
}

func TestTapSaysWhyNot(t *testing.T) {
	o := tapped(new(tap.Point))
	for page, want := range map[string]struct {
		code int
		text string
	}{
		"/tap/order":                     {404, `there is no service "order"; did you mean "orders"?`},
		"/tap/mail":                      {409, "service mail is of protocol tcp"},
		"/tap/orders?rate=0":             {400, `rate is a number from 1 to 1000, and not "0"`},
		"/tap/orders?rate=x":             {400, `rate is a number from 1 to 1000, and not "x"`},
		"/tap/orders?n=-1":               {400, `n is a number from 0 to 1000000`},
		"/tap/orders?status=9xx":         {400, `status "9xx" is none`},
		"/tap/orders?headers=everything": {400, `headers is 1 or all`},
	} {
		if w := ask(o, "GET", page); w.Code != want.code || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%s: %d %s", page, w.Code, w.Body)
		}
	}
	s := start(t, o)
	err := (&Client{Address: s.Address()}).Tap(t.Context(), "order", TapOptions{}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), `admin: there is no service "order"; did you mean "orders"?`) {
		t.Errorf("the client says: %v", err)
	}
}

// passing lets requests pass all the time, until the test ends.
func passing(t *testing.T, p *tap.Point) {
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	ctx := t.Context()
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			pass(p, 200)
			runtime.Gosched()
		}
	}()
}

func TestTheClientTaps(t *testing.T) {
	p := new(tap.Point)
	s := start(t, tapped(p))
	c := &Client{Address: s.Address()}
	passing(t, p)
	n := 0
	if err := c.Tap(t.Context(), "orders", TapOptions{Count: 3, Rate: 1000, Status: "2xx"}, func(r *tap.Record) error {
		n++
		return nil
	}); err != nil || n != 3 {
		t.Errorf("%d shown, %v", n, err)
	}
	enough := errors.New("enough")
	if err := c.Tap(t.Context(), "orders", TapOptions{}, func(*tap.Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("what show returns is not what Tap does: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Tap(ctx, "orders", TapOptions{}, func(*tap.Record) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for p.Watched() { // until the server has seen that they are gone
		runtime.Gosched()
	}
}

func TestTapEndsWithTheServiceAndTheSidecar(t *testing.T) {
	for name, end := range map[string]func(*tap.Point, *Server){
		"service": func(p *tap.Point, _ *Server) { p.Close() },
		"sidecar": func(_ *tap.Point, s *Server) { _ = s.Shutdown(context.Background()) },
	} {
		p := new(tap.Point)
		s := New(func() Options { o := tapped(p); o.Listen = "127.0.0.1:0"; return o }())
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			ended <- (&Client{Address: s.Address()}).Tap(context.Background(), "orders", TapOptions{}, nil)
		}()
		for !p.Watched() {
			runtime.Gosched()
		}
		end(p, s)
		if err := <-ended; !errors.Is(err, ErrTapEnded) {
			t.Errorf("%s: %v", name, err)
		}
		_ = s.Shutdown(context.Background())
	}
}
