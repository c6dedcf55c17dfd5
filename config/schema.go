package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A kind is what a key holds.
type kind uint8

const (
	kindTable     kind = iota // a table of further keys
	kindTables                // [[service]], [[register]]: a list of tables
	kindString                // string
	kindSecret                // string that is never shown
	kindInt                   // int
	kindFloat                 // float64
	kindBool                  // bool
	kindDuration              // time.Duration
	kindStrings               // []string
	kindAddress               // Address
	kindAddresses             // []Address
)

// kinds maps the type of a struct's field to the kind of its key.
var kinds = map[reflect.Type]kind{
	reflect.TypeFor[string]():        kindString,
	reflect.TypeFor[Secret]():        kindSecret,
	reflect.TypeFor[int]():           kindInt,
	reflect.TypeFor[float64]():       kindFloat,
	reflect.TypeFor[bool]():          kindBool,
	reflect.TypeFor[time.Duration](): kindDuration,
	reflect.TypeFor[[]string]():      kindStrings,
	reflect.TypeFor[Address]():       kindAddress,
	reflect.TypeFor[[]Address]():     kindAddresses,
}

// A field is one key of the schema: a value, or a table of fields.
type field struct {
	key      string   // "attempts"
	path     string   // "retry.attempts": from the root, or from the item of a list of tables
	index    []int    // of the field in its struct, for FieldByIndex
	kind     kind     //
	fields   []*field // of a table
	standard string   // the built-in default, as text
	required bool     // there is no default
	allowed  []string // the words it may be; nil: any
	later    []string // words that a later version will take
	awaited  bool     // a later version will take the key at all
	min, max string   // as text; empty: no bound
	check    string   // name of a further check
	fallback string   // variable that gives the default
	doc      string
}

// A schema is every key that is known.
type schema struct {
	root     *field // the file, without [defaults]
	service  *field // a table of [[service]]
	register *field // a table of [[register]]
	defaults *field // [defaults]: a service without name and listen
}

// newSchema reads the schema from the structs.
func newSchema() *schema {
	root := &field{kind: kindTable, fields: fieldsOf(reflect.TypeFor[Config](), "")}
	service := root.child("service")
	defaults := *service
	defaults.key, defaults.path, defaults.kind = "defaults", "defaults", kindTable
	defaults.doc = "Any key of a service except name and listen, for all services that do not set it themselves."
	defaults.fields = nil
	for _, f := range service.fields {
		if !ownOnly(f.path) {
			defaults.fields = append(defaults.fields, f)
		}
	}
	return &schema{root: root, service: service, register: root.child("register"), defaults: &defaults}
}

// ownOnly tells whether a service's key cannot stand in [defaults].
func ownOnly(path string) bool { return path == "name" || path == "listen" }

// fieldsOf reads the fields of a struct. Those of an embedded one are keys of the same table.
func fieldsOf(t reflect.Type, prefix string) []*field {
	var fields []*field
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Anonymous {
			for _, f := range fieldsOf(sf.Type, prefix) {
				f.index = append([]int{i}, f.index...)
				fields = append(fields, f)
			}
			continue
		}
		tag := sf.Tag
		f := &field{
			key:      tag.Get("key"),
			index:    []int{i},
			standard: tag.Get("default"),
			allowed:  words(tag.Get("allowed")),
			min:      tag.Get("min"),
			max:      tag.Get("max"),
			check:    tag.Get("check"),
			fallback: tag.Get("fallback"),
			doc:      tag.Get("doc"),
		}
		_, optional := tag.Lookup("default")
		f.required = !optional
		f.path = prefix + f.key
		if f.awaited = tag.Get("later") == "true"; !f.awaited {
			f.later = words(tag.Get("later"))
		}
		k, leaf := kinds[sf.Type]
		switch {
		case leaf:
			f.kind = k
		case sf.Type.Kind() == reflect.Struct:
			f.kind = kindTable
			f.fields = fieldsOf(sf.Type, f.path+".")
			for _, leaf := range f.leaves() {
				leaf.awaited = leaf.awaited || f.awaited
			}
		case sf.Type.Kind() == reflect.Slice && sf.Type.Elem().Kind() == reflect.Struct:
			f.kind = kindTables
			f.fields = fieldsOf(sf.Type.Elem(), "")
		default:
			panic(fmt.Sprintf("config: field %s has a type that no key can have: %s", sf.Name, sf.Type)) //nolint:forbidigo // only a programmer's mistake leads here
		}
		fields = append(fields, f)
	}
	return fields
}

func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

// child returns the field of that key, or nil.
func (f *field) child(key string) *field {
	for _, c := range f.fields {
		if c.key == key {
			return c
		}
	}
	return nil
}

// keys lists the keys of a table that may be set.
func (f *field) keys() []string {
	var keys []string
	for _, c := range f.fields {
		if !c.awaited {
			keys = append(keys, c.key)
		}
	}
	return keys
}

// leaves lists the values below f, in the order of the structs; those of lists of tables are not
// among those of the root.
func (f *field) leaves() []*field {
	var leaves []*field
	for _, c := range f.fields {
		switch c.kind {
		case kindTable:
			leaves = append(leaves, c.leaves()...)
		case kindTables:
		default:
			leaves = append(leaves, c)
		}
	}
	return leaves
}

// settable lists the leaves that may be set.
func (f *field) settable() []*field {
	return slices.DeleteFunc(f.leaves(), func(leaf *field) bool { return leaf.awaited })
}

// list tells whether f holds several values.
func (f *field) list() bool { return f.kind == kindStrings || f.kind == kindAddresses }

// variable returns how a path is spelt in the name of an environment variable.
func variable(path string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, path)
}

// describe is the documentation of a value in one line: the words it may be, what it is, and its
// range.
func (f *field) describe() string {
	d := f.doc
	if len(f.allowed) > 0 {
		d = strings.Join(f.allowed, " | ") + ": " + d
	}
	switch {
	case f.min != "" && f.max != "":
		d += fmt.Sprintf(" (%s to %s)", f.min, f.max)
	case f.min != "":
		d += fmt.Sprintf(" (%s or more)", f.min)
	}
	return d
}
