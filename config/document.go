package config

import (
	"bytes"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/viper"
)

// A document is the text of a file, read: the values by viper, the lines by go-toml's parser.
type document struct {
	values *viper.Viper
	root   *node
	// problems are the mistakes of TOML itself. What they spoilt is left out of the rest.
	problems []Problem
}

// A node is a key of the file, or an item of a list.
type node struct {
	key      string
	line     int
	kind     nodeKind
	children []*node // of a table, in the order of the file
	items    []*node // of a list
}

// A nodeKind is what kind of value stands in the file; its text is used in messages.
type nodeKind string

const (
	nodeTable   nodeKind = "a table"
	nodeTables  nodeKind = "a list of tables"
	nodeList    nodeKind = "a list"
	nodeString  nodeKind = "a string"
	nodeInteger nodeKind = "an integer"
	nodeFloat   nodeKind = "a number with a fraction"
	nodeBool    nodeKind = "true or false"
	nodeDate    nodeKind = "a date or a time"
)

// child returns the node of that key, or nil.
func (n *node) child(key string) *node {
	for _, c := range n.children {
		if c.key == key {
			return c
		}
	}
	return nil
}

// ensure returns the child of that key and makes it first where it is missing.
func (n *node) ensure(key string, line int, kind nodeKind) *node {
	c := n.child(key)
	if c == nil {
		c = &node{key: key, line: line, kind: kind}
		n.children = append(n.children, c)
	}
	return c
}

// table returns the table that further keys of n go to: n itself, or its last item.
func (n *node) table() *node {
	if n.kind == nodeTables && len(n.items) > 0 {
		return n.items[len(n.items)-1]
	}
	return n
}

// readDocument reads TOML. What it cannot read it reports, and reads the rest.
func readDocument(name string, data []byte) *document {
	text := newText(name, data)
	v, problems := text.mend()
	return &document{values: v, root: text.tree(), problems: problems}
}

// A text is the bytes of a file whose offsets can be turned into lines.
type text struct {
	name  string
	data  []byte
	lines []int // offset of each line's first byte

	blanked int // bytes that blank has replaced
}

func newText(name string, data []byte) *text {
	// A byte order mark says nothing in UTF-8, and editors still write it. Spaces take its
	// place, so that offsets stay what they are.
	data = slices.Clone(data)
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		copy(data, "   ")
	}
	t := &text{name: name, data: data, lines: []int{0}}
	for i, b := range data {
		if b == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	return t
}

// lineAt returns the line, counted from 1, that the byte at offset is on.
func (t *text) lineAt(offset int) int {
	i, found := slices.BinarySearch(t.lines, offset)
	if found {
		return i + 1
	}
	return i
}

// line returns the bytes of a line, counted from 1, without its end.
func (t *text) line(n int) []byte {
	return bytes.TrimRight(t.data[t.lines[n-1]:t.end(n)], "\r\n")
}

// end is the offset at which line n is over.
func (t *text) end(n int) int {
	if n < len(t.lines) {
		return t.lines[n]
	}
	return len(t.data)
}

// blank replaces the bytes from offset from up to offset to by spaces; lines stay.
func (t *text) blank(from, to int) {
	for i := from; i < to; i++ {
		if b := t.data[i]; b != '\n' && b != ' ' {
			t.data[i] = ' '
			t.blanked++
		}
	}
}

// tree returns the keys of the text, which has no mistakes left.
func (t *text) tree() *node {
	var p unstable.Parser
	p.Reset(t.data)
	root := &node{kind: nodeTable}
	table := root
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = t.header(root, e)
		case unstable.KeyValue:
			t.keyValue(table, e)
		}
	}
	return root
}

// header returns the table that [a.b] or [[a.b]] opens.
func (t *text) header(root *node, e *unstable.Node) *node {
	at := root
	it := e.Key()
	for it.Next() {
		key := it.Node()
		line := t.lineAt(int(key.Raw.Offset))
		kind := nodeTable
		if it.IsLast() && e.Kind == unstable.ArrayTable {
			kind = nodeTables
		}
		c := at.ensure(string(key.Data), line, kind)
		if kind == nodeTables {
			c.items = append(c.items, &node{line: line, kind: nodeTable})
		}
		at = c.table()
	}
	return at
}

// keyValue adds a.b = value to a table.
func (t *text) keyValue(table *node, e *unstable.Node) {
	it := e.Key()
	for it.Next() {
		key := it.Node()
		line := t.lineAt(int(key.Raw.Offset))
		if !it.IsLast() {
			table = table.ensure(string(key.Data), line, nodeTable).table()
			continue
		}
		n := t.value(e.Value(), line)
		n.key = string(key.Data)
		table.children = append(table.children, n)
	}
}

// value makes the node of a value; lists and tables carry the line of their key.
func (t *text) value(v *unstable.Node, line int) *node {
	n := &node{line: line, kind: nodeDate}
	switch v.Kind {
	case unstable.String:
		n.kind = nodeString
	case unstable.Integer:
		n.kind = nodeInteger
	case unstable.Float:
		n.kind = nodeFloat
	case unstable.Bool:
		n.kind = nodeBool
	case unstable.Array:
		n.kind = nodeList
		for it := v.Children(); it.Next(); {
			item := it.Node()
			n.items = append(n.items, t.value(item, t.itemLine(item, line)))
		}
		if len(n.items) > 0 && !slices.ContainsFunc(n.items, func(i *node) bool { return i.kind != nodeTable }) {
			n.kind = nodeTables
		}
	case unstable.InlineTable:
		n.kind = nodeTable
		for it := v.Children(); it.Next(); {
			t.keyValue(n, it.Node())
		}
	}
	return n
}

// itemLine is the line of a list's item; an item that is a list itself has no place of its own.
func (t *text) itemLine(item *unstable.Node, line int) int {
	if item.Raw.Length == 0 {
		return line
	}
	return t.lineAt(int(item.Raw.Offset))
}
