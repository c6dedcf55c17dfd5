package config

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
