package dns

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	maxServers  = 3  // of resolv.conf, as libc's MAXNS
	maxAttempts = 5  // as libc's RES_MAXRETRY
	maxNdots    = 15 // as libc's RES_MAXNDOTS
)

// settings are who is asked and how, put together from resolv.conf and Options.
type settings struct {
	servers  []string // "ip:port", one or more
	from     string   // where the operator corrects them
	search   []string // suffixes, each with a dot at its end
	ndots    int      // with as many dots a name is asked for as it stands before the search list
	attempts int      // rounds over all servers
	timeout  time.Duration
	rotate   bool // each question begins with another server
	tcp      bool // option use-vc
	noAAAA   bool // option no-aaaa

	// first is the server to begin with: the one that has answered last, or with rotate a count of
	// the questions.
	first atomic.Uint32
	down  atomic.Bool // the last question has reached none of them
}

// newSettings reads the text of a resolv.conf(5) at path. given servers go before those in it,
// and most is the longest timeout. What is no setting that libc knows is passed over. Without
// a server it is the one on this host, without a search list the domain of hostname.
func newSettings(text, hostname string, given []string, most time.Duration, path string) *settings {
	s := &settings{servers: given, from: "dns.servers", ndots: 1, attempts: 2, timeout: most}
	_, domain, _ := strings.Cut(hostname, ".")
	search := []string{domain}
	var listed []string
	for line := range strings.Lines(text) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if server, err := serverAddress(fields[1]); err == nil && len(listed) < maxServers {
				listed = append(listed, server)
			}
		case "domain":
			search = fields[1:2]
		case "search": // of these two the last one counts
			search = fields[1:]
		case "options":
			for _, option := range fields[1:] {
				s.option(option, most)
			}
		}
	}
	if len(s.servers) == 0 {
		s.servers, s.from = listed, path
	}
	if len(s.servers) == 0 {
		s.servers = []string{"127.0.0.1:53"}
	}
	for _, suffix := range search {
		suffix = dns.CanonicalName(suffix)
		if _, ok := dns.IsDomainName(suffix); ok && suffix != "." {
			s.search = append(s.search, suffix)
		}
	}
	return s
}

// option applies one word of a line of options.
func (s *settings) option(option string, most time.Duration) {
	key, value, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(value)
	switch {
	case key == "rotate":
		s.rotate = true
	case key == "use-vc":
		s.tcp = true
	case key == "no-aaaa":
		s.noAAAA = true
	case err != nil: // the following have a number
	case key == "ndots":
		s.ndots = min(max(n, 0), maxNdots)
	case key == "attempts":
		s.attempts = min(max(n, 1), maxAttempts)
	case key == "timeout":
		s.timeout = min(time.Duration(min(max(n, 1), 30))*time.Second, most)
	}
}

// candidates are the names that are asked for in turn when name is looked up, as libc makes
// them: with enough dots it comes before the search list, with fewer after it.
func (s *settings) candidates(name string) []string {
	absolute := dns.CanonicalName(name)
	if strings.HasSuffix(name, ".") {
		return []string{absolute}
	}
	var out []string
	for _, suffix := range s.search {
		full := absolute + suffix
		if _, ok := dns.IsDomainName(full); ok && !slices.Contains(out, full) { // not too long
			out = append(out, full)
		}
	}
	if strings.Count(name, ".") >= s.ndots {
		return slices.Insert(out, 0, absolute)
	}
	return append(out, absolute)
}

// order is the servers in the order in which one question tries them.
func (s *settings) order() []int {
	first := int(s.first.Load())
	if s.rotate {
		first = int(s.first.Add(1))
	}
	out := make([]int, len(s.servers))
	for i := range out {
		out[i] = (first + i) % len(s.servers)
	}
	return out
}

// answered remembers the server that did, so that one that is down costs its timeout only
// once, and not in each lookup.
func (s *settings) answered(server int) {
	if s.down.Load() { // read first: it is shared by all
		s.down.Store(false)
	}
	if !s.rotate {
		s.first.Store(uint32(server))
	}
}
