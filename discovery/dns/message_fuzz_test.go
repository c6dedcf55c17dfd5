package dns

import (
	"context"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzMessage turns whatever a server sends into instances.
func FuzzMessage(f *testing.F) {
	ask := map[bool]*dns.Msg{
		false: new(dns.Msg).SetQuestion("orders.example.", dns.TypeA),
		true:  new(dns.Msg).SetQuestion("orders.example.", dns.TypeSRV),
	}
	for isSRV, q := range ask {
		q.Id = 7
		for _, records := range [][]string{
			nil,
			{"orders.example. 5 A 10.0.0.7", "orders.example. 5 A 0.0.0.0"},
			{"orders.example. 5 CNAME a.example.", "a.example. 4 A 10.0.0.7"},
			{"orders.example. 5 CNAME orders.example."},
			{"orders.example. 5 SRV 1 0 80 a.example.", "orders.example. 5 SRV 0 9 0 .", "orders.example. 5 SRV 1 9 0 b.example."},
		} {
			m := new(dns.Msg).SetReply(q)
			m.RecursionAvailable = true
			m.Answer = parseRecords(f, records)
			m.Extra = parseRecords(f, []string{"a.example. 3 A 10.0.0.8", "a.example. 3 AAAA fd00::1"})
			packed, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packed, isSRV)
		}
	}
	r, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packed []byte, isSRV bool) {
		ask := ask[isSRV]
		m, err := parse(packed, ask)
		if err != nil || m.Truncated {
			return
		}
		q := question{ask.Question[0].Name, ask.Question[0].Qtype}
		if judge(m, q) != nil {
			return
		}
		read, err := read(m, q, maxAliases)
		if err != nil {
			return
		}
		if read.ttl < 0 || read.aliases > maxAliases || read.ttl > math.MaxInt32*time.Second && read.alias == "" {
			t.Fatalf("answer %+v", read)
		}
		l := &lookup{resolver: r, settings: &settings{}, query: a("orders.example."), kept: memory{}, taken: map[string]bool{}}
		l.addresses(read.addrs)
		given := read.hosts[:0]
		for _, h := range read.hosts {
			if len(h.addrs) > 0 || h.port == 0 { // the others would be asked for
				given = append(given, h)
			}
		}
		if err := l.hosts(context.Background(), given); err != nil {
			t.Fatal(err)
		}
		checkInstances(t, l)
	})
}

func checkInstances(t *testing.T, l *lookup) {
	t.Helper()
	seen := map[string]bool{}
	for _, inst := range l.found {
		addr, err := netip.ParseAddrPort(inst.Address)
		if err != nil || addr.Port() == 0 || unusable(addr.Addr()) != "" || seen[inst.ID] ||
			inst.ID != inst.Address || inst.Weight < 1 || inst.Weight > math.MaxUint16 {
			t.Fatalf("instance %+v, %v", inst, err)
		}
		seen[inst.ID] = true
	}
	for _, problem := range l.problems {
		if strings.ContainsFunc(problem, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("problem %q is not for a terminal", problem)
		}
	}
}
