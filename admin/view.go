package admin

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"

	"sidecar/discovery"
	"sidecar/upstream"
)

// maxProblems is how many problems the page shows without a script.
const maxProblems = 20

// A view is what the page's template shows: text that is ready, which the template escapes.
type view struct {
	Host     string
	Style    template.CSS
	Script   template.JS
	Actions  bool // the script may offer them
	Headline headline
	Problems []Problem
	More     int // problems that are left out
	Facts    string
	At       string
	Services []serviceView
	Lists    []list
}

// A serviceView is a service with its endpoints.
type serviceView struct {
	Name, Verdict string
	Facts         []string
	Endpoints     list
	More          string // what is said of those that are left out
	All           string // the query that shows them
}

// A list is a table with a title.
type list struct {
	Title   string
	Columns []string
	Rows    [][]string
}

// compact is the list without the columns in which nothing stands.
func (l list) compact() list {
	short := list{Title: l.Title, Rows: make([][]string, len(l.Rows))}
	for i, column := range l.Columns {
		if !slices.ContainsFunc(l.Rows, func(row []string) bool { return row[i] != "" }) {
			continue
		}
		short.Columns = append(short.Columns, column)
		for j, row := range l.Rows {
			short.Rows[j] = append(short.Rows[j], row[i])
		}
	}
	return short
}

func (p *page) view(d *Document, all string, actions bool) *view {
	v := &view{
		Host: p.host, Style: p.style, Script: p.script, Actions: actions,
		Headline: headlineOf(d), Problems: d.Problems, Facts: facts(d), At: d.At.Format("15:04:05"),
	}
	if n := len(v.Problems) - maxProblems; n > 0 {
		v.Problems, v.More = v.Problems[:maxProblems], n
	}
	for i := range d.Services {
		v.Services = append(v.Services, viewOf(&d.Services[i], d.At, d.Services[i].Service == all))
	}
	for _, l := range []list{decisionsList(d), sourcesList(d), listenersList(d), certificatesList(d), registrationsList(d)} {
		v.Lists = append(v.Lists, l.compact())
	}
	for i := range v.Problems {
		v.Problems[i].What = printable(v.Problems[i].What)
	}
	return v
}

// facts are what there is to say of the process.
func facts(d *Document) string {
	state := "ready"
	switch {
	case d.Draining:
		state = "draining"
	case !d.Readiness.Ready:
		state = "not ready"
	}
	endpoints := 0
	for i := range d.Services {
		endpoints += d.Services[i].Total
	}
	return fmt.Sprintf("%s, up %s; %s, %s; %s, pid %d", state, span(d.At.Sub(d.Started)),
		plural(len(d.Services), "service"), plural(endpoints, "endpoint"), d.Build, d.PID)
}

func viewOf(s *Service, now time.Time, all bool) serviceView {
	v := serviceView{Name: printable(s.Service), Verdict: printable(s.Verdict), Facts: serviceFacts(s, now)}
	limit := maxEndpoints
	if all {
		limit = len(s.Endpoints)
	}
	shown := worst(s.Endpoints, limit)
	v.Endpoints = list{Columns: []string{"Endpoint", "Address", "Zone", "State", "For", "Share", "Latency", "Failed", "In flight", "Breaker", "Why"}}
	for _, e := range shown {
		v.Endpoints.Rows = append(v.Endpoints.Rows, endpointRow(e, now))
	}
	v.Endpoints = v.Endpoints.compact()
	if more := len(s.Endpoints) - len(shown); more > 0 {
		v.More = fmt.Sprintf("%d more, %s", more, rest(s.Endpoints, shown))
		v.All = s.Service
	}
	return v
}

// serviceFacts are what there is to say of a service beyond its verdict.
func serviceFacts(s *Service, now time.Time) []string {
	b := &s.Budget
	facts := []string{
		printable(s.Policy), source(s, now),
		fmt.Sprintf("retries %d for %s lately, the budget has %d left", b.Retries, plural(int(b.Requests), "request"), int(b.Left)),
		plural(int(s.Connections), "connection"),
	}
	if s.Source.Failing {
		facts = append(facts, "source fails: "+clipped(s.Source.LastError, maxErrorText))
	}
	if a := s.Adaptive; a != nil {
		facts = append(facts, fmt.Sprintf("learned limit %d, %d in flight", a.Limit, a.InFlight))
	}
	return facts
}

func endpointRow(e *upstream.EndpointStatus, now time.Time) []string {
	address := ""
	if e.Address != e.ID {
		address = printable(e.Address)
	}
	return []string{
		printable(e.ID), address, printable(e.Zone), printable(string(e.State)), since(e.Since, now), percent(e.Share), measured(e),
		failed(e.Failures, e.Attempts), count(e.InFlight), printable(e.Breaker), strings.Join(remarks(e, now), "; "),
	}
}

// failed is how many attempts have failed, or empty without any.
func failed(failures, attempts uint64) string {
	if attempts == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", failures, attempts)
}

func decisionsList(d *Document) list {
	l := list{Title: "Decisions, newest first", Columns: []string{"Time", "Service", "Endpoint", "Decision", "Why"}}
	for _, t := range latest(d.Services) {
		endpoint := printable(t.Endpoint)
		if t.Times > 1 {
			if endpoint = plural(t.Times, "endpoint"); comparison(t.What) {
				endpoint = plural(t.Times, "time") // the same one may be among them several times
			}
		}
		service := printable(t.Service)
		if t.Others > 0 {
			service += " and " + plural(t.Others, "other service")
		}
		l.Rows = append(l.Rows, []string{clock(t.At, d.At), service, endpoint, printable(t.What), printable(t.Why)})
	}
	return l
}

func sourcesList(d *Document) list {
	l := list{Title: "Sources", Columns: []string{"Service", "Source", "State", "Age", "Instances", "Last error"}}
	for i := range d.Services {
		s := &d.Services[i]
		for j := range s.Sources {
			if s.Sources[j].Kind == "static" {
				continue // there is nothing to say of it
			}
			l.Rows = append(l.Rows, sourceRow(s.Service, &s.Sources[j], d.At))
		}
	}
	return l
}

func sourceRow(service string, s *discovery.Status, now time.Time) []string {
	state := "answers"
	switch {
	case !s.Watching:
		state = "not asked"
	case s.Failing:
		state = "fails"
	case !s.Known:
		state = "has not answered"
	case s.Unknown:
		state = "does not know it"
	}
	lastError := ""
	if s.LastError != "" {
		lastError = clipped(s.LastError, maxErrorText) + ", " + since(s.LastErrorAt, now) + " ago"
	}
	return []string{
		printable(service), strings.TrimSpace(printable(s.Kind) + " " + printable(s.Subject)), state,
		since(s.LastSuccess, now), strconv.Itoa(s.Instances), lastError,
	}
}

func listenersList(d *Document) list {
	l := list{Title: "Listeners", Columns: []string{"Address", "Service", "Protocol", "Connections", "Accepted", "Error"}}
	for i := range d.Listeners {
		k := &d.Listeners[i]
		l.Rows = append(l.Rows, []string{
			printable(k.Address), printable(k.Service), printable(k.Protocol), count(k.Active), count(k.Accepted), printable(k.Error),
		})
	}
	return l
}

func certificatesList(d *Document) list {
	l := list{Title: "Certificates", Columns: []string{"Service", "Side", "State", "Certificate"}}
	for i := range d.Services {
		for _, side := range d.Services[i].TLS {
			for j := range side.Certificates {
				c := &side.Certificates[j]
				state := "good"
				switch {
				case d.At.After(c.NotAfter):
					state = "expired"
				case c.Due:
					state = "due"
				}
				l.Rows = append(l.Rows, []string{printable(d.Services[i].Service), printable(side.Side), state, certificate(c, d.At)})
			}
		}
	}
	return l
}

func registrationsList(d *Document) list {
	l := list{Title: "Announced", Columns: []string{"Service", "ID", "Registry", "State", "Health", "Why"}}
	for i := range d.Registrations {
		r := &d.Registrations[i]
		state, health := "not registered", "critical"
		switch {
		case r.Leaving:
			state = "leaving"
		case r.Registered:
			state = "registered"
		}
		if r.Passing {
			health = "passing"
		}
		why := r.Why
		if r.Failing {
			why = cmp.Or(r.LastError, why)
		}
		l.Rows = append(l.Rows, []string{printable(r.Name), printable(r.ID), printable(r.Registry), state, health, printable(why)})
	}
	return l
}
