package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// mostShown is how many characters of a value Change.String shows.
const mostShown = 120

// A Change is one value in which two configurations differ, or a service or announcement that only
// one of them has.
type Change struct {
	// Path names what differs, for people: "runtime.drain", "service orders: timeout.request",
	// "register web: port"; "service orders" when it is Added or Removed.
	Path string
	// Service and Register are the name of the service, or of the announcement, that it is in. Both
	// are empty for a value of the process.
	Service  string
	Register string
	// Key is the path of the key alone: "timeout.request". It is empty when Added or Removed is set.
	Key string
	// From and To are the values as TOML, secrets hidden. What was Added has To only and what was
	// Removed has From, which then say what it is, in words.
	From, To       string
	Added, Removed bool
}

// String is the change in one line:
//
//	service orders: timeout.request: 15s → 5s
//	service orders: added, http on 127.0.0.1:7001
//	consul.token: changed (hidden)
func (c Change) String() string {
	switch {
	case c.Added:
		return c.Path + ": added, " + shown(c.To)
	case c.Removed:
		return c.Path + ": removed, was " + shown(c.From)
	case c.From == c.To: // only what is hidden looks the same
		return c.Path + ": changed (hidden)"
	}
	return fmt.Sprintf("%s: %s → %s", c.Path, shown(c.From), shown(c.To))
}

// shown leaves away the quotes where it is clear without them what a value is, and the end of what
// is long.
func shown(toml string) string {
	const doubtful = "\"\\ \t[],"
	if len(toml) > 2 && toml[0] == '"' {
		if inner := toml[1 : len(toml)-1]; !strings.ContainsAny(inner, doubtful) {
			toml = inner
		}
	}
	if utf8.RuneCountInString(toml) <= mostShown {
		return toml
	}
	return string([]rune(toml)[:mostShown]) + "…"
}

// Diff says in what two configurations differ, in the order of the schema: the values of the
// process, services, announcements. Those are in the order of now, and what only old has comes last.
// A service is the same one when its name is; an announcement when its registry and ID are, or else
// its name. Neither configuration is changed.
func Diff(old, now *Config) []Change {
	s := newSchema()
	d := &differ{}
	d.values(s.root, reflect.ValueOf(old).Elem(), reflect.ValueOf(now).Elem())
	d.services(s.service, old.Services, now.Services)
	d.registers(s.register, old.Registers, now.Registers)
	return d.changes
}

// A differ collects the changes of one table of the file after the other. What is in it of Change
// holds for all changes of the table.
type differ struct {
	table   Change // Service, Register, and Path as the part before the key
	changes []Change
}

// values compares the values of a table, which the structs a and b hold.
func (d *differ) values(table *field, a, b reflect.Value) {
	for _, f := range table.fields {
		if f.awaited || f.kind == kindTables {
			continue
		}
		x, y := a.FieldByIndex(f.index), b.FieldByIndex(f.index)
		if f.kind == kindTable {
			d.values(f, x, y)
			continue
		}
		from, to := literal(f.shown(x)), literal(f.shown(y))
		if from == to && reflect.DeepEqual(x.Interface(), y.Interface()) {
			continue
		}
		c := d.table
		c.Path, c.Key, c.From, c.To = c.Path+f.path, f.path, from, to
		d.changes = append(d.changes, c)
	}
}

func (d *differ) services(table *field, old, now []Service) {
	for i := range now {
		s := &now[i]
		c := Change{Path: "service " + s.Name, Service: s.Name}
		j := slices.IndexFunc(old, func(o Service) bool { return o.Name == s.Name })
		if j < 0 {
			c.Added, c.To = true, s.summary()
			d.changes = append(d.changes, c)
			continue
		}
		c.Path += ": "
		d.table = c
		d.values(table, reflect.ValueOf(&old[j]).Elem(), reflect.ValueOf(s).Elem())
	}
	for i := range old {
		s := &old[i]
		if !slices.ContainsFunc(now, func(n Service) bool { return n.Name == s.Name }) {
			d.changes = append(d.changes, Change{Path: "service " + s.Name, Service: s.Name, Removed: true, From: s.summary()})
		}
	}
}

// summary says in a few words which service this is.
func (s *Service) summary() string {
	addresses := make([]string, len(s.Listen))
	for i, a := range s.Listen {
		addresses[i] = a.String()
	}
	return s.Protocol + " on " + strings.Join(addresses, " and ")
}

func (d *differ) registers(table *field, old, now []Register) {
	was := sameRegisters(old, now)
	for i := range now {
		r := &now[i]
		c := Change{Path: "register " + r.Name, Register: r.Name}
		if was[i] < 0 {
			c.Added, c.To = true, r.summary()
			d.changes = append(d.changes, c)
			continue
		}
		c.Path += ": "
		d.table = c
		d.values(table, reflect.ValueOf(&old[was[i]]).Elem(), reflect.ValueOf(r).Elem())
	}
	for i := range old {
		if r := &old[i]; !slices.Contains(was, i) {
			d.changes = append(d.changes, Change{Path: "register " + r.Name, Register: r.Name, Removed: true, From: r.summary()})
		}
	}
}

// sameRegisters finds for each announcement of now the index of that of old that it was, or -1. What
// has kept its ID goes first: it is the same to the registry, whatever it is called here.
func sameRegisters(old, now []Register) []int {
	was := make([]int, len(now))
	for i := range was {
		was[i] = -1
	}
	match := func(same func(a, b *Register) bool) {
		for i := range now {
			if was[i] >= 0 {
				continue
			}
			for j := range old {
				if !slices.Contains(was, j) && same(&old[j], &now[i]) {
					was[i] = j
					break
				}
			}
		}
	}
	match(func(a, b *Register) bool { return a.Registry == b.Registry && a.ID == b.ID })
	match(func(a, b *Register) bool { return a.Name == b.Name })
	return was
}

// summary says in a few words which announcement this is.
func (r *Register) summary() string {
	return fmt.Sprintf("port %d in %s as %s", r.Port, r.Registry, r.ID)
}
