package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

const referencePath = "../docs/configuration.md"

const referenceHead = `# Configuration

Every key, with what it may be, what it is by default, and the environment variable that sets it.
This file is written by ` + "`go generate ./config`" + ` from what the program itself accepts; a test keeps it
current. The same as a file to begin with: [config.toml.example](../config.toml.example).

    sidecar check --config FILE              # every mistake at once, with its line
    sidecar config --config FILE             # what would hold, and where each value is from
    sidecar config --running                 # what holds in the sidecar that runs

## How a value comes about

Later ones win:

1. what is built in,
2. ` + "`CONSUL_HTTP_ADDR`, `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE` and `STATE_DIRECTORY`" + `, for the keys that name them,
3. for a service: ` + "`[defaults]`" + ` of the file, then ` + "`SIDECAR_DEFAULTS_…`" + `,
4. the file,
5. the environment: ` + "`SIDECAR_`" + ` and the key's path in capitals, with ` + "`_`" + ` for every dot.

- A name in a variable is the service's in capitals, with ` + "`_`" + ` for everything but letters and digits:
  ` + "`SIDECAR_SERVICE_ORDER_API_LISTEN`" + ` reaches ` + "`order-api`" + `. A service that the file does not have is made.
- A list in a variable is separated by commas. A variable that is set and empty is a value:
  ` + "`SIDECAR_ADMIN_LISTEN=`" + ` turns the admin interface off.
- A time is a number with units: ` + "`500ms`, `5s`, `1m30s`, `1h`" + `.
- A key that nobody knows is a mistake, with the nearest one that there is. So is one that has no meaning
  where it stands, such as ` + "`hash_key`" + ` without the policy ` + "`ring_hash`" + `; in ` + "`[defaults]`" + ` it is meant for the others.
- A reload takes up everything but ` + "`runtime.loops`, `runtime.state_dir`, `log.format` and `access_log`" + `, which a
  restart does, and ` + "`sidecar status`" + ` says so then: [operations.md](operations.md).
`

const referenceDefaults = `
## [defaults]

Any key of ` + "`[[service]]`" + ` and of the tables below it, except ` + "`name` and `listen`" + `, for all services that do
not set it themselves; as a variable ` + "`SIDECAR_DEFAULTS_`" + ` and the key, such as ` + "`SIDECAR_DEFAULTS_RETRY_ATTEMPTS`" + `.
`

// The name stands in the defaults of keys that are called after their service.
const referenceAll = `
[[service]]
name = "NAME"
listen = "127.0.0.1:7001"

[[register]]
name = "NAME"
port = 8080
`

func TestTheReferenceIsCurrent(t *testing.T) {
	want := renderReference(t)
	if *update {
		if err := os.WriteFile(referencePath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/configuration.md does not agree with the schema; run go generate ./config")
	}
}

// What stands in the document as a variable has to be one.
func TestTheReferencesVariablesAreKnown(t *testing.T) {
	text := renderReference(t)
	s := newSchema()
	count := 0
	for _, of := range []struct {
		table  *field
		prefix string
	}{{s.root, "SIDECAR_"}, {s.service, "SIDECAR_SERVICE_NAME_"}, {s.register, "SIDECAR_REGISTER_NAME_"}} {
		for _, f := range of.table.settable() {
			count++
			if !bytes.Contains(text, []byte("`"+of.prefix+variable(f.path)+"`")) {
				t.Errorf("no variable for %s", f.path)
			}
		}
	}
	if rows := bytes.Count(text, []byte("` |\n")); rows != count {
		t.Errorf("%d keys, %d rows", count, rows)
	}
	cfg, err := Parse("", nil, []string{
		"SIDECAR_RUNTIME_DRAIN=7s", "SIDECAR_SERVICE_NAME_LISTEN=127.0.0.1:1", "SIDECAR_SERVICE_NAME_RETRY_ATTEMPTS=1", "SIDECAR_REGISTER_NAME_PORT=80",
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Runtime.Drain.Seconds() != 7 || cfg.Services[0].Retry.Attempts != 1 || cfg.Registers[0].Port != 80 {
		t.Errorf("%+v", cfg)
	}
}

func renderReference(t *testing.T) []byte {
	t.Helper()
	cfg, err := Parse("", []byte(referenceAll), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSchema()
	var b bytes.Buffer
	b.WriteString(referenceHead)
	for _, f := range s.root.fields {
		if f.kind == kindTable && !f.awaited {
			renderKeys(&b, f, reflect.ValueOf(cfg).Elem().FieldByIndex(f.index), "["+f.path+"]", "SIDECAR_")
		}
	}
	b.WriteString(referenceDefaults)
	renderKeys(&b, s.service, reflect.ValueOf(&cfg.Services[0]).Elem(), "[[service]]", "SIDECAR_SERVICE_NAME_")
	renderKeys(&b, s.register, reflect.ValueOf(&cfg.Registers[0]).Elem(), "[[register]]", "SIDECAR_REGISTER_NAME_")
	return b.Bytes()
}

// renderKeys writes a table of keys, and those of the tables in it.
func renderKeys(b *bytes.Buffer, table *field, v reflect.Value, header, prefix string) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| key | may be | default | what it is | variable |\n|---|---|---|---|---|\n", header, table.doc)
	for _, f := range table.fields {
		if f.kind == kindTable || f.awaited {
			continue
		}
		standard := "`" + literal(v.FieldByIndex(f.index)) + "`"
		if f.required {
			standard = "–, it must be set"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | `%s%s` |\n", f.key, f.values(), standard, cell(f.doc), prefix, variable(f.path))
	}
	for _, f := range table.fields {
		if f.kind == kindTable && !f.awaited {
			name := strings.Trim(header, "[]")
			renderKeys(b, f, v.FieldByIndex(f.index), "["+name+"."+f.key+"]", prefix)
		}
	}
}

// values says what a key may be: words, or a type with its range.
func (f *field) values() string {
	what := map[kind]string{
		kindString: "text", kindSecret: "text, never shown", kindInt: "integer", kindFloat: "number", kindBool: "`true` `false`",
		kindDuration: "time", kindStrings: "list of texts", kindAddress: "address", kindAddresses: "address or list of them",
	}[f.kind]
	if len(f.allowed) > 0 {
		what = "`" + strings.Join(f.allowed, "` `") + "`"
		if f.list() {
			what = "list of " + what
		}
	}
	switch {
	case f.min != "" && f.max != "":
		what += fmt.Sprintf(", %s to %s", f.min, f.max)
	case f.min != "":
		what += fmt.Sprintf(", %s or more", f.min)
	}
	return what
}

// cell is a text that stands in a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
