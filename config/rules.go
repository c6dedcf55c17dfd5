package config

import (
	"cmp"
	"fmt"
	"slices"
)

// nameRules checks that no two items of a list of tables have one name.
func (l *loader) nameRules(c *collection) {
	first := make(map[string]origin)
	for _, s := range c.scopes {
		named, _, _ := layers{s.file, s.env}.find("name")
		name, _ := named.value.(string)
		if name == "" {
			continue
		}
		if o, taken := first[name]; taken {
			l.report(s, named.origin, "name", wrong("%q is the name of another %s already (%s); names differ", name, c.fields.key, o.String()))
			continue
		}
		first[name] = named.origin
	}
}

// A socket is an address and who listens on it.
type socket struct {
	address Address
	scope   *scope
	owner   string // as messages about another socket call it
	path    string
	origin  origin
}

// listenRules checks that no two sockets have one address. Of two it reports the one that was
// set later.
func (l *loader) listenRules(cfg *Config, root layers) {
	var sockets []socket
	for i, svc := range cfg.Services {
		s := l.services.scopes[i]
		owner := fmt.Sprintf("service %q", s.name)
		if s.name == "" {
			owner = "another service"
		}
		o := layers{s.file, s.env}.origin("listen")
		for _, a := range svc.Listen {
			sockets = append(sockets, socket{a, s, owner, "listen", o})
		}
	}
	if a := cfg.Admin.Listen; !a.IsZero() && !root.bad("admin.listen") {
		sockets = append(sockets, socket{a, &l.root, "admin.listen", "admin.listen", root.origin("admin.listen")})
	}
	slices.SortStableFunc(sockets, func(a, b socket) int {
		return cmp.Or(cmp.Compare(a.origin.variable, b.origin.variable), cmp.Compare(a.origin.line, b.origin.line))
	})
	for i, s := range sockets {
		j := slices.IndexFunc(sockets[:i], func(o socket) bool { return overlap(s.address, o.address) })
		if j < 0 {
			continue
		}
		other := sockets[j]
		by := fmt.Sprintf("%s (%s)", other.owner, other.origin)
		m := wrong("%s is taken by %s", s.address.String(), by)
		if other.address != s.address {
			m = wrong("%s overlaps %s of %s", s.address.String(), other.address.String(), by)
		}
		l.report(s.scope, s.origin, s.path, m)
	}
}
