package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Redacted returns the configuration as TOML, every key that may be set with the value that holds,
// and secrets hidden. Without secrets it can be loaded again and is then equal to c.
func (c *Config) Redacted() string { return c.redacted(newSchema()) }

func (c *Config) redacted(s *schema) string {
	var b strings.Builder
	v := reflect.ValueOf(c).Elem()
	for _, f := range s.root.fields {
		if f.awaited {
			continue
		}
		if f.kind == kindTables {
			items := v.FieldByIndex(f.index)
			for i := range items.Len() {
				fmt.Fprintf(&b, "[[%s]]\n", f.path)
				writeTable(&b, f, items.Index(i), f.path+".")
			}
			continue
		}
		fmt.Fprintf(&b, "[%s]\n", f.path)
		writeTable(&b, f, v.FieldByIndex(f.index), "")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// writeTable writes the keys of a table, a blank line, and then the tables in it.
func writeTable(b *strings.Builder, f *field, v reflect.Value, prefix string) {
	for _, c := range f.fields {
		if c.kind != kindTable && !c.awaited {
			fmt.Fprintf(b, "%s = %s\n", c.key, literal(c.shown(v.FieldByIndex(c.index))))
		}
	}
	b.WriteByte('\n')
	for _, c := range f.fields {
		if c.kind == kindTable && !c.awaited {
			fmt.Fprintf(b, "[%s%s]\n", prefix, c.path)
			writeTable(b, c, v.FieldByIndex(c.index), prefix)
		}
	}
}

// literal writes a value as TOML. A list of one address is that address.
func literal(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case string:
		return basicString(x)
	case Secret:
		return basicString(x.String())
	case time.Duration:
		return basicString(duration(x))
	case Address:
		return basicString(x.String())
	case []Address:
		texts := make([]string, len(x))
		for i, a := range x {
			texts[i] = a.String()
		}
		if len(texts) == 1 {
			return basicString(texts[0])
		}
		return list(texts)
	case []string:
		return list(x)
	case float64:
		return number(x)
	default: // int and bool
		return fmt.Sprint(x)
	}
}

func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, s := range texts {
		quoted[i] = basicString(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// basicString writes a string of TOML in double quotes. All control characters but these are
// refused when a configuration is loaded, so that nothing else needs care.
func basicString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
