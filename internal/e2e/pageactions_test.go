package e2e

import (
	"context"
	"errors"
	"fmt"
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
	st.server = admin.New(admin.Options{
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
	})
	if err := st.server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	st.url = "http://" + st.server.Address() + "/"
	return st
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
