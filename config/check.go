package config

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkText checks a string, or an item of a list of strings, against its allowed words and its
// further check.
func (f *field) checkText(s string) *mistake {
	if f.allowed != nil {
		return f.checkWord(s)
	}
	if f.check == "body" {
		return checkBody(s)
	}
	if m := plain(s, strconv.Quote(clip(s))); m != nil {
		return m
	}
	switch f.check {
	case "":
		return nil
	case "name":
		return checkName(s)
	case "text":
		if s == "" && !f.list() { // empty: the default
			return nil
		}
		if s == "" || strings.TrimSpace(s) != s {
			return wrong("%q is empty or has blanks around it", s)
		}
	case "filled", "key_file":
		if s == "" || strings.TrimSpace(s) != s {
			return wrong("%q is empty or has blanks around it", s)
		}
	case "instance":
		return checkInstance(s)
	case "retry":
		return f.checkRetry(s)
	case "zone":
		if strings.ContainsFunc(s, unicode.IsSpace) {
			return wrong("%q has a blank; a zone is one word, as it stands behind zone= of an instance", s)
		}
	case "regexp":
		return checkRegexp(s)
	case "log_path":
		return checkLogPath(s)
	case "log_format":
		return checkLogFormat(s)
	default:
		return f.checkHTTP(s)
	}
	return nil
}

func (f *field) checkWord(s string) *mistake {
	if slices.Contains(f.allowed, s) {
		return nil
	}
	allowed := "allowed are " + enumerate(f.allowed)
	if slices.Contains(f.later, s) {
		return wrong("%q is not available in this version; %s", s, allowed)
	}
	m := wrong("%q is not known; %s", s, allowed)
	m.suggestion = nearest(s, f.allowed)
	return m
}

// enumerate joins words: "a, b and c".
func enumerate(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// plain refuses control characters and what is not UTF-8; what is how the text is called in the message.
func plain(s, what string) *mistake {
	switch {
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		return wrong("%s has a control character, perhaps a line break", what)
	case !utf8.ValidString(s):
		return wrong("%s is not UTF-8", what)
	}
	return nil
}

func checkName(s string) *mistake {
	const most = 128
	switch {
	case s == "":
		return wrong("is empty; every service needs a name")
	case len(s) > most:
		return wrong("%q is too long; want at most %d bytes", s, most)
	case !only(s, func(b byte) bool { return b == '.' || isNameByte(b) }) || strings.Trim(s[:1], "-._") == "":
		return wrong("%q is not a name; want letters, digits and - . _ with a letter or digit in front (discovery.service takes any name of the registry)", s)
	}
	return nil
}

// checkInstance checks "10.0.0.1:8080 weight=2 zone=b".
func checkInstance(s string) *mistake {
	const mostWeight = 65535
	words := strings.Fields(s)
	if len(words) == 0 {
		return wrong(`is empty; want an address, such as "10.0.0.1:8080 weight=2 zone=b"`)
	}
	if m := parseTarget(words[0]); m != nil {
		return m
	}
	seen := make(map[string]bool)
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		switch {
		case !ok || value == "":
			return wrong(`%q: want weight=NUMBER or zone=NAME after the address, got %q`, s, word)
		case key != "weight" && key != "zone":
			m := wrong(`%q: %q is not known; want weight=NUMBER or zone=NAME after the address`, s, key)
			m.suggestion = nearest(key, []string{"weight", "zone"})
			return m
		case seen[key]:
			return wrong("%q: %s is there twice", s, key)
		}
		seen[key] = true
		if n, err := strconv.Atoi(value); key == "weight" && (err != nil || n < 1 || n > mostWeight) {
			return wrong("%q: weight %q is not a number from 1 to %d", s, value, mostWeight)
		}
	}
	return nil
}

func (f *field) checkRetry(s string) *mistake {
	words := []string{
		RetryConnect, RetryReset, RetryRefusedStream, RetryTimeout,
		RetryCancelled, RetryDeadlineExceeded, RetryInternal, RetryResourceExhausted, RetryUnavailable,
	}
	words = slices.DeleteFunc(words, func(word string) bool { return slices.Contains(f.later, word) })
	allowed := "allowed are " + enumerate(append(slices.Clone(words), "statuses from 500 to 599"))
	if slices.Contains(words, s) {
		return nil
	}
	if slices.Contains(f.later, s) {
		return wrong("%q is not available in this version; %s", s, allowed)
	}
	if len(s) == 3 && s[0] == '5' && only(s, isDigit) {
		return nil
	}
	m := wrong("%q is not known; %s", s, allowed)
	m.suggestion = nearest(s, words)
	return m
}

// checkRegexp checks a regular expression.
func checkRegexp(s string) *mistake {
	_, err := regexp.Compile(s)
	var bad *syntax.Error
	switch {
	case errors.As(err, &bad):
		return wrong("%q is not a regular expression: %s: %q", s, string(bad.Code), bad.Expr)
	case err != nil:
		return wrong("%q is not a regular expression", s)
	}
	return nil
}

func only(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func isNameByte(b byte) bool {
	return b == '-' || b == '_' || isDigit(b) || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
