package config

import (
	"cmp"
	"mime"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkHTTP checks a string that is of HTTP.
func (f *field) checkHTTP(s string) *mistake {
	switch f.check {
	case "path":
		return checkPath(s)
	case "host":
		return checkHost(s)
	case "pseudonym":
		if s != "" && !only(s, isTokenByte) {
			return wrong("%q is not a pseudonym; want letters, digits and - . _ without blanks", s)
		}
	case "field_name":
		if s != "" && !only(s, isTokenByte) {
			return wrong(`%q is not the name of a header; want letters, digits and - without blanks, such as "X-Timeout-Ms"`, s)
		}
	case "hash_key":
		return checkHashKey(s)
	case "header":
		return checkHeader(s, strings.TrimSuffix(f.path, f.key)+"host")
	case "statuses":
		return checkStatuses(s)
	case "media_type":
		return checkMediaType(s)
	case "trace_url":
		return checkTraceURL(s)
	default:
		return f.checkRegistry(s)
	}
	return nil
}

// checkTraceURL checks where spans go.
func checkTraceURL(s string) *mistake {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return wrong(`%q is not a URL of OTLP over HTTP; want one such as "http://127.0.0.1:4318"`, s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return wrong("%q has more than scheme, host, port and path", s)
	}
	return nil
}

func checkPath(s string) *mistake {
	switch {
	case !strings.HasPrefix(s, "/"):
		return wrong("%q does not begin with a slash; write %q", s, "/"+s)
	case !only(s, func(b byte) bool { return b > ' ' && b < 0x7f }):
		return wrong("%q has a blank or a character that must be written as %%XX", s)
	case strings.Contains(s, "#"):
		return wrong("%q has a fragment; servers never see what follows #", s)
	}
	return nil
}

// checkHost checks what is sent as Host: a name or an ip address, with or without a port.
func checkHost(s string) *mistake {
	if s == "" {
		return nil
	}
	var host string
	if h, port, err := net.SplitHostPort(s); err == nil {
		if m := checkPort(s, port, 1); m != nil {
			return m
		}
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	}
	if !validHost(host) || strings.Contains(host, ":") != strings.HasPrefix(s, "[") {
		return wrong(`%q is not a host; want a name or an ip address, with or without a port, such as "orders.internal:8080"`, s)
	}
	return nil
}

func checkHashKey(s string) *mistake {
	const allowed = "allowed are client, path, header:NAME and cookie:NAME"
	if s == HashClient || s == HashPath {
		return nil
	}
	for _, prefix := range []string{HashHeader, HashCookie} {
		name, ok := strings.CutPrefix(s, prefix)
		switch {
		case ok && name == "":
			return wrong("%q has no name; %s", s, allowed)
		case ok && !only(name, isTokenByte):
			return wrong("%q: %q is not a name; want letters, digits and - _ without blanks", s, name)
		case ok:
			return nil
		}
	}
	m := wrong("%q is not known; %s", s, allowed)
	kind, name, _ := strings.Cut(s, ":")
	m.suggestion = nearest(kind+":", []string{HashHeader, HashCookie})
	switch {
	case m.suggestion == "":
		m.suggestion = nearest(s, []string{HashClient, HashPath})
	case only(name, isTokenByte):
		m.suggestion += cmp.Or(name, "NAME")
	}
	return m
}

// checkHeader checks "Name: value". What a probe must write itself, and what would change where
// its request ends, is refused. Host is the key that a Host belongs into.
func checkHeader(s, host string) *mistake {
	const form = `want "Name: value"`
	name, value, ok := strings.Cut(s, ":")
	switch {
	case !ok:
		return wrong("%q has no colon; %s", s, form)
	case name == "" || !only(name, isTokenByte):
		return wrong("%q: %q is not the name of a header; %s", s, name, form)
	case strings.TrimSpace(value) == "":
		return wrong("%q has no value; %s", s, form)
	case strings.EqualFold(name, "Host"):
		return wrong("%q: write %s instead", s, host)
	}
	own := []string{"Connection", "Content-Length", "Expect", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade"}
	if slices.ContainsFunc(own, func(o string) bool { return strings.EqualFold(o, name) }) {
		return wrong("%q: %s is up to the sidecar; remove it", s, name)
	}
	return nil
}

// checkStatuses checks "200-299,301". Blanks around the numbers do no harm.
func checkStatuses(s string) *mistake {
	const form = `want statuses and ranges of them from 200 to 599, such as "200-299,301"`
	if s == "" {
		return wrong("is empty; %s", form)
	}
	for item := range strings.SplitSeq(s, ",") {
		low, high, ok := strings.Cut(item, "-")
		if !ok {
			high = low
		}
		low, high = strings.TrimSpace(low), strings.TrimSpace(high)
		switch {
		case !isStatus(low) || !isStatus(high):
			return wrong("%q: %q is neither a status nor a range; %s", s, item, form)
		case low > high:
			return wrong("%q: %q ends before it begins; write %q", s, item, high+"-"+low)
		}
	}
	return nil
}

// isStatus tells whether s is a status that ends a response: 200 to 599.
func isStatus(s string) bool {
	return len(s) == 3 && s[0] >= '2' && s[0] <= '5' && only(s, isDigit)
}

func checkMediaType(s string) *mistake {
	kind, _, err := mime.ParseMediaType(s)
	main, sub, ok := strings.Cut(kind, "/")
	if err != nil || !ok || main == "" || sub == "" || !only(s, func(b byte) bool { return b >= ' ' && b < 0x7f }) {
		return wrong(`%q is not a media type; want type/subtype, such as "application/json"`, s)
	}
	return nil
}

// mostBody is how long the body of a fixed response may be.
const mostBody = 64 << 10

// checkBody checks the body of a fixed response, which may have several lines.
func checkBody(s string) *mistake {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }
	switch {
	case len(s) > mostBody:
		return wrong("has %d bytes; want at most %d", len(s), mostBody)
	case strings.ContainsFunc(s, control):
		return wrong("%s has a control character other than line breaks and tabs", strconv.Quote(clip(s)))
	case !utf8.ValidString(s):
		return wrong("%s is not UTF-8", strconv.Quote(clip(s)))
	}
	return nil
}

// isTokenByte tells what a token of HTTP is made of (RFC 9110, 5.6.2).
func isTokenByte(b byte) bool {
	return isNameByte(b) || strings.IndexByte("!#$%&'*+.^`|~", b) >= 0
}
