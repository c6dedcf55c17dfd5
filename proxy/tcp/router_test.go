package tcp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"sidecar/discovery"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/preamble"
	"sidecar/upstream"
)

// A crossing is a socket that services share; each has one endpoint, which the test plays.
type crossing struct {
	*stage
	router  *Router
	origins map[string]*origin // by the name of the service
}

// cross builds a crossing. Routes are names, separated by blanks, by service; "" gets all else.
func cross(t *testing.T, routes map[string]string, o RouterOptions, from ...netip.Prefix) *crossing {
	t.Helper()
	x := &crossing{stage: enter(t, setup{}), origins: make(map[string]*origin)}
	o.Log, o.Unrouted = x.proxy.log, x.registry.Unrouted("crossing")
	x.router = NewRouter(x.group, o)
	var table []Route
	for service, names := range routes {
		origin := newOrigin(t)
		x.origins[service] = origin
		table = append(table, Route{Names: strings.Fields(names), Proxy: x.neighbour(service, origin.addr, from)})
	}
	x.router.SetRoutes(from, table)
	ln, err := x.group.Listen("tcp", "127.0.0.1:0", x.router, eventloop.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ln.Close()
		if err := x.router.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	x.listener.Close()
	x.listener = ln
	return x
}

// neighbour makes another service's proxy on the stage's loops.
func (x *crossing) neighbour(name, address string, from preamble.Senders) *Proxy {
	x.t.Helper()
	source := newFakeSource()
	service := upstream.New(upstream.Options{Name: name, Source: source, Policy: inOrder})
	p := New(x.group, Options{Settings: Settings{Service: service, AcceptFrom: from}, Log: zap.NewNop(), Sessions: x.registry.TCP(name),
		Listener: x.registry.Listener(name, "tcp")})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { service.Run(ctx) })
	source.updates <- discovery.Update{Instances: []discovery.Instance{{ID: address, Address: address, Weight: 1}}, At: time.Now()}
	<-service.Known()
	x.t.Cleanup(func() {
		if err := p.Drain(context.Background()); err != nil {
			x.t.Error(err)
		}
		cancel()
		running.Wait()
	})
	return p
}

// hello is the beginning of a real client's handshake.
func hello(t *testing.T, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		c := tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		_ = c.Handshake() // nobody answers
	}()
	b := make([]byte, preamble.MaxHello)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// wantAt checks that the endpoint of a service gets exactly what the client has sent, and that its
// answer comes back.
func (x *crossing) wantAt(service string, client net.Conn, sent []byte) {
	x.t.Helper()
	server := x.origins[service].accept()
	hear(x.t, server, string(sent))
	say(x.t, server, "answer")
	hear(x.t, client, "answer")
	end(x.t, client, server)
}

func (x *crossing) wantUnrouted(reason metrics.UnroutedReason) {
	x.t.Helper()
	if err := x.router.Drain(context.Background()); err != nil {
		x.t.Error(err)
	}
	if n := x.metric("sidecar_listener_unrouted_total", reason.String()); n != 1 {
		x.t.Errorf("%v connections refused as %v, want 1", n, reason)
	}
	if n := x.metric("sidecar_listener_unrouted_total"); n != 1 {
		x.t.Errorf("%v connections refused, want 1", n)
	}
}

func TestConnectionsGoWhereTheirNameLeads(t *testing.T) {
	x := cross(t, map[string]string{
		"exact": "a.example b.deep.example", "wild": "*.example", "deep": "*.deep.example", "others": "",
	}, RouterOptions{})
	for name, service := range map[string]string{
		"a.example": "exact", "A.Example": "exact", "b.deep.example": "exact",
		"b.example": "wild", "x.y.example": "wild", "deep.example": "wild",
		"c.deep.example": "deep", "x.y.deep.example": "deep",
		"example": "others", "a.example.org": "others", "aexample": "others",
	} {
		t.Run(name, func(t *testing.T) {
			x.t = t
			b := hello(t, name)
			client := x.dial()
			say(t, client, string(b))
			x.wantAt(service, client, b)
		})
	}
}

func TestAConnectionForNobodyElseGoesToWhoHasNoNames(t *testing.T) {
	for name, sent := range map[string]string{
		"of another protocol":   "GET / HTTP/1.1\r\n\r\n",
		"of TLS without a name": string(hello(t, "127.0.0.1")),
		"of broken TLS":         "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
	} {
		t.Run(name, func(t *testing.T) {
			x := cross(t, map[string]string{"named": "a.example", "others": ""}, RouterOptions{})
			client := x.dial()
			say(t, client, sent)
			x.wantAt("others", client, []byte(sent))
		})
	}
}

// However a hello is cut, and whatever is behind it, the endpoint sees the same bytes.
func TestAHelloMayComeInPieces(t *testing.T) {
	x := cross(t, map[string]string{"named": "a.example"}, RouterOptions{})
	b := append(hello(t, "a.example"), "and early data"...)
	for _, size := range []int{1, 5, 100} {
		client := x.dial()
		var sending sync.WaitGroup
		sending.Go(func() {
			for at := 0; at < len(b); at += size {
				say(t, client, string(b[at:min(at+size, len(b))]))
			}
		})
		x.wantAt("named", client, b)
		sending.Wait()
	}
}

func TestANameThatIsNobodysGetsAnAlert(t *testing.T) {
	for name, reason := range map[string]metrics.UnroutedReason{
		"b.example": metrics.UnroutedUnknownName, "127.0.0.1": metrics.UnroutedNoName,
	} {
		x := cross(t, map[string]string{"named": "a.example"}, RouterOptions{})
		c := tls.Client(x.dial(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err := c.Handshake(); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: the handshake ends with %v", name, err)
		}
		x.wantUnrouted(reason)
		lines := x.logs.FilterMessageSnippet("for none of the services").All()
		if len(lines) != 1 || lines[0].ContextMap()["cause"] != reason.String() {
			t.Errorf("%s: the log says %v", name, lines)
		}
	}
}

func TestConnectionsForNobodyAreReset(t *testing.T) {
	for name, c := range map[string]struct {
		sent   string
		reason metrics.UnroutedReason
	}{
		"another protocol": {"GET / HTTP/1.1\r\n\r\n", metrics.UnroutedNotTLS},
		"broken TLS":       {"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", metrics.UnroutedMalformed},
		"silence":          {"", metrics.UnroutedTimeout},
		"half a hello":     {"\x16\x03\x01\x00\x05", metrics.UnroutedTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			x := cross(t, map[string]string{"named": "a.example"}, RouterOptions{Timeout: 20 * time.Millisecond})
			client := x.dial()
			say(t, client, c.sent)
			hearReset(t, client)
			x.wantUnrouted(c.reason)
		})
	}
}

func TestClientsThatLeaveBeforeTheirName(t *testing.T) {
	for name, leave := range map[string]func(*testing.T, net.Conn){
		"end":   func(_ *testing.T, c net.Conn) { c.Close() },
		"half":  func(t *testing.T, c net.Conn) { say(t, c, "\x16\x03\x01"); closeWrite(t, c) },
		"reset": func(t *testing.T, c net.Conn) { reset(t, c) },
	} {
		t.Run(name, func(t *testing.T) {
			x := cross(t, map[string]string{"named": "a.example"}, RouterOptions{})
			client := x.dial()
			x.awaitArrivals(1)
			leave(t, client)
			x.wantUnrouted(metrics.UnroutedClosed)
		})
	}
}

// awaitArrivals waits until n connections are waited for to say their name.
func (x *crossing) awaitArrivals(n int) {
	x.t.Helper()
	eventually(x.t, "connections wait", func() bool {
		got := make(chan int, 1)
		x.router.halls[0].loop.Post(func() { got <- len(x.router.halls[0].all) })
		return <-got == n
	})
}

func TestDrainLetsANameBeSaid(t *testing.T) {
	x := cross(t, map[string]string{"named": "a.example"}, RouterOptions{})
	client := x.dial()
	b := hello(t, "a.example")
	say(t, client, string(b[:10]))
	x.awaitArrivals(1)
	x.listener.Close()
	drained := make(chan error, 1)
	go func() { drained <- x.router.Drain(context.Background()) }()
	say(t, client, string(b[10:]))
	if err := <-drained; err != nil {
		t.Error(err)
	}
	x.wantAt("named", client, b)
}

func TestDrainCutsWhoHasNotSaidAName(t *testing.T) {
	x := cross(t, map[string]string{"named": "a.example"}, RouterOptions{})
	client := x.dial()
	x.awaitArrivals(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := x.router.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain ends with %v", err)
	}
	hearReset(t, client)
	x.wantUnrouted(metrics.UnroutedClosed)
}

func TestRoutesChangeForNamesThatAreNotKnownYet(t *testing.T) {
	x := cross(t, map[string]string{"one": "a.example", "two": "b.example"}, RouterOptions{})
	client := x.dial()
	b := hello(t, "a.example")
	say(t, client, string(b[:10]))
	x.awaitArrivals(1)
	two := x.router.routes.Load().hosts["b.example"]
	x.router.SetRoutes(nil, []Route{{Names: []string{"a.example"}, Proxy: two}})
	say(t, client, string(b[10:]))
	x.wantAt("two", client, b)
}

func TestAProxyHeaderComesBeforeTheName(t *testing.T) {
	x := cross(t, map[string]string{"named": "a.example"}, RouterOptions{}, netip.MustParsePrefix("127.0.0.0/8"))
	b := hello(t, "a.example")
	client := x.dial()
	say(t, client, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n"+string(b))
	x.wantAt("named", client, b)

	client = x.dial()
	say(t, client, string(b))
	hearReset(t, client)
	x.wantUnrouted(metrics.UnroutedMalformed)
}

// A whole handshake passes, between the client and the endpoint.
func TestHandshakesPassThrough(t *testing.T) {
	x := cross(t, map[string]string{"named": "a.example"}, RouterOptions{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	var serving sync.WaitGroup
	serving.Go(func() {
		server := tls.Server(<-x.origins["named"].conns, config)
		defer server.Close()
		_, _ = io.Copy(server, server)
	})
	client := tls.Client(x.dial(), &tls.Config{ServerName: "a.example", InsecureSkipVerify: true})
	say(t, client, "through and through")
	hear(t, client, "through and through")
	client.Close()
	serving.Wait()
}

func TestRoutingAllocatesLittle(t *testing.T) {
	table := newRoutes(nil, []Route{{Names: []string{"a.example", "*.example"}, Proxy: new(Proxy)}})
	names := [][]byte{[]byte("a.example"), []byte("x.y.z.example"), []byte("a.b.c.d.e.f")}
	if n := testing.AllocsPerRun(100, func() {
		for _, name := range names {
			table.find(name)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
