package dns

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxAliases is how many CNAME records in a row are followed.
const maxAliases = 8

// A verdict is what a proper answer says of a name and a type.
type verdict int

const (
	found   verdict = iota // there are records
	empty                  // the name exists, without records of the type (NODATA)
	unknown                // the name does not exist (NXDOMAIN)
)

// An answer is what is known of one question.
type answer struct {
	verdict verdict
	addrs   []netip.Addr  // of A and AAAA: sorted, each once
	hosts   []host        // of SRV: those in use, sorted, each once
	ttl     time.Duration // how long all of that holds

	// aliases were followed; alias, if not empty, is where they lead and the message says
	// nothing of.
	aliases int
	alias   string
}

// A host is what an SRV record names.
type host struct {
	name   string // canonical
	port   int
	weight int
	addrs  []netip.Addr // those that came with the record; none: they have to be asked for
}

// resolve answers a question, from as many messages as its aliases take.
func (r *Resolver) resolve(ctx context.Context, s *settings, q question) (answer, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	ttl, left := time.Duration(math.MaxInt64), maxAliases
	for {
		m, err := r.exchange(ctx, s, q)
		if err != nil {
			return answer{}, err
		}
		a, err := read(m, q, left)
		if err != nil {
			return answer{}, err
		}
		a.ttl = min(a.ttl, ttl)
		if a.alias == "" {
			return a, nil
		}
		q.name, ttl, left = a.alias, a.ttl, left-a.aliases
	}
}

// read takes from a message what it says of the question, following at most left aliases.
func read(m *dns.Msg, q question, left int) (answer, error) {
	a := answer{ttl: time.Duration(math.MaxInt64)}
	name := q.name
	for {
		records := owned(m.Answer, name, q.kind)
		if len(records) > 0 {
			return a, a.take(records, m.Extra)
		}
		aliases := owned(m.Answer, name, dns.TypeCNAME)
		if len(aliases) == 0 {
			break
		}
		if a.aliases == left {
			return answer{}, aliasError{q, maxAliases}
		}
		a.aliases++
		a.ttl = min(a.ttl, ttlOf(aliases[0]))
		name = dns.CanonicalName(aliases[0].(*dns.CNAME).Target)
	}
	soa, isSOA := negativeTTL(m.Ns)
	switch {
	case m.Rcode == dns.RcodeNameError:
		a.verdict = unknown // of the last name (RFC 6604, section 2.1)
	case a.aliases > 0 && !isSOA:
		a.alias = name
		return a, nil
	default:
		a.verdict = empty
	}
	a.ttl = min(a.ttl, soa)
	return a, nil
}

// take adds the records that a question is answered with.
func (a *answer) take(records, extra []dns.RR) error {
	for _, rr := range records {
		a.ttl = min(a.ttl, ttlOf(rr))
		addr, isAddress := addressIn(rr)
		srv, isSRV := rr.(*dns.SRV)
		if !isAddress && (!isSRV || srv.Target == "") {
			return fmt.Errorf("%w: a record without data", errMalformed)
		}
		if isAddress {
			a.addrs = append(a.addrs, addr)
		}
	}
	a.addrs = unique(a.addrs)
	a.hosts = inUse(records)
	came := make(map[string][]netip.Addr)
	for _, rr := range extra {
		name := dns.CanonicalName(rr.Header().Name)
		addr, ok := addressIn(rr)
		if !ok || !slices.ContainsFunc(a.hosts, func(h host) bool { return h.name == name }) {
			continue
		}
		came[name] = append(came[name], addr)
		a.ttl = min(a.ttl, ttlOf(rr))
	}
	for i := range a.hosts {
		a.hosts[i].addrs = unique(came[a.hosts[i].name])
	}
	return nil
}

// inUse are the hosts of the SRV records with the lowest priority number. The host "." says
// that there is none (RFC 2782).
func inUse(records []dns.RR) []host {
	var out []host
	lowest := math.MaxUint16 + 1
	for _, rr := range records {
		srv, ok := rr.(*dns.SRV)
		if !ok || srv.Target == "." || int(srv.Priority) > lowest {
			continue
		}
		if int(srv.Priority) < lowest {
			lowest, out = int(srv.Priority), nil
		}
		out = append(out, host{name: dns.CanonicalName(srv.Target), port: int(srv.Port), weight: max(int(srv.Weight), 1)})
	}
	// Servers shuffle what they answer, and the first of two records for one address counts.
	slices.SortFunc(out, compareHosts)
	return slices.CompactFunc(out, func(a, b host) bool { return compareHosts(a, b) == 0 })
}

func compareHosts(a, b host) int {
	if c := strings.Compare(a.name, b.name); c != 0 {
		return c
	}
	if c := a.port - b.port; c != 0 {
		return c
	}
	return b.weight - a.weight
}

// owned are the records of one name and type, of the Internet's class.
func owned(records []dns.RR, name string, kind uint16) []dns.RR {
	var out []dns.RR
	for _, rr := range records {
		h := rr.Header()
		if h.Rrtype == kind && h.Class == dns.ClassINET && dns.CanonicalName(h.Name) == name {
			out = append(out, rr)
		}
	}
	return out
}

// addressIn is the address in an A or AAAA record.
func addressIn(rr dns.RR) (netip.Addr, bool) {
	var ip net.IP
	switch rr := rr.(type) {
	case *dns.A:
		ip = rr.A
	case *dns.AAAA:
		ip = rr.AAAA
	}
	addr, ok := netip.AddrFromSlice(ip)
	return addr.Unmap(), ok
}

func unique(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// ttlOf is how long a record holds. One with the highest bit set is 0 (RFC 2181, section 8).
func ttlOf(rr dns.RR) time.Duration {
	seconds := rr.Header().Ttl
	if seconds > math.MaxInt32 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// negativeTTL is how long it holds that there is nothing: the smaller of the SOA record's TTL
// and its field MINIMUM (RFC 2308, section 5). Without an SOA record it is 0.
func negativeTTL(authority []dns.RR) (ttl time.Duration, ok bool) {
	for _, rr := range authority {
		if soa, ok := rr.(*dns.SOA); ok {
			minimum := &dns.SOA{Hdr: dns.RR_Header{Ttl: soa.Minttl}}
			return min(ttlOf(soa), ttlOf(minimum)), true
		}
	}
	return 0, false
}
