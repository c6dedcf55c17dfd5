package dns

import (
	"encoding/binary"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const twoServers = "nameserver 10.0.0.1\nnameserver 10.0.0.2\noptions no-aaaa\n"

// instead is how a server behaves that sends another message before its answer, or for it.
func instead(spoil func(q, a *dns.Msg) *dns.Msg, and bool) behaviour {
	return func(_ string, q, a *dns.Msg) []*dns.Msg {
		out := []*dns.Msg{spoil(q, a.Copy())}
		if and {
			out = append(out, a)
		}
		return out
	}
}

// strays are messages that do not answer the question, each with what is said of it.
func strays() map[string]func(q, a *dns.Msg) *dns.Msg {
	forge := func(change func(a *dns.Msg)) func(q, a *dns.Msg) *dns.Msg {
		return func(_, a *dns.Msg) *dns.Msg {
			a.Answer = parseRecordsOrPanic("orders.example. 5 A 10.6.6.6")
			change(a)
			return a
		}
	}
	return map[string]func(q, a *dns.Msg) *dns.Msg{
		"an answer with another ID": forge(func(a *dns.Msg) { a.Id++ }),
		"an answer to another question": forge(func(a *dns.Msg) {
			a.Question[0].Name = "other.example."
		}),
		"a message that is no response": func(q, _ *dns.Msg) *dns.Msg { return q },
	}
}

func parseRecordsOrPanic(line string) []dns.RR {
	rr, err := dns.NewRR(line)
	if err != nil {
		panic(err)
	}
	return []dns.RR{rr}
}

func TestMessagesThatAreNoAnswerArePassedOver(t *testing.T) {
	for what, spoil := range strays() {
		t.Run(what, func(t *testing.T) {
			story(t, Options{}, "nameserver 10.0.0.1\noptions no-aaaa attempts:1\n", func(t *testing.T, w *world) {
				w.say("orders.example. 5 A 10.0.0.7")
				w.server("10.0.0.1:53", instead(spoil, true))
				watch := w.watch(a("orders.example."))
				watch.wantIDs("10.0.0.7:80")
				w.server("10.0.0.1:53", instead(spoil, false))
				watch.wantErr("server 10.0.0.1:53: no answer within 2s, only " + what + "; ")
			})
		})
	}
}

func TestQuestionsDifferInMoreThanTheName(t *testing.T) {
	ask := new(dns.Msg).SetQuestion("orders.example.", dns.TypeA)
	for name, c := range map[string]struct {
		change func(m *dns.Msg)
		want   error
	}{
		"none":                     {func(m *dns.Msg) {}, nil},
		"another case":             {func(m *dns.Msg) { m.Question[0].Name = "OrDers.example." }, nil},
		"another type":             {func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }, errOtherQuestion},
		"another class":            {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, errOtherQuestion},
		"two":                      {func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, errOtherQuestion},
		"no question":              {func(m *dns.Msg) { m.Question = nil }, errOtherQuestion},
		"no question and NXDOMAIN": {func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeNameError }, errOtherQuestion},
		"no question and REFUSED":  {func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeRefused }, nil},
		"another opcode":           {func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, errNoResponse},
	} {
		m := new(dns.Msg).SetReply(ask)
		c.change(m)
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(packed, ask); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A packet that only looks like a DNS message is passed over like one of a stranger.
func TestMalformedPacketsArePassedOver(t *testing.T) {
	ask := new(dns.Msg).SetQuestion("orders.example.", dns.TypeA)
	good := new(dns.Msg).SetReply(ask)
	good.Answer = parseRecordsOrPanic("orders.example. 5 A 10.0.0.7")
	packed, err := good.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 1, 11, len(packed) - 1} {
		if _, err := parse(packed[:cut], ask); !errors.Is(err, errMalformed) {
			t.Errorf("the first %d bytes: %v", cut, err)
		}
	}
	// Said to be cut off, it is what TCP has to make good.
	good.Truncated = true
	if packed, err = good.Pack(); err != nil {
		t.Fatal(err)
	}
	if m, err := parse(packed[:len(packed)-1], ask); err != nil || !m.Truncated {
		t.Errorf("%v, %v", m, err)
	}
}

// Whoever sends packets without end gets no more guesses than these, and no memory of ours.
func TestFloodOfStraysEndsTheQuestion(t *testing.T) {
	ask := new(dns.Msg).SetQuestion("orders.example.", dns.TypeA)
	forged := new(dns.Msg).SetReply(ask)
	forged.Id++
	packed, err := forged.Pack()
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	sent := make(chan int)
	go func() {
		defer far.Close()
		n := 0
		if _, err := receive("udp", far); err == nil {
			for ; err == nil; n++ {
				_, err = far.Write(packed)
			}
		}
		sent <- n - 1 // the last one was not taken
	}()
	_, err = converse(near, "udp", ask)
	near.Close()
	if n := <-sent; n != maxStray || !errors.Is(err, errOtherID) {
		t.Fatalf("%v after %d messages", err, n)
	}
}

func TestServersThatDoNotAnswerProperlyAreNotBelieved(t *testing.T) {
	referral := func(_ string, q, a *dns.Msg) []*dns.Msg {
		a.Rcode, a.Answer, a.Ns = dns.RcodeSuccess, nil, parseRecordsOrPanic("example. 5 NS ns.example.")
		return []*dns.Msg{a}
	}
	withoutAuthority := func(code int) behaviour {
		return func(_ string, q, a *dns.Msg) []*dns.Msg {
			a.Rcode, a.Answer, a.RecursionAvailable = code, nil, false
			return []*dns.Msg{a}
		}
	}
	others := func(_ string, q, a *dns.Msg) []*dns.Msg {
		a.Answer = parseRecordsOrPanic("other.example. 5 A 10.6.6.6")
		return []*dns.Msg{a}
	}
	otherType := func(_ string, q, a *dns.Msg) []*dns.Msg {
		a.Answer = parseRecordsOrPanic("orders.example. 5 TXT x")
		return []*dns.Msg{a}
	}
	for name, c := range map[string]struct {
		behave behaviour
		want   string
	}{
		"SERVFAIL":                   {rcode(dns.RcodeServerFailure), "SERVFAIL; see the server's log"},
		"REFUSED":                    {rcode(dns.RcodeRefused), "REFUSED; let it answer this host, or correct "},
		"NOTAUTH":                    {rcode(dns.RcodeNotAuth), "NOTAUTH; see"},
		"a code that has no name":    {rcode(15), "response code 15; see"},
		"silence":                    {silent, "no answer within 2s; it hangs, or the network drops packets; else correct "},
		"a referral":                 {referral, "a referral to other servers, or an empty answer without authority; it does not resolve this name; correct "},
		"empty without authority":    {withoutAuthority(dns.RcodeSuccess), "an empty answer without authority; it"},
		"NXDOMAIN without authority": {withoutAuthority(dns.RcodeNameError), "an empty answer without authority; it"},
		"an answer of another type":  {otherType, "the answer is about another name or type; it"},
		"an answer about others":     {others, "the answer is about another name or type; it does not resolve this name; correct "},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, "nameserver 10.0.0.1\noptions no-aaaa\n", func(t *testing.T, w *world) {
				w.say("orders.example. 5 A 10.0.0.7")
				w.server("10.0.0.1:53", c.behave)
				watch := w.watch(a("orders.example."))
				watch.wantErr("dns: look up \"orders.example.\": A of orders.example.: server 10.0.0.1:53: ")
				watch.wantErr(c.want)
				w.server("10.0.0.1:53", nil)
				watch.wantIDs("10.0.0.7:80")
			})
			// Another server that knows it is believed.
			story(t, Options{}, twoServers, func(t *testing.T, w *world) {
				w.say("orders.example. 5 A 10.0.0.7")
				w.server("10.0.0.1:53", c.behave)
				w.watch(a("orders.example.")).wantIDs("10.0.0.7:80")
			})
		})
	}
}

func TestServerThatIsDownIsAskedOnceOnly(t *testing.T) {
	story(t, Options{}, twoServers, func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7")
		w.server("10.0.0.1:53", silent)
		began := time.Now()
		watch := w.watch(a("orders.example."))
		watch.wantIDs("10.0.0.7:80")
		if took := time.Since(began); took != DefaultTimeout {
			t.Errorf("the other server has answered after %v", took)
		}
		w.wantAsked("udp 10.0.0.1:53 A orders.example.", "udp 10.0.0.2:53 A orders.example.")
		for range 3 {
			watch.wantIDs("10.0.0.7:80")
			w.wantAsked("udp 10.0.0.2:53 A orders.example.")
		}
		w.server("10.0.0.1:53", nil)
		w.server("10.0.0.2:53", silent)
		watch.wantIDs("10.0.0.7:80")
		w.wantAsked("udp 10.0.0.1:53 A orders.example.", "udp 10.0.0.2:53 A orders.example.")
	})
}

func TestAttemptsAreRoundsOverAllServers(t *testing.T) {
	story(t, Options{Timeout: time.Second}, twoServers+"options attempts:3\n", func(t *testing.T, w *world) {
		w.server("10.0.0.1:53", silent)
		w.refuse("10.0.0.2:53", true)
		began := time.Now()
		u := w.watch(a("orders.example.")).wantErr("A of orders.example.: server 10.0.0.1:53: no answer within 1s, server 10.0.0.2:53: connect: connection refused; it hangs")
		if !errors.Is(u.Err, syscall.ECONNREFUSED) {
			t.Errorf("the cause is not in the chain of %v", u.Err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("failed after %v", took)
		}
	})
}

func TestRotateBeginsWithAnotherServerEachTime(t *testing.T) {
	story(t, Options{}, twoServers+"options rotate\n", func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7")
		watch := w.watch(a("orders.example."))
		for range 3 {
			watch.wantIDs("10.0.0.7:80")
			watch.wantIDs("10.0.0.7:80")
			w.wantAsked("udp 10.0.0.1:53 A orders.example.", "udp 10.0.0.2:53 A orders.example.")
		}
	})
}

// truncate is how a server behaves whose answers are too long for UDP.
func truncate(network string, _, a *dns.Msg) []*dns.Msg {
	if network == "udp" {
		a.Truncated, a.Answer = true, a.Answer[:min(1, len(a.Answer))]
	}
	return []*dns.Msg{a}
}

func TestAnswerThatIsCutOffIsAskedForOverTCP(t *testing.T) {
	story(t, Options{}, "nameserver 10.0.0.1\noptions no-aaaa\n", func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7", "orders.example. 5 A 10.0.0.8")
		w.server("10.0.0.1:53", truncate)
		watch := w.watch(a("orders.example."))
		watch.wantIDs("10.0.0.7:80", "10.0.0.8:80")
		w.wantAsked("udp 10.0.0.1:53 A orders.example.", "tcp 10.0.0.1:53 A orders.example.")

		// Half an answer is none.
		w.server("10.0.0.1:53", func(network string, q, a *dns.Msg) []*dns.Msg {
			if network == "tcp" {
				return nil
			}
			return truncate(network, q, a)
		})
		watch.wantErr("server 10.0.0.1:53: the answer is cut off, and over TCP: no answer within 2s; it hangs")
		w.server("10.0.0.1:53", func(_ string, q, a *dns.Msg) []*dns.Msg { return truncate("udp", q, a) })
		watch.eventuallyErr("server 10.0.0.1:53: the answer is cut off even over TCP; see the server's log")
		w.server("10.0.0.1:53", func(network string, q, a *dns.Msg) []*dns.Msg {
			if network == "tcp" {
				a.Id++
			}
			return truncate(network, q, a)
		})
		watch.eventuallyErr("over TCP: an answer with another ID; check what listens there")
	})
}

func TestTCPOnly(t *testing.T) {
	story(t, Options{}, "nameserver 10.0.0.1\noptions use-vc\n", func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7", "orders.example. 5 AAAA fd00::1")
		watch := w.watch(a("orders.example."))
		watch.wantIDs("10.0.0.7:80", "[fd00::1]:80")
		w.wantAsked("tcp 10.0.0.1:53 A orders.example.", "tcp 10.0.0.1:53 AAAA orders.example.")
		w.server("10.0.0.1:53", silent)
		watch.wantErr("server 10.0.0.1:53: over TCP: no answer within 2s; it hangs")
	})
}

func TestServerWithoutEDNSIsAskedWithout(t *testing.T) {
	for _, code := range []int{dns.RcodeFormatError, dns.RcodeNotImplemented} {
		story(t, Options{}, "nameserver 10.0.0.1\noptions no-aaaa\n", func(t *testing.T, w *world) {
			w.say("orders.example. 5 A 10.0.0.7")
			w.server("10.0.0.1:53", func(_ string, q, a *dns.Msg) []*dns.Msg {
				if opt := q.IsEdns0(); opt == nil {
					return []*dns.Msg{a}
				} else if opt.UDPSize() != udpSize {
					t.Errorf("asked for answers of up to %d bytes", opt.UDPSize())
				}
				refusal := new(dns.Msg).SetRcode(q, code)
				refusal.Question = nil
				return []*dns.Msg{refusal}
			})
			w.watch(a("orders.example.")).wantIDs("10.0.0.7:80")
		})
	}
}

// The IDs of questions cannot be guessed from earlier ones.
func TestQuestionsHaveIDsOfTheirOwn(t *testing.T) {
	story(t, Options{}, "nameserver 10.0.0.1\noptions no-aaaa\n", func(t *testing.T, w *world) {
		w.say("orders.example. 1 A 10.0.0.7")
		ids := make(chan uint16, 100)
		w.server("10.0.0.1:53", func(_ string, q, a *dns.Msg) []*dns.Msg { ids <- q.Id; return []*dns.Msg{a} })
		watch := w.watch(a("orders.example."))
		seen := map[uint16]bool{}
		for range 40 {
			watch.wantIDs("10.0.0.7:80")
			seen[<-ids] = true
		}
		if len(seen) < 30 {
			t.Fatalf("%d different IDs of 40", len(seen))
		}
	})
}

func TestTCPAnswerIsBounded(t *testing.T) {
	ask := new(dns.Msg).SetQuestion("orders.example.", dns.TypeA)
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		if _, err := receive("tcp", far); err != nil {
			return
		}
		junk := make([]byte, 1<<16)
		_, _ = far.Write(binary.BigEndian.AppendUint16(nil, 20))
		_, _ = far.Write(junk)
	}()
	if _, err := converse(near, "tcp", ask); !errors.Is(err, errOtherID) && !errors.Is(err, errMalformed) {
		t.Fatalf("junk is %v", err)
	}
}

// While no server can be heard all are asked at once; one that is merely of no use does not
// change whom the others' questions begin with.
func TestServersAreAskedAtOnceWhileNoneIsHeard(t *testing.T) {
	story(t, Options{}, twoServers+"options attempts:1\n", func(t *testing.T, w *world) {
		w.say("orders.example. 1 A 10.0.0.7")
		w.server("10.0.0.1:53", silent)
		w.server("10.0.0.2:53", silent)
		watch := w.watch(a("orders.example."))
		began := time.Now()
		watch.wantErr("no answer")
		if took := time.Since(began); took != 2*DefaultTimeout {
			t.Errorf("one after the other they took %v", took)
		}
		began = time.Now()
		watch.wantErr("no answer")
		if took := time.Since(began); took != DefaultTimeout {
			t.Errorf("both at once took %v", took)
		}
	})
	story(t, Options{}, twoServers+"options attempts:1\n", func(t *testing.T, w *world) {
		w.say("orders.example. 1 A 10.0.0.7")
		w.server("10.0.0.1:53", rcode(dns.RcodeServerFailure))
		w.server("10.0.0.2:53", rcode(dns.RcodeServerFailure))
		watch := w.watch(a("orders.example."))
		watch.wantErr("SERVFAIL")
		w.count()
		w.server("10.0.0.1:53", nil)
		watch.wantIDs("10.0.0.7:80")
		w.wantAsked("udp 10.0.0.1:53 A orders.example.")
	})
}

func TestFirstProperAnswerIsNotKeptWaiting(t *testing.T) {
	story(t, Options{}, twoServers+"nameserver 10.0.0.3\n", func(t *testing.T, w *world) {
		w.say("orders.example. 5 A 10.0.0.7")
		w.refuse("10.0.0.1:53", true)
		w.server("10.0.0.2:53", silent)
		began := time.Now()
		w.watch(a("orders.example.")).wantIDs("10.0.0.7:80")
		if took := time.Since(began); took != 0 {
			t.Fatalf("it took %v", took)
		}
	})
}
