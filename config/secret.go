package config

import (
	"reflect"
	"strings"
)

// hidden is what is shown in place of a secret.
const hidden = "<hidden>"

// A Secret is a text that is not to be printed, logged or served; string(s) is the text itself.
type Secret string

// String hides the secret; it is empty when there is none.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the secret from JSON and its like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// shown is a value as people may see it: of header fields that prove who somebody is only the names.
func (f *field) shown(v reflect.Value) reflect.Value {
	lines, ok := v.Interface().([]string)
	if !ok || f.check != "header" {
		return v
	}
	list := make([]string, len(lines))
	for i, line := range lines {
		name, _, found := strings.Cut(line, ":")
		if list[i] = line; found && proves(name) {
			list[i] = name + ": " + hidden
		}
	}
	return reflect.ValueOf(list)
}

// proves tells whether a header field is about who somebody is, by its name.
func proves(name string) bool {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, part := range []string{"auth", "cookie", "token", "secret", "password", "key", "credential", "session", "jwt"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
