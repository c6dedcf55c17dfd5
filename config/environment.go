package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	ours            = "SIDECAR_"
	oursService     = ours + "SERVICE_"
	oursDefaults    = ours + "DEFAULTS_"
	stateDirVar     = "STATE_DIRECTORY"
	consulToken     = "consul.token"
	consulTokenFile = "consul.token_file"
)

// readEnvironment fills the env layers, makes the services that only the environment names, and
// returns the layer of the variables that are not ours.
func (l *loader) readEnvironment(env []string) (fallback layer) {
	vars := make(map[string]string)
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok {
			vars[name] = value
		}
	}
	inFile := slices.Clone(l.services)
	made := make(map[string]*scope) // by NAME part of the variable
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		switch {
		case !strings.HasPrefix(name, ours):
		case strings.HasPrefix(name, oursService):
			l.serviceVariable(name, vars[name], inFile, made)
		case strings.HasPrefix(name, oursDefaults):
			l.variable(&l.defaults, strings.TrimPrefix(name, oursDefaults), name, vars[name])
		default:
			l.variable(&l.root, strings.TrimPrefix(name, ours), name, vars[name])
		}
	}
	for _, part := range slices.Sorted(maps.Keys(made)) {
		l.addService(part, made[part])
	}
	return l.fallback(vars)
}

// variable sets the key of a scope that part, the variable's name without the prefix, spells.
func (l *loader) variable(s *scope, part, name, value string) {
	for _, f := range s.fields.leaves() {
		if variable(f.path) == part {
			l.setVariable(s, s.env, f, name, value)
			return
		}
	}
	l.unknownVariable(name)
}

func (l *loader) setVariable(s *scope, into layer, f *field, name, value string) {
	o := origin{variable: name}
	v, mistakes := f.parseText(value)
	if f.kind == kindAddresses && value == "" {
		mistakes = one(wrong("is empty; %s", listenForms))
	}
	if len(mistakes) > 0 {
		v = nil
	}
	into[f.path] = setting{value: v, origin: o}
	for _, m := range mistakes {
		l.report(s, o, f.path, &m.mistake)
	}
}

// serviceVariable sets a key of the service that the variable names.
func (l *loader) serviceVariable(name, value string, inFile []*scope, made map[string]*scope) {
	rest := strings.TrimPrefix(name, oursService)
	part, f := l.splitService(rest, inFile)
	if f == nil {
		l.unknownVariable(name)
		return
	}
	var matches []*scope
	for _, s := range inFile {
		if s.name != "" && variable(s.name) == part {
			matches = append(matches, s)
		}
	}
	switch len(matches) {
	case 1:
		l.setVariable(matches[0], matches[0].env, f, name, value)
	case 0:
		s := made[part]
		if s == nil {
			fresh := newScope(l.schema.service, "service.")
			s = &fresh
			s.name = strings.ReplaceAll(strings.ToLower(part), "_", "-")
			made[part] = s
		}
		l.setVariable(s, s.env, f, name, value)
	default:
		if matches[0].name == matches[1].name {
			return // which is reported where they are
		}
		l.problems = append(l.problems, Problem{Variable: name, Message: fmt.Sprintf(
			"means service %q as well as %q; set it in the file, or rename one", matches[0].name, matches[1].name)})
	}
}

// splitService takes ORDERS_RETRY_ATTEMPTS apart into the service's part and its key. Where
// several splits are possible a service of the file wins, and then the longer key.
func (l *loader) splitService(rest string, inFile []*scope) (part string, f *field) {
	known := false
	for _, leaf := range l.schema.service.leaves() {
		p, ok := strings.CutSuffix(rest, "_"+variable(leaf.path))
		if !ok || p == "" {
			continue
		}
		isKnown := slices.ContainsFunc(inFile, func(s *scope) bool { return variable(s.name) == p })
		if f == nil || isKnown && !known || isKnown == known && len(leaf.path) > len(f.path) {
			part, f, known = p, leaf, isKnown
		}
	}
	return part, f
}

// addService adds a service that only the environment names.
func (l *loader) addService(part string, s *scope) {
	if _, ok := s.env["listen"]; !ok {
		if l.incomplete {
			return
		}
		// Every variable of a service that is not there is one mistake: its name is.
		listen := oursService + part + "_LISTEN"
		for _, path := range slices.Sorted(maps.Keys(s.env)) {
			name := s.env[path].origin.variable
			l.problems = append(l.problems, Problem{
				Variable:   name,
				Message:    fmt.Sprintf("there is no service %q in the file, and without %s none is made", s.name, listen),
				Suggestion: l.nearVariable(name, true),
			})
		}
		return
	}
	if named, ok := s.env["name"]; !ok {
		s.env["name"] = setting{value: s.name, origin: s.env["listen"].origin}
		if m := checkName(s.name); m != nil {
			l.report(s, s.start(), "name", m)
		}
	} else if text, ok := named.value.(string); ok {
		s.name = text
	}
	l.services = append(l.services, s)
}

func (l *loader) unknownVariable(name string) {
	l.problems = append(l.problems, Problem{
		Variable:   clip(name),
		Message:    "unknown variable",
		Suggestion: l.nearVariable(name, false),
	})
}

// nearVariable returns the variable that was probably meant, or "".
func (l *loader) nearVariable(name string, onlyFile bool) string {
	var candidates []string
	for _, s := range l.services {
		if s.name == "" || s.line == 0 {
			continue
		}
		for _, f := range l.schema.service.leaves() {
			candidates = append(candidates, oursService+variable(s.name)+"_"+variable(f.path))
		}
	}
	if onlyFile {
		return nearestName(name, candidates)
	}
	for _, f := range l.schema.root.leaves() {
		candidates = append(candidates, ours+variable(f.path))
	}
	for _, f := range l.schema.defaults.leaves() {
		candidates = append(candidates, oursDefaults+variable(f.path))
	}
	if near := nearestName(name, candidates); near != "" || !strings.HasPrefix(name, oursService) {
		return near
	}
	// A service that only the environment knows: guess where its name ends.
	rest := strings.TrimPrefix(name, oursService)
	var keys []string
	for _, f := range l.schema.service.leaves() {
		keys = append(keys, variable(f.path))
	}
	for i := range rest {
		if rest[i] == '_' && i > 0 {
			if key := nearest(rest[i+1:], keys); key != "" {
				return oursService + rest[:i+1] + key
			}
		}
	}
	return ""
}

// nearestName is nearest for variables, whose common beginning does not make them near.
func nearestName(name string, candidates []string) string {
	const slips = 3
	best, bestDistance := "", slips+1
	for _, c := range candidates {
		a, b := unlike(name, c)
		if d := distance(a, b); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// unlike cuts off what two texts have in common at their beginning and end.
func unlike(a, b string) (string, string) {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	a, b = a[i:], b[i:]
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}

// fallback reads the variables of others that give defaults. They count where neither the file
// nor a variable of ours says anything. One kind of token displaces the other.
func (l *loader) fallback(vars map[string]string) layer {
	set := layers{l.root.file, l.root.env}
	into := make(layer)
	for _, f := range l.schema.root.leaves() {
		value := vars[f.fallback]
		if f.fallback == "" || value == "" || set.set(f.path) {
			continue
		}
		if f.fallback == stateDirVar { // systemd separates several by colons
			value, _, _ = strings.Cut(value, ":")
		}
		switch f.path {
		case consulToken, consulTokenFile:
			if set.set(consulToken) || set.set(consulTokenFile) {
				continue
			}
		}
		l.setVariable(&l.root, into, f, f.fallback, value)
	}
	if _, both := into[consulTokenFile]; both {
		delete(into, consulToken)
	}
	return into
}
