package dns

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"sidecar/discovery"
)

const (
	// hostsTTL is how soon a change of the hosts file is seen for a name that stands there.
	hostsTTL = 5 * time.Second
	// maxHosts is of how many hosts in SRV records the addresses are asked for.
	maxHosts = 1024
	// maxProblems are told of one lookup.
	maxProblems = 100
	// maxMemory is to how many answers those of lookups that fail are added.
	maxMemory = 4 * maxHosts
)

// A memory is what a watch knows of each question, and until when that holds. What has run out
// stays until the question is answered again or no longer of interest: it stands in for an
// answer that does not come.
type memory map[question]remembered

type remembered struct {
	answer
	until time.Time
}

// A reply is what a lookup makes of a question.
type reply struct {
	answer        // when err is nil
	old    answer // when err is not nil: the last one, with the verdict found only
	err    error
}

// A lookup is one pass over all that a query takes. Its fields belong to the watch's goroutine.
type lookup struct {
	resolver *Resolver
	settings *settings
	query    Query
	known    memory // of the lookup before
	kept     memory // what this one has asked for, or found still to hold
	fresh    bool   // nothing in memory is believed without asking again
	first    bool   // no set was reported yet, nor withheld because of a host that lacks its addresses
	failed   bool   // a question was not answered
	problems []string
	found    []discovery.Instance
	taken    map[string]bool // IDs in found
	until    time.Time       // when the first answer runs out; zero: none yet
	at       time.Time       // when a server has answered last, in this lookup or before
}

// run looks up and returns what is to be reported.
func (l *lookup) run(ctx context.Context, hosts hosts) discovery.Update {
	l.kept, l.taken = make(memory), make(map[string]bool)
	verdict, err := l.look(ctx, hosts)
	slices.Sort(l.problems)
	l.problems = slices.Compact(l.problems)
	if err == nil && verdict == found && len(l.found) == 0 && len(l.problems) > 0 {
		err = noneUsableError{l.problems}
	}
	if err != nil {
		return discovery.Update{Err: l.query.explain(err), At: time.Now()}
	}
	if more := len(l.problems) - maxProblems; more > 0 {
		l.problems = append(l.problems[:maxProblems], fmt.Sprintf("%d more", more))
	}
	return discovery.Update{
		Instances: discovery.Canonical(l.found),
		Unknown:   verdict == unknown,
		Problems:  l.problems,
		At:        l.at,
	}
}

// look finds the instances and problems.
func (l *lookup) look(ctx context.Context, hosts hosts) (verdict, error) {
	if l.query.Type == "srv" {
		return l.services(ctx)
	}
	if addr, ok := l.query.address(); ok {
		l.own(l.resolver.maxTTL, addr.Unmap())
		return found, nil
	}
	if addrs := hosts.lookup(l.query.Name); len(addrs) > 0 {
		l.own(hostsTTL, unique(slices.Clone(addrs))...)
		return found, nil
	}
	last := unknown
	for _, name := range l.settings.candidates(l.query.Name) {
		a := l.hostAddresses(ctx, []string{name})[0]
		if a.err != nil && !a.valid {
			// Going on in the search list could end at another service of that name.
			return 0, a.err
		}
		if a.err != nil {
			l.problem("%v; of that type the last known addresses stand", a.err)
		}
		if a.verdict == found {
			l.addresses(a.addrs)
			return found, nil
		}
		last = min(last, a.verdict)
	}
	return last, nil
}

// own adds the instances that take no server to know.
func (l *lookup) own(ttl time.Duration, addrs ...netip.Addr) {
	l.at = time.Now()
	l.holds(l.at.Add(ttl))
	l.addresses(addrs)
}

// addresses adds the instances of type a.
func (l *lookup) addresses(addrs []netip.Addr) {
	for _, addr := range addrs {
		l.add(l.query.Name, addr, l.query.Port, discovery.Instance{Weight: 1})
	}
}

// services adds the instances of type srv.
func (l *lookup) services(ctx context.Context) (verdict, error) {
	last := unknown
	for _, name := range l.settings.candidates(l.query.Name) {
		a := l.ask(ctx, question{name, dns.TypeSRV})[0]
		if a.err != nil {
			return 0, a.err
		}
		if a.verdict == found {
			return found, l.hosts(ctx, a.hosts)
		}
		last = min(last, a.verdict)
	}
	return last, nil
}

// hosts adds the instances of hosts. The error is why none of them has an address; or, in the
// first lookup, one of them: a packet that is lost then would have the others take all the
// traffic, and there are no last known addresses. The second lookup is taken as it is.
func (l *lookup) hosts(ctx context.Context, hosts []host) error {
	var names []string
	for _, h := range hosts {
		if len(h.addrs) == 0 && h.port != 0 {
			names = append(names, h.name)
		}
	}
	names = slices.Compact(names) // they are sorted
	if more := len(names) - maxHosts; more > 0 {
		l.problem("%d hosts are left out because their addresses do not come with the SRV records; write fewer, or let the server add them", more)
		names = names[:maxHosts]
	}
	replies := l.hostAddresses(ctx, names)
	valid, errs, missing := false, []error(nil), error(nil)
	for _, h := range hosts {
		if h.port == 0 {
			l.problem("%s: port 0 cannot be dialled; write the service's port into its SRV record", hostName(h))
			continue
		}
		addrs := h.addrs
		if i, ok := slices.BinarySearch(names, h.name); ok && len(addrs) == 0 {
			addrs = replies[i].addrs
			l.hostProblem(h, replies[i])
			if err := replies[i].err; err != nil {
				errs = append(errs, err)
				if missing == nil && len(addrs) == 0 {
					missing = err
				}
			}
			valid = valid || replies[i].valid
		}
		valid = valid || len(h.addrs) > 0
		for _, addr := range addrs {
			l.add(hostName(h), addr, h.port, discovery.Instance{Weight: h.weight, Meta: map[string]string{"host": hostName(h)}})
		}
	}
	if !valid && len(errs) > 0 {
		return errs[0] // nobody answers any more: old addresses are no news
	}
	if l.first && missing != nil {
		l.first = false
		return missing
	}
	return nil
}

// hostProblem tells what is wrong with the addresses of a host.
func (l *lookup) hostProblem(h host, a addressReply) {
	name := fmt.Sprintf("%s:%d", hostName(h), h.port)
	switch {
	case a.err != nil && a.valid:
		l.problem("%s: %v; of that type the last known addresses stand", name, a.err)
	case a.err != nil && len(a.addrs) > 0:
		l.problem("%s: %v; its last known addresses stand", name, a.err)
	case a.err != nil:
		l.problem("%s: %v", name, a.err)
	case a.verdict == unknown:
		l.problem("%s: the host does not exist; give it an address or take its SRV record out", name)
	case a.verdict == empty:
		l.problem("%s: the host has no address; give it one or take its SRV record out", name)
	}
}

func hostName(h host) string { return strings.TrimSuffix(h.name, ".") }

// add adds one instance, or a problem: name is what its address belongs to.
func (l *lookup) add(name string, addr netip.Addr, port int, inst discovery.Instance) {
	if why := unusable(addr); why != "" {
		l.problem("%s: the address %s is %s and cannot be dialled; correct its record", name, addr, why)
		return
	}
	address, err := discovery.HostPort(addr.String(), port)
	if err != nil {
		l.problem("%s: %v", name, err)
		return
	}
	if l.taken[address] {
		l.problem("%s: %s is the address of another record too; take one of them out", name, address)
		return
	}
	l.taken[address] = true
	inst.ID, inst.Address = address, address
	l.found = append(l.found, inst)
}

// unusable says what an address is that no instance can have, or "".
func unusable(addr netip.Addr) string {
	switch {
	case addr.IsUnspecified():
		return "unspecified"
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "one of many receivers"
	case addr.Is6() && addr.IsLinkLocalUnicast() && addr.Zone() == "":
		return "of one link only"
	}
	return ""
}

func (l *lookup) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// An addressReply is what is known of the addresses of a name.
type addressReply struct {
	addrs   []netip.Addr
	verdict verdict // when err is nil or valid
	err     error   // why a type is not known
	valid   bool    // there are addresses of a type that is known
}

// hostAddresses asks for the A and AAAA records of names.
func (l *lookup) hostAddresses(ctx context.Context, names []string) []addressReply {
	kinds := []uint16{dns.TypeA, dns.TypeAAAA}
	if l.settings.noAAAA {
		kinds = kinds[:1]
	}
	var questions []question
	for _, name := range names {
		for _, kind := range kinds {
			questions = append(questions, question{name, kind})
		}
	}
	replies := l.ask(ctx, questions...)
	out := make([]addressReply, 0, len(names))
	for both := range slices.Chunk(replies, len(kinds)) {
		out = append(out, joinTypes(both))
	}
	return out
}

// joinTypes puts together what is known of a name's A and AAAA records. If a server answers
// for one type only, as broken ones do, that one is taken, as glibc does and musl does not; of
// the other the last known addresses stand, so that a passing fault drops no instance.
func joinTypes(types []reply) addressReply {
	out := addressReply{verdict: unknown}
	for _, t := range types {
		if t.err != nil {
			if out.err == nil { // one is enough: as a rule they are of one cause
				out.err = t.err
			}
			out.addrs = append(out.addrs, t.old.addrs...)
			continue
		}
		out.addrs = append(out.addrs, t.addrs...)
		out.verdict = min(out.verdict, t.verdict)
		out.valid = out.valid || t.verdict == found
	}
	out.addrs = unique(out.addrs)
	return out
}

// ask answers questions, from memory where that still holds. It blocks until all are answered
// or have failed.
func (l *lookup) ask(ctx context.Context, questions ...question) []reply {
	replies := make([]reply, len(questions))
	var asked sync.WaitGroup
	now := time.Now()
	for i, q := range questions {
		if m, ok := l.known[q]; ok && !l.fresh && now.Before(m.until) {
			replies[i].answer = m.answer
			l.kept[q] = m
			l.holds(m.until)
			continue
		}
		asked.Go(func() { replies[i].answer, replies[i].err = l.resolver.resolve(ctx, l.settings, q) })
	}
	asked.Wait()
	now = time.Now()
	for i, q := range questions {
		if _, ok := l.kept[q]; ok {
			continue
		}
		if replies[i].err != nil {
			l.failed = true
			if m, ok := l.known[q]; ok && m.verdict == found {
				replies[i].old = m.answer
				l.kept[q] = remembered{answer: m.answer} // it is asked for again
			}
			continue
		}
		l.at = now
		until := now.Add(min(max(replies[i].ttl, l.resolver.minTTL), l.resolver.maxTTL))
		l.kept[q] = remembered{replies[i].answer, until}
		l.holds(until)
	}
	return replies
}

// remember returns what the next lookup knows. What one that has failed did not come to ask for
// may be needed once more.
func (l *lookup) remember(failed bool) memory {
	if !failed || len(l.known) > maxMemory {
		return l.kept
	}
	maps.Copy(l.known, l.kept)
	return l.known
}

// holds takes note that something holds until then.
func (l *lookup) holds(until time.Time) {
	if l.until.IsZero() || until.Before(l.until) {
		l.until = until
	}
}

// next is when the answers run out, and a little later, so that many watches that began
// together do not go on together.
func (l *lookup) next(now time.Time) time.Time {
	left := max(l.until.Sub(now), 0)
	return l.until.Add(rand.N(left/20 + 1))
}
