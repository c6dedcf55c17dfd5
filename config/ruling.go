package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A ruling applies rules that look at several keys of one scope.
type ruling struct {
	*loader
	into   reflect.Value // the struct of the scope
	scope  *scope
	layers layers // what was set for it, [defaults] included
	own    layers // what was set for itself
}

// bad tells whether what counts for any of the paths was wrong.
func (r *ruling) bad(paths ...string) bool { return slices.ContainsFunc(paths, r.layers.bad) }

// reportAt reports a mistake with the value of a path.
func (r *ruling) reportAt(path string, m *mistake) {
	r.report(r.scope, r.layers.origin(path), path, m)
}

// value finds a key of the scope: its schema, and what it holds.
func (r *ruling) value(path string) (*field, reflect.Value) {
	f, v := r.scope.fields, r.into
	for key := range strings.SplitSeq(path, ".") {
		f = f.child(key)
		v = v.FieldByIndex(f.index)
	}
	return f, v
}

// empty tells whether a key holds nothing: "", 0 or no items.
func (r *ruling) empty(path string) bool {
	_, v := r.value(path)
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

// onlyWith takes care of keys that have a meaning only where another key is one of certain words.
func (r *ruling) onlyWith(condition string, want []string, paths ...string) {
	c, v := r.value(condition)
	got := v.String()
	if slices.Contains(want, got) || r.bad(condition) {
		return
	}
	for _, path := range paths {
		is, this := r.number(path)
		r.idle(path, wrong("%s for %s = %s only, and %s is %q; change it or remove %s", is, c.key, quoted(want, "or"), c.key, got, this))
	}
}

// number is how a message speaks of a key, which is one or several: "is" and "this", or "are" and
// "them".
func (r *ruling) number(path string) (is, this string) {
	if f, _ := r.value(path); f.list() {
		return "are", "them"
	}
	return "is", "this"
}

// quoted joins words in quotes: `"a", "b" or "c"`.
func quoted(words []string, conjunction string) string {
	quotes := make([]string, len(words))
	for i, word := range words {
		quotes[i] = fmt.Sprintf("%q", word)
	}
	last := len(quotes) - 1
	if last < 1 {
		return strings.Join(quotes, "")
	}
	return strings.Join(quotes[:last], ", ") + " " + conjunction + " " + quotes[last]
}

// idle takes care of a key that has no meaning as the others are. It is a mistake where the
// service itself sets it. What [defaults] says is meant for other services, and this one gets
// the built-in default, which is no mistake anywhere.
func (r *ruling) idle(path string, m *mistake) {
	f, v := r.value(path)
	if r.bad(path) || !r.layers.set(path) {
		return
	}
	standard, mistakes := f.parseText(f.standard)
	if len(mistakes) > 0 || reflect.DeepEqual(v.Interface(), standard) || f.list() && v.Len() == 0 {
		return
	}
	if r.own.set(path) {
		r.reportAt(path, m)
		return
	}
	v.Set(reflect.ValueOf(standard))
}

// inOrder sees to it that less is not more than most, which are durations or integers. Where one
// of them is the built-in default it gives way to the other.
func (r *ruling) inOrder(less, most string) {
	_, low := r.value(less)
	_, high := r.value(most)
	if low.Int() <= high.Int() || r.bad(less, most) {
		return
	}
	_, rankLess, setLess := r.layers.find(less)
	_, rankMost, setMost := r.layers.find(most)
	switch {
	case !setLess:
		low.SetInt(high.Int())
	case !setMost:
		high.SetInt(low.Int())
	case rankMost > rankLess:
		r.reportAt(most, wrong("is %s, less than %s with %s (%s)", amount(high), less, amount(low), r.layers.origin(less).String()))
	default:
		r.reportAt(less, wrong("is %s, more than %s with %s (%s)", amount(low), most, amount(high), r.layers.origin(most).String()))
	}
}

// noneOrMore sees to it that a duration is 0s, or not too short.
func (r *ruling) noneOrMore(path string, least time.Duration) {
	_, v := r.value(path)
	if d := time.Duration(v.Int()); d > 0 && d < least && !r.bad(path) {
		r.reportAt(path, wrong("%q is too short; want 0s, or %s or more", duration(d), duration(least)))
	}
}

// onlyOne sees to it that at most one of two keys is set, which say the same in two ways.
func (r *ruling) onlyOne(other, path string) {
	if r.empty(other) || r.empty(path) {
		return
	}
	f, _ := r.value(other)
	r.reportAt(path, wrong("is set, and so is %s (%s); keep one", f.key, r.layers.origin(other).String()))
}

// together sees to it that two keys are set, or none of them.
func (r *ruling) together(a, b string) {
	missing, path := b, a
	if r.empty(a) {
		missing, path = a, b
	}
	if r.empty(a) == r.empty(b) || r.bad(missing) {
		return
	}
	f, _ := r.value(missing)
	r.reportAt(path, wrong("is set without %s; set both or none", f.key))
}

// probe checks the keys of a Probe, which is at prefix.
func (r *ruling) probe(prefix string) {
	path := func(key string) string { return prefix + key }
	kind, body, method := path("type"), path("body"), path("method")
	r.onlyWith(kind, []string{CheckHTTP}, path("path"), method, path("headers"), path("statuses"), body)
	r.onlyWith(kind, []string{CheckHTTP, CheckGRPC}, path("host"))
	r.onlyWith(kind, []string{CheckGRPC}, path("service"))
	_, isType := r.value(kind)
	_, isMethod := r.value(method)
	if isType.String() == CheckHTTP && isMethod.String() == "HEAD" && !r.empty(body) && !r.bad(kind, body, method) {
		r.reportAt(body, wrong(`looks at a body, which HEAD never brings; change %s (%s)`, method, r.layers.origin(method).String()))
	}
	r.noneOrMore(path("down_interval"), 10*time.Millisecond)
	r.inOrder(path("timeout"), path("interval"))
}

// amount writes a duration or an integer for a message.
func amount(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return duration(d)
	}
	return fmt.Sprint(v.Interface())
}
