package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sidecar/upstream"
)

// A Problem is something that the operator should know of.
type Problem struct {
	Severity Severity `json:"severity"`
	Service  string   `json:"service,omitempty"`  // empty: of the sidecar as a whole, or of several
	Endpoint string   `json:"endpoint,omitempty"` // the ID of the one that it is about
	What     string   `json:"what"`
}

// A Severity is how bad a problem is.
type Severity string

// The severities, from the worst on.
const (
	Outage  Severity = "outage"  // requests cannot be served
	Warning Severity = "warning" // something is wrong, and is got by with
	Note    Severity = "note"    // nothing is wrong, but it should not be forgotten
)

func (s Severity) rank() int { return slices.Index([]Severity{Outage, Warning, Note}, s) }

// findProblems looks through a Document for what is wrong, the worst first, then in the order of
// the configuration.
func findProblems(d *Document) []Problem {
	f := &findings{now: d.At}
	for i := range d.Services {
		f.service(&d.Services[i])
	}
	f.sources(d.Services)
	f.process(d)
	slices.SortStableFunc(f.problems, func(a, b Problem) int { return cmp.Compare(a.Severity.rank(), b.Severity.rank()) })
	return f.problems
}

// findings are the problems of a document, in the order in which they were found.
type findings struct {
	now      time.Time
	problems []Problem
}

func (f *findings) add(s Severity, service, what string) {
	f.problems = append(f.problems, Problem{Severity: s, Service: service, What: what})
}

// service finds what is wrong with one service, but for its sources.
func (f *findings) service(s *Service) {
	switch name := s.Service; {
	case s.Unavailable != "":
		f.add(Outage, name, "nothing is served: "+strings.TrimPrefix(s.Unavailable, "service "+name+": "))
	case s.FailOpen != "" && !s.Fallback && sound(s) == 0:
		f.add(Outage, name, s.FailOpen)
	case s.FailOpen != "":
		f.add(Warning, name, s.FailOpen)
	}
	if s.Unavailable == "" {
		f.endpoints(s)
	}
	if s.Refused > 0 {
		f.add(Warning, s.Service, fmt.Sprintf("overloaded: %s refused by its limits in the last 10s", wasOrWere(int(s.Refused), "request")))
	}
	if b := &s.Budget; b.Left < 1 && b.Retries > 0 {
		f.add(Warning, s.Service, fmt.Sprintf("the retry budget is used up: %d retries for %s lately", b.Retries, plural(int(b.Requests), "request")))
	}
	if n := drained(s); n > 0 && s.Unavailable == "" {
		f.add(Note, s.Service, fmt.Sprintf("%s drained by the operator", isOrAre(n, "endpoint")))
	}
	if n := len(s.Source.Problems); n > 0 {
		f.add(Note, s.Service, fmt.Sprintf("%s left out: %s", isOrAre(n, "instance"), s.Source.Problems[0]))
	}
	f.certificates(s)
}

// endpoints tells of those that do not take their share, in one problem of each severity: of the
// only one its verdict, of several how many there are of each kind.
func (f *findings) endpoints(s *Service) {
	for _, severity := range []Severity{Warning, Note} {
		var first *upstream.EndpointStatus
		kinds, n := map[string]int{}, 0
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			kind, how := ailment(e)
			if kind == "" || how != severity {
				continue
			}
			kinds[kind]++
			if n++; first == nil {
				first = e
			}
		}
		switch {
		case n > 1:
			what := states(kinds)
			if len(kinds) == 1 {
				what, _ = ailment(first)
			}
			f.problems = append(f.problems, Problem{severity, s.Service, first.ID, fmt.Sprintf("%d of %s: %s", n, plural(s.Total, "endpoint"), what)})
		case n == 1:
			f.problems = append(f.problems, Problem{severity, s.Service, first.ID, first.ID + " of " + plural(s.Total, "endpoint") + ": " + first.Verdict})
		}
	}
}

// ailment is in a word what is wrong with an endpoint, or empty. That one is slow is worth no more
// than a note: the others have its traffic.
func ailment(e *upstream.EndpointStatus) (string, Severity) {
	switch e.State {
	case upstream.StateUsable:
	case upstream.StateEjected, upstream.StateProbing, upstream.StateDown:
		return string(e.State), Warning
	default:
		return "", ""
	}
	switch v := e.Verdict; {
	case e.Sound:
		return "", ""
	case strings.Contains(v, "it fails"):
		return "failing", Warning
	case strings.Contains(v, "it is slow"):
		return "slow", Note
	case e.PausedSeconds > 0:
		return "paused", Note
	}
	return "", "" // it begins slowly, which is as it should be
}

// sound is how many endpoints take their share.
func sound(s *Service) (n int) {
	for i := range s.Endpoints {
		if s.Endpoints[i].Sound {
			n++
		}
	}
	return n
}

// drained is how many endpoints the operator has taken out.
func drained(s *Service) (n int) {
	for i := range s.Endpoints {
		if s.Endpoints[i].State == upstream.StateDrained {
			n++
		}
	}
	return n
}

// expiresSoon is when a certificate that should have been renewed is more than a note.
const expiresSoon = 7 * 24 * time.Hour

// certificates finds those that have expired or are about to.
func (f *findings) certificates(s *Service) {
	for i := range s.TLS {
		side := &s.TLS[i]
		if side.Problem != "" {
			f.add(Warning, s.Service, "new certificates ("+side.Side+") cannot be used: "+side.Problem)
		}
		for j := range side.Certificates {
			switch c := &side.Certificates[j]; {
			case f.now.After(c.NotAfter):
				f.add(Outage, s.Service, "certificate ("+side.Side+") "+certificate(c, f.now))
			case c.Due && c.NotAfter.Sub(f.now) < expiresSoon:
				f.add(Warning, s.Service, "certificate ("+side.Side+") "+certificate(c, f.now))
			case c.Due:
				f.add(Note, s.Service, "certificate ("+side.Side+") "+certificate(c, f.now))
			}
		}
	}
}

// maxAlike is how many services are told of one by one when their sources fail: it is one registry
// that does.
const maxAlike = 2

// sources finds the sources that fail, and sets that are from the disk.
func (f *findings) sources(services []Service) {
	failing, stored := map[string][]*Service{}, map[string][]*Service{}
	var kinds []string
	for i := range services {
		switch s := &services[i]; {
		case s.Unavailable != "": // which says why
			continue
		case s.Source.Stored:
			stored[s.SourceKind] = append(stored[s.SourceKind], s)
		case s.Source.Failing:
			failing[s.SourceKind] = append(failing[s.SourceKind], s)
		default:
			continue
		}
		if kind := services[i].SourceKind; !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	for _, kind := range kinds {
		f.alike(stored[kind], kind+" has not answered since the start, the set on disk is used")
		f.alike(failing[kind], kind+" fails, the last set stands")
	}
}

// alike tells of services that have the same problem with their source.
func (f *findings) alike(services []*Service, what string) {
	for i, s := range services {
		age := since(s.Source.LastSuccess, f.now)
		if len(services) > maxAlike {
			if i == 0 {
				f.add(Warning, "", fmt.Sprintf("%d services: %s (%s: %s old): %s", len(services), what, s.Service, age, s.Source.LastError))
			}
			continue
		}
		f.add(Warning, s.Service, fmt.Sprintf("%s (%s old): %s", what, age, s.Source.LastError))
	}
}

// process finds what is wrong beyond the services.
func (f *findings) process(d *Document) {
	for i := range d.Listeners {
		if l := &d.Listeners[i]; l.Error != "" {
			f.add(Outage, l.Service, l.Address+" does not accept: "+l.Error)
		}
	}
	for _, m := range d.Readiness.Missing {
		service, _, _ := strings.Cut(m, ": ")
		told := slices.ContainsFunc(f.problems, func(p Problem) bool { return p.Severity == Outage && p.Service == service })
		if !told && !d.Draining {
			f.add(Warning, "", "not ready: "+m)
		}
	}
	for i := range d.Registrations {
		r := &d.Registrations[i]
		switch {
		case r.Leaving:
		case r.Failing:
			f.add(Warning, "", fmt.Sprintf("%s cannot be announced to %s: %s", r.ID, r.Registry, r.LastError))
		case !r.Passing:
			f.add(Warning, "", fmt.Sprintf("%s is announced as critical: %s", r.ID, r.Why))
		}
	}
	for _, l := range d.Loops {
		if l.Panics > 0 {
			f.add(Warning, "", fmt.Sprintf("loop %d: %s ended by a panic: see the log, and report it", l.Index, wasOrWere(int(l.Panics), "task")))
		}
	}
	for _, w := range d.Warnings {
		f.add(Warning, "", w)
	}
	for _, n := range d.Notices {
		if !ofCertificates(n, d.Services) {
			f.add(Note, "", n)
		}
	}
}

// ofCertificates tells whether a notice is about the certificates of a service, which its problems
// tell of already.
func ofCertificates(notice string, services []Service) bool {
	for i := range services {
		for j := range services[i].TLS {
			if strings.HasPrefix(notice, services[i].Service+", "+services[i].TLS[j].Side+": ") {
				return true
			}
		}
	}
	return false
}

func isOrAre(n int, noun string) string   { return verb(n, noun, "is", "are") }
func wasOrWere(n int, noun string) string { return verb(n, noun, "was", "were") }

func verb(n int, noun, one, several string) string {
	if n == 1 {
		return plural(n, noun) + " " + one
	}
	return plural(n, noun) + " " + several
}
