package config

import (
	"net/netip"
	"net/url"
	"strings"
)

// checkTransport checks a string that says who is at the other end of a socket.
func (f *field) checkTransport(s string) *mistake {
	switch f.check {
	case "network":
		return checkNetwork(s)
	case "server_name":
		return checkServerName(s)
	case "certificate_name":
		return checkCertificateName(s)
	default:
		panic("config: no such check: " + f.check) //nolint:forbidigo // only a programmer's mistake leads here
	}
}

// checkNetwork checks "ip/bits".
func checkNetwork(s string) *mistake {
	const form = `want ip/bits, such as "10.0.0.0/8" or "192.0.2.1/32"`
	p, err := netip.ParsePrefix(s)
	switch {
	case err == nil && p.Addr().Is4In6():
		return wrong("%q is IPv4 within IPv6, which clients never have here; write it as IPv4", s)
	case err == nil && p.Masked() != p:
		return wrong("%q has bits behind the first %d; write %q", s, p.Bits(), p.Masked().String())
	case err == nil:
		return nil
	}
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return wrong("%q is an address; write %q for it alone", s, netip.PrefixFrom(ip, ip.BitLen()).String())
	}
	return wrong("%q is not a network; %s", s, form)
}

// checkServerName checks a name that a TLS client may ask for, or "*." and what follows the first
// label of many.
func checkServerName(s string) *mistake {
	const form = `want the name of a host, such as "orders.example" or "*.orders.example"`
	name := strings.TrimPrefix(s, "*.")
	if _, err := netip.ParseAddr(name); err == nil {
		return wrong("%q is an ip address, which clients do not send as a name; %s", s, form)
	}
	if !validHost(name) || strings.HasSuffix(name, ".") {
		return wrong("%q is not a name; %s", s, form)
	}
	return nil
}

// checkCertificateName checks a name that a client's certificate may have: a DNS name, with "*." for
// one label, or a URI.
func checkCertificateName(s string) *mistake {
	const form = `want a DNS name, such as "orders.internal" or "*.orders.internal", or a URI, such as "spiffe://internal/orders"`
	if strings.Contains(s, "://") {
		if u, err := url.Parse(s); err != nil || u.Scheme == "" || u.Host == "" || u.String() != s || strings.Contains(s, "*") {
			return wrong("%q is not a URI as certificates have it, and is compared as it is; %s", s, form)
		}
		return nil
	}
	name := strings.TrimPrefix(s, "*.")
	if _, err := netip.ParseAddr(name); err == nil {
		return wrong("%q is an ip address, which is not looked for in certificates of clients; %s", s, form)
	}
	if !validHost(name) || strings.HasSuffix(name, ".") {
		return wrong("%q is a name that no certificate has; %s", s, form)
	}
	return nil
}
