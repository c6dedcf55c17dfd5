package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// readFileTables checks the file's keys against the schema and fills the file layers.
func (l *loader) readFileTables(doc *document) {
	w := &walk{loader: l, scope: &l.root}
	for _, n := range doc.root.children {
		value := doc.values.Get(n.key)
		known := l.schema.root.child(n.key) != nil || n.key == "defaults"
		switch {
		case known && clashes(doc.root, n):
			// As in key: the other one is reported.
		case n.key == l.services.fields.key:
			l.readTables(&l.services, n, value)
		case n.key == l.registers.fields.key:
			l.readTables(&l.registers, n, value)
		case n.key == "defaults":
			l.defaults.line = n.line
			d := &walk{loader: l, scope: &l.defaults}
			if n.kind != nodeTable {
				w.shape(n, "defaults", "a table, [defaults]")
				continue
			}
			d.table(l.schema.defaults, n, value, "")
		default:
			w.key(l.schema.root, doc.root, n, value, "")
		}
	}
}

// readTables reads [[service]] or [[register]].
func (l *loader) readTables(list *collection, n *node, value any) {
	root := &walk{loader: l, scope: &l.root}
	key := list.fields.key
	switch {
	case n.kind == nodeTable:
		root.shape(n, key, fmt.Sprintf("double brackets, [[%s]], once for each %[1]s", key))
		n, value = &node{kind: nodeTables, line: n.line, items: []*node{n}}, []any{value}
	case n.kind == nodeList && len(n.items) == 0:
		return
	case n.kind != nodeTables:
		root.shape(n, key, fmt.Sprintf("tables, [[%s]], one for each %[1]s", key))
		return
	}
	values, _ := value.([]any)
	for i, item := range n.items {
		s := list.scope(fmt.Sprintf("%s[%d].", key, i))
		s.line = item.line
		v := at(values, i)
		if named := item.child("name"); named != nil && named.kind == nodeString && !clashes(item, named) {
			s.name, _ = entry(v, "name").(string)
			s.name = clip(s.name)
		}
		list.scopes = append(list.scopes, s)
		w := &walk{loader: l, scope: s}
		w.table(list.fields, item, v, "")
	}
}

// A walk goes through the tables of one scope.
type walk struct {
	*loader
	scope *scope
}

// table checks the keys of a table; prefix is its path and a dot, or empty.
func (w *walk) table(f *field, n *node, value any, prefix string) {
	for _, c := range n.children {
		w.key(f, n, c, entry(value, c.key), prefix)
	}
}

// key checks one key c of table n.
func (w *walk) key(f *field, n, c *node, value any, prefix string) {
	path := prefix + keyText(c.key)
	o := origin{line: c.line}
	child := f.child(c.key)
	switch {
	case child == nil && w.scope == &w.defaults && ownOnly(path):
		w.report(w.scope, o, path, wrong("stands in each [[service]] only"))
	case child == nil:
		m := wrong("unknown key")
		m.suggestion = w.suggest(f, c.key)
		w.report(w.scope, o, clip(path), m)
	case clashes(n, c):
		// The same key stands there in another case, which is reported as unknown; viper
		// cannot tell the two apart.
	case child.awaited:
		w.report(w.scope, o, path, notYet())
		if child.kind != kindTable {
			w.scope.file[child.path] = setting{origin: o}
		}
	case child.kind == kindTable:
		if c.kind != nodeTable {
			w.shape(c, path, fmt.Sprintf("a table, [%s]", w.header(child)))
			return
		}
		w.table(child, c, value, path+".")
	default:
		w.value(child, c, value)
	}
}

// value checks the value of a key and sets it.
func (w *walk) value(f *field, n *node, value any) {
	o := origin{line: n.line}
	if _, again := w.scope.file[f.path]; again {
		return
	}
	w.scope.file[f.path] = setting{origin: o}
	var v any
	var mistakes []itemMistake
	items, isList := value.([]any)
	switch {
	case n.kind == nodeTable || n.kind == nodeTables:
		mistakes = one(wrong("is %s; want a value, %s = …", n.kind, f.key))
	case f.kind == kindStrings && !isList:
		m := f.mismatch(value)
		if s, ok := value.(string); ok {
			m = wrong("want a list; write [%q]", s)
		}
		mistakes = one(m)
	case f.kind == kindAddresses && !isList:
		v, mistakes = f.parseList([]any{value})
	case f.list():
		v, mistakes = f.parseList(items)
		if f.kind == kindAddresses && len(items) == 0 {
			mistakes = one(wrong("is an empty list; %s", listenForms))
		}
	default:
		var m *mistake
		v, m = f.parse(value)
		mistakes = one(m)
	}
	for _, m := range mistakes {
		at := o
		if isList && m.item < len(n.items) {
			at.line = n.items[m.item].line
		}
		w.report(w.scope, at, f.path, &m.mistake)
	}
	if len(mistakes) == 0 {
		w.scope.file[f.path] = setting{value: v, origin: o}
	}
}

// shape reports that something is not the kind of table, or no table, that it must be.
func (w *walk) shape(n *node, path, want string) {
	w.report(w.scope, origin{line: n.line}, path, wrong("is %s; want %s", n.kind, want))
}

// header is how a table of the scope is opened.
func (w *walk) header(f *field) string {
	switch {
	case w.scope == &w.root:
		return f.path
	case w.scope == &w.defaults:
		return "defaults." + f.path
	default:
		return w.scope.fields.key + "." + f.path
	}
}

// suggest names the key that was probably meant: one of the same table, or else one of that very
// name that stands in another table of the scope, by its path.
func (w *walk) suggest(f *field, key string) string {
	keys := f.keys()
	if w.scope == &w.root && f == w.schema.root {
		keys = append(keys, "defaults")
	}
	if s := nearest(key, keys); s != "" {
		return s
	}
	for _, leaf := range w.scope.fields.settable() {
		if leaf.key == key {
			return leaf.path
		}
	}
	return ""
}

// clashes tells whether another key of table n differs from c only by case.
func clashes(n, c *node) bool {
	return slices.ContainsFunc(n.children, func(other *node) bool {
		return other.key != c.key && strings.EqualFold(other.key, c.key)
	})
}

// keyText writes a key as it stands in the file, in quotes where it needs them.
func keyText(key string) string {
	if key != "" && only(key, isNameByte) {
		return key
	}
	return strconv.Quote(key)
}

// entry is the value of a key in what viper read for a table; nil when it is none.
func entry(table any, key string) any {
	m, _ := table.(map[string]any)
	return m[key]
}

// at is item i of a list, or nil.
func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}
