package admin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/registration"
	"sidecar/upstream"
)

// told is how problems are told in a test: a line each.
func lines(problems []Problem) (all []string) {
	for _, p := range problems {
		all = append(all, fmt.Sprintf("%s|%s|%s|%s", p.Severity, p.Service, p.Endpoint, p.What))
	}
	return all
}

func soundService(name string, n int) Service {
	s := Service{SourceKind: "consul", Status: upstream.Status{Service: name, Total: n, Usable: n, Source: upstream.SourceStatus{Known: true, LastSuccess: noon}}}
	s.Budget.Left = 10
	for i := range n {
		s.Endpoints = append(s.Endpoints, upstream.EndpointStatus{ID: fmt.Sprintf("%s-%d", name, i), State: upstream.StateUsable, Sound: true, Verdict: fine})
	}
	return s
}

func TestProblemsAreFoundAndSorted(t *testing.T) {
	sick := func(change func(*Service)) Service {
		s := soundService("orders", 4)
		change(&s)
		return s
	}
	set := func(i int, state upstream.State, verdict string) func(*Service) {
		return func(s *Service) {
			s.Endpoints[i].State, s.Endpoints[i].Sound, s.Endpoints[i].Verdict = state, false, verdict
		}
	}
	for _, c := range []struct {
		name string
		d    Document
		want []string
	}{
		{"nothing", Document{}, nil},
		{"all is well", Document{Services: []Service{soundService("orders", 3)}}, nil},
		{"nothing to serve", Document{Services: []Service{sick(func(s *Service) {
			s.Unavailable, s.Endpoints = "service orders: it has no instances", nil
			s.Source.Failing, s.Source.LastError = true, "refused"
		})}}, []string{"outage|orders||nothing is served: it has no instances"}},
		{"one is down", Document{Services: []Service{sick(set(2, upstream.StateDown, "down: refused"))}},
			[]string{"warning|orders|orders-2|orders-2 of 4 endpoints: down: refused"}},
		{"several of one kind", Document{Services: []Service{sick(func(s *Service) {
			set(0, upstream.StateDown, "x")(s)
			set(3, upstream.StateDown, "x")(s)
		})}}, []string{"warning|orders|orders-0|2 of 4 endpoints: down"}},
		{"several kinds", Document{Services: []Service{sick(func(s *Service) {
			set(0, upstream.StateProbing, "x")(s)
			set(1, upstream.StateEjected, "x")(s)
			set(2, upstream.StateUsable, "it fails: 3 of its last 4 attempts")(s)
			set(3, upstream.StateUsable, "it is slow: it answers in 1s")(s)
		})}}, []string{"warning|orders|orders-0|3 of 4 endpoints: 1 ejected, 1 failing, 1 probing", "note|orders|orders-3|orders-3 of 4 endpoints: it is slow: it answers in 1s"}},
		{"what is no problem", Document{Services: []Service{sick(func(s *Service) {
			set(0, upstream.StateUsable, "begins slowly, with 10 % of its share by now")(s)
			set(1, upstream.StateSpare, "a fallback instance, not in use")(s)
			set(2, upstream.StateRetired, "has left the service")(s)
		})}}, nil},
		{"drained", Document{Services: []Service{sick(set(0, upstream.StateDrained, "drained"))}}, []string{"note|orders||1 endpoint is drained by the operator"}},
		{"paused", Document{Services: []Service{sick(func(s *Service) {
			set(0, upstream.StateUsable, "left alone for another 3s")(s)
			s.Endpoints[0].PausedSeconds = 3
		})}}, []string{"note|orders|orders-0|orders-0 of 4 endpoints: left alone for another 3s"}},
		{"fails open, and some are well", Document{Services: []Service{sick(func(s *Service) { s.FailOpen = "too few" })}}, []string{"warning|orders||too few"}},
		{"fails open, and none is well", Document{Services: []Service{sick(func(s *Service) {
			s.FailOpen = "all are down"
			for i := range s.Endpoints {
				set(i, upstream.StateDown, "x")(s)
			}
		})}}, []string{"outage|orders||all are down", "warning|orders|orders-0|4 of 4 endpoints: down"}},
		{"fallback", Document{Services: []Service{sick(func(s *Service) { s.FailOpen, s.Fallback, s.Endpoints = "the fallback is used", true, nil })}},
			[]string{"warning|orders||the fallback is used"}},
		{"overloaded, and without a budget", Document{Services: []Service{sick(func(s *Service) {
			s.Refused = 1
			s.Budget = upstream.BudgetStatus{Requests: 50, Retries: 20}
		})}}, []string{"warning|orders||overloaded: 1 request was refused by its limits in the last 10s", "warning|orders||the retry budget is used up: 20 retries for 50 requests lately"}},
		{"left out", Document{Services: []Service{sick(func(s *Service) { s.Source.Problems = []string{"x: port 0", "y: port 0"} })}},
			[]string{"note|orders||2 instances are left out: x: port 0"}},
		{"certificates", Document{Services: []Service{sick(func(s *Service) {
			s.TLS = []TLS{{Side: "listener", Problem: "no key", Certificates: []Certificate{
				{File: "a.pem", Names: []string{"a"}, NotAfter: noon.Add(-time.Hour)}, {File: "b.pem", Names: []string{"b"}, NotAfter: noon.Add(time.Hour), Due: true},
				{File: "c.pem", Names: []string{"c"}, NotAfter: noon.Add(900 * time.Hour)}, {File: "d.pem", Names: []string{"d"}, NotAfter: noon.Add(240 * time.Hour), Due: true},
			}}}
		})}, Notices: []string{"orders, listener: the certificate of a has expired", "orders are many"}}, []string{"outage|orders||certificate (listener) of a expired 1h0m ago", "warning|orders||new certificates (listener) cannot be used: no key",
			"warning|orders||certificate (listener) of b expires in 1h0m", "note|orders||certificate (listener) of d expires in 10d", "note|||orders are many"}},
		{"the process", Document{
			Listeners:     []Listener{{Address: "127.0.0.1:1", Service: "orders", Error: "too many open files"}, {Address: "127.0.0.1:2"}},
			Readiness:     Readiness{Missing: []string{"mail: not known yet", "orders: not known yet"}},
			Loops:         []Loop{{Index: 3, Panics: 2}, {Index: 4}},
			Registrations: []registration.Status{{ID: "a", Registry: "etcd", Failing: true, LastError: "gone"}, {ID: "b", Why: "refused"}, {ID: "c", Leaving: true}, {ID: "d", Passing: true}},
			Notices:       []string{"300 services share 100 connections"},
		}, []string{"outage|orders||127.0.0.1:1 does not accept: too many open files", "warning|||not ready: mail: not known yet", "warning|||a cannot be announced to etcd: gone",
			"warning|||b is announced as critical: refused", "warning|||loop 3: 2 tasks were ended by a panic", "note|||300 services share"}},
		{"draining", Document{Draining: true, Readiness: Readiness{Missing: []string{"draining: nothing more is accepted"}}}, nil},
	} {
		c.d.At = noon
		got := lines(findProblems(&c.d))
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// When the registry is gone hundreds of services say so, which is one problem.
func TestOneRegistryThatFailsIsOneProblem(t *testing.T) {
	failing := func(n int) (all []Service) {
		for i := range n {
			s := soundService(fmt.Sprintf("s%d", i), 1)
			s.Source.Failing, s.Source.LastError = true, "connection refused"
			all = append(all, s)
		}
		return all
	}
	few, many := failing(2), failing(300)
	stored := soundService("stored", 1)
	stored.Source.Stored, stored.Source.Failing, stored.Source.LastError, stored.SourceKind = true, true, "no leader", "etcd"
	for _, c := range []struct {
		services []Service
		want     []string
	}{
		{few, []string{"warning|s0||consul fails, the last set stands (1m0s old): connection refused", "warning|s1||consul fails"}},
		{append(many, stored), []string{"warning|||300 services: consul fails, the last set stands (s0: 1m0s old): connection refused",
			"warning|stored||etcd has not answered since the start, the set on disk is used (1m0s old): no leader"}},
	} {
		got := lines(findProblems(&Document{At: noon.Add(time.Minute), Services: c.services}))
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestTheHeadlineNamesTheWorst(t *testing.T) {
	p := func(s Severity, service string) Problem { return Problem{Severity: s, Service: service} }
	for _, c := range []struct {
		d    Document
		want headline
	}{
		{Document{}, headline{"well", "All is well; there is no service"}},
		{Document{Services: make([]Service, 1)}, headline{"well", "All is well"}},
		{Document{Draining: true, Problems: []Problem{p(Outage, "a")}}, headline{"draining", "Draining: nothing more is accepted"}},
		{Document{Problems: []Problem{p(Note, "a"), p(Note, "a")}}, headline{"note", "All is well, with 2 notes"}},
		{Document{Problems: []Problem{p(Warning, "a"), p(Warning, "a"), p(Note, "b")}}, headline{"warning", "Warning in a"}},
		{Document{Problems: []Problem{p(Outage, "a"), p(Outage, "b"), p(Warning, ""), p(Warning, "c")}},
			headline{"outage", "Outage in a and b; warning in the sidecar as a whole and c"}},
		{Document{Problems: []Problem{p(Outage, "a"), p(Outage, "b"), p(Outage, "c"), p(Outage, "d"), p(Outage, "e\x1b")}}, headline{"outage", "Outage in a, b, c and 2 more"}},
	} {
		if got := headlineOf(&c.d); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

func TestDecisionsOfAllServicesAreOneLine(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	orders, mail := soundService("orders", 500), soundService("mail", 2)
	for i := range orders.Endpoints {
		orders.Endpoints[i].History = []upstream.Decision{{At: at(0), What: "discovered", Why: "the source reports it"}, {At: at(1), What: "checked", Why: "health check passed"}}
	}
	add := func(s *Service, i int, d upstream.Decision) {
		s.Endpoints[i].History = append(s.Endpoints[i].History, d)
	}
	add(&orders, 0, upstream.Decision{At: at(10), What: "ejected", Why: "5 failures in a row, the last: status 500"})
	add(&orders, 1, upstream.Decision{At: at(10), What: "ejected", Why: "5 failures in a row, the last: status 502"})
	add(&orders, 2, upstream.Decision{At: at(20), What: "slow", Why: "it answers in 1s"})
	add(&orders, 3, upstream.Decision{At: at(20), What: "even", Why: "like the others"})
	add(&orders, 4, upstream.Decision{At: at(20), What: "slow", Why: "it answers in 2s"})
	add(&orders, 5, upstream.Decision{At: at(30), What: "slow", Why: "it answers in 3s"})
	add(&orders, 5, upstream.Decision{At: at(90), What: "slow", Why: "it answers in 3s"})
	mail.History = []upstream.Decision{{At: at(15), What: "source failed", Why: "refused"}, {At: at(15), What: "source failed", Why: "refused"}}
	var got []string
	for _, d := range latest([]Service{orders, mail}) {
		got = append(got, fmt.Sprintf("%.0f %s %s %s ×%d", d.At.Sub(noon).Seconds(), d.Service, d.Endpoint, d.What, d.Times))
	}
	want := []string{
		"90 orders orders-5 slow ×1", "20 orders orders-2 slow ×3", "20 orders orders-3 even ×1", "15 mail  source failed ×1",
		"10 orders orders-0 ejected ×1", "10 orders orders-1 ejected ×1", "0 orders orders-0 discovered ×500",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	search := soundService("search", 3)
	for i := range search.Endpoints {
		add(&search, i, upstream.Decision{At: at(1), What: "discovered", Why: "the source reports it"})
	}
	if all := latest([]Service{orders, search}); all[len(all)-1].Times != 503 || all[len(all)-1].Others != 1 {
		t.Errorf("%+v", all[len(all)-1])
	}
	late := soundService("late", 1)
	add(&late, 0, upstream.Decision{At: at(5), What: "discovered", Why: "the source reports it"})
	if all := latest([]Service{orders, late}); all[len(all)-1].Times != 500 {
		t.Errorf("what came 5 s later is told together: %+v", all[len(all)-1])
	}
	for i := range 300 {
		mail.History = append(mail.History, upstream.Decision{At: at(100 + 10*i), What: "source failed", Why: fmt.Sprint(i)})
	}
	if all := latest([]Service{orders, mail}); len(all) != maxTold || all[0].Why != "299" {
		t.Errorf("%d decisions, the newest %+v", len(all), all[0])
	}
}
