package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
)

// A tunnel is TLS on both sides: what is in it passes both ways at once, and so do its ends.
func TestATunnelByTLS(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	front, ca := newAuthority(t, "front"), newAuthority(t, "endpoints")
	cert := ca.issue("127.0.0.1")
	o := &switcher{}
	o.server = serve(t, func(c net.Conn) {
		conn := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert.Certificate}})
		o.play(conn)
		conn.Close() // says so
	})
	s := serving(t, static("orders", ending("", front.issue("orders.test"))+beginning(trusts(ca)), o.address))
	w := connectTLS(t, s.address("orders"), front.client("orders.test"))
	if _, err := io.WriteString(w, askForEcho+"early"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", resp, err)
	}
	early := make([]byte, len("early"))
	if _, err := io.ReadFull(w.r, early); err != nil || string(early) != "early" {
		t.Fatalf("what came with the request is echoed as %q, %v", early, err)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, &source{n: size}, make([]byte, 100_000)); err != nil {
			t.Error(err)
		}
		if err := w.end(); err != nil {
			t.Error(err)
		}
	})
	n, err := drain(io.LimitReader(w.r, size))
	if err != nil || n != size {
		t.Errorf("%d bytes came back, %v", n, err)
	}
	rest, err := io.ReadAll(w.r)
	sending.Wait()
	if want := fmt.Sprintf("\n%d bytes", size+len("early")); err != nil || string(rest) != want {
		t.Errorf("behind the end of the client's side came %q, %v, want %q", rest, err, want)
	}
	within(t, patience, "the tunnel is over, and counted", func() bool {
		open, total := s.tunnels()
		return o.open() == 0 && open == 0 && total == 1
	})
}

// What a drain cuts is not announced as an end: a part must not look like the whole.
func TestWhatADrainCutsIsNoEndByTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	endless := serve(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+half)
		io.Copy(io.Discard, c)
	})
	echo := serveStream(t)
	cert := ca.issue("orders.test")
	s := start(t, static("orders", ending("", cert), endless.address)+static("queue", "protocol = \"tcp\"\n"+ending("", cert), echo.address),
		"SIDECAR_RUNTIME_DRAIN=50ms")
	s.waitReady()
	c := ca.client("orders.test")
	c.MaxVersion = tls.VersionTLS12
	responding, respondingTap := tapped(t, s.address("orders"), c)
	io.WriteString(responding, "GET / HTTP/1.0\r\n\r\n") // whose answer ends with the connection
	if _, err := responding.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	session, sessionTap := tapped(t, s.address("queue"), c)
	(&wire{session, bufio.NewReader(session)}).exchange(t, "ping")

	s.signal(syscall.SIGTERM)
	for what, cut := range map[string]struct {
		conn *tls.Conn
		tap  *tap
	}{"answer": {responding, respondingTap}, "session": {session, sessionTap}} {
		_, err := io.Copy(io.Discard, cut.conn) // until it ends, in one way or the other
		if cut.tap.last() == recordAlert {
			t.Errorf("the %s that was cut is announced as an end (%v)", what, err)
		}
	}
	if end := s.wait(); end.ExitCode() != 0 {
		t.Errorf("it ended with %v", end)
	}
}

// A body may last until the endpoint ends the connection. With TLS it has to say so: where only
// the socket ends, somebody may have cut it.
func TestABodyThatWasCutIsNotTakenForTheWhole(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "endpoints")
	cert := ca.issue("127.0.0.1")
	o := serve(t, func(c net.Conn) {
		conn := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert.Certificate}})
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+half)
		if req.URL.Path == "/whole" {
			conn.Close()
		}
	})
	s := serving(t, static("orders", beginning(trusts(ca)), o.address))
	if a := get(t, s.address("orders"), "/whole"); a.status != http.StatusOK || a.body != half {
		t.Errorf("a whole one: %+v", a)
	}
	if a, err := connect(t, s.address("orders")).get("/cut"); err == nil {
		t.Errorf("one that was cut looks like a whole one: %+v", a)
	}
	within(t, soon, "the log tells of it", func() bool { return len(s.lines("request failed", "/cut", "unexpected EOF")) == 1 })
}

// One endpoint that cannot be trusted costs no request, as one that refuses connections does not.
func TestOneEndpointThatIsNotTrustedIsNotMissed(t *testing.T) {
	t.Parallel()
	const requests = 60
	ca, others := newAuthority(t, "endpoints"), newAuthority(t, "others")
	good, wrong := serveSecret(t, ca.issue("127.0.0.1"), nil), serveSecret(t, others.issue("127.0.0.1"), nil)
	for _, protocol := range []string{"http1", "h2c"} {
		s := serving(t, static("orders", beginning(trusts(ca))+fmt.Sprintf("upstream_protocol = %q\nbalancer.policy = \"round_robin\"\n", protocol),
			wrong.address, good.address))
		w := connect(t, s.address("orders"))
		for i := range requests {
			if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
				t.Fatalf("%s: request %d: %+v, %v", protocol, i, a, err)
			}
		}
		if e := s.endpoint("orders", wrong.address); e.Counters.Failures() == 0 {
			t.Errorf("%s: the one that is not trusted was never tried, which proves nothing", protocol)
		}
		s.wantExplained("orders", wrong.address, "signed by none of the trusted authorities")
	}
	if good.served.Load() != 2*requests || wrong.served.Load() != 0 {
		t.Errorf("the good one got %d requests, and the other one %d", good.served.Load(), wrong.served.Load())
	}
}

// A second copy of a request that takes long goes to another endpoint by TLS as well; each has
// a handshake before it here.
func TestASecondCopyByTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "endpoints")
	cert := ca.issue("127.0.0.1")
	stuck, quick := serveSecret(t, cert, nil), serveSecret(t, cert, nil)
	s := serving(t, "runtime.loops = 1\n"+static("orders", beginning(trusts(ca))+`balancer.policy = "round_robin"
http.pool = 0
hedge = { enabled = true, min_delay = "100ms" }
`, stuck.address, quick.address))
	w := connect(t, s.address("orders"))
	for range 200 { // what is usual, and what hedges are paid from
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	stuck.stands.Store(true)
	for stuck.gone.Load() < 3 {
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	if won := sum(metrics(t, s), "sidecar_http_hedges_won_total"); won < 3 {
		t.Errorf("%v copies have won, want 3 and more", won)
	}
	if e := s.endpoint("orders", stuck.address); e.Counters.Failures() > 0 {
		t.Errorf("that it was slower counts as a failure: %+v", e.Counters)
	}
}
