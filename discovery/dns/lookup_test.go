package dns

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestAddressesOfANameAreItsInstances(t *testing.T) {
	for name, c := range map[string]struct {
		records []string
		want    []string
	}{
		"one":             {[]string{"orders.example. 9 A 10.0.0.7"}, []string{"10.0.0.7:80"}},
		"of both types":   {[]string{"orders.example. 9 AAAA fd00::1", "orders.example. 9 A 10.0.0.7"}, []string{"10.0.0.7:80", "[fd00::1]:80"}},
		"the same twice":  {[]string{"orders.example. 9 A 10.0.0.7", "orders.example. 9 A 10.0.0.7"}, []string{"10.0.0.7:80"}},
		"in another case": {[]string{"OrDers.Example. 9 A 10.0.0.7"}, []string{"10.0.0.7:80"}},
		"through aliases": {[]string{"orders.example. 9 CNAME B.example.", "b.example. 9 CNAME c.example.", "c.example. 9 A 10.0.0.7"}, []string{"10.0.0.7:80"}},
		"of others":       {[]string{"orders.example. 9 TXT x", "b.example. 9 A 10.0.0.7"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, oneServer, func(t *testing.T, w *world) {
				w.say(c.records...)
				if u := w.watch(a("orders.example.")).wantIDs(c.want...); u.Unknown {
					t.Fatal("the name exists")
				}
			})
		})
	}
}

// A server that follows no aliases, as authoritative ones do across zones, is asked for the
// name they lead to, with an end to it.
func TestAliasesThatTheAnswerDoesNotFollowAreAskedFor(t *testing.T) {
	chain := func(_ string, q, a *dns.Msg) []*dns.Msg {
		kept := a.Answer[:0]
		for _, rr := range a.Answer {
			if dns.CanonicalName(rr.Header().Name) == q.Question[0].Name {
				kept = append(kept, rr)
			}
		}
		if a.Answer = kept; len(kept) > 0 {
			a.Rcode, a.Ns, a.Authoritative = dns.RcodeSuccess, nil, true
		}
		return []*dns.Msg{a}
	}
	for length, want := range map[int]bool{1: true, maxAliases: true, maxAliases + 1: false} {
		for _, follows := range []bool{true, false} {
			story(t, Options{}, oneServer, func(t *testing.T, w *world) {
				var records []string
				for i := range length {
					records = append(records, fmt.Sprintf("h%d.example. %d CNAME h%d.example.", i, 20-i, i+1))
				}
				w.say(append(records, fmt.Sprintf("h%d.example. 30 A 10.0.0.7", length), fmt.Sprintf("h%d.example. 30 AAAA fd00::1", length))...)
				if !follows {
					w.server("10.0.0.1:53", chain)
				}
				watch := w.watch(a("h0.example."))
				if !want {
					watch.wantErr("more than 8 aliases (CNAME) in a row; shorten the chain")
					return
				}
				watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
				watch.wantPause(time.Duration(21-length) * time.Second)
			})
		}
	}
}

func TestAliasesInACircleAreAnError(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("a.example. 9 CNAME b.example.", "b.example. 9 CNAME a.example.")
		w.watch(a("a.example.")).wantErr("more than 8 aliases (CNAME) in a row; shorten the chain")
	})
}

func TestUnknownAndEmptyAreDifferent(t *testing.T) {
	for _, q := range []Query{a("orders.example."), srv("orders.example.")} {
		story(t, Options{}, oneServer, func(t *testing.T, w *world) {
			w.say("orders.example. 5 TXT x")
			watch := w.watch(q)
			if u := watch.wantIDs(); u.Unknown {
				t.Fatal("the name exists")
			}
			w.say()
			if u := watch.wantIDs(); !u.Unknown {
				t.Fatal("the name does not exist")
			}
		})
	}
}

func TestSearchList(t *testing.T) {
	const search = "nameserver 10.0.0.1\nsearch one.example two.example\noptions ndots:2\n"
	for name, c := range map[string]struct {
		query   string
		records []string
		want    string   // the address found
		asked   []string // names, in turn
	}{
		"the first":        {"orders", []string{"orders.one.example. 9 A 10.0.0.1", "orders.two.example. 9 A 10.0.0.2"}, "10.0.0.1:80", []string{"orders.one.example."}},
		"the second":       {"orders", []string{"orders.two.example. 9 A 10.0.0.2"}, "10.0.0.2:80", []string{"orders.one.example.", "orders.two.example."}},
		"past an empty":    {"orders", []string{"orders.one.example. 9 TXT x", "orders.two.example. 9 A 10.0.0.2"}, "10.0.0.2:80", []string{"orders.one.example.", "orders.two.example."}},
		"itself last":      {"orders.x", []string{"orders.x. 9 A 10.0.0.3"}, "10.0.0.3:80", []string{"orders.x.one.example.", "orders.x.two.example.", "orders.x."}},
		"itself first":     {"a.b.c", []string{"a.b.c. 9 A 10.0.0.3", "a.b.c.one.example. 9 A 10.0.0.4"}, "10.0.0.3:80", []string{"a.b.c."}},
		"list after all":   {"a.b.c", []string{"a.b.c.one.example. 9 A 10.0.0.4"}, "10.0.0.4:80", []string{"a.b.c.", "a.b.c.one.example."}},
		"none with a dot":  {"orders.", []string{"orders.one.example. 9 A 10.0.0.1"}, "", []string{"orders."}},
		"none of them all": {"orders", nil, "", []string{"orders.one.example.", "orders.two.example.", "orders."}},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, search, func(t *testing.T, w *world) {
				w.say(c.records...)
				watch := w.watch(a(c.query))
				var want, asked []string
				if c.want != "" {
					want = []string{c.want}
				}
				if u := watch.wantIDs(want...); u.Unknown != (c.want == "") {
					t.Fatalf("update %+v", u)
				}
				for _, name := range c.asked {
					asked = append(asked, "udp 10.0.0.1:53 A "+name, "udp 10.0.0.1:53 AAAA "+name)
				}
				w.wantAsked(asked...)
			})
		})
	}
}

// Behind a name of the search list that no server answers for may stand another service of
// the same name.
func TestSearchEndsAtANameThatNoServerAnswersFor(t *testing.T) {
	const search = "nameserver 10.0.0.1\nsearch one.example two.example\n"
	for _, q := range []Query{a("orders"), srv("orders")} {
		story(t, Options{}, search, func(t *testing.T, w *world) {
			w.say("orders.two.example. 9 A 10.0.0.2", "orders.two.example. 9 SRV 0 0 80 h.example.", "h.example. 9 A 10.0.0.2")
			w.server("10.0.0.1:53", func(_ string, q, a *dns.Msg) []*dns.Msg {
				if q.Question[0].Name == "orders.one.example." {
					return []*dns.Msg{new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)}
				}
				return []*dns.Msg{a}
			})
			w.watch(q).wantErr("of orders.one.example.: server 10.0.0.1:53: SERVFAIL; see the server's log")
		})
	}
}

// One name of the search list that exists makes the service a known one.
func TestSearchThatFindsNothingButANameIsKnownAndEmpty(t *testing.T) {
	for _, q := range []Query{a("orders"), srv("orders")} {
		story(t, Options{}, oneServer, func(t *testing.T, w *world) {
			w.say("orders.example. 5 TXT x") // and the next candidate does not exist
			if u := w.watch(q).wantIDs(); u.Unknown {
				t.Fatal("the name exists")
			}
			w.say()
			if u := w.watch(q).wantIDs(); !u.Unknown {
				t.Fatal("no name exists")
			}
		})
	}
}

// What has failed for one of the search list's names is no proof that there is nothing.
func TestNameThatIsEmptyForOneTypeAndFailsForTheOtherIsAnError(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.server("10.0.0.1:53", rcode(dns.RcodeServerFailure, dns.TypeAAAA))
		w.watch(a("orders.example.")).wantErr("AAAA of orders.example.: server 10.0.0.1:53: SERVFAIL")
	})
}

func TestTypeThatFailsKeepsItsLastAddresses(t *testing.T) {
	const failed = "AAAA of orders.example.: server 10.0.0.1:53: SERVFAIL; see the server's log; of that type the last known addresses stand"
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7", "orders.example. 5 AAAA fd00::1")
		w.server("10.0.0.1:53", rcode(dns.RcodeServerFailure, dns.TypeAAAA))
		watch := w.watch(a("orders.example."))
		wantProblems(t, watch.wantSet("10.0.0.7:80"), failed) // nothing is known of it yet
		w.server("10.0.0.1:53", nil)
		watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")

		w.say("orders.example. 5 A 10.0.0.8")
		w.server("10.0.0.1:53", rcode(dns.RcodeServerFailure, dns.TypeAAAA))
		watch.wantSet("10.0.0.8:80", "[fd00::1]:80") // the second may hold a little longer
		for range 20 {
			began := time.Now()
			wantProblems(t, watch.wantSet("10.0.0.8:80", "[fd00::1]:80"), failed)
			if took := time.Since(began); took > 5*time.Second+250*time.Millisecond {
				t.Fatalf("the type that does not fail was looked up only after %v", took)
			}
		}
		w.server("10.0.0.1:53", nil)
		watch.wantIDs("10.0.0.8:80")
	})
}

func TestNoAAAA(t *testing.T) {
	story(t, Options{}, oneServer+"options no-aaaa\n", func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7", "orders.example. 5 AAAA fd00::1")
		w.watch(a("orders.example.")).wantIDs("10.0.0.7:80")
		w.wantAsked("udp 10.0.0.1:53 A orders.example.")
	})
}

func TestHostsFileGoesBeforeDNS(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7", "db.example. 5 A 10.0.0.9")
		w.write(w.hosts, "# comment\n127.0.0.1 localhost\n\n10.1.1.1\tOrders.example orders # here\n::1 localhost\nfd00::5%eth0 zoned\nno address\n10.1.1.2 orders\n")
		w.watch(a("orders.example.")).wantIDs("10.1.1.1:80")
		watch := w.watch(a("ORDERS"))
		watch.wantIDs("10.1.1.1:80", "10.1.1.2:80")
		w.watch(a("localhost")).wantIDs("127.0.0.1:80", "[::1]:80")
		w.wantAsked()
		w.watch(a("db")).wantIDs("10.0.0.9:80")
		if n := w.count(); n != 2 {
			t.Fatalf("%d questions for a name that the file does not have", n)
		}

		w.write(w.hosts, "10.1.1.3 orders\n")
		watch.wantIDs("10.1.1.3:80")
		w.write(w.hosts, "")
		watch.wantIDs("10.0.0.7:80")
	})
}

func TestLocalhostNeedsNoEntry(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.watch(a("localhost")).wantIDs("127.0.0.1:80", "[::1]:80")
		w.wantAsked()
	})
}

func TestAddressAsNameIsASetOfOne(t *testing.T) {
	for name, want := range map[string]string{"10.0.0.7": "10.0.0.7:80", "fd00::1": "[fd00::1]:80", "::ffff:10.0.0.7": "10.0.0.7:80"} {
		story(t, Options{}, oneServer, func(t *testing.T, w *world) {
			watch := w.watch(a(name))
			watch.wantIDs(want)
			watch.wantPause(DefaultMaxTTL)
			w.wantAsked()
		})
	}
}

func TestAddressesThatNobodyCanHaveAreProblems(t *testing.T) {
	records := []string{
		"orders.example. 5 A 0.0.0.0", "orders.example. 5 A 224.0.0.1", "orders.example. 5 A 255.255.255.255",
		"orders.example. 5 AAAA fe80::1", "orders.example. 5 AAAA ::",
	}
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say(append(records, "orders.example. 5 A 10.0.0.7")...)
		watch := w.watch(a("orders.example."))
		wantProblems(t, watch.wantSet("10.0.0.7:80"),
			"orders.example.: the address 0.0.0.0 is unspecified and cannot be dialled; correct its record",
			"orders.example.: the address 224.0.0.1 is one of many receivers and cannot be dialled; correct its record",
			"orders.example.: the address 255.255.255.255 is one of many receivers and cannot be dialled; correct its record",
			"orders.example.: the address :: is unspecified and cannot be dialled; correct its record",
			"orders.example.: the address fe80::1 is of one link only and cannot be dialled; correct its record",
		)
		w.say(records...) // a set of nothing but mistakes is no set
		watch.wantErr(`dns: look up "orders.example.": no record is usable: orders.example.: the address 0.0.0.0 is unspecified`)
	})
}

func TestServiceRecordsBringPortAndWeight(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say(
			"_http._tcp.example. 30 SRV 10 5 8080 A.example.", "_http._tcp.example. 30 SRV 10 0 8081 a.example.",
			"_http._tcp.example. 30 SRV 10 65535 8080 b.example.", "_http._tcp.example. 30 SRV 20 1 8080 standby.example.",
		)
		w.add("a.example. 60 A 10.0.0.1", "b.example. 60 A 10.0.0.2", "b.example. 60 AAAA fd00::2", "standby.example. 1 A 10.0.0.3", "other.example. 1 A 10.0.0.4")
		watch := w.watch(srv("_http._tcp.example."))
		u := watch.wantIDs("10.0.0.1:8080", "10.0.0.1:8081", "10.0.0.2:8080", "[fd00::2]:8080")
		w.wantAsked("udp 10.0.0.1:53 SRV _http._tcp.example.")
		for i, want := range []struct {
			weight int
			host   string
		}{{5, "a.example"}, {1, "a.example"}, {65535, "b.example"}, {65535, "b.example"}} {
			got := u.Instances[i]
			if got.Weight != want.weight || !maps.Equal(got.Meta, map[string]string{"host": want.host}) {
				t.Errorf("instance %+v, want %+v", got, want)
			}
		}
		watch.wantPause(30 * time.Second)
	})
}

func TestAdditionalAddressesRunOutToo(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("s.example. 30 SRV 0 0 80 a.example.")
		w.add("a.example. 7 A 10.0.0.1")
		watch := w.watch(srv("s.example."))
		watch.wantIDs("10.0.0.1:80")
		watch.wantPause(7 * time.Second)
		w.wantAsked("udp 10.0.0.1:53 SRV s.example.", "udp 10.0.0.1:53 SRV s.example.")
	})
}

func TestHostsWithoutAdditionalAddressesAreAskedFor(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say(
			"s.example. 30 SRV 0 0 80 a.example.", "s.example. 30 SRV 0 0 81 a.example.", "s.example. 30 SRV 0 0 80 b.example.", "s.example. 30 SRV 0 0 80 c.example.",
			"a.example. 40 A 10.0.0.1", "a.example. 40 AAAA fd00::1", "b.example. 40 CNAME b2.example.", "b2.example. 5 A 10.0.0.2", "b2.example. 40 AAAA fd00::2",
		)
		w.add("c.example. 50 A 10.0.0.3")
		watch := w.watch(srv("s.example."))
		want := []string{"10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "10.0.0.3:80", "[fd00::1]:80", "[fd00::1]:81", "[fd00::2]:80"}
		watch.wantIDs(want...)
		w.wantAsked("udp 10.0.0.1:53 SRV s.example.", "udp 10.0.0.1:53 A a.example.", "udp 10.0.0.1:53 AAAA a.example.",
			"udp 10.0.0.1:53 A b.example.", "udp 10.0.0.1:53 AAAA b.example.")
		watch.wantIDs(want...)
		w.wantAsked("udp 10.0.0.1:53 A b.example.") // its answer has run out, the others hold
	})
}

func TestHostsThatHaveNoAddressAreProblems(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say(
			"s.example. 5 SRV 0 0 80 none.example.", "s.example. 5 SRV 0 0 80 text.example.", "text.example. 5 TXT x",
			"s.example. 5 SRV 0 0 0 a.example.", "s.example. 5 SRV 0 0 80 .", "s.example. 5 SRV 0 0 80 fails.example.",
			"s.example. 5 SRV 0 9 80 a.example.", "s.example. 5 SRV 0 0 80 same.example.",
			"a.example. 5 A 10.0.0.1", "same.example. 5 A 10.0.0.1", "fails.example. 5 A 10.0.0.5",
		)
		w.server("10.0.0.1:53", func(network string, q, a *dns.Msg) []*dns.Msg {
			if q.Question[0].Name == "fails.example." {
				return []*dns.Msg{new(dns.Msg).SetRcode(q, dns.RcodeRefused)}
			}
			return []*dns.Msg{a}
		})
		watch := w.watch(srv("s.example."))
		refused := "A of fails.example.: server 10.0.0.1:53: REFUSED; let it answer this host, or correct " + w.resolvConf
		watch.wantErr(`dns: look up "s.example.": ` + refused)
		u := watch.wantSet("10.0.0.1:80")
		wantProblems(t, u,
			"a.example: port 0 cannot be dialled; write the service's port into its SRV record",
			"fails.example:80: "+refused,
			"none.example:80: the host does not exist; give it an address or take its SRV record out",
			"same.example: 10.0.0.1:80 is the address of another record too; take one of them out",
			"text.example:80: the host has no address; give it one or take its SRV record out",
		)
		if u.Instances[0].Weight != 9 {
			t.Errorf("instance %+v, want that of the first record", u.Instances[0])
		}

		// Known once, its last addresses stand while nobody tells others.
		w.server("10.0.0.1:53", nil)
		watch.wantSet("10.0.0.1:80", "10.0.0.5:80")
		w.server("10.0.0.1:53", func(network string, q, a *dns.Msg) []*dns.Msg {
			if q.Question[0].Name == "fails.example." {
				return nil
			}
			return []*dns.Msg{a}
		})
		for len(u.Problems) != 5 || u.Problems[1] == "fails.example:80: "+refused { // what it has said holds for 5 s
			u = watch.wantSet("10.0.0.1:80", "10.0.0.5:80")
		}
		if u.Problems[1] != "fails.example:80: A of fails.example.: server 10.0.0.1:53: no answer within 2s; it hangs, or the network drops packets; else correct "+w.resolvConf+"; its last known addresses stand" {
			t.Errorf("problems %q", u.Problems)
		}
	})
}

func TestServiceWithoutAUsableRecordIsAnError(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("s.example. 5 SRV 0 0 80 a.example.", "s.example. 5 SRV 0 0 80 b.example.", "s.example. 5 SRV 0 0 0 c.example.", "s.example. 5 SRV 9 0 80 d.example.", "d.example. 5 A 10.0.0.9")
		w.watch(srv("s.example.")).wantErr(`dns: look up "s.example.": no record is usable: ` +
			"a.example:80: the host does not exist; give it an address or take its SRV record out; " +
			"b.example:80: the host does not exist; give it an address or take its SRV record out; " +
			"c.example: port 0 cannot be dialled; write the service's port into its SRV record")
	})
}

func TestServiceThatIsDecidedlyNotThereIsKnownAndEmpty(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("s.example. 5 SRV 0 0 0 .")
		if u := w.watch(srv("s.example.")).wantIDs(); u.Unknown {
			t.Fatal("the name exists")
		}
	})
}

// The hosts' addresses run out while no server answers: the set is not reported as if it had
// been confirmed.
func TestServiceOfWhichNoHostIsAnsweredForIsAnError(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("s.example. 50 SRV 0 0 80 a.example.", "s.example. 50 SRV 0 0 0 c.example.", "a.example. 5 A 10.0.0.1", "a.example. 30 AAAA fd00::1", "s.example. 50 SRV 0 0 80 b.example.", "b.example. 5 A 10.0.0.2")
		watch := w.watch(srv("s.example."))
		first := watch.wantSet("10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80")
		w.server("10.0.0.1:53", silent)
		// The AAAA record still holds, and so does what goes with it; but nobody has said it anew.
		if u := watch.wantSet("10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"); !u.At.Equal(first.At) || len(u.Problems) != 3 {
			t.Fatalf("update %+v, the first was at %v", u, first.At)
		}
		for time.Since(first.At) < 40*time.Second {
			watch.next(time.Minute)
		}
		watch.wantErr(": A of a.example.: server 10.0.0.1:53: no answer within 2s")
		w.server("10.0.0.1:53", nil)
		watch.wantSet("10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80")
	})
}
