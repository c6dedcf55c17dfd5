package h1

// Form is the form of a request target (RFC 9112 §3.2).
type Form uint8

// The forms.
const (
	FormOrigin    Form = iota // /path?query
	FormAbsolute              // http://host/path?query
	FormAuthority             // host:port, for CONNECT only
	FormAsterisk              // *, for OPTIONS only
)

// target takes the request target apart: Form, Path, Authority, Secure.
func (r *Request) target() *fault {
	t := r.Target
	if r.MethodID == MethodConnect {
		r.Form, r.Authority = FormAuthority, t
		if host, ok := splitPort(t); !ok || len(host) == 0 || len(host)+1 >= len(t) {
			return faultAuthority
		}
		return nil
	}
	switch {
	case t[0] == '/':
		r.Form, r.Path = FormOrigin, t
		return nil
	case len(t) == 1 && t[0] == '*':
		r.Form, r.Path = FormAsterisk, t
		if r.MethodID != MethodOptions {
			return faultAsterisk
		}
		return nil
	}
	return r.absolute(t)
}

// absolute takes an absolute-form target apart (RFC 9112 §3.2.2). User
// information in it is refused (RFC 9110 §4.2.4), and so is an empty host
// (§4.2.1).
func (r *Request) absolute(t []byte) *fault {
	var rest []byte
	switch {
	case len(t) >= 7 && equalFold(t[:7], "http://"):
		rest = t[7:]
	case len(t) >= 8 && equalFold(t[:8], "https://"):
		rest = t[8:]
		r.Secure = true
	default:
		for i, c := range t {
			if c == ':' && i > 0 {
				return faultScheme
			}
			if !is(c, charToken) {
				break
			}
		}
		return faultTarget
	}
	n := 0
	for n < len(rest) && rest[n] != '/' && rest[n] != '?' {
		n++
	}
	r.Form, r.Authority, r.Path = FormAbsolute, rest[:n], rest[n:]
	if host, ok := splitPort(r.Authority); !ok || len(host) == 0 {
		return faultHost
	}
	return nil
}

// splitPort checks uri-host [ ":" port ] (RFC 9110 §7.2, RFC 3986 §3.2.2) and
// returns the host, which may be empty.
func splitPort(b []byte) (host []byte, ok bool) {
	i := 0
	if len(b) > 0 && b[0] == '[' {
		i = literalEnd(b)
		if i == 0 {
			return nil, false
		}
	} else {
		for i < len(b) {
			if is(b[i], charName) {
				i++
				continue
			}
			if b[i] != '%' {
				break
			}
			if i+2 >= len(b) || !is(b[i+1], charHex) || !is(b[i+2], charHex) {
				return nil, false
			}
			i += 3
		}
	}
	host = b[:i]
	if i == len(b) {
		return host, true
	}
	if b[i] != ':' || i == 0 {
		return nil, false
	}
	for _, c := range b[i+1:] {
		if !is(c, charDigit) {
			return nil, false
		}
	}
	return host, true
}

// literalEnd returns the length of the IP literal that b begins with, brackets
// included, or 0. Of an IPv6 address it checks the alphabet only: the host is
// passed on, not dialled.
func literalEnd(b []byte) int {
	future := len(b) > 1 && (b[1] == 'v' || b[1] == 'V')
	colons := 0
	for i := 1; i < len(b); i++ {
		c := b[i]
		switch {
		case c == ']':
			if i < 3 || colons == 0 && !future {
				return 0
			}
			return i + 1
		case c == ':':
			colons++
		case future && is(c, charName), is(c, charHex), c == '.':
		default:
			return 0
		}
	}
	return 0
}
