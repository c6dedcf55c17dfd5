package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// Words that an access log's path and format may be.
const (
	AccessLogStdout   = "stdout"
	AccessLogStderr   = "stderr"
	AccessLogJSON     = "json"
	AccessLogCombined = "combined"
)

// logVariables are what a format may use. Package accesslog, which knows their values, has a
// test that the two agree: a mistake is told here, with its line.
var logVariables = []string{
	"time", "time_clf", "service", "client", "client_ip", "method", "target", "path", "query", "protocol", "request", "host",
	"status", "grpc_status", "bytes_in", "bytes_out", "body_out", "duration", "first_byte", "attempts", "tries", "endpoint", "flag", "trace_id",
	"tunnel", "referer", "user_agent",
}

// AccessLogVariables are the variables that the format of the access log may use.
func AccessLogVariables() []string { return slices.Clone(logVariables) }

// checkLogPath refuses what is a folder by its name, and words that were meant to be another.
func checkLogPath(s string) *mistake {
	if s == "" || s == AccessLogStdout || s == AccessLogStderr {
		return nil
	}
	if strings.HasSuffix(s, "/") {
		return wrong("%q is a folder; want a file in it", s)
	}
	if !strings.Contains(s, "/") && !strings.Contains(s, ".") {
		m := wrong("%q is neither stdout nor stderr; write a file's whole path, such as %q", s, filepath.Join("/var/log/sidecar", s))
		m.suggestion = nearest(s, []string{AccessLogStdout, AccessLogStderr})
		return m
	}
	return nil
}

// checkLogFormat checks a format: json, combined or a line with variables, $name or ${name}
// ($$ is a dollar).
func checkLogFormat(s string) *mistake {
	words := []string{AccessLogJSON, AccessLogCombined}
	if slices.Contains(words, s) {
		return nil
	}
	found := false
	for _, rest, dollar := strings.Cut(s, "$"); dollar; _, rest, dollar = strings.Cut(rest, "$") {
		if after, escaped := strings.CutPrefix(rest, "$"); escaped {
			rest = after
			continue
		}
		name, behind, m := logVariable(rest)
		if m != nil {
			return m
		}
		if !slices.Contains(logVariables, name) {
			m := wrong("variable %q is not known", "$"+name)
			if near := nearest(name, logVariables); near != "" {
				m.suggestion = "$" + near
			}
			return m
		}
		found, rest = true, behind
	}
	if !found {
		m := wrong("%q has no variable; want json, combined or a line such as %q", s, "$client $method $path $status $flag")
		m.suggestion = nearest(s, words)
		return m
	}
	return nil
}

// logVariable takes the name of a variable from what follows its dollar.
func logVariable(s string) (name, behind string, m *mistake) {
	if inner, braces := strings.CutPrefix(s, "{"); braces {
		name, behind, closed := strings.Cut(inner, "}")
		if !closed {
			return "", "", wrong(`has "${" without "}"`)
		}
		return name, behind, nil
	}
	behind = strings.TrimLeft(s, "abcdefghijklmnopqrstuvwxyz0123456789_")
	if name = s[:len(s)-len(behind)]; name == "" {
		return "", "", wrong(`has "$" without a name; write $$ for a dollar`)
	}
	return name, behind, nil
}
