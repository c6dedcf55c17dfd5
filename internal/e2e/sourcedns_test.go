package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"sidecar/internal/servertest"
)

// A nameServer answers over UDP and TCP on one port from the records that it has at the moment.
type nameServer struct {
	t       *testing.T
	address string
	stop    func() // ends it; the port refuses from then on

	mu      sync.Mutex
	records []dns.RR
	failure int // Rcode of every answer, where it is not 0
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	n := &nameServer{t: t, address: fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))}
	n.start()
	t.Cleanup(func() { n.stop() })
	return n
}

// start has it listen, also again after stop.
func (n *nameServer) start() {
	n.t.Helper()
	udp, err := net.ListenPacket("udp", n.address)
	if err != nil {
		n.t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", n.address)
	if err != nil {
		n.t.Fatal(err)
	}
	var running sync.WaitGroup
	var ready sync.WaitGroup
	servers := []*dns.Server{{PacketConn: udp, Handler: n}, {Listener: tcp, Handler: n}}
	for _, s := range servers {
		ready.Add(1)
		s.NotifyStartedFunc = ready.Done
		running.Go(func() { _ = s.ActivateAndServe() }) // until it is shut down
	}
	ready.Wait()
	n.stop = sync.OnceFunc(func() {
		for _, s := range servers {
			_ = s.Shutdown()
		}
		running.Wait()
	})
}

// set replaces the records; each is a line of a zone file.
func (n *nameServer) set(lines ...string) {
	n.t.Helper()
	var records []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			n.t.Fatal(err)
		}
		records = append(records, rr)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records = records
}

// fail has every answer be of this Rcode; 0 ends it.
func (n *nameServer) fail(rcode int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failure = rcode
}

// ServeDNS answers one question. A name that has records of another type only exists.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	reply := new(dns.Msg).SetReply(q)
	reply.Authoritative = true
	exists := false
	for _, rr := range n.records {
		if !strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
			continue
		}
		exists = true
		if rr.Header().Rrtype == q.Question[0].Qtype {
			reply.Answer = append(reply.Answer, dns.Copy(rr))
		}
	}
	switch {
	case n.failure != 0:
		reply = new(dns.Msg).SetRcode(q, n.failure)
	case !exists:
		reply.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(reply) // who has asked may be gone
}

func (n *nameServer) config() string {
	return fmt.Sprintf("[dns]\nservers = [%q]\nmin_ttl = \"1s\"\ntimeout = \"500ms\"\n", n.address)
}

// services are the SRV records of instances, with the address of the host that all of them name.
func services(all ...*origin) []string {
	lines := []string{"host.test. 1 IN A 127.0.0.1"}
	for _, o := range all {
		lines = append(lines, fmt.Sprintf("_http._tcp.orders.test. 1 IN SRV 0 10 %d host.test.", o.port()))
	}
	return lines
}

func TestAServiceInSRVRecords(t *testing.T) {
	t.Parallel()
	ns := startNameServer(t)
	one := serveOrigins(t, "first", "second", "third", "fourth")
	ns.set(services(one[0])...)
	f := follow(t, ns.config(), "source = \"dns\"\ndns = { name = \"_http._tcp.orders.test\", type = \"srv\" }")

	ns.set(services(one[0], one[1])...)
	f.wantTraffic(one[1])
	f.wantLine("dns _http._tcp.orders.test", "2 instances")
	ns.set(services(one[0])...)
	f.wantGone(one[1])

	ns.stop()
	f.wantFailing("dns", "_http._tcp.orders.test", ns.address)
	f.outlast(2 * time.Second)
	ns.set(services(one[0], one[2])...)
	ns.start()
	f.wantResumed(one[2], time.Now())

	ns.fail(dns.RcodeServerFailure)
	f.wantFailing("dns", "_http._tcp.orders.test", ns.address, "SERVFAIL")
	f.outlast(time.Second)
	ns.set(services(one[0], one[2], one[3])...)
	ns.fail(0)
	f.wantResumed(one[3], time.Now())

	// More records than fit into a packet: the answer is cut off, and comes over TCP.
	many := services(one[0], one[1], one[3])
	for port := range 200 {
		many = append(many, fmt.Sprintf("_http._tcp.orders.test. 1 IN SRV 1 0 %d host.test.", 1+port))
	}
	ns.set(many...)
	f.wantTraffic(one[1])
	f.end(2)
}

// Addresses of a name, on hosts that all have the service on one port.
func TestAServiceInAddressRecords(t *testing.T) {
	t.Parallel()
	ns := startNameServer(t)
	one := serveOrigins(t, "first", "second", "third")
	port := one[0].port()
	for i, o := range one[1:] {
		o.leave()
		o.listen(t, fmt.Sprintf("127.0.0.%d:%d", 2+i, port))
	}
	hosts := func(all ...*origin) (lines []string) {
		for _, o := range all {
			host, _, _ := net.SplitHostPort(o.address)
			lines = append(lines, "orders.test. 1 IN A "+host)
		}
		return slices.Clip(lines)
	}
	ns.set(hosts(one[0])...)
	f := follow(t, ns.config(), fmt.Sprintf("source = \"dns\"\ndns = { name = \"orders.test\", type = \"a\", port = %d }", port))

	ns.set(hosts(one[0], one[1])...)
	f.wantTraffic(one[1])
	f.wantLine("dns orders.test", "2 instances")
	ns.set(hosts(one[0])...)
	f.wantGone(one[1])

	ns.stop()
	f.wantFailing("dns", "orders.test", ns.address)
	f.outlast(time.Second)
	ns.set(hosts(one[0], one[2])...)
	ns.start()
	f.wantResumed(one[2], time.Now())

	// The name is gone: nothing answers to it, which DNS servers say after mistakes. It is asked
	// again before it is believed.
	ns.set("other.test. 1 IN A 127.0.0.1")
	f.wantFailing("2 of 2 instances are gone at once")
	ns.set(hosts(one[0], one[2])...)
	within(t, patience, "the status says that the source answers", func() bool { return !f.service("orders").Source.Failing })
	f.end(2)
}
