package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sidecar/upstream"
)

// An operator does what is asked for, and writes it down.
type operator struct{ done []string }

func (o *operator) options() Options {
	all := full()
	all.Reload = func(ctx context.Context) (Report, error) {
		if ctx.Err() != nil {
			return Report{}, ctx.Err()
		}
		o.done = append(o.done, "reload")
		return Report{Changed: []string{"service orders: timeout.request: 15s → 5s"}, Restart: []string{"runtime.loops: 2 → 4"}}, nil
	}
	all.Drain = func() { o.done = append(o.done, "drain") }
	all.Endpoint = func(service, id, action string) error {
		if service != "orders" {
			return fmt.Errorf("%w: %q", ErrNoService, service)
		}
		if id == "gone" {
			return fmt.Errorf("service orders: %w %q", upstream.ErrNoEndpoint, id)
		}
		o.done = append(o.done, strings.Join([]string{action, service, id}, " "))
		return nil
	}
	return all
}

func TestActionsHaveToBeDeliberate(t *testing.T) {
	for _, page := range []string{"/reload", "/drain", "/services/orders/endpoints/a/drain"} {
		for _, c := range []struct {
			name    string
			headers []string
			code    int
		}{
			{"the header is missing", nil, 403},
			{"the header has another value", []string{actionHeader, "yes"}, 403},
			{"a form of another site", []string{"Origin", "https://evil.example"}, 403},
			{"a script of another site", []string{actionHeader, "1", "Origin", "https://evil.example"}, 403},
			{"one that hides", []string{actionHeader, "1", "Origin", "null"}, 403},
			{"another port", []string{actionHeader, "1", "Origin", "http://127.0.0.1:8080"}, 403},
			{"a browser that says so", []string{actionHeader, "1", "Sec-Fetch-Site", "cross-site"}, 403},
			{"another port that says so", []string{actionHeader, "1", "Sec-Fetch-Site", "same-site"}, 403},
			{"a link of another site", []string{actionHeader, "1", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
			{"a name that points here", []string{actionHeader, "1", "Host", "evil.example", "Origin", "http://evil.example"}, 403},
			{"the page itself", []string{actionHeader, "1", "Origin", "http://127.0.0.1:9901", "Sec-Fetch-Site", "same-origin"}, 0},
			{"curl", []string{actionHeader, "1"}, 0},
		} {
			var op operator
			o := op.options()
			o.Actions = true
			w := ask(o, "POST", page, c.headers...)
			if c.code != 0 && (w.Code != c.code || len(op.done) != 0) || c.code == 0 && (w.Code >= 300 || len(op.done) != 1) {
				t.Errorf("%s, %s: %d %q, done %v", page, c.name, w.Code, w.Body, op.done)
			}
		}
		var op operator
		if w := ask(op.options(), "GET", page, actionHeader, "1"); w.Code != 405 || len(op.done) != 0 {
			t.Errorf("GET %s: %d, done %v", page, w.Code, op.done)
		}
		if w := ask(full(), "POST", page, actionHeader, "1"); w.Code != 404 {
			t.Errorf("%s where it is not offered: %d", page, w.Code)
		}
	}
}

// A page of another site may not even look: its answers are hidden from it, but making them costs.
func TestOtherSitesMayLinkHereAndNoMore(t *testing.T) {
	for _, c := range []struct {
		page    string
		headers []string
		code    int
	}{
		{"/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"/metrics", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		{"/events", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, 403},
		{"/status", []string{"Origin", "https://evil.example"}, 403},
		{"/status", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"/status", []string{"Sec-Fetch-Site", "none"}, 200},
		{"/events", []string{"Host", "evil.example"}, 403},
	} {
		if w := ask(full(), "GET", c.page, c.headers...); w.Code != c.code {
			t.Errorf("%s %v: %d, want %d", c.page, c.headers, w.Code, c.code)
		}
	}
	// ssh -L has a browser reach a unix socket.
	o := full()
	o.Listen = "unix:/run/x.sock"
	for _, c := range []struct {
		headers []string
		code    int
	}{
		{[]string{"Host", "sidecar", "User-Agent", "curl/8.0"}, 200},
		{[]string{"Host", "localhost:19901", "User-Agent", "Mozilla/5.0 (X11)"}, 200},
		{[]string{"Host", "evil.example:19901", "User-Agent", "Mozilla/5.0 (X11)"}, 403},
		{[]string{"Host", "evil.example:19901", "Origin", "http://evil.example:19901"}, 403},
	} {
		if w := ask(o, "GET", "/status", c.headers...); w.Code != c.code {
			t.Errorf("%v: %d, want %d", c.headers, w.Code, c.code)
		}
	}
}

func TestActionsNeedPermissionOnAPort(t *testing.T) {
	for _, c := range []struct {
		listen  string
		actions bool
		code    int
	}{{"127.0.0.1:9901", false, 403}, {"127.0.0.1:9901", true, 202}, {"unix:/run/x.sock", false, 202}} {
		var op operator
		o := op.options()
		o.Listen, o.Actions = c.listen, c.actions
		if w := ask(o, "POST", "/drain", actionHeader, "1"); w.Code != c.code || c.code == 403 && !strings.Contains(w.Body.String(), "set admin.actions = true") {
			t.Errorf("%+v: %d %q", c, w.Code, w.Body)
		}
		if w := ask(o, "POST", "/services/orders/endpoints/a/uneject", actionHeader, "1"); (w.Code == 403) != (c.code == 403) {
			t.Errorf("%+v: %d %q", c, w.Code, w.Body)
		}
		if w := ask(o, "POST", "/reload", actionHeader, "1"); w.Code != 200 {
			t.Errorf("reload, %+v: %d %q", c, w.Code, w.Body)
		}
	}
}

// Over real sockets, by the client, with IDs that registries may have.
func TestTheClientActs(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "admin.sock")} {
		core, logs := observer.New(zap.InfoLevel)
		var op operator
		o := op.options()
		o.Listen, o.Actions, o.Log = listen, true, zap.New(core)
		c := &Client{Address: start(t, o).Address()}
		want := []string{"reload"}
		if r, err := c.Reload(t.Context()); err != nil || !reflect.DeepEqual(r.Changed, []string{"service orders: timeout.request: 15s → 5s"}) || len(r.Restart) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		for _, id := range []string{"a", "node-1/orders:8080", "10.0.0.1:80", "unix:/run/x.sock", "<script>", "a b%2Fc?d#e", "ä", "%2e"} {
			if err := c.Endpoint(t.Context(), "orders", id, "drain"); err != nil {
				t.Errorf("%q: %v", id, err)
			}
			want = append(want, "drain orders "+id)
		}
		for _, action := range []string{"undrain", "uneject"} {
			if err := c.Endpoint(t.Context(), "orders", "a", action); err != nil {
				t.Error(err)
			}
			want = append(want, action+" orders a")
		}
		if err := c.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		want = append(want, "drain")
		if !reflect.DeepEqual(op.done, want) {
			t.Errorf("done %q\nwant %q", op.done, want)
		}
		for _, wrong := range []struct{ service, id, action, part string }{
			{"orders", "gone", "drain", `there is no endpoint "gone"`}, {"ordres", "a", "drain", "there is no service"},
			{"orders", "a", "explode", "can be asked to drain, undrain or uneject"},
		} {
			if err := c.Endpoint(t.Context(), wrong.service, wrong.id, wrong.action); err == nil || !strings.Contains(err.Error(), wrong.part) {
				t.Errorf("%+v: %v", wrong, err)
			}
		}
		by := "127.0.0.1:"
		if strings.HasPrefix(listen, "unix:") {
			by = fmt.Sprintf("unix, uid %d", os.Getuid())
		}
		acted := logs.FilterMessage("the operator acts on an endpoint").All()
		if len(acted) != 10 || !strings.HasPrefix(acted[1].ContextMap()["by"].(string), by) || acted[1].ContextMap()["endpoint"] != "node-1/orders:8080" {
			t.Errorf("log: %v", acted)
		}
	}
}

func TestAReloadThatFailsSaysWhy(t *testing.T) {
	var op operator
	o := op.options()
	o.Reload = func(context.Context) (Report, error) {
		return Report{}, errors.New("config.toml:3: orders: unknown key\nconfig.toml:9: mail:\x1b 2 mistakes")
	}
	w := ask(o, "POST", "/reload", actionHeader, "1")
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `"error": "config.toml:3: orders: unknown key\nconfig.toml:9`) {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	_, err := (&Client{Address: start(t, o).Address()}).Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "config.toml:3: orders: unknown key\nconfig.toml:9: mail:\ufffd 2 mistakes") {
		t.Errorf("%q", err)
	}
}

// Who asked for a reload may go away: it is not left half done.
func TestAReloadGoesOnWithoutWhoAskedForIt(t *testing.T) {
	entered, asked, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var op operator
	o := op.options()
	o.Reload = func(ctx context.Context) (Report, error) {
		close(entered)
		<-asked
		ended <- ctx.Err()
		return Report{}, nil
	}
	c := &Client{Address: start(t, o).Address()}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = c.Reload(ctx) // which is cancelled
	}()
	<-entered
	cancel()
	<-left
	close(asked)
	if err := <-ended; err != nil {
		t.Errorf("the reload was ended: %v", err)
	}
}
