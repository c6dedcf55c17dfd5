package config

import (
	"fmt"
	"net"
	"reflect"
	"strconv"
	"time"
)

// registerRules checks one announcement, and sets what depends on several keys.
func (l *loader) registerRules(reg *Register, s *scope) {
	own := layers{s.file, s.env}
	r := &ruling{l, reflect.ValueOf(reg).Elem(), s, own, own}
	if !own.set("name") && !l.incomplete {
		l.report(s, s.start(), "name", wrong("is missing; every announcement needs the name that others look it up by"))
	}
	if !own.set("port") && !l.incomplete {
		l.report(s, s.start(), "port", wrong("is missing; write the port that others reach the service by, such as port = 8080"))
	}
	r.onlyWith("registry", []string{RegistryConsul}, "deregister_after", "warning_weight")
	if reg.Registry == RegistryEtcd && reg.Address == "" && !r.bad("registry", "address") {
		o := own.origin("registry")
		r.report(s, o, "address", wrong(`registry is "etcd", which has no agent on this host to add its address; set the one that others reach this host by`))
	}
	r.noneOrMore("deregister_after", time.Minute)
	r.probe("check.")
	r.onlyWith("check.type", []string{CheckTCP, CheckHTTP, CheckGRPC}, "check.address")
	if reg.ID == "" && reg.Name != "" && reg.Port != 0 && !r.bad("id") {
		reg.ID = fmt.Sprintf("%s-%d", reg.Name, reg.Port)
		if reg.Registry == RegistryEtcd { // which does not know hosts, as Consul does
			reg.ID = fmt.Sprintf("%s-%s-%d", reg.Name, reg.Address, reg.Port)
		}
	}
	if reg.Check.Type != CheckNone && reg.Check.Address == "" && reg.Port != 0 && !r.bad("address", "check.address") {
		host := reg.Address
		if host == "" {
			host = "127.0.0.1"
		}
		reg.Check.Address = net.JoinHostPort(host, strconv.Itoa(reg.Port))
	}
}

// idRules checks that no two announcements to one registry have one ID.
func (l *loader) idRules(cfg *Config) {
	type identity struct{ registry, id string }
	first := make(map[identity]int)
	for i, reg := range cfg.Registers {
		if reg.ID == "" {
			continue
		}
		key := identity{reg.Registry, reg.ID}
		j, taken := first[key]
		if !taken {
			first[key] = i
			continue
		}
		s, other := l.registers.scopes[i], l.registers.scopes[j]
		if s.name == other.name {
			continue // which is reported
		}
		o := layers{s.file, s.env}.origin("id")
		if o == (origin{}) {
			o = s.start()
		}
		l.report(s, o, "id", wrong("%q is that of register %q already (%s); set another", reg.ID, other.name, other.start().String()))
	}
}
