// Package dns watches services in DNS: the addresses of a name (A and AAAA), or its SRV
// records with the addresses of the hosts they name.
//
// One Resolver serves the whole process. It asks the servers itself, because the standard
// library does not tell how long an answer holds. A lookup goes five steps:
//
//	settings   resolv.conf and hosts, read again when they have changed
//	ask        each question whose last answer has run out: UDP with EDNS0, then TCP if cut off
//	read       message → records: aliases followed, negative answers told from faults
//	convert    records → instances; what cannot be used becomes a problem
//	report     a complete set, or why there is none; the next lookup when the first answer runs out
//
// Only a server that has answered properly is believed: NXDOMAIN is an unknown service, a name
// without records of the type asked for is a known service without instances, and everything
// else (SERVFAIL, REFUSED, silence, an answer that is cut off or about something else) is a
// failed lookup once all servers were tried, after which the last set stands.
package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"sidecar/discovery"
)

const (
	// DefaultMinTTL is how long an answer counts at least.
	DefaultMinTTL = time.Second
	// DefaultMaxTTL is how long an answer counts at most, and so how late a change can be seen
	// although the records say a day.
	DefaultMaxTTL = time.Minute
	// DefaultTimeout is that of one question to one server. libc's is 5 s, after which updates
	// would resume too late when a server is back.
	DefaultTimeout = 2 * time.Second

	// maxInFlight questions are under way at once, each with a socket of its own.
	maxInFlight = 256
)

// Options say who is asked and for how long answers count. The zero value asks the servers of
// the system.
type Options struct {
	// Servers are the DNS servers, each "ip:port" or "ip" for port 53, in order of preference.
	// Empty means those of ResolvConf. The search list and the options stand there in either case.
	Servers []string
	// MinTTL and MaxTTL are how long an answer counts at least and at most. Zero means
	// DefaultMinTTL and DefaultMaxTTL.
	MinTTL, MaxTTL time.Duration
	// Timeout is how long one server may take for one question, over UDP and again over TCP. A
	// shorter one in ResolvConf goes before it. Zero means DefaultTimeout.
	Timeout time.Duration
	// ResolvConf and Hosts are the system's files, empty for those in /etc. One that does not
	// exist counts as empty.
	ResolvConf, Hosts string

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests; nil: the network
}

// A Resolver asks DNS servers. It is for concurrent use by all Sources of the process.
type Resolver struct {
	minTTL, maxTTL, timeout time.Duration
	dial                    func(ctx context.Context, network, address string) (net.Conn, error)
	slots                   chan struct{} // one for each question under way

	given []string // servers that go before those of resolv.conf; none: those

	mu         sync.Mutex // guards what follows
	resolvConf file
	hostsFile  file
	settings   *settings
	hosts      hosts
}

// New returns a Resolver. It asks nothing: servers that cannot be reached are no error here
// but one of every lookup, until they can be.
func New(o Options) (*Resolver, error) {
	r := &Resolver{
		minTTL:     o.MinTTL,
		maxTTL:     o.MaxTTL,
		timeout:    o.Timeout,
		dial:       o.dial,
		slots:      make(chan struct{}, maxInFlight),
		resolvConf: file{path: o.ResolvConf},
		hostsFile:  file{path: o.Hosts},
	}
	if r.minTTL == 0 {
		r.minTTL = DefaultMinTTL
	}
	if r.maxTTL == 0 {
		r.maxTTL = max(DefaultMaxTTL, r.minTTL)
	}
	if r.timeout == 0 {
		r.timeout = DefaultTimeout
	}
	if r.dial == nil {
		r.dial = (&net.Dialer{}).DialContext
	}
	if r.resolvConf.path == "" {
		r.resolvConf.path = "/etc/resolv.conf"
	}
	if r.hostsFile.path == "" {
		r.hostsFile.path = "/etc/hosts"
	}
	switch {
	case r.minTTL < 0 || r.maxTTL < r.minTTL:
		return nil, fmt.Errorf("dns: min_ttl %v and max_ttl %v are no range; write a smaller one and a larger one", r.minTTL, r.maxTTL)
	case r.timeout < 0:
		return nil, fmt.Errorf("dns: timeout %v is less than nothing; write one such as 2s", r.timeout)
	}
	for _, text := range o.Servers {
		server, err := serverAddress(text)
		if err != nil {
			return nil, fmt.Errorf("dns: server %q: %w", text, err)
		}
		r.given = append(r.given, server)
	}
	return r, nil
}

// serverAddress reads "ip" or "ip:port", of which the port may be left out.
func serverAddress(text string) (string, error) {
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return netip.AddrPortFrom(addr, 53).String(), nil
	}
	addrPort, err := netip.ParseAddrPort(text)
	if err != nil || addrPort.Port() == 0 {
		return "", fmt.Errorf("it is no IP address with or without a port; write one such as 10.0.0.2 or [fd00::2]:53")
	}
	return addrPort.String(), nil
}

// current returns what the system's files say now. Neither value changes afterwards.
func (r *Resolver) current() (*settings, hosts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if text, changed := r.resolvConf.changed(); changed {
		r.settings = newSettings(text, hostname(), r.given, r.timeout, r.resolvConf.path)
	}
	if text, changed := r.hostsFile.changed(); changed {
		r.hosts = parseHosts(text)
	}
	return r.settings, r.hosts
}

// A Query says what is looked up.
type Query struct {
	// Name is the name that is looked up. The search list of resolv.conf applies to it unless it
	// ends with a dot; a name of that list that no server answers for ends the lookup, since the
	// next could be another service's. With Type a it may be an IP address, which is a set of one.
	Name string
	// Type is "a" for the name's addresses (A and AAAA), looked for in the hosts file first, or
	// "srv" for its SRV records.
	Type string
	// Port is that of all instances with Type a, 1 to 65535. SRV records bring theirs.
	Port int
}

// check tells what is wrong with a query that no server could answer.
func (q Query) check() error {
	const step = "correct service.discovery.dns.name"
	_, isAddress := q.address()
	switch {
	case q.Type != "a" && q.Type != "srv":
		return fmt.Errorf("type %q is neither a nor srv; correct service.discovery.dns.type", q.Type)
	case q.Type == "a" && (q.Port < 1 || q.Port > 65535):
		return fmt.Errorf("port %d is not from 1 to 65535; set service.discovery.dns.port", q.Port)
	case isAddress && q.Type == "srv":
		return fmt.Errorf("an IP address has no SRV records; use type a, or %s", step)
	case isAddress:
		return nil
	case strings.ContainsFunc(q.Name, func(r rune) bool { return r >= 0x80 }):
		return fmt.Errorf("the name is not ASCII; write its form that begins with xn--")
	}
	if _, ok := dns.IsDomainName(q.Name); !ok || q.Name == "." || strings.ContainsFunc(q.Name, notInName) {
		return fmt.Errorf("that is no domain name; %s", step)
	}
	return nil
}

// address is the name if it is an IP address.
func (q Query) address() (netip.Addr, bool) {
	addr, err := netip.ParseAddr(q.Name)
	return addr, err == nil
}

// notInName allows what host names and the names of services are made of.
func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		return false
	}
	return true
}

// Source returns the Source of what q asks for; it is a discovery.Refresher. It looks up when
// the first of the answers that it holds runs out, and at most once per second. Several
// addresses of a name are several instances, of one weight; their ID is "ip:port".
//
// Of SRV records (RFC 2782) those with the lowest priority number are the set, the others are
// standbys that are not used; a weight of 0 counts as 1; Meta["host"] of an instance is the
// host that its record names.
func (r *Resolver) Source(q Query) discovery.Source {
	return &source{resolver: r, query: q, refresh: make(chan struct{}, 1)}
}
