package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	ours            = "SIDECAR_"
	oursService     = ours + "SERVICE_"
	oursRegister    = ours + "REGISTER_"
	oursDefaults    = ours + "DEFAULTS_"
	stateDirVar     = "STATE_DIRECTORY"
	consulToken     = "consul.token"
	consulTokenFile = "consul.token_file"
)

// readEnvironment fills the env layers, makes the services and announcements that only the
// environment names, and returns the layer of the variables that are not ours.
func (l *loader) readEnvironment(env []string) (fallback layer) {
	vars := make(map[string]string)
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok {
			vars[name] = value
		}
	}
	services, registers := newNamed(&l.services), newNamed(&l.registers)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		switch {
		case !strings.HasPrefix(name, ours):
		case strings.HasPrefix(name, oursService):
			l.itemVariable(services, name, vars[name])
		case strings.HasPrefix(name, oursRegister):
			l.itemVariable(registers, name, vars[name])
		case strings.HasPrefix(name, oursDefaults):
			l.variable(&l.defaults, strings.TrimPrefix(name, oursDefaults), name, vars[name])
		default:
			l.variable(&l.root, strings.TrimPrefix(name, ours), name, vars[name])
		}
	}
	l.addItems(services)
	l.addItems(registers)
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
	switch {
	case f.awaited:
		mistakes = one(notYet())
	case f.kind == kindAddresses && value == "":
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

// A named is a list of tables whose items variables name.
type named struct {
	*collection
	inFile []*scope
	made   map[string]*scope // by the part of the variable that is the name
}

func newNamed(c *collection) *named {
	return &named{c, slices.Clone(c.scopes), make(map[string]*scope)}
}

// find returns the items of the file that part, as variables spell it, names.
func (n *named) find(part string) []*scope {
	var found []*scope
	for _, s := range n.inFile {
		if s.name != "" && variable(s.name) == part {
			found = append(found, s)
		}
	}
	return found
}

// split takes ORDERS_RETRY_ATTEMPTS apart into the item's part and its key. Where several splits
// are possible an item of the file wins, and then the longer key. Other is an item of the file
// that a shorter key would belong to.
func (n *named) split(rest string) (part string, f *field, other *scope) {
	longestFirst := slices.SortedStableFunc(slices.Values(n.fields.leaves()), func(a, b *field) int {
		return cmp.Compare(len(b.path), len(a.path))
	})
	known := false
	for _, leaf := range longestFirst {
		p, ok := strings.CutSuffix(rest, "_"+variable(leaf.path))
		if !ok || p == "" {
			continue
		}
		found := n.find(p)
		switch {
		case known && len(found) > 0:
			return part, f, found[0]
		case len(found) > 0:
			part, f, known = p, leaf, true
		case f == nil:
			part, f = p, leaf
		}
	}
	return part, f, nil
}

// itemVariable sets a key of the item that the variable names.
func (l *loader) itemVariable(n *named, name, value string) {
	part, f, other := n.split(strings.TrimPrefix(name, n.prefix))
	if f == nil {
		l.unknownVariable(name)
		return
	}
	matches := n.find(part)
	if other != nil {
		matches = append(matches[:1:1], other)
	}
	switch len(matches) {
	case 1:
		l.setVariable(matches[0], matches[0].env, f, name, value)
	case 0:
		s := n.made[part]
		if s == nil {
			s = n.scope(n.fields.key + ".")
			s.name = strings.ReplaceAll(strings.ToLower(part), "_", "-")
			n.made[part] = s
		}
		l.setVariable(s, s.env, f, name, value)
	default:
		if matches[0].name == matches[1].name {
			return // which is reported where they are
		}
		l.problems = append(l.problems, Problem{Variable: name, Message: fmt.Sprintf(
			"means %s %q as well as %q; set it in the file, or rename one", n.fields.key, matches[0].name, matches[1].name)})
	}
}

// addItems adds the items that only the environment names.
func (l *loader) addItems(n *named) {
	for _, part := range slices.Sorted(maps.Keys(n.made)) {
		l.addItem(n, part, n.made[part])
	}
}

func (l *loader) addItem(n *named, part string, s *scope) {
	if _, ok := s.env[n.needs]; !ok {
		if l.incomplete {
			return
		}
		// Every variable of an item that is not there is one mistake: its name is.
		without := n.prefix + part + "_" + variable(n.needs)
		for _, path := range slices.Sorted(maps.Keys(s.env)) {
			name := s.env[path].origin.variable
			l.problems = append(l.problems, Problem{
				Variable:   name,
				Message:    fmt.Sprintf("there is no %s %q in the file, and without %s none is made", n.fields.key, s.name, without),
				Suggestion: l.nearVariable(name, true),
			})
		}
		return
	}
	if written, ok := s.env["name"]; !ok {
		s.env["name"] = setting{value: s.name, origin: s.env[n.needs].origin}
		if m := n.fields.child("name").checkText(s.name); m != nil {
			l.report(s, s.start(), "name", m)
		}
	} else if text, ok := written.value.(string); ok {
		s.name = text
	}
	n.scopes = append(n.scopes, s)
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
	for _, c := range []*collection{&l.services, &l.registers} {
		for _, s := range c.scopes {
			if s.name == "" || s.line == 0 {
				continue
			}
			for _, f := range c.fields.settable() {
				candidates = append(candidates, c.prefix+variable(s.name)+"_"+variable(f.path))
			}
		}
	}
	if onlyFile {
		return nearestName(name, candidates)
	}
	for _, f := range l.schema.root.settable() {
		candidates = append(candidates, ours+variable(f.path))
	}
	for _, f := range l.schema.defaults.settable() {
		candidates = append(candidates, oursDefaults+variable(f.path))
	}
	if near := nearestName(name, candidates); near != "" {
		return near
	}
	for _, c := range []*collection{&l.services, &l.registers} {
		if rest, ok := strings.CutPrefix(name, c.prefix); ok {
			return c.nearKey(rest)
		}
	}
	return ""
}

// nearKey is nearVariable for an item that only the environment knows: it guesses where its name
// ends.
func (c *collection) nearKey(rest string) string {
	var keys []string
	for _, f := range c.fields.settable() {
		keys = append(keys, variable(f.path))
	}
	for i := range rest {
		if rest[i] == '_' && i > 0 {
			if key := nearest(rest[i+1:], keys); key != "" {
				return c.prefix + rest[:i+1] + key
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
