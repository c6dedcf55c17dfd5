package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"sidecar/discovery"
)

// A world is DNS servers in memory that all know the same records, and a host that asks them,
// so that both live in a synctest bubble.
type world struct {
	t          *testing.T
	resolver   *Resolver
	resolvConf string // paths
	hosts      string

	mu      sync.Mutex
	records []dns.RR
	extra   []dns.RR // what comes with every answer that has records
	soa     dns.RR   // of negative answers; nil: none
	servers map[string]behaviour
	asked   []string // "udp 10.0.0.1:53 A orders.example."
}

// A behaviour is how a server answers: over network it was asked q, and a is what the records
// say. What it returns is sent; nothing is silence.
type behaviour func(network string, q, a *dns.Msg) []*dns.Msg

// story runs a test in virtual time. resolv.conf says conf.
func story(t *testing.T, o Options, conf string, test func(t *testing.T, w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, resolvConf: filepath.Join(dir, "resolv.conf"), hosts: filepath.Join(dir, "hosts"), servers: map[string]behaviour{}}
		w.write(w.resolvConf, conf)
		w.negative("example. 30 IN SOA ns.example. root.example. 1 2 3 4 10")
		o.ResolvConf, o.Hosts, o.dial = w.resolvConf, w.hosts, w.dial
		var err error
		if w.resolver, err = New(o); err != nil {
			t.Fatal(err)
		}
		test(t, w)
	})
}

// oneServer is a resolv.conf.
const oneServer = "nameserver 10.0.0.1\nsearch example\n"

func (w *world) write(path, text string) {
	w.t.Helper()
	// Replaced as a whole, as resolvconf and systemd do.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

func parseRecords(t testing.TB, lines []string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

// say sets the records that all servers know, one per line of a zone file.
func (w *world) say(lines ...string) {
	w.t.Helper()
	records := parseRecords(w.t, lines)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = records
}

// add sets what the additional section of every answer holds.
func (w *world) add(lines ...string) {
	w.t.Helper()
	extra := parseRecords(w.t, lines)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.extra = extra
}

// negative sets the SOA record of negative answers.
func (w *world) negative(line string) {
	w.t.Helper()
	soa := parseRecords(w.t, []string{line})[0]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.soa = soa
}

// server sets how one answers; nil is as it should.
func (w *world) server(address string, b behaviour) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[address] = b
}

func silent(string, *dns.Msg, *dns.Msg) []*dns.Msg { return nil }

// rcode is how a server behaves that answers questions of these types, or all, with a code.
func rcode(code int, types ...uint16) behaviour {
	return func(_ string, q, a *dns.Msg) []*dns.Msg {
		if len(types) > 0 && !slices.Contains(types, q.Question[0].Qtype) {
			return []*dns.Msg{a}
		}
		return []*dns.Msg{new(dns.Msg).SetRcode(q, code)}
	}
}

// dial connects to a server. Those with the behaviour refused have no process.
func (w *world) dial(_ context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	_, down := w.servers["refused "+address]
	w.mu.Unlock()
	if down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	near, far := net.Pipe()
	go w.serve(network, address, far)
	return near, nil
}

// refuse makes a server refuse connections, or ends that.
func (w *world) refuse(address string, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on {
		w.servers["refused "+address] = silent
	} else {
		delete(w.servers, "refused "+address)
	}
}

// serve answers what comes over a connection until the other side closes it.
func (w *world) serve(network, address string, conn net.Conn) {
	defer conn.Close()
	for {
		packed, err := receive(network, conn)
		if err != nil {
			return
		}
		q := new(dns.Msg)
		if err := q.Unpack(packed); err != nil {
			w.t.Errorf("a question that cannot be read: %v", err)
			return
		}
		w.mu.Lock()
		w.asked = append(w.asked, strings.Join([]string{network, address, dns.TypeToString[q.Question[0].Qtype], q.Question[0].Name}, " "))
		answers, behave := []*dns.Msg{w.answer(q)}, w.servers[address]
		w.mu.Unlock()
		if behave != nil {
			answers = behave(network, q, answers[0])
		}
		for _, a := range answers {
			out, err := a.Pack()
			if err != nil {
				w.t.Error(err)
				return
			}
			if network == "tcp" {
				out = slices.Concat(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out)
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	}
}

func receive(network string, conn net.Conn) ([]byte, error) {
	buf := make([]byte, 4096)
	if network == "udp" {
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(buf)
	_, err := io.ReadFull(conn, buf[:n])
	return buf[:n], err
}

// answer is what a recursive server makes of the records.
func (w *world) answer(q *dns.Msg) *dns.Msg {
	a := new(dns.Msg).SetReply(q)
	a.RecursionAvailable = true
	name, kind := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	exists := false
	for range 20 { // aliases
		alias := ""
		exists = false
		for _, rr := range w.records {
			if dns.CanonicalName(rr.Header().Name) != name {
				continue
			}
			exists = true
			cname, isAlias := rr.(*dns.CNAME)
			if rr.Header().Rrtype == kind || isAlias {
				a.Answer = append(a.Answer, rr)
			}
			if isAlias {
				alias = dns.CanonicalName(cname.Target)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if !slices.ContainsFunc(a.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == kind }) {
		if w.soa != nil {
			a.Ns = append(a.Ns, w.soa)
		}
		if !exists {
			a.Rcode = dns.RcodeNameError
		}
		return a
	}
	a.Extra = append(a.Extra, w.extra...)
	return a
}

// wantAsked checks what was asked since the last call, in any order.
func (w *world) wantAsked(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.asked
	w.asked = nil
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Fatalf("asked %q,\nwant  %q", got, want)
	}
}

// count is how many questions were asked since the last call.
func (w *world) count() int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.asked)
	w.asked = nil
	return n
}

// A watching is a Source's Watch that runs.
type watching struct {
	t       testing.TB
	source  discovery.Source
	updates chan discovery.Update
	cancel  context.CancelFunc
	ended   chan struct{}
}

func startWatch(t testing.TB, s discovery.Source) *watching {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{t: t, source: s, updates: make(chan discovery.Update, 10_000), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		s.Watch(ctx, func(u discovery.Update) { w.updates <- u })
	}()
	t.Cleanup(w.stop)
	return w
}

func (w *world) watch(q Query) *watching { return startWatch(w.t, w.resolver.Source(q)) }

// a and srv are queries for the name.
func a(name string) Query   { return Query{Name: name, Type: "a", Port: 80} }
func srv(name string) Query { return Query{Name: name, Type: "srv"} }

// stop ends the watch and waits for it.
func (w *watching) stop() {
	w.cancel()
	<-w.ended
}

// next returns the next update, within d.
func (w *watching) next(d time.Duration) discovery.Update {
	w.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case u := <-w.updates:
		return u
	case <-timer.C:
		w.t.Fatalf("no update within %v", d)
		panic("unreachable")
	}
}

// wantIDs checks that the next update is a set with these IDs, without problems.
func (w *watching) wantIDs(ids ...string) discovery.Update {
	w.t.Helper()
	u := w.wantSet(ids...)
	if len(u.Problems) > 0 {
		w.t.Fatalf("problems %q", u.Problems)
	}
	return u
}

// wantSet checks that the next update is a set with these IDs.
func (w *watching) wantSet(ids ...string) discovery.Update {
	w.t.Helper()
	u := w.next(2 * time.Minute)
	var got []string
	for _, inst := range u.Instances {
		got = append(got, inst.ID)
		if inst.Address != inst.ID {
			w.t.Fatalf("instance %+v", inst)
		}
	}
	if u.Err != nil || u.At.IsZero() || !slices.Equal(got, ids) {
		w.t.Fatalf("update %+v, want the IDs %v", u, ids)
	}
	return u
}

// wantErr checks that the next update is an error with text in it.
func (w *watching) wantErr(text string) discovery.Update {
	w.t.Helper()
	u := w.next(2 * time.Minute)
	if u.Err == nil || !strings.Contains(u.Err.Error(), text) {
		w.t.Fatalf("update %+v, want an error with %q", u, text)
	}
	if u.At.IsZero() || u.Instances != nil || u.Unknown || u.Problems != nil {
		w.t.Fatalf("an update with an error says more: %+v", u)
	}
	return u
}

// eventuallyErr passes over errors of lookups that had begun before, until one has text in it.
func (w *watching) eventuallyErr(text string) {
	w.t.Helper()
	var u discovery.Update
	for range 3 {
		if u = w.wantErr(""); strings.Contains(u.Err.Error(), text) {
			return
		}
	}
	w.t.Fatalf("error %v, want one with %q", u.Err, text)
}

// wantProblems checks all of an update's problems.
func wantProblems(t *testing.T, u discovery.Update, want ...string) {
	t.Helper()
	if !slices.Equal(u.Problems, want) {
		t.Fatalf("problems %q,\nwant     %q", u.Problems, want)
	}
}

// wantQuiet checks that nothing more is reported within d.
func (w *watching) wantQuiet(d time.Duration) {
	w.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	select {
	case u := <-w.updates:
		w.t.Fatalf("reported %+v, want nothing", u)
	default:
	}
}
