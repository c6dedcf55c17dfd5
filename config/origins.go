package config

import (
	"fmt"
	"reflect"
	"strings"
)

// A Value is one value of a configuration, and where it comes from.
type Value struct {
	// Path names the key as Change.Path does: "service orders: timeout.request".
	Path string
	// Text is the value as TOML, secrets hidden.
	Text string
	// Origin is "default", "config.toml:12", "config.toml:12 [defaults]", "env SIDECAR_LOG_LEVEL", or
	// "derived" for what follows from other keys, such as an announcement's id.
	Origin string
}

// The origins that are no places.
const (
	originDefault = "default"
	originDerived = "derived"
)

// LoadWithOrigins is Load that says of each value where it comes from as well, in the order of the
// schema, then of the services and of the announcements.
func LoadWithOrigins(path string, env []string) (*Config, []Value, error) {
	l := newLoader(path)
	cfg, err := l.loadFile(env)
	if err != nil {
		return nil, nil, err
	}
	return cfg, l.values(cfg), nil
}

// values lists what a load that went well has settled.
func (l *loader) values(cfg *Config) []Value {
	var list []Value
	add := func(s *scope, from layers, shared int, owner string, into any) {
		v := reflect.ValueOf(into).Elem()
		for _, f := range s.fields.settable() {
			at := leaf(s.fields, f.path, v)
			list = append(list, Value{owner + f.path, literal(f.shown(at)), l.originOf(f, at, from, shared)})
		}
	}
	add(&l.root, layers{l.outside, l.root.file, l.root.env}, 0, "", cfg)
	for i, s := range l.services.scopes {
		from := layers{l.defaults.file, l.defaults.env, s.file, s.env}
		add(s, from, 2, "service "+cfg.Services[i].Name+": ", &cfg.Services[i])
	}
	for i, s := range l.registers.scopes {
		add(s, layers{s.file, s.env}, 0, "register "+cfg.Registers[i].Name+": ", &cfg.Registers[i])
	}
	return list
}

// originOf says where a value comes from that was settled from layers; the first of them, shared
// many, are those of [defaults]. What counts there may have been overruled later, by what other
// keys say.
func (l *loader) originOf(f *field, v reflect.Value, from layers, shared int) string {
	text := literal(v)
	s, rank, set := from.find(f.path)
	switch {
	// SNI is put in small letters.
	case set && strings.EqualFold(text, literal(reflect.ValueOf(s.value))):
	case f.required:
		return originDerived
	default:
		if standard, mistakes := f.parseText(f.standard); len(mistakes) == 0 && literal(reflect.ValueOf(standard)) == text {
			return originDefault
		}
		return originDerived
	}
	switch {
	case s.origin.variable != "":
		return "env " + s.origin.variable
	case rank < shared:
		return fmt.Sprintf("%s:%d [defaults]", l.file, s.origin.line)
	}
	return fmt.Sprintf("%s:%d", l.file, s.origin.line)
}

// leaf finds the value of a path in the struct of a table.
func leaf(table *field, path string, v reflect.Value) reflect.Value {
	for key := range strings.SplitSeq(path, ".") {
		table = table.child(key)
		v = v.FieldByIndex(table.index)
	}
	return v
}
