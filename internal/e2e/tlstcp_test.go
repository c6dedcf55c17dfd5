package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// end ends the client's side of a session, behind what it has sent.
func (w *wire) end() error { return w.Conn.(*tls.Conn).CloseWrite() }

// 32 MiB each way, at once and byte for byte; and the client has the rest when it has ended its side.
func TestASessionPassesBothWaysByTLS(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	ca := newAuthority(t, "servers")
	echo := serveStream(t)
	s := serving(t, static("queue", "protocol = \"tcp\"\n"+ending("", ca.issue("queue.test")), echo.address))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := ca.client("queue.test")
		c.MinVersion, c.MaxVersion = version, version
		w := connectTLS(t, s.address("queue"), c)
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
			t.Errorf("%s: %d bytes came back, %v", tls.VersionName(version), n, err)
		}
		rest, err := io.ReadAll(w.r)
		sending.Wait()
		if want := fmt.Sprintf("\n%d bytes", size); err != nil || string(rest) != want {
			t.Errorf("%s: behind the end of the client's stream came %q, %v, want %q", tls.VersionName(version), rest, err, want)
		}
	}
	within(t, patience, "the sessions are over at the endpoint too", func() bool { return echo.open() == 0 })
	if all := s.lines("session failed"); len(all) > 0 {
		t.Errorf("the log has %q", all)
	}
}

// An endpoint may end its side first, and still gets what the client sends.
func TestAnEndpointEndsItsStreamFirstByTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	read := make(chan string, 1)
	banner := serve(t, func(c net.Conn) {
		io.WriteString(c, "banner")
		c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		read <- fmt.Sprintf("%s %v", b, err)
	})
	s := serving(t, static("queue", "protocol = \"tcp\"\n"+ending("", ca.issue("queue.test")), banner.address))
	c := ca.client("queue.test")
	c.MaxVersion = tls.VersionTLS12 // by which records tell what they are
	conn, tap := tapped(t, s.address("queue"), c)
	if b, err := io.ReadAll(conn); err != nil || string(b) != "banner" {
		t.Fatalf("%q, %v", b, err)
	}
	if got := tap.last(); got != recordAlert {
		t.Errorf("the last record is of type %d, want that of close_notify", got)
	}
	io.WriteString(conn, "afterwards")
	if err := conn.CloseWrite(); err != nil {
		t.Error(err)
	}
	if got := <-read; got != "afterwards <nil>" {
		t.Errorf("the endpoint read %q", got)
	}
}

// Who can cut a connection must not be able to make a part look like the whole: a stream that
// ends without close_notify is broken, for the endpoint as well.
func TestACutSessionIsNotTakenForTheWhole(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	ended := make(chan error, 2)
	reader := serve(t, func(c net.Conn) {
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil {
			ended <- err
			return
		}
		c.Write(b)
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	s := serving(t, static("queue", "protocol = \"tcp\"\n"+ending("", ca.issue("queue.test")), reader.address))

	whole := connectTLS(t, s.address("queue"), ca.client("queue.test"))
	whole.exchange(t, "ping")
	whole.Close() // says so
	if err := <-ended; err != nil {
		t.Errorf("the endpoint of a session that has ended in order read %v", err)
	}

	raw := connect(t, s.address("queue"))
	conn := tls.Client(raw.Conn, ca.client("queue.test"))
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	raw.Close() // only the socket
	if err := <-ended; err == nil {
		t.Error("the endpoint of a session that was cut read its end")
	}
}

// The other way round: an endpoint that resets leaves its client without close_notify.
func TestAResetOfTheEndpointIsNoEnd(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers")
	rude := serve(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, 4))
		c.(*net.TCPConn).SetLinger(0)
	})
	s := serving(t, static("queue", "protocol = \"tcp\"\n"+ending("", ca.issue("queue.test")), rude.address))
	c := ca.client("queue.test")
	c.MaxVersion = tls.VersionTLS12
	conn, tap := tapped(t, s.address("queue"), c)
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if len(b) > 0 {
		t.Errorf("%q came", b)
	}
	if tap.last() == recordAlert {
		t.Errorf("the client is told that the stream has ended in order (%v)", err)
	}
}
