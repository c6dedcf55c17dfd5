package config

import (
	"cmp"
	"fmt"
	"slices"
	"time"
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

// serviceRules checks one service, and sets what depends on several keys.
func (l *loader) serviceRules(svc *Service, s *scope, ls layers) {
	if !ls.set("name") && !l.incomplete {
		l.report(s, s.start(), "name", wrong("is missing; every service needs a name"))
	}
	if !ls.set("listen") && !l.incomplete {
		l.report(s, s.start(), "listen", wrong(`is missing; write for example listen = "127.0.0.1:7001"`))
	}
	l.inOrder(s, ls, pair{"health_check.timeout", &svc.HealthCheck.Timeout}, pair{"health_check.interval", &svc.HealthCheck.Interval})
	l.inOrder(s, ls, pair{"breaker.open", &svc.Breaker.Open}, pair{"breaker.open_max", &svc.Breaker.OpenMax})

	const instances, source = "discovery.instances", "discovery.source"
	d := &svc.Discovery
	if d.Service == "" {
		d.Service = svc.Name
	}
	if ls.bad(instances) || ls.bad(source) {
		return
	}
	own := layers{s.file, s.env}
	switch {
	case d.Source == SourceStatic && len(d.Instances) == 0 && !l.incomplete:
		o, path := ls.origin(source), source
		if own.set(instances) {
			o, path = ls.origin(instances), instances
		}
		if o.variable == "" && !own.set(path) {
			o = s.start() // [defaults] is right, the service lacks something
		}
		l.report(s, o, instances, wrong(`source is "static", which needs instances, such as ["10.0.0.1:8080"]`))
	case d.Source != SourceStatic && len(d.Instances) > 0 && own.set(instances):
		l.report(s, ls.origin(instances), instances, wrong(`are for source = "static" only, and source is %q; change it or remove them`, d.Source))
	}
}

// A pair is a duration and its path.
type pair struct {
	path  string
	value *time.Duration
}

// inOrder sees to it that less is not more than most. Where one of them is the built-in default
// it gives way to the other.
func (l *loader) inOrder(s *scope, ls layers, less, most pair) {
	if *less.value <= *most.value || ls.bad(less.path) || ls.bad(most.path) {
		return
	}
	_, rankLess, setLess := ls.find(less.path)
	_, rankMost, setMost := ls.find(most.path)
	switch {
	case !setLess:
		*less.value = *most.value
	case !setMost:
		*most.value = *less.value
	case rankMost > rankLess:
		l.report(s, ls.origin(most.path), most.path, wrong("is %s, less than %s with %s (%s)",
			duration(*most.value), less.path, duration(*less.value), ls.origin(less.path).String()))
	default:
		l.report(s, ls.origin(less.path), less.path, wrong("is %s, more than %s with %s (%s)",
			duration(*less.value), most.path, duration(*most.value), ls.origin(most.path).String()))
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
