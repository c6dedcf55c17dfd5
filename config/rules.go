package config

import (
	"cmp"
	"fmt"
	"slices"
)

// consulRules settles whether the agent is spoken to by TLS, and checks what belongs together.
func (l *loader) consulRules(cfg *Config, ls layers) {
	c := &cfg.Consul
	const enabled = "consul.tls.enabled"
	if !ls.bad("consul.address") && !ls.bad(enabled) {
		address, scheme, _ := parseConsul(c.Address)
		written := ls.set(enabled)
		switch {
		case scheme == "https" && written && !c.TLS.Enabled:
			l.report(&l.root, ls.origin(enabled), enabled, wrong("is false, but consul.address begins with https://; change one of them"))
		case scheme == "http" && written && c.TLS.Enabled:
			l.report(&l.root, ls.origin(enabled), enabled, wrong("is true, but consul.address begins with http://; change one of them"))
		}
		keys := c.TLS.CAFile != "" || c.TLS.CertFile != "" || c.TLS.ServerName != ""
		c.Address = address
		c.TLS.Enabled = c.TLS.Enabled || scheme == "https" || !written && scheme != "http" && keys
	}

	const cert, key = "consul.tls.cert_file", "consul.tls.key_file"
	switch {
	case c.TLS.CertFile != "" && c.TLS.KeyFile == "" && !ls.bad(key):
		l.report(&l.root, ls.origin(cert), cert, wrong("is set without key_file; set both or none"))
	case c.TLS.CertFile == "" && c.TLS.KeyFile != "" && !ls.bad(cert):
		l.report(&l.root, ls.origin(key), key, wrong("is set without cert_file; set both or none"))
	}
	if c.Token != "" && c.TokenFile != "" {
		l.report(&l.root, ls.origin(consulTokenFile), consulTokenFile,
			wrong("is set, and so is token (%s); keep one", ls.origin(consulToken).String()))
	}
}

// nameRules checks that no two services have one name.
func (l *loader) nameRules(cfg *Config) {
	first := make(map[string]origin)
	for i := range cfg.Services {
		s := l.services[i]
		ls := layers{s.file, s.env}
		name := cfg.Services[i].Name
		if name == "" {
			continue
		}
		if o, taken := first[name]; taken {
			l.report(s, ls.origin("name"), "name", wrong("%q is the name of another service already (%s); names differ", name, o.String()))
			continue
		}
		first[name] = ls.origin("name")
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
		s := l.services[i]
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
