package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidecar/admin"
	"sidecar/balancer"
	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/upstream"
)

// evil is what an instance may be called where anybody can register one.
const evil = `<script>alert(1)</script><img src=x onerror=alert(2)>"';&{{.}}/..%2f?#`

// A stand is an admin interface in this process, before real services that nobody uses otherwise.
type stand struct {
	services []*upstream.Service
	url      string
	options  admin.Options
	server   *admin.Server
}

// setUp makes services of the instances, which are listed by their IDs.
func setUp(t *testing.T, actions bool, services map[string][]string) *stand {
	t.Helper()
	st := &stand{}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	for name, ids := range services {
		var instances []discovery.Instance
		for i, id := range ids {
			instances = append(instances, discovery.Instance{ID: id, Address: fmt.Sprintf("10.0.%d.%d:80", i/200, i%200+1), Weight: 1})
		}
		s := upstream.New(upstream.Options{
			Name: name, Source: discovery.Static(instances), Policy: balancer.P2C(), MaxEjected: 0.5,
			Breaker: breaker.Settings{ConsecutiveFailures: 3, Open: time.Hour, OpenMax: time.Hour},
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		t.Cleanup(func() {
			cancel()
			<-ended
		})
		<-s.Known()
		st.services = append(st.services, s)
	}
	st.options = admin.Options{
		Listen: "127.0.0.1:0", Version: "1.2.3", Actions: actions,
		Ready:  func() []string { return nil },
		Status: st.status,
		Endpoint: func(service, id, action string) error {
			s := st.service(service)
			switch {
			case s == nil:
				return admin.ErrNoService
			case action == "uneject":
				return s.Uneject(id)
			case action == "drain" && id == "stubborn":
				return errors.New("it does not want to")
			}
			return s.SetDrained(id, action == "drain")
		},
	}
	st.open(t)
	t.Cleanup(func() { st.close(t) })
	st.url = "http://" + st.server.Address() + "/"
	return st
}

// open has the admin interface answer.
func (st *stand) open(t *testing.T) {
	t.Helper()
	st.server = admin.New(st.options)
	if err := st.server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	st.options.Listen = st.server.Address()
}

func (st *stand) close(t *testing.T) {
	t.Helper()
	if err := st.server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func (st *stand) service(name string) *upstream.Service {
	for _, s := range st.services {
		if s.Name() == name {
			return s
		}
	}
	return nil
}

func (st *stand) status() admin.Document {
	d := admin.Document{Started: time.Now().Add(-time.Minute)}
	for _, s := range st.services {
		d.Services = append(d.Services, admin.Service{Policy: "p2c", SourceKind: "static", Status: s.Status()})
	}
	return d
}

// state is how an endpoint of a service stands.
func (st *stand) state(service, id string) upstream.State {
	status := st.service(service).Status()
	for _, e := range status.Endpoints {
		if e.ID == id {
			return e.State
		}
	}
	return ""
}

// eject has an endpoint fail until it is out.
func (st *stand) eject(t *testing.T, service, id string) {
	t.Helper()
	within(t, patience, id+" is ejected", func() bool {
		l, err := st.service(service).Acquire(upstream.PickKey{})
		if err != nil {
			t.Fatal(err)
		}
		outcome := upstream.Success
		if l.Endpoint().ID() == id {
			outcome = upstream.ServerError
		}
		l.Report(upstream.Result{Outcome: outcome, Status: 500, Latency: time.Millisecond})
		l.Release()
		return st.state(service, id) == upstream.StateEjected
	})
}

// opened opens an endpoint's details with the mouse.
func (t *tab) opened(id string) {
	t.t.Helper()
	t.eval(fmt.Sprintf(`[...document.querySelectorAll("tr.row")].find((r) => r.querySelector(".id").textContent === %q).click()`, id))
}

func TestThePageActsOnEndpoints(t *testing.T) {
	t.Parallel()
	st := setUp(t, true, map[string][]string{"orders": {"a", "b", "c", evil, "stubborn"}})
	p := live(openBrowser(t), st.url, desk)
	confirm := func(deed, say string) {
		t.Helper()
		p.eval(fmt.Sprintf(`document.querySelector("tr:not([hidden]) [data-action=%s]").click()`, deed))
		p.says("#ask[open]", say)
		if on := p.eval("document.activeElement.id"); on != "ask-no" {
			t.Errorf("the question begins with %v", on)
		}
	}
	p.opened(evil)
	confirm("drain", "Drain "+evil+" of orders?")
	p.screenshot("page-drain", false)
	p.press("Escape")
	if s := st.state("orders", evil); s != upstream.StateUsable || p.number("#ask[open]") != 0 {
		t.Fatalf("without a yes it is %s", s)
	}
	confirm("drain", "4 other endpoints take the traffic")
	p.eval(`document.querySelector("#ask-yes").click()`)
	within(t, patience, "it is drained", func() bool { return st.state("orders", evil) == upstream.StateDrained })
	p.waitText("#services", "drained by the operator")
	p.waitText("#headline", "All is well, with 1 note")
	p.waitText("#decisions", "the operator has taken it out")
	p.wait("the question is gone", `!document.querySelector("#ask").open`)
	p.wait("it can be undrained", `document.querySelector("tr:not([hidden]) [data-action=undrain]") !== null`)
	confirm("undrain", "gets its share of the traffic again")
	p.eval(`document.querySelector("#ask-yes").click()`)
	within(t, patience, "it is undrained", func() bool { return st.state("orders", evil) == upstream.StateUsable })
	p.opened(evil)

	st.eject(t, "orders", "b")
	p.waitText("#headline", "Warning in orders")
	p.opened("b")
	confirm("uneject", "3 failures in a row")
	p.eval(`document.querySelector("#ask-yes").click()`)
	within(t, patience, "it is not ejected", func() bool { return st.state("orders", "b") == upstream.StateUsable })
	p.waitText("#decisions", "the operator has ended its ejection")
	p.opened("b")

	p.opened("stubborn")
	confirm("drain", "Drain stubborn")
	p.eval(`document.querySelector("#ask-yes").click()`)
	p.waitText("#ask-error", "500: it does not want to")
	p.sound()
}

func TestThePageOfManyServicesWithHostileNames(t *testing.T) {
	t.Parallel()
	services := map[string][]string{evil: {evil, "x"}, "nothing": nil}
	for i := range 200 {
		services[fmt.Sprintf("service-%03d", i)] = []string{"a", "b", "c"}
	}
	st := setUp(t, false, services)
	st.eject(t, evil, evil)
	p := live(openBrowser(t), st.url, desk)
	p.says("#headline", "Outage in nothing; warning in <script>")
	p.says("#problems", evil)
	p.says("#services", evil, "200 more services are well – show")
	if n := p.number("#services .head"); n != 2 {
		t.Errorf("%d services are shown at first", n)
	}
	p.screenshot("page-200-services", false)
	p.press("u")
	if n := p.number("#services .head"); n != 202 {
		t.Errorf("%d services are shown, want all", n)
	}
	p.eval(`document.querySelector("#problems button").click()`) // leads to where the problem is
	if on, _ := p.eval("document.activeElement.innerText").(string); !strings.Contains(on, "nothing") {
		t.Errorf("the first problem leads to %q", on)
	}
	if n := p.number("script, img, iframe"); n != 0 || p.eval(`document.scripts.length`) != 1.0 {
		t.Errorf("a name has become an element")
	}
	p.opened(evil)
	if n := p.number(".details button"); n != 0 {
		t.Errorf("%d buttons, although actions are off", n)
	}
	// Even a script of the page itself cannot make text into elements.
	if got := p.eval(`(() => { try { document.body.innerHTML = "<b>"; return "made"; } catch { return "refused"; } })()`); got != "refused" {
		t.Errorf("innerHTML: %v", got)
	}
}

// A page that has been open since before an upgrade is not the page of what runs now.
func TestThePageFollowsAnUpgrade(t *testing.T) {
	t.Parallel()
	st := setUp(t, false, map[string][]string{"orders": {"a"}})
	p := live(openBrowser(t), st.url, desk)
	p.eval("window.old = true")
	st.close(t)
	st.options.Version = "1.2.4"
	st.open(t)
	p.wait("the page is loaded again", "window.old === undefined")
	p.waitText("#facts", "sidecar 1.2.4")
	p.wait("the page is live", `document.querySelector("#link").dataset.state === "live"`)
	p.sound()
}

// What another site's page tries against a sidecar on the visitor's own host.
const attack = `<!doctype html><title>waiting</title><iframe name="hidden"></iframe>
<form id="f" method="post" target="hidden" action="%[1]sservices/orders/endpoints/a/drain"><input name="x"></form>
<script>
const drain = "%[1]sservices/orders/endpoints/a/drain", header = { "Sidecar-Action": "1" };
const attempt = (name, promise) => promise.then((r) => name + " " + (r.type === "opaque" ? "opaque" : r.status), () => name + " refused");
const stream = new Promise((yes, no) => { const s = new EventSource("%[1]sevents"); s.onopen = () => yes({ status: "open" }); s.onerror = no; });
document.getElementById("f").submit();
Promise.all([
  attempt("header", fetch(drain, { method: "POST", headers: header })),
  attempt("simple", fetch(drain, { method: "POST", mode: "no-cors" })),
  attempt("read", fetch("%[1]sstatus")),
  attempt("events", stream),
]).then((all) => { document.title = all.join(", "); });
</script>`

func TestOtherSitesCannotUseTheVisitorsBrowser(t *testing.T) {
	t.Parallel()
	st := setUp(t, true, map[string][]string{"orders": {"a", "b"}})
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, attack, st.url)
	}))
	t.Cleanup(site.Close)
	_, sitePort, _ := net.SplitHostPort(site.Listener.Addr().String())
	_, port, _ := net.SplitHostPort(st.server.Address())
	b := openBrowser(t, "--host-resolver-rules=MAP *.example 127.0.0.1")

	p := b.open("http://evil.example:"+sitePort+"/", desk)
	p.wait("the attack is over", `document.title !== "waiting"`)
	if title := p.eval("document.title"); title != "header refused, simple opaque, read refused, events refused" {
		t.Errorf("the attack comes to %v", title)
	}
	// The site's own name may lead to the sidecar, for its DNS server says so.
	rebound := b.open("http://evil.example:"+port+"/", desk)
	if text := rebound.text("body"); !strings.Contains(text, "this host name is not trusted") {
		t.Errorf("under another's name it shows %q", text)
	}
	if got := rebound.eval(`fetch("/services/orders/endpoints/a/drain", { method: "POST", headers: { "Sidecar-Action": "1" } }).then((r) => r.status)`); got != 403.0 {
		t.Errorf("under another's name it answers %v", got)
	}
	for _, id := range []string{"a", "b"} {
		if s := st.state("orders", id); s != upstream.StateUsable {
			t.Errorf("%s is %s", id, s)
		}
	}
}

// From the page to the traffic, and through a reload that has the service built anew.
func TestAnEndpointIsDrainedByThePage(t *testing.T) {
	t.Parallel()
	one, other := serveOrigin(t, "one"), serveOrigin(t, "other")
	s := serving(t, "[admin]\nactions = true\n"+static("orders", "", one.address, other.address))
	l := startPaced(t, s.address("orders"), 2, 5*time.Millisecond)
	l.more(t, 20)
	p := live(openBrowser(t), forward(t, strings.TrimPrefix(s.Address, "unix:")), desk)
	p.opened(one.address)
	p.eval(`document.querySelector("tr:not([hidden]) [data-action=drain]").click()`)
	p.eval(`document.querySelector("#ask-yes").click()`)
	s.waitState("orders", one.address, upstream.StateDrained)
	before := l.from("one")
	l.more(t, 50)
	if n := l.from("one") - before; n > 2 { // of each client what it had begun
		t.Errorf("%d answers of one that is drained", n)
	}
	if log := s.err.String(); !strings.Contains(log, `"msg":"the operator acts on an endpoint"`) || !strings.Contains(log, `"by":"unix, uid `) {
		t.Error("the log does not say who has asked for it")
	}
	p.waitText("#decisions", "the operator has taken it out")

	s.rewrite(t, "[admin]\nactions = true\n"+static("orders", "breaker = { consecutive_failures = 9 }", one.address, other.address))
	if _, err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.waitState("orders", one.address, upstream.StateDrained)
	before = l.from("one")
	l.more(t, 50)
	if n := l.from("one") - before; n > 0 {
		t.Errorf("%d answers of one that is drained, after a reload", n)
	}
	if err := s.Endpoint(t.Context(), "orders", one.address, "undrain"); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "it has traffic again", func() bool { return l.from("one") > before })
	p.waitText("#headline", "All is well")
	l.end(t)
}
