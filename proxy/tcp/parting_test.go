package tcp

import (
	"bytes"
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
	"testing"
	"time"

	"sidecar/metrics"
)

// certificate makes one that nobody has signed but itself.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"a.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listenerTLS is what clients are spoken to with.
func listenerTLS(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
}

// onLane runs fn on the loop of the first lane.
func (s *stage) onLane(fn func(l *lane)) {
	s.t.Helper()
	l, done := s.proxy.lanes[0], make(chan struct{})
	if !l.loop.Post(func() { defer close(done); fn(l) }) {
		s.t.Fatal("the loop has ended")
	}
	<-done
}

// A slow one is a TLS client that reads nothing for now, and has said that it will send no more.
type slow struct {
	*tls.Conn
	want []byte // what was sent to it
}

// stall has an endpoint send until TLS holds something for the client, and end then. The session is
// at its last: nothing is left to be done but to wait for the client.
func (s *stage) stall(o *origin) *slow {
	s.t.Helper()
	raw := s.dial()
	if err := raw.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
		s.t.Fatal(err)
	}
	c := &slow{Conn: tls.Client(raw, &tls.Config{InsecureSkipVerify: true})}
	if err := c.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		s.t.Fatal(err)
	}
	server := o.accept()
	hearEnd(s.t, server)
	part := make([]byte, 8<<10)
	rand.Read(part)
	for held := 0; held == 0; {
		say(s.t, server, string(part))
		c.want = append(c.want, part...)
		eventually(s.t, "the session has read it", func() bool {
			return s.metric("sidecar_tcp_sent_bytes_total") == float64(len(c.want))
		})
		s.onLane(func(l *lane) { held, _ = l.all.first.session.client.TryFlush() })
	}
	server.Close()
	eventually(s.t, "both directions are done", func() (done bool) {
		s.onLane(func(l *lane) {
			n := l.all.first
			done = n == nil || n.session.up.done && n.session.down.done
		})
		return done
	})
	s.onLane(func(l *lane) {
		if l.active != 1 {
			s.t.Error("the session is over, and its client has not got all")
		}
	})
	return c
}

// readAll reads what the client was sent, and wants it to be all.
func (c *slow) readAll(t testing.TB) {
	t.Helper()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, c.want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(c.want), err)
	}
}

func TestASessionLastsUntilItsClientHasAll(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{TLS: listenerTLS(t), IdleTimeout: -1}}})
	c := s.stall(o)
	drained := make(chan error, 1)
	go func() { drained <- s.proxy.Drain(context.Background()) }()
	s.onLane(func(l *lane) {
		if l.active != 1 {
			t.Error("a drain ends it")
		}
	})
	c.readAll(t)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	s.wantClean(1)
}

func TestADrainThatIsOverCutsWhatTheClientHasNotRead(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{TLS: listenerTLS(t), IdleTimeout: -1}}})
	c := s.stall(o)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.proxy.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the drain says %v", err)
	}
	s.wantFailed(metrics.CauseDraining)
	if _, err := io.ReadAll(c); err == nil {
		t.Error("what was cut off looks whole")
	}
}

func TestAClientThatReadsNothingAtTheEndIsIdle(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{TLS: listenerTLS(t), IdleTimeout: time.Second}}})
	s.stall(o)
	s.wantFailed(metrics.CauseIdleTimeout)
}

// The other way round: it is the endpoint that reads nothing, and speaks TLS.
func TestASessionLastsUntilItsEndpointHasAll(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{UpstreamTLS: endpointTLS(), IdleTimeout: -1, ConnectTimeout: time.Minute}}})
	client := s.dial()
	raw := o.accept()
	if err := raw.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
		t.Fatal(err)
	}
	server := &slow{Conn: tls.Server(raw, listenerTLS(t))}
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hearEnd(t, client)
	part := make([]byte, 8<<10)
	rand.Read(part)
	for held := 0; held == 0; {
		say(t, client, string(part))
		server.want = append(server.want, part...)
		eventually(t, "the session has read it", func() bool {
			return s.metric("sidecar_tcp_received_bytes_total") == float64(len(server.want))
		})
		s.onLane(func(l *lane) { held, _ = l.all.first.session.endpoint.TryFlush() })
	}
	closeWrite(t, client)
	eventually(t, "the client's end is read", func() (done bool) {
		s.onLane(func(l *lane) { n := l.all.first; done = n == nil || n.session.up.done })
		return done
	})
	s.onLane(func(l *lane) {
		if l.active != 1 {
			t.Error("the session is over, and its endpoint has not got all")
		}
	})
	server.readAll(t)
	s.wantClean(1)
}
