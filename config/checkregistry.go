package config

import (
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// checkRegistry checks a string that says where a registry is, or what is asked of it.
func (f *field) checkRegistry(s string) *mistake {
	var m *mistake
	switch f.check {
	case "consul":
		_, _, m = parseConsul(s)
	case "server", "server_path":
		_, _, m = f.parseServer(s)
	case "redis":
		_, m = parseRedis(s)
	case "kubernetes":
		_, m = parseKubernetes(s)
	case "dns_server":
		m = checkDNSServer(s)
	case "host_name":
		m = checkHostName(s)
	case "reachable":
		m = checkReachable(s)
	case "dialled":
		if s != "" {
			m = parseTarget(s)
		}
	case "label":
		if s != "" && !isLabel(s) {
			m = wrong("%q is not a name of Kubernetes; want at most 63 small letters, digits and - with a letter or digit at both ends", s)
		}
	case "port_name":
		m = checkPortName(s)
	case "file":
		m = checkInstanceFile(s)
	case "meta":
		m = checkMeta(s)
	default:
		m = f.checkTransport(s)
	}
	return m
}

// serverURL takes http://host:port/path apart; scheme and path may be missing, and the port as
// well where there is a scheme. User says what to do instead of writing a user into it. What may
// be a password is in no message.
func serverURL(s, forms, user string) (host, port, scheme, rest string, m *mistake) {
	authority := s
	if before, after, ok := strings.Cut(s, "://"); ok {
		scheme, authority = before, after
	}
	if strings.Contains(s, "@") {
		return "", "", "", "", wrong("has a user or a password, %s", user)
	}
	if scheme != "" && scheme != "http" && scheme != "https" {
		return "", "", "", "", wrong("%q: scheme %q is not known; %s", s, scheme, forms)
	}
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority, rest = authority[:i], strings.TrimRight(authority[i:], "/")
	}
	host, port, m = splitHostPort(authority)
	if m != nil && scheme != "" && !strings.HasSuffix(authority, ":") {
		// Nothing behind the host: it is read with a port that says so.
		if host, _, m = splitHostPort(authority + ":1"); m == nil {
			port = ""
		}
	} else if m == nil {
		if m := checkPort(s, port, 1); m != nil {
			return "", "", "", "", m
		}
	}
	switch {
	case m != nil:
		return "", "", "", "", wrong("%q is not an address; %s", s, forms)
	case !validHost(host):
		return "", "", "", "", wrong("%q: %q is neither an ip address nor a host name; %s", s, host, forms)
	}
	return host, port, scheme, rest, nil
}

// parseConsul reads the address of the Consul agent: "host:port" or "unix:///path", and whether
// its scheme says plain, TLS or nothing.
func parseConsul(s string) (address, scheme string, m *mistake) {
	if name, ok := cutSocket(s); ok {
		return "unix://" + name, "", socketPath(s, name)
	}
	const forms = `want host:port, http://host:port, https://host:port or unix:///path`
	host, port, scheme, rest, m := serverURL(s, forms, "which Consul does not take; use token_file")
	switch {
	case m != nil:
		return "", "", m
	case rest != "":
		return "", "", wrong("%q has a path, which is not supported; %s", s, forms)
	case port == "" && scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	return net.JoinHostPort(host, port), scheme, nil
}

// parseServer reads one of several servers of a registry: "host:port", with a path behind it where
// that may be, and the scheme if there is one.
func (f *field) parseServer(s string) (address, scheme string, m *mistake) {
	forms := `want host:port, http://host:port or https://host:port`
	host, port, scheme, rest, m := serverURL(s, forms, "which do not belong here; set username, and password or password_file")
	switch {
	case m != nil:
		return "", "", m
	case port == "":
		return "", "", wrong("%q has no port; %s", s, forms)
	case rest != "" && f.check == "server":
		return "", "", wrong("%q has a path, which is not supported; %s", s, forms)
	case strings.ContainsAny(rest, "?#") || rest != "" && checkPath(rest) != nil:
		return "", "", wrong("%q: %q is not a path", s, rest)
	}
	return net.JoinHostPort(host, port) + rest, scheme, nil
}

// parseRedis reads the address of a Redis server: "host:port" or "unix:/path".
func parseRedis(s string) (address string, m *mistake) {
	if name, ok := cutSocket(s); ok {
		return "unix:" + name, socketPath(s, name)
	}
	const forms = `want host:port or unix:///path`
	if strings.Contains(s, "@") {
		return "", wrong("has a user or a password, which do not belong here; set username, and password or password_file")
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return "", wrong("%q: %q is not taken here; %s (TLS is [redis.tls], the number is database)", s, scheme+"://", forms)
	}
	host, port, m := splitHostPort(s)
	if m != nil {
		return "", wrong("%q is not an address; %s", s, forms)
	}
	if m := checkPort(s, port, 1); m != nil {
		return "", m
	}
	if !validHost(host) {
		return "", wrong("%q: %q is neither an ip address nor a host name; %s", s, host, forms)
	}
	return net.JoinHostPort(host, port), nil
}

// parseKubernetes reads the address of an API server, and adds the scheme where there is none, or
// else the port.
func parseKubernetes(s string) (address string, m *mistake) {
	if s == "" {
		return "", nil
	}
	const forms = `want https://host:port`
	host, port, scheme, rest, m := serverURL(s, forms, "which do not belong here; use token_file")
	switch {
	case m != nil:
		return "", m
	case rest != "":
		return "", wrong("%q has a path, which is not supported; %s", s, forms)
	case port == "" && scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	if scheme == "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// cutSocket takes the path from unix:///path or unix:/path.
func cutSocket(s string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(s, "unix:")
	return strings.TrimPrefix(rest, "//"), ok
}

// checkDNSServer checks "ip" or "ip:port". A name would have to be looked up first.
func checkDNSServer(s string) *mistake {
	const forms = `want ip or ip:port, such as "10.0.0.2" or "[fd00::2]:53"`
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	host, port, m := splitHostPort(s)
	if m != nil {
		return wrong("%q is not an address; %s", s, forms)
	}
	if m := checkPort(s, port, 1); m != nil {
		return m
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return wrong("%q: %q is not an ip address; %s", s, host, forms)
	}
	return nil
}

// checkHostName checks what can be looked up: a name, or an address that need not be. Empty is
// nothing to look up.
func checkHostName(s string) *mistake {
	if s != "" && !validHost(s) {
		return wrong(`%q is not the name of a host; want one such as "orders.internal", without a port`, s)
	}
	return nil
}

// checkReachable checks what others are told to connect to: an ip address or a host name.
func checkReachable(s string) *mistake {
	const forms = `want an ip address or a host name, such as "10.0.0.1"`
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	ip, err := netip.ParseAddr(bare)
	switch {
	case s == "":
		return nil
	case err == nil && bare != s:
		return wrong("%q: brackets belong around an address with a port; write %q", s, bare)
	case err == nil && ip.IsUnspecified():
		return wrong("%q is every address of this host, and none that others can connect to; name one, or leave it empty for that of the Consul agent", s)
	case err == nil && ip.Zone() != "":
		return wrong("%q has a zone, which means nothing on other hosts; %s", s, forms)
	case err == nil:
		return nil
	}
	if host, _, m := splitHostPort(s); m == nil && validHost(host) {
		return wrong("%q has a port, which belongs into port; write %q", s, host)
	}
	if !validHost(s) {
		return wrong("%q is neither an ip address nor a host name; %s", s, forms)
	}
	return nil
}

func isLabel(s string) bool {
	return len(s) <= 63 && strings.Trim(s[:1]+s[len(s)-1:], "-") == s[:1]+s[len(s)-1:] && only(s, func(b byte) bool {
		return b == '-' || isDigit(b) || b >= 'a' && b <= 'z'
	})
}

func checkPortName(s string) *mistake {
	switch {
	case s == "":
		return nil
	case only(s, isDigit):
		return checkPort(s, s, 1)
	case !isLabel(s):
		return wrong(`%q is neither the name of a port nor its number; want for example "http" or "8080"`, s)
	}
	return nil
}

func checkInstanceFile(s string) *mistake {
	endings := []string{".json", ".toml"}
	switch {
	case s == "":
		return nil
	case !path.IsAbs(s):
		return wrong("%q is relative, and to what depends on who starts this; want an absolute path, such as %q", s, path.Join("/etc/sidecar", s))
	case !slices.Contains(endings, path.Ext(s)):
		return wrong("%q ends in neither .json nor .toml, which says how it is to be read", s)
	}
	return nil
}

// checkMeta checks "key=value", within what Consul takes.
func checkMeta(s string) *mistake {
	const longestKey, longestValue = 128, 512
	key, value, ok := strings.Cut(s, "=")
	switch {
	case !ok:
		return wrong("%q: want key=value", s)
	case key == "" || len(key) > longestKey || !only(key, isNameByte):
		return wrong("%q: %q is not a key; want at most %s letters, digits and - _", s, key, strconv.Itoa(longestKey))
	case len(value) > longestValue:
		return wrong("%q: the value has %d bytes; want at most %d", s, len(value), longestValue)
	}
	return nil
}
