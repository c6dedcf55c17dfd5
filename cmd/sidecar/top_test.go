package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sidecar/admin"
	"sidecar/upstream"
)

// second is what a sidecar says after so many seconds: orders gets 120 requests in each, a third of
// what b gets fails, and stock has had nothing.
func second(n int) *admin.Document {
	start := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	at := uint64(n)
	d := &admin.Document{
		Build: admin.Build{Version: "1.2.3", Go: "go1.26"}, Started: start, At: start.Add(time.Hour + time.Duration(n)*time.Second), PID: 77,
		Readiness: admin.Readiness{Ready: true}, Loops: []admin.Loop{{Connections: 7}, {Connections: 5}},
	}
	orders := admin.Service{Status: upstream.Status{Service: "orders", Usable: 2, Total: 3, Endpoints: []upstream.EndpointStatus{
		{ID: "a", Address: "10.0.0.1:80", State: upstream.StateUsable, Breaker: "closed", Measured: true, LastSeconds: 0.001, InFlight: 2, Connections: 4, Counters: upstream.Counters{Attempts: 1000 + 90*at, Successes: 990 + 90*at}},
		{ID: "b", Address: "b", State: upstream.StateUsable, Breaker: "half-open", Measured: true, LastSeconds: 0.005, InFlight: 1, Connections: 3, Counters: upstream.Counters{Attempts: 500 + 30*at, Successes: 400 + 20*at, Timeouts: 10 * at}},
		{ID: "c", Address: "c", State: upstream.StateEjected, Breaker: "open", Counters: upstream.Counters{Attempts: 9, ServerErrors: 9}},
	}}}
	stock := admin.Service{Status: upstream.Status{Service: "stock"}}
	d.Services = []admin.Service{stock, orders}
	return d
}

func wantScreen(t *testing.T, v *topView, want string) {
	t.Helper()
	if got := strings.Join(v.render(), "\n") + "\n"; got != want[1:] {
		t.Errorf("got\n%s\nwant\n%s", got, want[1:])
	}
}

func TestTopShowsWhatHappenedBetweenTwoLooks(t *testing.T) {
	v := &topView{before: second(0), now: second(2), order: byName}
	wantScreen(t, v, `
sidecar 1.2.3: ready, up 1h0m2s, pid 77, 12 connections on 2 loops; 13:00:02

SERVICE / ENDPOINT    STATE  REQ/S  ERRORS  LATENCY  IN FLIGHT  CONNS    BREAKER
stock                0 of 0    0.0       -        -          0      0
orders               2 of 3    120    8.3%      2ms          3      7
  a 10.0.0.1:80      usable   90.0    0.0%      1ms          2      4     closed
  b                  usable   30.0   33.3%      5ms          1      3  half-open
  c                 ejected    0.0       -        -          0      0       open
`)
	v.order = byErrors
	wantScreen(t, v, `
sidecar 1.2.3: ready, up 1h0m2s, pid 77, 12 connections on 2 loops; 13:00:02

SERVICE / ENDPOINT    STATE  REQ/S  ERRORS  LATENCY  IN FLIGHT  CONNS    BREAKER
orders               2 of 3    120    8.3%      2ms          3      7
  b                  usable   30.0   33.3%      5ms          1      3  half-open
  a 10.0.0.1:80      usable   90.0    0.0%      1ms          2      4     closed
  c                 ejected    0.0       -        -          0      0       open
stock                0 of 0    0.0       -        -          0      0
`)
	v.service = "stock"
	wantScreen(t, v, `
sidecar 1.2.3: ready, up 1h0m2s, pid 77, 12 connections on 2 loops; 13:00:02

SERVICE / ENDPOINT   STATE  REQ/S  ERRORS  LATENCY  IN FLIGHT  CONNS  BREAKER
stock               0 of 0    0.0       -        -          0      0
`)
}

func TestTopDoesNotCountWhatItHasNotSeen(t *testing.T) {
	none := func(*admin.Document) *admin.Document { return nil }
	process := func(d *admin.Document) *admin.Document { d.PID = 1; return d }
	moment := func(d *admin.Document) *admin.Document { d.At = second(2).At; return d }
	address := func(d *admin.Document) *admin.Document { d.Services[1].Endpoints[0].Address = "x"; return d }
	counters := func(d *admin.Document) *admin.Document {
		d.Services[1].Endpoints[0].Counters.Attempts = 1 << 40
		return d
	}
	const unknown = "      -       -"
	for _, tt := range []struct {
		name      string
		before    func(*admin.Document) *admin.Document
		orders, a string
	}{
		{"nothing before", none, unknown, unknown},
		{"another process", process, unknown, unknown},
		{"the very same moment", moment, unknown, unknown},
		{"a new endpoint", address, "   30.0   33.3%", unknown},
		{"counters begun anew", counters, "   30.0   33.3%", unknown},
	} {
		v := &topView{before: tt.before(second(0)), now: second(2), order: byName}
		lines := v.render()
		if orders, a := lines[4], lines[5]; !strings.Contains(orders, tt.orders) || !strings.Contains(a, tt.a) {
			t.Errorf("%s:\n%s\n%s", tt.name, orders, a)
		}
	}
}

func TestTopFitsTheTerminal(t *testing.T) {
	long := second(2)
	long.Problems = []admin.Problem{
		{Severity: admin.Outage, Service: "orders", What: strings.Repeat("nothing is served ", 20)},
		{Severity: admin.Warning, What: "evil\x1b[2J"},
		{Severity: admin.Note, What: "not worth a line here"},
	}
	long.Services[1].Endpoints[0].ID = strings.Repeat("ä", 100)
	for range 300 {
		long.Services[1].Endpoints = append(long.Services[1].Endpoints, upstream.EndpointStatus{ID: "more", State: upstream.StateUsable})
	}
	for _, size := range [][2]int{{1, 1}, {2, 3}, {20, 5}, {40, 10}, {80, 24}, {200, 60}, {80, 400}} {
		for scroll := -1; scroll <= 400; scroll += 200 {
			v := &topView{before: second(0), now: long, order: byRequests, width: size[0], height: size[1], scroll: scroll, trouble: "no answer"}
			lines := v.render()
			if len(lines) != size[1] {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, l := range lines {
				if utf8.RuneCountInString(l) > size[0] || strings.ContainsRune(l, '\x1b') {
					t.Errorf("%v: %d characters: %q", size, utf8.RuneCountInString(l), l)
				}
			}
			if v.scroll < 0 || v.scroll > 305 {
				t.Errorf("%v: scrolled to %d", size, v.scroll)
			}
		}
	}
	v := &topView{before: second(0), now: long, order: byRequests, width: 60, height: 10, trouble: "no sidecar answers"}
	wantScreen(t, v, `
sidecar 1.2.3: ready, up 1h0m2s, pid 77, 12 connections on …
no news since 13:00:02: no sidecar answers
! orders: nothing is served nothing is served nothing is se…
! evil�[2J

SERVICE / ENDPOINT             STATE  REQ/S  ERRORS  LATENCY
orders                        2 of 3   30.0   33.3%      5ms
  b                           usable   30.0   33.3%      5ms
  ääääääääääääääääääääääää…   usable      -       -      1ms
q quit   s sort: requests   j k scroll: 1–3 of 305
`)
}

func TestTopColoursWhatIsWrong(t *testing.T) {
	v := &topView{before: second(0), now: second(2), order: byName, paint: painter{true}, width: 80}
	text := strings.Join(v.render(), "\n")
	for _, want := range []string{green + "ready" + plain, red + "ejected" + plain, red + "33.3%" + plain, yellow + "half-open" + plain, red + "open" + plain, bold + "orders" + plain, red + "0 of 0" + plain} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, green+"usable") || strings.Contains(text, "closed"+plain) {
		t.Errorf("what is as it should be is coloured\n%s", text)
	}
}

func TestTopWithoutATerminal(t *testing.T) {
	address := running(t, "orders")
	status, out, said := sidecar("top", "--admin", address)
	if status != 2 || out != "" || !strings.Contains(said, "top shows itself on a terminal, and here is none; --once prints one table") {
		t.Errorf("%d %q %q", status, out, said)
	}
	wantCommand(t, 0, "\norders ", "", "top", "--once", "--interval", "200ms", "--admin", address)
	wantCommand(t, 1, "", `there is no service "order"; did you mean "orders"?`, "top", "order", "--once", "--admin", address)
	wantCommand(t, 2, "", "--interval 1ms is too short", "top", "--interval", "1ms")
	wantCommand(t, 2, "", `--sort is one of requests, errors, latency, in-flight, name, and not "size"`, "top", "--sort", "size")
	wantCommand(t, 3, "", "no sidecar answers", "top", "--once", "--admin", "unix:/none/admin")
}

func TestKeysOfTop(t *testing.T) {
	v := &top{view: topView{order: byRequests}}
	for _, want := range []string{byErrors, byLatency, byInFlight, byName, byRequests} {
		if !v.press('s') || v.view.order != want {
			t.Errorf("sorted by %s, want %s", v.view.order, want)
		}
	}
	v.press('j')
	v.press('j')
	v.press('k')
	if v.view.scroll != 1 || v.press('q') || !v.press('x') {
		t.Errorf("scrolled to %d", v.view.scroll)
	}
	if got := string(arrows([]byte("a\x1b[Bb\x1bOAc"))); got != "ajbkc" {
		t.Errorf("arrows are %q", got)
	}
}

func TestNumbersOfTop(t *testing.T) {
	for seconds, want := range map[float64]string{0: "-", 0.0000123: "12µs", 0.0012345: "1.2ms", 0.05: "50ms", 0.25: "250ms", 3: "3s"} {
		if got := latencyText(seconds); got != want {
			t.Errorf("%v is %q, want %q", seconds, got, want)
		}
	}
	for rate, want := range map[float64]string{0: "0.0", 1.25: "1.2", 99.94: "99.9", 100: "100", 12345.6: "12346"} {
		if got := perSecond(&topRow{rate: rate, known: true}); got != want {
			t.Errorf("%v is %q, want %q", rate, got, want)
		}
	}
	if got := fmt.Sprint(cut("abc", 3), cut("abcd", 3), cut("äöüß", 2), cut("a", 0)); got != "abcab…ä…" {
		t.Errorf("cut: %q", got)
	}
}
