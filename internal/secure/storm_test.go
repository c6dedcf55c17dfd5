package secure

import (
	"crypto"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"sidecar/internal/eventloop"
)

// A countingKey is a key that counts its signatures, on the loop.
type countingKey struct {
	crypto.Signer
	signed *int
}

func (k countingKey) Sign(random io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	*k.signed++
	return k.Signer.Sign(random, digest, o)
}

// A barrier holds many clients back until each has come so far, and lets them go at once.
type barrier struct {
	come, gone sync.WaitGroup
	open       chan struct{}
}

func newBarrier(n int) *barrier {
	b := &barrier{open: make(chan struct{})}
	b.come.Add(n)
	b.gone.Add(n)
	return b
}

// A held conn passes a barrier with each of its first writes.
type heldConn struct {
	net.Conn
	barriers []*barrier
}

func (c *heldConn) Write(p []byte) (int, error) {
	if len(c.barriers) == 0 {
		return c.Conn.Write(p)
	}
	b := c.barriers[0]
	c.barriers = c.barriers[1:]
	b.come.Done()
	<-b.open
	defer b.gone.Done()
	return c.Conn.Write(p)
}

func TestAStormOfHandshakesLeavesRoomForOthers(t *testing.T) {
	const clients, perTurn = 24, 2
	for _, c := range []struct {
		name   string
		curve  tls.CurveID
		rounds int // ClientHellos
		most   uint16
		resume bool
	}{
		{"TLS 1.3", 0, 1, 0, false},
		{"TLS 1.2", 0, 1, tls.VersionTLS12, false},
		{"each is asked for another ClientHello", tls.CurveP384, 2, 0, false},
		{"resumed", 0, 1, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := newTester(t)
			certFile, keyFile := files(t, t.TempDir(), "a", tt.ca.issue(wish{names: []string{"a.example"}}))
			term, err := NewTermination(TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}})
			if err != nil {
				t.Fatal(err)
			}
			signed := 0 // or resumed
			now := term.current.Load()
			now.pairs[0].PrivateKey = countingKey{now.pairs[0].PrivateKey.(crypto.Signer), &signed}
			now.config.UnwrapSession = func(ticket []byte, s tls.ConnectionState) (*tls.SessionState, error) {
				state, err := term.config.DecryptTicket(ticket, s)
				if state != nil {
					signed++
				}
				return state, err
			}
			if c.curve != 0 {
				now.config.CurvePreferences = []tls.CurveID{c.curve}
			}
			address := tt.serve(term.Config(), func(_ *eventloop.Task, s *Conn, err error) {
				if err != nil {
					t.Error(err)
				}
				echo(s.Upper())
			})

			var barriers []*barrier
			for range c.rounds {
				barriers = append(barriers, newBarrier(clients))
			}
			var all sync.WaitGroup
			for range clients {
				cfg := tt.client()
				cfg.MaxVersion = c.most
				if c.resume {
					cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
					talk(t, tt.raw(address), cfg)
				}
				raw := tt.raw(address)
				all.Go(func() {
					if talk(t, &heldConn{raw, barriers}, cfg).DidResume != c.resume {
						t.Error("a session was resumed, or was not")
					}
				})
			}
			tt.on(func() { signed = 0 })
			stop, most := false, 0
			ticks := tt.start(func(task *eventloop.Task) {
				for !stop {
					before := signed
					task.Yield()
					most = max(most, signed-before)
				}
			})
			for _, b := range barriers { // what they write now is all there when the loop looks
				tt.release(b, func() {})
			}
			all.Wait()
			tt.on(func() { stop = true })
			<-ticks
			if signed != clients || most != perTurn {
				t.Errorf("%d signatures, up to %d in one turn; want %d, and %d", signed, most, clients, perTurn)
			}
		})
	}
}

func TestAStormOfHandshakesWithEndpointsLeavesRoomForOthers(t *testing.T) {
	const endpoints, perTurn = 12, 2
	tt := newTester(t)
	b := newBarrier(endpoints)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var all sync.WaitGroup
	server := tt.server()
	all.Go(func() {
		for range endpoints {
			raw, err := ln.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			all.Go(func() {
				defer raw.Close()
				c := tls.Server(&heldConn{raw, []*barrier{b}}, server)
				c.Handshake()
				io.Copy(io.Discard, c)
			})
		}
	})
	verified, stop, most := 0, false, 0
	client := tt.client()
	client.VerifyConnection = func(tls.ConnectionState) error { verified++; return nil }
	for range endpoints {
		tt.start(func(task *eventloop.Task) {
			c, err := tt.dial(task, ln.Addr().String(), client)
			if err != nil {
				t.Error(err)
			}
			c.Upper().Close()
		})
	}
	ticks := tt.start(func(task *eventloop.Task) {
		for !stop {
			before := verified
			task.Yield()
			most = max(most, verified-before)
		}
	})
	tt.release(b, func() {})
	all.Wait()
	tt.on(func() { stop = true })
	<-ticks
	if verified != endpoints || most != perTurn {
		t.Errorf("%d certificates verified, up to %d in one turn; want %d, and %d", verified, most, endpoints, perTurn)
	}
}

// release lets those at a barrier go while the loop stands still, and then calls fn.
func (t *tester) release(b *barrier, fn func()) {
	b.come.Wait()
	held, hold := make(chan struct{}), make(chan struct{})
	t.loop.Post(func() { close(held); <-hold })
	<-held
	close(b.open)
	b.gone.Wait()
	fn()
	close(hold)
}

func (t *tester) raw(address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// talk makes a handshake and hears an echo.
func talk(t *testing.T, raw net.Conn, cfg *tls.Config) tls.ConnectionState {
	c := tls.Client(raw, cfg)
	defer c.Close()
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	return c.ConnectionState()
}

// Who has gone while the storm lasted costs no signature.
func TestWhoGoesWhileItWaitsIsNotSignedFor(t *testing.T) {
	tt := newTester(t)
	certFile, keyFile := files(t, t.TempDir(), "a", tt.ca.issue(wish{names: []string{"a.example"}}))
	term, err := NewTermination(TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}})
	if err != nil {
		t.Fatal(err)
	}
	signed := 0
	now := term.current.Load()
	now.pairs[0].PrivateKey = countingKey{now.pairs[0].PrivateKey.(crypto.Signer), &signed}
	ended := make(chan error, 1)
	address := tt.serve(term.Config(), func(_ *eventloop.Task, _ *Conn, err error) { ended <- err })
	raw := tt.raw(address)
	b := newBarrier(1)
	client := make(chan error, 1)
	go func() { client <- tls.Client(&heldConn{raw, []*barrier{b}}, tt.client()).Handshake() }()
	tt.release(b, func() { raw.(*net.TCPConn).CloseWrite() })
	wantReason(t, <-ended, Gone, false, "the client closed the connection")
	if err := <-client; err == nil {
		t.Error("the handshake has ended well")
	}
	tt.on(func() {
		if signed != 0 {
			t.Errorf("%d signatures", signed)
		}
	})
}
