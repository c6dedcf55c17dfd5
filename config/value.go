package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longestDuration is the most that any duration may be. Deadlines are sums, and must not overflow.
const longestDuration = 8760 * time.Hour

// An itemMistake is a mistake in one item of a list, or in a value that is no list (item 0).
type itemMistake struct {
	mistake
	item int
}

// parseText reads a value as it stands in an environment variable or in a default tag.
func (f *field) parseText(s string) (any, []itemMistake) {
	if f.list() {
		var items []any
		if strings.TrimSpace(s) != "" {
			for item := range strings.SplitSeq(s, ",") {
				items = append(items, strings.TrimSpace(item))
			}
		}
		return f.parseList(items)
	}
	var raw any = s
	var err error
	switch f.kind {
	case kindInt:
		raw, err = strconv.ParseInt(s, 10, 64)
		if errors.Is(err, strconv.ErrSyntax) {
			return nil, one(wrong("want an integer, got %q", s))
		}
	case kindFloat:
		raw, err = strconv.ParseFloat(s, 64)
		if errors.Is(err, strconv.ErrSyntax) {
			return nil, one(wrong("want a number, got %q", s))
		}
	case kindBool:
		switch s {
		case "true":
			raw = true
		case "false":
			raw = false
		default:
			return nil, one(wrong("want true or false, got %q", s))
		}
	}
	if err != nil {
		return nil, one(wrong("%s is out of range%s", s, f.bounds()))
	}
	v, m := f.parse(raw)
	return v, one(m)
}

func one(m *mistake) []itemMistake {
	if m == nil {
		return nil
	}
	return []itemMistake{{mistake: *m}}
}

// parseList reads the items of a list.
func (f *field) parseList(items []any) (any, []itemMistake) {
	var mistakes []itemMistake
	var texts, seen []string
	var addresses []Address
	for i, raw := range items {
		v, m := f.parse(raw)
		if m == nil && f.check != "key_file" && slices.Contains(seen, f.identity(raw)) {
			m = wrong("%q is listed twice", f.identity(raw))
		}
		if m != nil {
			mistakes = append(mistakes, itemMistake{*m, i})
			continue
		}
		seen = append(seen, f.identity(raw))
		switch v := v.(type) {
		case Address:
			addresses = append(addresses, v)
		case string:
			texts = append(texts, v)
		}
	}
	switch {
	case len(mistakes) > 0:
		return nil, mistakes
	case f.kind == kindAddresses:
		return addresses, nil
	default:
		return texts, nil
	}
}

// identity is what may be in a list only once: of an instance, its address, of key=value, the key,
// and of a name that a TLS client asks for, its small letters.
func (f *field) identity(item any) string {
	s, _ := item.(string)
	switch f.check {
	case "instance":
		s, _, _ = strings.Cut(strings.TrimSpace(s), " ")
	case "meta":
		s, _, _ = strings.Cut(s, "=")
	case "server_name":
		s = strings.ToLower(s)
	}
	return s
}

// parse turns a value as TOML has it (string, int64, float64, bool) into what the struct holds;
// for a list it is one item.
func (f *field) parse(raw any) (any, *mistake) {
	switch f.kind {
	case kindInt:
		n, ok := raw.(int64)
		if !ok {
			return nil, f.mismatch(raw)
		}
		m := f.inRange(float64(n), raw)
		if m == nil && f.check == "status" && n != 0 && !isStatus(strconv.FormatInt(n, 10)) {
			m = wrong("%d is not a status that ends a response; want 0, or 200 to 599", n)
		}
		return int(n), m
	case kindFloat:
		x, ok := raw.(float64)
		if n, whole := raw.(int64); whole {
			x, ok = float64(n), true
		}
		if !ok {
			return nil, f.mismatch(raw)
		}
		return x, f.inRange(x, raw)
	case kindBool:
		b, ok := raw.(bool)
		if !ok {
			return nil, f.mismatch(raw)
		}
		return b, nil
	}

	s, ok := raw.(string)
	if !ok {
		return nil, f.mismatch(raw)
	}
	switch f.kind {
	case kindDuration:
		return f.parseDuration(s)
	case kindAddress:
		if s == "" {
			return Address{}, nil
		}
		return parseListen(s)
	case kindAddresses:
		return parseListen(s)
	case kindSecret:
		return Secret(s), plain(s, "the secret")
	}
	return s, f.checkText(s)
}

// inRange checks a number against min and max.
func (f *field) inRange(x float64, raw any) *mistake {
	low, high := f.min == "" || x >= bound(f.min), f.max == "" || x <= bound(f.max)
	if low && high { // which NaN is not
		return nil
	}
	text := fmt.Sprint(raw)
	if x, ok := raw.(float64); ok {
		text = number(x)
	}
	return wrong("%s is out of range%s", text, f.bounds())
}

// bounds is the range of a number as the end of a message.
func (f *field) bounds() string {
	switch {
	case f.min != "" && f.max != "":
		return fmt.Sprintf("; want %s to %s", f.min, f.max)
	case f.min != "":
		return fmt.Sprintf("; want %s or more", f.min)
	default:
		return ""
	}
}

// number writes a number so that it can be told from an integer.
func number(x float64) string {
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if strings.Trim(s, "-0123456789") == "" {
		s += ".0"
	}
	return s
}

func bound(s string) float64 {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic("config: bound is no number: " + s) //nolint:forbidigo // only a programmer's mistake leads here
	}
	return x
}

func (f *field) parseDuration(s string) (any, *mistake) {
	least := time.Duration(0)
	if f.min != "" {
		var err error
		if least, err = time.ParseDuration(f.min); err != nil {
			panic("config: bound is no duration: " + f.min) //nolint:forbidigo // only a programmer's mistake leads here
		}
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil && s != "0" {
		return nil, wrong(`%q has no unit; want a duration such as "500ms", "5s" or "1m30s"`, s)
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return nil, wrong(`%q is not a duration; want numbers with units (ms, s, m, h) such as "500ms", "5s" or "1m30s"`, s)
	case d < 0:
		return nil, wrong("%q is negative; want %s or more", s, duration(least))
	case d < least:
		return nil, wrong("%q is too short; want %s or more", s, duration(least))
	case d > longestDuration:
		return nil, wrong("%q is too long; want at most %s, which is a year", s, duration(longestDuration))
	}
	return d, nil
}

// mismatch says that a value is of the wrong type, and how it would be right where that is plain.
func (f *field) mismatch(raw any) *mistake {
	if f.kind == kindSecret {
		return wrong("want a string in quotes")
	}
	want := map[kind]string{
		kindString:    "a string",
		kindInt:       "an integer",
		kindFloat:     "a number",
		kindBool:      "true or false",
		kindDuration:  `a duration such as "5s"`,
		kindStrings:   "strings",
		kindAddress:   "an address such as \"127.0.0.1:7001\"",
		kindAddresses: "an address such as \"127.0.0.1:7001\"",
	}[f.kind]
	got := fmt.Sprintf("%v", raw)
	switch raw := raw.(type) {
	case string:
		m := wrong("want %s, got the string %q", want, raw)
		if v, mistakes := f.parseText(raw); len(mistakes) == 0 {
			m.message += fmt.Sprintf("; write %v without quotes", v)
		}
		return m
	case int64:
		m := wrong("want %s, got the integer %d", want, raw)
		switch f.kind {
		case kindDuration:
			m.message += fmt.Sprintf("; write \"%ds\" if seconds are meant", raw)
		case kindAddress, kindAddresses:
			if raw > 0 && raw < 1<<16 {
				m.message += fmt.Sprintf("; write \"127.0.0.1:%d\"", raw)
			}
		case kindString, kindStrings:
			m.message += fmt.Sprintf("; write \"%d\"", raw)
		}
		return m
	case float64:
		return wrong("want %s, got the number %s", want, number(raw))
	case bool:
		return wrong("want %s, got %s", want, got)
	case time.Time:
		return wrong("want %s, got a date", want)
	case []any:
		return wrong("want %s, got a list", want)
	case map[string]any:
		return wrong("want %s, got a table", want)
	default:
		return wrong("want %s, got %s", want, got)
	}
}

// duration writes d as a person would: "90s" and "1h30m", not "1m30s" and "1h30m0s".
func duration(d time.Duration) string {
	if d >= time.Second && d < 2*time.Minute && d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	s := d.String()
	if d >= time.Minute && strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if d >= time.Hour && strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
