package dns

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Whoever answers with a thousand hosts makes us ask many questions, but not all at once, and
// not without end.
func TestQuestionsAreBounded(t *testing.T) {
	story(t, Options{Timeout: 10 * time.Second}, oneServer, func(t *testing.T, w *world) {
		const all = maxHosts + 3
		var records []string
		for i := range all {
			records = append(records, fmt.Sprintf("s.example. 60 SRV 0 0 80 h%04d.example.", i), fmt.Sprintf("h%04d.example. 60 A 10.0.%d.%d", i, i/250, i%250+1))
		}
		w.say(records...)
		var now, most atomic.Int64
		w.server("10.0.0.1:53", func(network string, q, a *dns.Msg) []*dns.Msg {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			if q.Question[0].Qtype == dns.TypeSRV {
				return truncate(network, q, a)
			}
			return []*dns.Msg{a}
		})
		u := w.watch(srv("s.example.")).next(time.Minute)
		if u.Err != nil || len(u.Instances) != maxHosts {
			t.Fatalf("%d instances, %v", len(u.Instances), u.Err)
		}
		wantProblems(t, u, "3 hosts are left out because their addresses do not come with the SRV records; write fewer, or let the server add them")
		if got := most.Load(); got != maxInFlight {
			t.Errorf("%d questions were under way at once, want %d", got, maxInFlight)
		}
		if n := w.count(); n != 2+2*maxHosts {
			t.Errorf("%d questions", n)
		}
	})
}

func TestProblemsAreBounded(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		records := []string{"orders.example. 5 A 10.0.0.7"}
		for i := range maxProblems + 5 {
			records = append(records, fmt.Sprintf("orders.example. 5 A 224.0.0.%d", i))
		}
		w.say(records...)
		w.server("10.0.0.1:53", truncate)
		u := w.watch(a("orders.example.")).wantSet("10.0.0.7:80")
		if n := len(u.Problems); n != maxProblems+1 || u.Problems[maxProblems] != "5 more" {
			t.Fatalf("%d problems, the last is %q", n, u.Problems[n-1])
		}
		w.say(records[1:]...)
		watch := w.watch(a("orders.example."))
		if u := watch.wantErr("; and 102 more"); strings.Count(u.Err.Error(), "224.0.0.") != 3 {
			t.Fatalf("error %v", u.Err)
		}
	})
}

// Lookups that fail in a row, each about other hosts, do not fill the memory.
func TestMemoryOfFailedLookupsIsBounded(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		var round atomic.Int64
		w.server("10.0.0.1:53", func(network string, q, a *dns.Msg) []*dns.Msg {
			if q.Question[0].Qtype != dns.TypeSRV {
				return []*dns.Msg{a} // it does not exist
			}
			if network == "udp" {
				a.Truncated = true
				return []*dns.Msg{a}
			}
			a.Rcode, a.Ns = dns.RcodeSuccess, nil
			n := round.Add(1)
			for i := range maxHosts {
				a.Answer = append(a.Answer, &dns.SRV{
					Hdr:  dns.RR_Header{Name: "s.example.", Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 1},
					Port: 80, Target: fmt.Sprintf("h%d-%d.example.", n, i),
				})
			}
			return []*dns.Msg{a}
		})
		w.negative("example. 60 IN SOA n. r. 1 2 3 4 60")
		known := make(memory)
		for range 6 {
			s, hosts := w.resolver.current()
			l := &lookup{resolver: w.resolver, settings: s, query: srv("s.example."), known: known}
			if u := l.run(t.Context(), hosts); u.Err == nil {
				t.Fatalf("update %+v", u)
			}
			if known = l.remember(true); len(known) > maxMemory+2*maxHosts+1 {
				t.Fatalf("%d answers are remembered", len(known))
			}
			time.Sleep(time.Second)
		}
	})
}
