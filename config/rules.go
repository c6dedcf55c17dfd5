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
	service *Service // nil for admin.listen
	unclear bool     // what tells the service's connections apart was wrong
	owner   string   // as messages about another socket call it
	path    string
	origin  origin
}

// listenRules checks that no two sockets have one address, unless names tell their connections
// apart. Of two it reports the one that was set later.
func (l *loader) listenRules(cfg *Config, root layers) {
	var sockets []socket
	for i := range cfg.Services {
		s := l.services.scopes[i]
		ls := layers{l.defaults.file, l.defaults.env, s.file, s.env}
		owner := fmt.Sprintf("service %q", s.name)
		if s.name == "" {
			owner = "another service"
		}
		o := ls.origin("listen")
		for _, a := range cfg.Services[i].Listen {
			sockets = append(sockets, socket{a, s, &cfg.Services[i], ls.bad("sni"), owner, "listen", o})
		}
	}
	if a := cfg.Admin.Listen; !a.IsZero() && !root.bad("admin.listen") {
		sockets = append(sockets, socket{a, &l.root, nil, false, "admin.listen", "admin.listen", root.origin("admin.listen")})
	}
	slices.SortStableFunc(sockets, func(a, b socket) int {
		return cmp.Or(cmp.Compare(a.origin.variable, b.origin.variable), cmp.Compare(a.origin.line, b.origin.line))
	})
	for i := range sockets {
		s := &sockets[i]
		for j := range sockets[:i] {
			if m := s.conflict(&sockets[j]); m != nil {
				l.report(s.scope, s.origin, s.path, m)
				break
			}
		}
	}
}

// conflict says why two sockets cannot be, or nil.
func (s *socket) conflict(o *socket) *mistake {
	if !overlap(s.address, o.address) {
		return nil
	}
	if ok, m := s.sharing(o); ok || m != nil {
		return m
	}
	by := fmt.Sprintf("%s (%s)", o.owner, o.origin)
	if o.address != s.address {
		return wrong("%s overlaps %s of %s", s.address.String(), o.address.String(), by)
	}
	return wrong("%s is taken by %s", s.address.String(), by)
}
