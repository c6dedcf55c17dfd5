package dns

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// wantPause checks how long it takes from one update to the next: from at least, and up to a
// twentieth more.
func (w *watching) wantPause(least time.Duration) {
	w.t.Helper()
	began := time.Now()
	w.next(2 * time.Minute)
	if took := time.Since(began); took < least || took > least+least/20 {
		w.t.Fatalf("the next lookup came after %v, want %v and a little", took, least)
	}
}

func TestLooksAgainWhenTheFirstAnswerRunsOut(t *testing.T) {
	const alias = "orders.example. 20 CNAME a.example."
	for name, c := range map[string]struct {
		records []string
		soa     string
		want    time.Duration
	}{
		"an address":                      {[]string{"orders.example. 5 A 10.0.0.7"}, "", 5 * time.Second},
		"the smallest of a set":           {[]string{"orders.example. 9 A 10.0.0.7", "orders.example. 6 A 10.0.0.8"}, "", 6 * time.Second},
		"the alias, not the address":      {[]string{alias, "a.example. 30 A 10.0.0.7", "a.example. 30 AAAA fd00::1"}, "", 20 * time.Second},
		"the address, not the alias":      {[]string{alias, "a.example. 7 A 10.0.0.7", "a.example. 30 AAAA fd00::1"}, "", 7 * time.Second},
		"at least min":                    {[]string{"orders.example. 0 A 10.0.0.7"}, "", 2 * time.Second},
		"at most max":                     {[]string{"orders.example. 86400 A 10.0.0.7", "orders.example. 86400 AAAA fd00::1"}, "", 40 * time.Second},
		"with the highest bit it is none": {[]string{"orders.example. 2147483648 A 10.0.0.7"}, "", 2 * time.Second},
		"NXDOMAIN: the minimum":           {nil, "example. 90 SOA n. r. 1 2 3 4 8", 8 * time.Second},
		"NXDOMAIN: the SOA's own":         {nil, "example. 11 SOA n. r. 1 2 3 4 90", 11 * time.Second},
		"NODATA: of all types":            {[]string{"orders.example. 9 TXT x"}, "example. 13 SOA n. r. 1 2 3 4 90", 13 * time.Second},
		"NODATA at the end of an alias":   {[]string{alias, "a.example. 9 TXT x"}, "example. 33 SOA n. r. 1 2 3 4 90", 20 * time.Second},
		"NXDOMAIN: at most max":           {nil, "example. 900 SOA n. r. 1 2 3 4 900", 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{MinTTL: 2 * time.Second, MaxTTL: 40 * time.Second}, oneServer, func(t *testing.T, w *world) {
				w.say(c.records...)
				w.negative("example. 60 SOA n. r. 1 2 3 4 60")
				if c.soa != "" {
					w.negative(c.soa)
				}
				watch := w.watch(a("orders.example."))
				if u := watch.next(time.Nanosecond); u.Err != nil {
					t.Fatal(u.Err)
				}
				watch.wantPause(c.want)
				watch.wantPause(c.want)
			})
		})
	}
}

func TestNegativeAnswerWithoutSOAHoldsForTheMinimum(t *testing.T) {
	story(t, Options{MinTTL: 3 * time.Second}, oneServer, func(t *testing.T, w *world) {
		w.soa = nil
		watch := w.watch(a("orders.example."))
		if u := watch.wantIDs(); !u.Unknown {
			t.Fatal("the name does not exist")
		}
		watch.wantPause(3 * time.Second)
	})
}

// Each question is asked again when its own answer has run out, and no sooner.
func TestTypesHaveTheirOwnTTL(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("orders.example. 4 A 10.0.0.7", "orders.example. 50 AAAA fd00::1")
		watch := w.watch(a("orders.example."))
		watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
		w.wantAsked("udp 10.0.0.1:53 A orders.example.", "udp 10.0.0.1:53 AAAA orders.example.")
		for range 5 {
			watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
			w.wantAsked("udp 10.0.0.1:53 A orders.example.")
		}
	})
}

func TestEachAnswerIsReportedChangedOrNot(t *testing.T) {
	story(t, Options{}, oneServer+"options no-aaaa\n", func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7")
		watch := w.watch(a("orders.example."))
		first := watch.wantIDs("10.0.0.7:80")
		second := watch.wantIDs("10.0.0.7:80")
		if d := second.At.Sub(first.At); d < 5*time.Second {
			t.Fatalf("two answers within %v", d)
		}
		w.say("orders.example. 5 A 10.0.0.8", "orders.example. 5 A 10.0.0.7", "orders.example. 5 A 10.0.0.8")
		watch.wantIDs("10.0.0.7:80", "10.0.0.8:80")
	})
}

func TestRefreshLooksAgainAtOnceAndPastTheTTL(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("orders.example. 50 A 10.0.0.7", "orders.example. 50 AAAA fd00::1")
		watch := w.watch(a("orders.example."))
		watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
		watch.wantQuiet(10 * time.Second)
		w.say("orders.example. 50 A 10.0.0.8", "orders.example. 50 AAAA fd00::1")
		for range 100 {
			watch.source.(*source).Refresh()
		}
		began := time.Now()
		if watch.wantIDs("10.0.0.8:80", "[fd00::1]:80"); time.Since(began) != 0 {
			t.Fatalf("the refresh took %v", time.Since(began))
		}
		// One lookup for all, and another one if it had begun before the last of them.
		time.Sleep(49 * time.Second)
		synctest.Wait()
		if n := len(watch.updates); n > 1 {
			t.Fatalf("%d more lookups", n)
		}
	})
}

// Whatever asks for more, no source looks up more often than once per second.
func TestLookupsKeepTheirPace(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"TTL 0":                func(w *world) { w.say("orders.example. 0 A 10.0.0.7", "orders.example. 0 AAAA fd00::1") },
		"unknown, without TTL": func(w *world) { w.soa = nil },
		"SERVFAIL":             func(w *world) { w.server("10.0.0.1:53", rcode(dns.RcodeServerFailure)) },
		"refused":              func(w *world) { w.refuse("10.0.0.1:53", true) },
		"one type fails": func(w *world) {
			w.say("orders.example. 0 A 10.0.0.7")
			w.server("10.0.0.1:53", rcode(dns.RcodeServerFailure, dns.TypeAAAA))
		},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{MinTTL: time.Millisecond}, oneServer, func(t *testing.T, w *world) {
				prepare(w)
				watch := w.watch(a("orders.example."))
				for range 600 {
					time.Sleep(100 * time.Millisecond)
					watch.source.(*source).Refresh()
				}
				synctest.Wait()
				// In a minute, the one at the beginning included.
				if n := len(watch.updates); n < 25 || n > 61 {
					t.Fatalf("%d lookups in a minute", n)
				}
			})
		})
	}
}

func TestUpdatesResumeSoonAfterTheServersAreBack(t *testing.T) {
	const three = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n"
	servers := []string{"10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"}
	for name, fail := range map[string]func(w *world, server string, on bool){
		"silent": func(w *world, server string, on bool) {
			if w.server(server, nil); on {
				w.server(server, silent)
			}
		},
		"SERVFAIL": func(w *world, server string, on bool) {
			if w.server(server, nil); on {
				w.server(server, rcode(dns.RcodeServerFailure))
			}
		},
		"refused": func(w *world, server string, on bool) { w.refuse(server, on) },
	} {
		t.Run(name, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(1, 2))
			for range 30 {
				story(t, Options{}, three, func(t *testing.T, w *world) {
					w.say("orders.example. 3 A 10.0.0.7")
					watch := w.watch(a("orders.example."))
					watch.wantIDs("10.0.0.7:80")
					for _, s := range servers {
						fail(w, s, true)
					}
					watch.wantErr("server 10.0.0.1:53")
					time.Sleep(time.Duration(chance.Int64N(int64(time.Minute))))
					synctest.Wait()
					for len(watch.updates) > 0 {
						watch.wantErr("server 10.0.0.1:53")
					}
					fail(w, servers[chance.IntN(3)], false) // one of them is enough
					back := time.Now()
					for watch.next(time.Minute).Err != nil {
					}
					if took := time.Since(back); took >= 5*time.Second {
						t.Fatalf("the set was known only %v after a server was back", took)
					}
				})
			}
		})
	}
}

// A failed refresh is not made good by what is remembered.
func TestRefreshThatFailsStaysFailedUntilAServerAnswers(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("orders.example. 50 A 10.0.0.7", "orders.example. 50 AAAA fd00::1")
		watch := w.watch(a("orders.example."))
		watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
		time.Sleep(5 * time.Second)
		w.refuse("10.0.0.1:53", true)
		watch.source.(*source).Refresh()
		for range 5 {
			watch.wantErr("connection refused")
		}
		w.refuse("10.0.0.1:53", false)
		watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
	})
}

// What a refresh could not ask for is asked for as soon as a server answers, although what is
// remembered of it would still hold.
func TestRefreshThatFailedIsMadeUpFor(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("s.example. 50 SRV 0 0 80 a.example.", "a.example. 50 A 10.0.0.7", "a.example. 50 AAAA fd00::1")
		watch := w.watch(srv("s.example."))
		watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
		time.Sleep(5 * time.Second)
		w.refuse("10.0.0.1:53", true)
		watch.source.(*source).Refresh()
		watch.wantErr("connection refused")
		w.say("s.example. 50 SRV 0 0 80 a.example.", "a.example. 50 A 10.0.0.8", "a.example. 50 AAAA fd00::1")
		w.refuse("10.0.0.1:53", false)
		watch.wantIDs("10.0.0.8:80", "[fd00::1]:80")
	})
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("orders.example. 50 A 10.0.0.7", "orders.example. 50 AAAA fd00::1")
		watch := w.watch(a("orders.example."))
		watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
		time.Sleep(5 * time.Second)
		w.server("10.0.0.1:53", rcode(dns.RcodeServerFailure, dns.TypeAAAA))
		watch.source.(*source).Refresh()
		watch.wantSet("10.0.0.7:80", "[fd00::1]:80")
		w.say("orders.example. 50 A 10.0.0.7", "orders.example. 50 AAAA fd00::2")
		w.server("10.0.0.1:53", nil)
		began := time.Now()
		watch.wantIDs("10.0.0.7:80", "[fd00::2]:80")
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("the type that had failed was asked for after %v", took)
		}
	})
}

// A lookup that fails as a whole does not forget what the next may have to fall back on.
func TestLastAddressesStandOverAFailedLookup(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("s.example. 5 SRV 0 0 80 a.example.", "s.example. 5 SRV 0 0 80 b.example.", "a.example. 5 A 10.0.0.7", "b.example. 5 A 10.0.0.8")
		watch := w.watch(srv("s.example."))
		watch.wantIDs("10.0.0.7:80", "10.0.0.8:80")
		w.refuse("10.0.0.1:53", true)
		for range 5 {
			watch.next(time.Minute)
		}
		watch.wantErr("SRV of s.example.")
		w.server("10.0.0.1:53", func(_ string, q, a *dns.Msg) []*dns.Msg {
			if q.Question[0].Name == "b.example." {
				return []*dns.Msg{new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)}
			}
			return []*dns.Msg{a}
		})
		w.refuse("10.0.0.1:53", false)
		if u := watch.wantSet("10.0.0.7:80", "10.0.0.8:80"); len(u.Problems) != 1 {
			t.Fatalf("problems %q", u.Problems)
		}
	})
}

// A host that nobody tells the address of may be one of three whose answer was lost.
func TestFirstLookupThatLacksAHostFailsOnce(t *testing.T) {
	records := []string{
		"s.example. 5 SRV 0 1 80 a.example.", "s.example. 5 SRV 0 1 80 b.example.", "s.example. 5 SRV 0 1 80 c.example.",
		"a.example. 5 A 10.0.0.1", "b.example. 5 A 10.0.0.2", "c.example. 5 A 10.0.0.3",
	}
	but := func(name string) behaviour {
		return func(_ string, q, a *dns.Msg) []*dns.Msg {
			a.Extra = nil
			if q.Question[0].Name == name {
				return nil
			}
			return []*dns.Msg{a}
		}
	}
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say(records...)
		w.server("10.0.0.1:53", but("b.example."))
		watch := w.watch(srv("s.example."))
		watch.wantErr(`dns: look up "s.example.": A of b.example.: server 10.0.0.1:53: no answer within 2s`)
		failed := time.Now()
		w.server("10.0.0.1:53", but("nobody."))
		watch.wantIDs("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
		if after := time.Since(failed); after > failedFirst {
			t.Errorf("looked up again %v later", after)
		}
	})
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say(records...)
		w.server("10.0.0.1:53", silent)
		watch := w.watch(srv("s.example."))
		watch.wantErr("SRV of s.example.") // says nothing of hosts
		watch.wantErr("SRV of s.example.")
		w.server("10.0.0.1:53", but("c.example."))
		watch.eventuallyErr("A of c.example.: server 10.0.0.1:53: no answer within 2s")
		for range 3 { // it is taken as it is, and so is what follows
			if u := watch.wantSet("10.0.0.1:80", "10.0.0.2:80"); len(u.Problems) != 1 {
				t.Fatalf("problems %q", u.Problems)
			}
		}
	})
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say(records[0], records[1], records[3], records[4])
		w.server("10.0.0.1:53", but("nobody."))
		watch := w.watch(srv("s.example."))
		watch.wantIDs("10.0.0.1:80", "10.0.0.2:80")
		w.say(records...) // one more, later: what is known is not withheld for its sake
		w.server("10.0.0.1:53", but("c.example."))
		u := watch.wantSet("10.0.0.1:80", "10.0.0.2:80")
		for len(u.Problems) == 0 {
			u = watch.wantSet("10.0.0.1:80", "10.0.0.2:80")
		}
	})
}

func TestTypeThatFailsForAHostIsAProblem(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("s.example. 5 SRV 0 0 80 a.example.", "s.example. 5 SRV 0 0 0 a.example.", "a.example. 5 A 10.0.0.7")
		w.server("10.0.0.1:53", rcode(dns.RcodeServerFailure, dns.TypeAAAA))
		wantProblems(t, w.watch(srv("s.example.")).wantSet("10.0.0.7:80"),
			"a.example: port 0 cannot be dialled; write the service's port into its SRV record",
			"a.example:80: AAAA of a.example.: server 10.0.0.1:53: SERVFAIL; see the server's log; of that type the last known addresses stand",
		)
	})
}

func TestWatchEndsAtOnce(t *testing.T) {
	for name, prepare := range map[string]func(w *world, watch *watching){
		"while it waits":          func(w *world, watch *watching) { watch.next(time.Nanosecond) },
		"while it keeps its pace": func(w *world, watch *watching) { watch.next(time.Nanosecond); watch.source.(*source).Refresh() },
		"while it asks":           func(w *world, watch *watching) {},
		"after an error":          func(w *world, watch *watching) { watch.wantErr("") },
		"with a wrong name":       func(w *world, watch *watching) { watch.wantErr("no domain name") },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, oneServer, func(t *testing.T, w *world) {
				query := a("orders.example.")
				switch name {
				case "while it asks", "after an error":
					w.server("10.0.0.1:53", silent)
				case "with a wrong name":
					query.Name = "orders/example"
				}
				watch := w.watch(query)
				prepare(w, watch)
				synctest.Wait()
				reported, ended := len(watch.updates), time.Now()
				watch.stop()
				if time.Since(ended) != 0 || len(watch.updates) != reported {
					t.Fatalf("ended after %v, with %d more updates", time.Since(ended), len(watch.updates)-reported)
				}
			})
		})
	}
}

func TestQueryThatNobodyCanAnswerIsReportedOnce(t *testing.T) {
	for want, q := range map[string]Query{
		"that is no domain name; correct service.discovery.dns.name": {Name: "a b", Type: "srv"},
		`look up "": that is no domain name`:                         {Type: "srv"},
		`look up ".": that is no domain name`:                        {Name: ".", Type: "srv"},
		`look up "a..b": that is no domain name`:                     {Name: "a..b", Type: "a", Port: 1},
		"is not ASCII; write its form that begins with xn--":         {Name: "bücher.example", Type: "srv"},
		"type \"mx\" is neither a nor srv; correct service":          {Name: "a", Type: "mx"},
		"port 0 is not from 1 to 65535; set service.discovery":       {Name: "a", Type: "a"},
		"port 65536 is not":                                          {Name: "a", Type: "a", Port: 65536},
		"an IP address has no SRV records; use type a, or correct":   {Name: "10.0.0.1", Type: "srv"},
		`that is no domain name; `:                                   {Name: strings.Repeat("a", 64), Type: "srv"},
	} {
		story(t, Options{}, oneServer, func(t *testing.T, w *world) {
			watch := w.watch(q)
			watch.wantErr(want)
			watch.wantQuiet(time.Hour)
			w.wantAsked()
		})
	}
}
