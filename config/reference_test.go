package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run IsCurrent$ -update

var update = flag.Bool("update", false, "write config.toml.example and docs/configuration.md anew")

const examplePath = "../config.toml.example"

const exampleHead = `# Configuration of sidecar. Check a file with: sidecar check --config FILE
#
# A key that is commented out shows its default. Only name and listen of a service, and name and
# port of an announcement, have none.
# Times are numbers with units: "500ms", "5s", "1m30s", "1h".
#
# Every key can be set from the environment as well, which wins over the file: SIDECAR_ and the
# path of the key in capitals, lists with commas.
#
#   SIDECAR_CONSUL_ADDRESS=10.0.0.1:8500
#   SIDECAR_DEFAULTS_RETRY_ATTEMPTS=1           retry.attempts of [defaults]
#   SIDECAR_SERVICE_ORDERS_LISTEN=127.0.0.1:1   listen of the service "orders", which is made
#                                               when the file does not have it
#   SIDECAR_REGISTER_ORDERS_PORT=8080           the same of the announcement "orders"
`

const exampleServices = `
# ---- Services: one [[service]] for each, with tables of its own below it ----
`

const exampleRegisters = `
# ---- Announcements: one [[register]] for each local service that others find in a registry ----
`

// The announcement of the example is commented out as a whole: who begins with a copy of the file
// must not announce something that is not there.
const exampleMinimum = `
[[service]]
name = "orders"
listen = "127.0.0.1:7001"
`

const exampleAll = exampleMinimum + `
[[register]]
name = "orders"
port = 8080
`

// renderExample writes the example file from the schema.
func renderExample(t *testing.T) string {
	t.Helper()
	cfg, err := Parse("", []byte(exampleAll), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSchema()
	var b strings.Builder
	b.WriteString(exampleHead)
	for _, f := range s.root.fields {
		if f.kind == kindTables || f.awaited {
			continue
		}
		renderTable(&b, f, reflect.ValueOf(cfg).Elem().FieldByIndex(f.index), "["+f.path+"]")
	}
	fmt.Fprintf(&b, "\n# %s\n[defaults]\n", s.defaults.doc)
	b.WriteString(exampleServices)
	renderTable(&b, s.service, reflect.ValueOf(&cfg.Services[0]).Elem(), "[[service]]")
	b.WriteString(exampleRegisters)
	renderTable(&b, s.register, reflect.ValueOf(&cfg.Registers[0]).Elem(), "# [[register]]")
	return b.String()
}

func renderTable(b *strings.Builder, f *field, v reflect.Value, header string) {
	fmt.Fprintf(b, "\n# %s\n%s\n", f.doc, header)
	for _, c := range f.fields {
		if c.kind == kindTable || c.awaited {
			continue
		}
		line := c.key + " = " + literal(v.FieldByIndex(c.index))
		if !c.required || strings.HasPrefix(header, "#") {
			line = "# " + line
		}
		fmt.Fprintf(b, "%-32s # %s\n", line, c.describe())
	}
	for _, c := range f.fields {
		if c.kind == kindTable && !c.awaited {
			name := strings.Trim(header, "# []")
			renderTable(b, c, v.FieldByIndex(c.index), strings.NewReplacer("[[", "[", name, name+"."+c.key, "]]", "]").Replace(header))
		}
	}
}

var commentedKey = regexp.MustCompile(`(?m)^# ([a-z0-9_]+ = |\[+register[.a-z]*\]+$)`)

func TestTheExampleFileIsCurrent(t *testing.T) {
	want := renderExample(t)
	if *update {
		if err := os.WriteFile(examplePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte(want)) {
		t.Errorf("config.toml.example does not agree with the schema; run go generate ./config")
	}
}

func TestTheExampleFileLoads(t *testing.T) {
	got, err := Load(examplePath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := load(t, exampleMinimum); !reflect.DeepEqual(got, want) {
		t.Errorf("example: %+v\nminimum: %+v", got, want)
	}
}

func TestTheExampleFileShowsTheDefaults(t *testing.T) {
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	all := commentedKey.ReplaceAll(data, []byte("$1"))
	if bytes.Equal(all, data) {
		t.Fatal("the example has no commented keys")
	}
	written, err := Parse("example", all, nil)
	if err != nil {
		t.Fatal(err)
	}
	built, err := Parse("minimal", []byte(exampleAll), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(written, built) {
		t.Errorf("example: %+v\ndefault: %+v", written, built)
	}
}

func TestTheExampleFileHasEveryKeyAndNothingElse(t *testing.T) {
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	doc := readDocument("example", commentedKey.ReplaceAll(data, []byte("$1")))
	var got []string
	var collect func(n *node, prefix string)
	collect = func(n *node, prefix string) {
		for _, c := range n.children {
			switch c.kind {
			case nodeTable:
				collect(c, prefix+c.key+".")
			case nodeTables:
				for _, item := range c.items {
					collect(item, prefix+c.key+".")
				}
			default:
				got = append(got, prefix+c.key)
			}
		}
	}
	collect(doc.root, "")

	var want []string
	s := newSchema()
	for _, f := range s.root.settable() {
		want = append(want, f.path)
	}
	for _, f := range s.service.settable() {
		want = append(want, "service."+f.path)
	}
	for _, f := range s.register.settable() {
		want = append(want, "register."+f.path)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("example: %q\n schema: %q", got, want)
	}
	for line := range strings.Lines(string(data)) {
		if key, _, ok := strings.Cut(strings.TrimPrefix(line, "# "), " = "); ok && !strings.Contains(key, " ") && !strings.Contains(line, " # ") {
			t.Errorf("no explanation: %s", line)
		}
	}
}
