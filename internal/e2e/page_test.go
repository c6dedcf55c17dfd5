package e2e

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidecar/upstream"
)

var screenshots = flag.String("e2e.screenshots", "", "folder for screenshots of the page; a temporary one by default")

// forward has a port lead to a unix socket, as ssh -L does, until the test ends.
func forward(t *testing.T, path string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	keep := func(c net.Conn, on bool) {
		mu.Lock()
		defer mu.Unlock()
		if on {
			open[c] = true
		} else {
			delete(open, c)
			c.Close()
		}
	}
	join := func(a net.Conn) {
		defer keep(a, false)
		b, err := net.Dial("unix", path)
		if err != nil {
			t.Logf("forwarding: %v", err) // as when the sidecar has ended
			return
		}
		keep(b, true)
		defer keep(b, false)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(b, a)
			b.Close()
		}()
		_, _ = io.Copy(a, b)
		a.Close()
		<-ended
	}
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			keep(c, true)
			running.Go(func() { join(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return "http://" + ln.Addr().String() + "/"
}

// A street is a service of many instances, which are one HTTP server on many addresses. The second
// answers with errors, the third fails its health check.
type street struct {
	addresses []string
	file      listed // where the instances of another service stand
	config    string
}

func buildStreet(t *testing.T, n int) *street {
	t.Helper()
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	st := &street{file: listed{t, filepath.Join(folder(t), "stock.json")}}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for i := range n {
		st.addresses = append(st.addresses, fmt.Sprintf("127.0.%d.%d:%s", 1+i/200, 1+i%200, port))
	}
	server, ended := &http.Server{Handler: http.HandlerFunc(st.answer)}, make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ln) // until it is closed
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	instances := "[]"
	if n > 0 {
		instances = `["` + strings.Join(st.addresses, `", "`) + `"]`
	}
	orders := listed{t, filepath.Join(folder(t), "orders.json")}
	orders.replace(`{"orders": ` + instances + `}`)
	st.file.replace(`{"stock": ["127.0.0.1:` + port + `"]}`)
	service := "[[service]]\nname = %q\nlisten = \"127.0.0.1:0\"\ndiscovery = { source = \"file\", file = { path = %q } }\n"
	st.config = fmt.Sprintf(service, "orders", orders.path) +
		"balancer = { panic = 0.3 }\nbreaker = { consecutive_failures = 3, open = \"10m\", open_max = \"10m\" }\n" +
		"health_check = { type = \"http\", path = \"/healthz\", interval = \"1s\", timeout = \"1s\", fall = 2, rise = 1 }\n" +
		fmt.Sprintf(service, "stock", st.file.path)
	return st
}

func (st *street) answer(w http.ResponseWriter, r *http.Request) {
	own := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
	is := func(i int) bool { return len(st.addresses) > i && own == st.addresses[i] }
	w.Header().Set(originHeader, own)
	switch {
	case r.URL.Path == "/healthz" && is(2):
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path != "/healthz" && is(1):
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = io.WriteString(w, "answers\n")
}

// stand runs a sidecar before a street, has all happen there that the page is to tell of, and returns
// where the page is.
func (st *street) stand(t *testing.T) (s *sidecar, url string) {
	t.Helper()
	s = serving(t, st.config)
	startPaced(t, s.address("stock"), 1, 20*time.Millisecond)
	if len(st.addresses) > 0 {
		startPaced(t, s.address("orders"), 4, 5*time.Millisecond)
		s.waitState("orders", st.addresses[1], upstream.StateEjected)
		s.waitState("orders", st.addresses[2], upstream.StateDown)
	}
	st.file.replace("{")
	within(t, patience, "the source of stock fails", func() bool { return s.service("stock").Source.Failing })
	return s, forward(t, strings.TrimPrefix(s.Address, "unix:"))
}

// live opens the page and waits until it has heard something for a while.
func live(b *browser, url string, l look) *tab {
	b.t.Helper()
	p := b.open(url, l)
	p.wait("the page is live", `document.querySelector("#link").dataset.state === "live"`)
	return p
}

// told waits until the page has been told n more times.
func (t *tab) told(n int) {
	t.t.Helper()
	for range n {
		now := t.text("#link")
		t.wait("another event", fmt.Sprintf("document.querySelector('#link').innerText !== %q", now))
	}
}

// says fails the test where something cannot be read.
func (t *tab) says(selector string, texts ...string) {
	t.t.Helper()
	got := t.text(selector)
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.t.Errorf("%s does not say %q:\n%s", selector, text, got)
		}
	}
}

var (
	desk  = look{width: 1440, height: 900}
	night = look{width: 1440, height: 900, dark: true}
)

// number is how many elements there are to be seen.
func (t *tab) number(selector string) int {
	t.t.Helper()
	n, _ := t.eval(fmt.Sprintf("[...document.querySelectorAll(%q)].filter((n) => n.getClientRects().length > 0).length", selector)).(float64)
	return int(n)
}

// pictures takes them of a page in the light and at night.
func pictures(b *browser, url, name string) {
	b.t.Helper()
	for scheme, l := range map[string]look{"light": desk, "dark": night} {
		p := live(b, url, l)
		p.told(4) // so that there are lines of latencies
		if n := colours(p.screenshot(name+"-"+scheme, false)); n < 50 {
			b.t.Errorf("%s has %d colours only", name, n)
		}
		p.sound()
		p.close()
	}
}

func TestThePageWithoutEndpoints(t *testing.T) {
	t.Parallel()
	st := buildStreet(t, 0)
	_, url := st.stand(t)
	b := openBrowser(t)
	pictures(b, url, "page-0")
	p := live(b, url, desk)
	p.says("#headline", "Outage in orders; warning in stock")
	p.says("#problems", "nothing is served: it has no instances", "file fails, the last set stands")
	p.says("#services", "0 of 0 usable", "OUTAGE nothing is served: it has no instances")
	p.sound()
}

func TestThePageTellsWhatAnOperatorNeeds(t *testing.T) {
	t.Parallel()
	st := buildStreet(t, 3)
	_, url := st.stand(t)
	b := openBrowser(t)
	pictures(b, url, "page-3")
	p := live(b, url, desk)
	p.told(3)
	if title := p.eval("document.title").(string); !strings.HasPrefix(title, "Warning in orders and stock") {
		t.Errorf("title %q", title)
	}
	p.says("#headline", "Warning in orders and stock")
	p.says("#problems", "2 of 3 endpoints: 1 down, 1 ejected", "file fails, the last set stands", st.file.path)
	p.says("#services", "1 of 3 usable", "WARNING 2 of 3 endpoints: 1 down, 1 ejected",
		"usable", "100.0 %", " ms", "/s", "failed", // share, latency, requests, errors
		"ejected", "3 failures in a row, the last: status 500", "(until ",
		"down: health check failed", "503 Service Unavailable",
		"p2c", "file answered", "budget has", "retr")
	p.says("#lists", "Sources", "file "+st.file.path, "fails", "answers", "Listeners", "127.0.0.1:")
	p.says("#decisions", "ejected", "3 failures in a row", "down", "source failed", "discovered")
	if d, _ := p.eval(`[...document.querySelectorAll("tr.row")].find((r) => r.innerText.includes("usable")).querySelector("path").getAttribute("d").length`).(float64); d < 20 {
		t.Errorf("there is no line of latencies")
	}
	if n := p.number(".details button"); n != 0 {
		t.Errorf("%d buttons, although actions are off", n)
	}
	narrow := live(b, url, look{width: 400, height: 800})
	narrow.told(2)
	narrow.screenshot("page-3-narrow", false)
	if wide, _ := narrow.eval("document.documentElement.scrollWidth").(float64); wide > 400 {
		t.Errorf("a narrow window has to be moved sideways: %v", wide)
	}
	narrow.sound()
	p.sound()
}

func TestThePageOfThreeHundredEndpoints(t *testing.T) {
	t.Parallel()
	st := buildStreet(t, 300)
	_, url := st.stand(t)
	b := openBrowser(t)
	pictures(b, url, "page-300")
	p := live(b, url, desk)
	p.told(3)
	p.says("#problems", "2 of 300 endpoints: 1 down, 1 ejected")
	p.says("#services", "503 Service Unavailable", "the last: status 500", "more: ", "take their share of the traffic", "show all")
	if n := p.number("tr.row"); n < 2 || n > 42 {
		t.Errorf("%d endpoints are shown at first", n)
	}
	p.eval(`[...document.querySelectorAll("#services td .more")].find((b) => b.innerText.includes("show all")).click()`)
	if n := p.number("tr.row"); n != 301 {
		t.Errorf("%d endpoints are shown, want all, and that of stock", n)
	}
	p.eval(`document.querySelector("#filter").focus()`)
	p.press(strings.Split("127.0.2.77", "")...)
	if n := p.number("tr.row"); n != 1 {
		t.Errorf("%d endpoints are left by the filter", n)
	}
	p.sound()
}

func TestThePageByKeyboard(t *testing.T) {
	t.Parallel()
	st := buildStreet(t, 3)
	_, url := st.stand(t)
	p := live(openBrowser(t), url, desk)
	on := func() string { return p.eval("document.activeElement.innerText").(string) }
	for _, c := range []struct{ key, want string }{
		{"j", "orders"}, {"j", st.addresses[0]}, {"j", st.addresses[1]}, {"k", st.addresses[0]}, {"ArrowDown", st.addresses[1]},
		{"ArrowDown", st.addresses[2]}, {"ArrowUp", st.addresses[1]}, {"g", "orders"}, {"k", "orders"}, {"j", st.addresses[0]}, {"j", st.addresses[1]},
	} {
		p.press(c.key)
		if got := on(); !strings.Contains(got, c.want) {
			t.Fatalf("%s leads to %q, want %q", c.key, got, c.want)
		}
	}
	if outline := p.eval("getComputedStyle(document.activeElement).outlineStyle"); outline != "solid" {
		t.Errorf("the focus cannot be seen: %v", outline)
	}
	p.press("Enter")
	p.says("tr:not([hidden]) .details", "Since the start", "Decisions, newest first", "ejected", "Last errors", "status 500", "Breaker")
	p.told(2)
	if got := on(); !strings.Contains(got, st.addresses[1]) {
		t.Errorf("an event has moved the focus to %q", got)
	}
	p.screenshot("page-details", false)
	p.press("Enter")
	if n := p.number(".details"); n != 0 {
		t.Error("the endpoint is still open")
	}
	p.press("?")
	if n := p.number("#help[open]"); n != 1 {
		t.Error("the keys are not shown")
	}
	p.press("Escape")
	if n := p.number("#help[open]"); n != 0 {
		t.Error("the keys are still shown")
	}
	p.press("/")
	p.press("s", "t", "o", "c", "k")
	if n := p.number(".head"); n != 1 || p.eval(`document.querySelector("#filter").value`) != "stock" {
		t.Errorf("%d services are left by the filter %q", n, p.eval(`document.querySelector("#filter").value`))
	}
	p.press("Enter")
	if got := on(); !strings.Contains(got, "stock") {
		t.Errorf("from the filter one comes to %q", got)
	}
	p.press("Escape")
	if n := p.number(".head"); n != 2 {
		t.Errorf("%d services behind Escape", n)
	}
	p.press("u")
	if n := p.number("tr.row"); n != 2 {
		t.Errorf("%d endpoints are unusual", n)
	}
	p.press("u", "g", "Enter")
	if n := p.number("tr.row"); n != 1 {
		t.Errorf("%d endpoints where orders is closed", n)
	}
	p.sound()
}

func TestThePageWithoutScripts(t *testing.T) {
	t.Parallel()
	st := buildStreet(t, 3)
	_, url := st.stand(t)
	p := openBrowser(t).open(url, look{width: 1440, height: 900, noScript: true})
	p.says("#headline", "Warning in orders and stock")
	p.says("#plain", "down: health check failed", "3 failures in a row, the last: status 500", "source fails", "Decisions", "Sources", "Listeners", st.addresses[2])
	if n := p.number("#plain table"); n < 4 {
		t.Errorf("%d tables", n)
	}
	if n := p.number("#live"); n != 0 {
		t.Error("what needs a script is shown")
	}
	// It comes again by itself.
	as := p.text("#link")
	p.wait("the page has come again", fmt.Sprintf("document.querySelector('#link')?.innerText !== %q", as))
	if n := colours(p.screenshot("page-plain", true)); n < 50 {
		t.Errorf("%d colours only", n)
	}
	p.sound()
}

func TestThePageOutlastsTheSidecar(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	cmd, address := prepare(t, static("orders", "", o.address))
	first := startCommand(t, cmd, address)
	first.waitReady()
	url := forward(t, strings.TrimPrefix(address, "unix:"))
	p := live(openBrowser(t), url, desk)
	p.says("#headline", "All is well")
	pid := first.cmd.Process.Pid
	first.checked = true
	first.kill()
	p.waitText("#link", "Connection lost. As of ")
	p.says("#link", " old. ")
	p.says("#services", "orders") // what was known is still to be read
	p.screenshot("page-lost", false)

	again := exec.Command(cmd.Path, cmd.Args[1:]...)
	again.Env = cmd.Env
	next := startCommand(t, again, address)
	next.waitReady()
	p.wait("the page is live again", `document.querySelector("#link").dataset.state === "live"`)
	if text := p.text("#facts"); strings.Contains(text, fmt.Sprintf("pid %d", pid)) {
		t.Errorf("it still shows the first: %s", text)
	}
	// Nor does a page that listens keep a sidecar from its end.
	next.checked = true
	next.signal(syscall.SIGTERM)
	if end := next.wait(); end.ExitCode() != 0 {
		t.Errorf("the sidecar ended with %v", end)
	}
	p.waitText("#link", "Connection lost. As of ")
	p.sound()
}
