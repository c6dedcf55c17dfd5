package config

import (
	"fmt"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// An origin is where a value was set. The zero origin is the built-in default.
type origin struct {
	line     int
	variable string
}

// String describes the origin within a message about another place.
func (o origin) String() string {
	switch {
	case o.variable != "":
		return o.variable
	case o.line > 0:
		return fmt.Sprintf("line %d", o.line)
	default:
		return "its default"
	}
}

// A setting is one value that was set.
type setting struct {
	value  any // of the type that the struct's field has; nil when it was wrong
	origin origin
}

// A layer is what was set in one place, by path: "retry.attempts".
type layer map[string]setting

// layers is what was set for one struct, the weakest first.
type layers []layer

// find returns the strongest setting of a path.
func (ls layers) find(path string) (s setting, rank int, ok bool) {
	for i := len(ls) - 1; i >= 0; i-- {
		if s, ok := ls[i][path]; ok {
			return s, i, true
		}
	}
	return setting{}, -1, false
}

// set tells whether a path was set at all, rightly or not.
func (ls layers) set(path string) bool {
	_, _, ok := ls.find(path)
	return ok
}

// bad tells whether the setting that counts for a path was wrong. Rules that look at it would
// only report what follows from that.
func (ls layers) bad(path string) bool {
	s, _, ok := ls.find(path)
	return ok && s.value == nil
}

// origin returns where the value of a path comes from.
func (ls layers) origin(path string) origin {
	s, _, _ := ls.find(path)
	return s.origin
}

// decode lets viper merge the layers over the built-in defaults and fills the struct at target.
func (ls layers) decode(fields []*field, target any) error {
	v := viper.New()
	for _, f := range fields {
		if f.required {
			continue
		}
		value, mistakes := f.parseText(f.standard)
		if len(mistakes) > 0 {
			return fmt.Errorf("config: default of %s: %s", f.path, mistakes[0].message)
		}
		v.SetDefault(f.path, value)
	}
	for _, l := range ls {
		if err := v.MergeConfigMap(l.nest()); err != nil {
			return fmt.Errorf("config: merge: %w", err)
		}
	}
	err := v.UnmarshalExact(target, func(c *mapstructure.DecoderConfig) {
		c.TagName = "key"
		c.Squash = true
		c.WeaklyTypedInput = false
		c.DecodeHook = nil
	})
	if err != nil {
		return fmt.Errorf("config: decode: %w", err)
	}
	return nil
}

// nest turns the layer's paths into maps within maps. What was wrong is left out.
func (l layer) nest() map[string]any {
	root := make(map[string]any)
	for path, s := range l {
		if s.value == nil {
			continue
		}
		at := root
		parts := strings.Split(path, ".")
		for _, key := range parts[:len(parts)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = make(map[string]any)
				at[key] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = s.value
	}
	return root
}
