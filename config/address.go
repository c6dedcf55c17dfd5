package config

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// An Address is where a socket listens. The zero Address is none.
type Address struct {
	// Network is "tcp", "unix", "systemd" for a socket that was inherited, or empty for none.
	Network string
	// Addr is "ip:port", the absolute path of the unix socket, or the name of the inherited one
	// (FileDescriptorName= in its unit).
	Addr string
}

// String is the address as it stands in the file: "127.0.0.1:7001", "unix:/run/x.sock", "systemd:orders", or "".
func (a Address) String() string {
	if a.Network == "unix" || a.Network == "systemd" {
		return a.Network + ":" + a.Addr
	}
	return a.Addr
}

// MarshalText is String.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// IsZero tells whether there is no address.
func (a Address) IsZero() bool { return a == Address{} }

// AddrPort is the address of a "tcp" socket, and not valid for any other. Port 0 lets the system
// choose one.
func (a Address) AddrPort() netip.AddrPort {
	if a.Network != "tcp" {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return netip.AddrPort{}
	}
	return ap
}

// longestSocketPath is what fits into a sockaddr_un, with the zero byte at its end.
const longestSocketPath = 107

const listenForms = `want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`

// parseListen reads an address to listen on.
func parseListen(s string) (Address, *mistake) {
	if m := plain(s, strconv.Quote(clip(s))); m != nil {
		return Address{}, m
	}
	switch {
	case s == "":
		return Address{}, wrong("is empty; %s", listenForms)
	case strings.HasPrefix(s, "systemd:"):
		name := strings.TrimPrefix(s, "systemd:")
		if m := descriptorName(s, name); m != nil {
			return Address{}, m
		}
		return Address{Network: "systemd", Addr: name}, nil
	case strings.HasPrefix(s, "unix:"):
		name := strings.TrimPrefix(s, "unix:")
		if m := socketPath(s, name); m != nil {
			return Address{}, m
		}
		return Address{Network: "unix", Addr: path.Clean(name)}, nil
	case strings.HasPrefix(s, "/"):
		return Address{}, wrong("%q looks like a socket's path; write %q", s, "unix:"+s)
	case strings.Contains(s, "://"):
		return Address{}, wrong("%q is a URL; %s", s, listenForms)
	}

	host, port, m := splitHostPort(s)
	if m != nil {
		return Address{}, wrong("%s; %s", m.message, listenForms)
	}
	if m := checkPort(s, port, 0); m != nil {
		return Address{}, m
	}
	if host == "" {
		return Address{}, wrong("%q has no ip address; write %q for this host only or %q for every interface",
			s, "127.0.0.1:"+port, "0.0.0.0:"+port)
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return Address{}, wrong("%q: %q is not an ip address; %s", s, host, listenForms)
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	return Address{Network: "tcp", Addr: netip.AddrPortFrom(ip.Unmap(), uint16(n)).String()}, nil
}

// splitHostPort takes host:port apart; an IPv6 host loses its brackets.
func splitHostPort(s string) (host, port string, m *mistake) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, after, ok := strings.Cut(rest, "]")
		if !ok {
			return "", "", wrong("%q has no closing bracket", s)
		}
		port, ok := strings.CutPrefix(after, ":")
		if !ok {
			return "", "", wrong("%q has no port", s)
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return "", "", wrong("%q: %q is not an IPv6 address", s, host)
		}
		return host, port, nil
	}
	switch strings.Count(s, ":") {
	case 0:
		return "", "", wrong("%q has no port", s)
	case 1:
		host, port, _ = strings.Cut(s, ":")
		return host, port, nil
	default:
		return "", "", wrong("%q: an IPv6 address stands in brackets, such as \"[::1]:7001\"", s)
	}
}

// checkPort checks the port of address s.
func checkPort(s, port string, least uint64) *mistake {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n < least {
		return wrong("%q: port %q is not a number from %d to 65535", s, port, least)
	}
	return nil
}

// descriptorName checks the name of an inherited socket in address s, as systemd does
// (systemd.socket(5), FileDescriptorName=).
func descriptorName(s, name string) *mistake {
	if name == "" || len(name) > 255 {
		return wrong("%q: the name of an inherited socket has 1 to 255 characters, such as \"systemd:orders\"", s)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return wrong("%q: the name of an inherited socket has neither blanks nor colons nor letters beyond ASCII", s)
		}
	}
	return nil
}

// socketPath checks the path of a unix socket in address s.
func socketPath(s, name string) *mistake {
	switch {
	case !strings.HasPrefix(name, "/"):
		return wrong("%q: a socket's path is absolute, such as \"unix:/run/sidecar/orders.sock\"", s)
	case strings.HasSuffix(name, "/"):
		return wrong("%q names a folder; a socket is a file, such as \"unix:/run/sidecar/orders.sock\"", s)
	case len(name) > longestSocketPath:
		return wrong("%q: a socket's path has at most %d bytes, this one has %d", s, longestSocketPath, len(name))
	}
	return nil
}

// parseTarget checks what can be connected to: ip:port, host:port, or unix:/path.
func parseTarget(s string) *mistake {
	const forms = `want ip:port, host:port or unix:/path, such as "10.0.0.1:8080"`
	if name, ok := strings.CutPrefix(s, "unix:"); ok {
		return socketPath(s, name)
	}
	if _, _, ok := strings.Cut(s, "://"); ok {
		return wrong("%q is a URL; %s", s, forms)
	}
	host, port, m := splitHostPort(s)
	if m != nil {
		return wrong("%s; %s", m.message, forms)
	}
	if m := checkPort(s, port, 1); m != nil {
		return m
	}
	if !validHost(host) {
		return wrong("%q: %q is neither an ip address nor a host name; %s", s, host, forms)
	}
	return nil
}

// validHost tells whether s is an ip address, or could be the name of a host.
func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || !only(label, isNameByte) {
			return false
		}
	}
	return true
}

// overlap tells whether two sockets cannot listen at the same time. [::] takes IPv4 as well, as
// the system's default has it.
func overlap(a, b Address) bool {
	if a.Network != b.Network {
		return false
	}
	if a.Network != "tcp" {
		return a.Addr == b.Addr
	}
	x, y := a.AddrPort(), b.AddrPort()
	if x.Port() != y.Port() || x.Port() == 0 {
		return false
	}
	return x.Addr() == y.Addr() || covers(x.Addr(), y.Addr()) || covers(y.Addr(), x.Addr())
}

// covers tells whether a stands for every address of the kind of b.
func covers(a, b netip.Addr) bool { return a.IsUnspecified() && (a.Is6() || b.Is4()) }

// A mistake is what is wrong with a value.
type mistake struct {
	message    string
	suggestion string
}

// wrong makes a mistake; texts of immoderate length are cut short.
func wrong(format string, args ...any) *mistake {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = clip(s)
		}
	}
	return &mistake{message: fmt.Sprintf(format, args...)}
}

// notYet is the mistake of a key that is known, and has no effect yet.
func notYet() *mistake { return wrong("is not available in this version") }

// clip cuts a text that is too long for a message.
func clip(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
