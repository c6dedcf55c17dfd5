package admin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sidecar/discovery"
)

// source says what the set of instances is worth.
func source(s *Service, now time.Time) string {
	kind := printable(s.SourceKind)
	ago := span(now.Sub(s.Source.LastSuccess)) + " ago"
	switch {
	case !s.Source.Known:
		return kind + " has not answered yet"
	case s.Source.Stored:
		return fmt.Sprintf("%s has not answered yet, the set on disk is as of %s", kind, ago)
	case s.Source.Unknown:
		return fmt.Sprintf("%s does not know the service, as of %s", kind, ago)
	case s.Source.Index != 0:
		return fmt.Sprintf("%s answered %s, index %d", kind, ago, s.Source.Index)
	}
	return fmt.Sprintf("%s answered %s", kind, ago)
}

// sources tells of each of a service's sources, and what was left out of its set.
func (t *table) sources(s *Service, now time.Time) {
	for i := range s.Sources {
		if len(s.Sources) == 1 && s.Sources[i].Kind == "static" {
			break // there is nothing to say of it
		}
		t.line("  source %s", sourceLine(&s.Sources[i], now))
		if e := s.Sources[i]; e.Failing && len(s.Sources) > 1 {
			t.line("    fails: %s", printable(e.LastError))
		}
	}
	for _, p := range s.Source.Problems {
		t.line("  left out: %s", printable(p))
	}
}

// sourceLine is all that is known of a source, in one line.
func sourceLine(s *discovery.Status, now time.Time) string {
	line := printable(s.Kind)
	if s.Subject != "" {
		line += " " + printable(s.Subject)
	}
	line += ": "
	switch {
	case !s.Watching && !s.Known:
		return line + "not asked, for those before it suffice"
	case !s.Known && s.Errors == 0:
		return line + "has not answered yet"
	case !s.Known:
		return line + "has never answered, " + plural(int(s.Errors), "error") + ", the last " + span(now.Sub(s.LastErrorAt)) + " ago"
	case s.Unknown:
		line += "does not know the service"
	default:
		line += plural(s.Instances, "instance")
	}
	line += ", " + span(now.Sub(s.LastSuccess)) + " old"
	if !s.Watching {
		line += ", not asked now"
	}
	if s.Index != 0 {
		line += fmt.Sprintf(", index %d", s.Index)
	}
	if len(s.States) > 0 {
		line += "; " + states(s.States)
	}
	line += fmt.Sprintf("; %s, %s", plural(int(s.Answers), "answer"), plural(int(s.Updates), "update"))
	if s.Errors > 0 {
		line += fmt.Sprintf(", %s, the last %s ago", plural(int(s.Errors), "error"), span(now.Sub(s.LastErrorAt)))
	}
	return line
}

// states is how many the registry knows of each state, most of them first.
func states(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", counts[name], printable(name))
	}
	return strings.Join(names, ", ")
}

// registrations tells of the local services that are announced.
func (t *table) registrations(d *Document) {
	if len(d.Registrations) == 0 {
		return
	}
	t.line("")
	t.row("", "ANNOUNCED", "ID", "REGISTRY", "STATE", "FOR", "HEALTH", "RENEWED")
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
		t.row("", printable(r.Name), printable(r.ID), printable(r.Registry), state, since(r.Since, d.At), health, count(r.Renewals))
	}
	for i := range d.Registrations {
		r := &d.Registrations[i]
		if !r.Passing && r.Why != "" {
			t.line("  %s is critical: %s", printable(r.ID), printable(r.Why))
		}
		if r.Failing {
			t.line("  %s fails: %s", printable(r.ID), printable(r.LastError))
		}
	}
}
