package dns

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"sidecar/internal/servertest"
)

// A realServer is a DNS server on 127.0.0.1, over UDP and TCP. Its answers are cut off over UDP
// where they are too long for what the question allows.
type realServer struct {
	address string
	stop    func()
}

// startServer serves records at address; empty: at a port that no outgoing connection takes
// while the server is stopped.
func startServer(t *testing.T, address string, records ...string) *realServer {
	t.Helper()
	if address == "" {
		address = fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	}
	w := &world{t: t, records: parseRecords(t, records), servers: map[string]behaviour{}}
	w.negative("example. 1 IN SOA ns.example. root.example. 1 2 3 4 1")
	var listen net.ListenConfig
	packets, err := listen.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := listen.Listen(context.Background(), "tcp", address)
	if err != nil {
		packets.Close()
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		w.mu.Lock()
		a := w.answer(q)
		w.mu.Unlock()
		if _, overUDP := rw.RemoteAddr().(*net.UDPAddr); overUDP {
			a.Truncate(int(q.IsEdns0().UDPSize()))
		}
		_ = rw.WriteMsg(a)
	})
	servers := []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: listener, Handler: handler}}
	ended := make(chan error, len(servers))
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- s.ActivateAndServe() }()
		<-started
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		for _, s := range servers {
			_ = s.Shutdown()
		}
		for range servers {
			<-ended
		}
	}
	t.Cleanup(stop)
	return &realServer{address, stop}
}

// realResolver asks servers over the network.
func realResolver(t *testing.T, servers ...string) *Resolver {
	t.Helper()
	r, err := New(Options{Servers: servers, ResolvConf: filepath.Join(t.TempDir(), "none"), Hosts: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRealServerOverUDPAndTCP(t *testing.T) {
	records := []string{
		"small.example. 1 A 127.0.0.7", "small.example. 1 AAAA ::1", "alias.example. 1 CNAME small.example.",
		"_s._tcp.example. 1 SRV 1 7 80 small.example.", "_s._tcp.example. 1 SRV 2 7 80 none.example.",
	}
	const many = 1000 // some 16 KB
	for i := range many {
		records = append(records, fmt.Sprintf("large.example. 1 A 10.0.%d.%d", i/250, i%250+1))
	}
	server := startServer(t, "", records...)
	r := realResolver(t, server.address)
	startWatch(t, r.Source(a("small.example."))).wantIDs("127.0.0.7:80", "[::1]:80")
	startWatch(t, r.Source(a("alias.example."))).wantIDs("127.0.0.7:80", "[::1]:80")
	u := startWatch(t, r.Source(srv("_s._tcp.example."))).wantIDs("127.0.0.7:80", "[::1]:80")
	if got := u.Instances[0]; got.Weight != 7 || got.Meta["host"] != "small.example" {
		t.Errorf("instance %+v", got)
	}
	if u := startWatch(t, r.Source(a("none.example."))).wantIDs(); !u.Unknown {
		t.Errorf("update %+v", u)
	}
	u = startWatch(t, r.Source(a("large.example."))).next(20 * time.Second)
	if u.Err != nil || len(u.Instances) != many || len(u.Problems) > 0 {
		t.Fatalf("%d instances of %d, %v", len(u.Instances), many, u.Err)
	}
}

func TestRealServerGoesAwayAndComesBack(t *testing.T) {
	server := startServer(t, "", "orders.example. 1 A 127.0.0.7")
	other := startServer(t, "")
	other.stop()
	watch := startWatch(t, realResolver(t, other.address, server.address).Source(a("orders.example.")))
	watch.wantIDs("127.0.0.7:80")
	server.stop()
	for {
		u := watch.next(20 * time.Second)
		if u.Err == nil {
			continue // begun before
		}
		for _, want := range []string{
			`dns: look up "orders.example.": A of orders.example.: server ` + other.address + ": ",
			"server " + server.address + ": ", "connection refused; start it or correct dns.servers",
		} {
			if !strings.Contains(u.Err.Error(), want) {
				t.Fatalf("error %v, want one with %q", u.Err, want)
			}
		}
		break
	}
	startServer(t, server.address, "orders.example. 1 A 127.0.0.8")
	for {
		if u := watch.next(20 * time.Second); u.Err == nil {
			if len(u.Instances) != 1 || u.Instances[0].ID != "127.0.0.8:80" {
				t.Fatalf("update %+v", u)
			}
			break
		}
	}
}

// The files of this very system can be read.
func TestSystemsOwnFiles(t *testing.T) {
	r, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, hosts := r.current()
	if len(s.servers) == 0 {
		t.Fatal("no servers")
	}
	text, err := os.ReadFile("/etc/hosts")
	if err == nil && strings.Contains(string(text), "localhost") && len(hosts) == 0 {
		t.Fatalf("no hosts in %q", text)
	}
}
