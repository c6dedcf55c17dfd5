package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one mistake in the file or in the environment.
type Problem struct {
	// File is where it is, as the file was named to Load; empty for a variable.
	File string
	// Line counts from 1; 0 when the file as a whole is meant, or a variable.
	Line int
	// Column counts bytes from 1. Only mistakes of TOML itself have one.
	Column int
	// Variable is the environment variable that is wrong, or empty.
	Variable string
	// Key is the path of the key, such as "service[0].retry.attempts"; empty when no key
	// can be named.
	Key string
	// Service and Register are the name of the service, or of the announcement, that Key
	// belongs to, where it is known.
	Service  string
	Register string
	// Message says what is wrong and what would be right.
	Message string
	// Suggestion is the nearest thing that is known: a key, a variable or a value. It is
	// empty when nothing is near.
	Suggestion string
}

// String is the problem in one line:
//
//	config.toml:12: service "orders": retry.atempts: unknown key; did you mean "attempts"?
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.Variable != "":
		b.WriteString(p.Variable + ": ")
	case p.Column > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	case p.File != "":
		b.WriteString(p.File + ": ")
	}
	key := p.Key
	if p.Service != "" || p.Register != "" {
		if p.Register != "" {
			fmt.Fprintf(&b, "register %q: ", p.Register)
		} else {
			fmt.Fprintf(&b, "service %q: ", p.Service)
		}
		if _, rest, ok := strings.Cut(key, "."); ok {
			key = rest
		} else {
			key = ""
		}
	}
	if key != "" {
		b.WriteString(key + ": ")
	}
	b.WriteString(p.Message)
	if p.Suggestion != "" {
		fmt.Fprintf(&b, "; did you mean %q?", p.Suggestion)
	}
	return b.String()
}

// Errors is every mistake of a configuration: those of the file by line, then those of the
// environment by variable. There is at least one.
type Errors struct {
	Problems []Problem
}

// Error is all problems, one line each.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sortProblems brings problems into the order in which they are reported, each once.
func sortProblems(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Variable, b.Variable),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	return slices.Compact(problems)
}
