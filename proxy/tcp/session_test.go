package tcp

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidecar/metrics"
)

// noise is an endless reproducible stream.
func noise(seed uint64) io.Reader {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
}

// sendNoise writes n bytes of noise in pieces of random length.
func sendNoise(c net.Conn, seed uint64, n int) error {
	from, sizes := noise(seed), rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 256<<10)
	for n > 0 {
		piece := b[:min(n, 1+sizes.IntN(1<<sizes.IntN(19)))]
		from.Read(piece)
		if _, err := c.Write(piece); err != nil {
			return err
		}
		n -= len(piece)
	}
	return nil
}

// hearNoise reads n bytes and compares them with the noise of seed.
func hearNoise(t *testing.T, c net.Conn, seed uint64, n int) {
	t.Helper()
	want := noise(seed)
	got, expected := make([]byte, 256<<10), make([]byte, 256<<10)
	for at := 0; at < n; {
		m, err := c.Read(got[:min(len(got), n-at)])
		if err != nil {
			t.Errorf("after %d of %d bytes: %v", at, n, err)
			return
		}
		want.Read(expected[:m])
		if !bytes.Equal(got[:m], expected[:m]) {
			t.Errorf("the stream differs between bytes %d and %d", at, at+m)
			return
		}
		at += m
	}
}

// exchange sends noise both ways at once over both ends of a session, and ends it.
func exchange(t *testing.T, client, server net.Conn, seed uint64, n int) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	send := func(c net.Conn, seed uint64) {
		if err := sendNoise(c, seed, n); err != nil {
			t.Error(err)
		}
		closeWrite(t, c)
	}
	wg.Go(func() { send(client, seed) })
	wg.Go(func() { send(server, seed+1) })
	wg.Go(func() {
		hearNoise(t, client, seed+1, n)
		hearEnd(t, client)
	})
	hearNoise(t, server, seed, n)
	hearEnd(t, server)
}

func TestBytesArriveUnchangedBothWaysAtOnce(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{loops: 2, instances: []string{o.addr}})
	const sessions, each = 8, 5_000_000
	var wg sync.WaitGroup
	for i := range sessions {
		client := s.dial()
		server := o.accept()
		wg.Go(func() { exchange(t, client, server, uint64(10*i), each) })
	}
	wg.Wait()
	s.wantClean(sessions)
	s.wantBytes(sessions*each, sessions*each)
}

func TestGibibyteEachWay(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("moves two gibibytes")
	}
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}})
	exchange(t, s.dial(), o.accept(), 7, 1<<30)
	s.wantClean(1)
	s.wantBytes(1<<30, 1<<30)
}

func TestUnixSocketsOnBothSides(t *testing.T) {
	dir := t.TempDir()
	o := newOriginAt(t, "unix", filepath.Join(dir, "origin"))
	s := enter(t, setup{listen: filepath.Join(dir, "proxy"), instances: []string{o.addr}})
	exchange(t, s.dial(), o.accept(), 3, 3_000_000)

	// Who sends and goes away is still heard to the end.
	client := s.dial()
	go func() {
		sendNoise(client, 5, 2_000_000)
		client.Close()
	}()
	server := o.accept()
	hearNoise(t, server, 5, 2_000_000)
	hearEnd(t, server)
	server.Close()
	s.wantClean(2)
}

func TestLongReplyAfterTheClientHasEnded(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	say(t, client, "everything, please")
	closeWrite(t, client)
	hear(t, server, "everything, please")
	hearEnd(t, server)
	go func() {
		sendNoise(server, 1, 20_000_000)
		server.Close()
	}()
	hearNoise(t, client, 1, 20_000_000)
	hearEnd(t, client)
	s.wantClean(1)
}

func TestLongRequestAfterTheEndpointHasEnded(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	say(t, server, "220 go on")
	closeWrite(t, server)
	hear(t, client, "220 go on")
	hearEnd(t, client)
	go func() {
		sendNoise(client, 1, 20_000_000)
		client.Close()
	}()
	hearNoise(t, server, 1, 20_000_000)
	hearEnd(t, server)
	s.wantClean(1)
}

// The end waits for what was sent before it, however slowly that is taken.
func TestEndComesAfterAllBytesToASlowReader(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	const n = 50_000_000
	go func() {
		sendNoise(server, 1, n)
		server.(*net.TCPConn).CloseWrite()
	}()
	closeWrite(t, client) // both ends are in: the endpoint's socket looks broken to epoll
	hearEnd(t, server)
	hearNoise(t, client, 1, n)
	hearEnd(t, client)
	s.wantClean(1)
}

func TestSlowReaderHoldsBackTheWriter(t *testing.T) {
	for name, ends := range map[string]func(client, server net.Conn) (from, to net.Conn){
		"upload":   func(client, server net.Conn) (from, to net.Conn) { return client, server },
		"download": func(client, server net.Conn) (from, to net.Conn) { return server, client },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			s := enter(t, setup{instances: []string{o.addr}})
			from, to := ends(s.dial(), o.accept())
			// As long as nothing is taken at the other end, only buffers are filled. The
			// deadline ends the attempt; it passes as well where everything is slow.
			total := 1 << 30
			from.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			b := make([]byte, 1<<20)
			sent := 0
			for sent < total {
				n, err := from.Write(b)
				sent += n
				if err != nil {
					break
				}
			}
			if sent > 200<<20 {
				t.Errorf("%d bytes went in and nothing came out", sent)
			}
			from.SetWriteDeadline(time.Time{})
			go from.(*net.TCPConn).CloseWrite()
			if n, err := io.Copy(io.Discard, to); n != int64(sent) || err != nil {
				t.Errorf("of %d bytes came %d, %v", sent, n, err)
			}
			closeWrite(t, to)
			hearEnd(t, from)
			s.wantClean(1)
		})
	}
}

func TestOneDirectionGoesOnWhileTheOtherIsHeldBack(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	const n = 60_000_000
	var sending sync.WaitGroup
	sending.Go(func() {
		sendNoise(server, 1, n)
		server.(*net.TCPConn).CloseWrite()
	})
	for i := range 20 { // nobody reads what the server sends
		sending.Go(func() { sendNoise(client, uint64(i), 1_000_000) })
		hearNoise(t, server, uint64(i), 1_000_000)
	}
	closeWrite(t, client)
	hearEnd(t, server)
	hearNoise(t, client, 1, n)
	hearEnd(t, client)
	sending.Wait()
	s.wantClean(1)
	s.wantBytes(20_000_000, n)
}

func TestResetsArePassedOn(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}})
		client, server := s.dial(), o.accept()
		say(t, client, "half a mess")
		hear(t, server, "half a mess")
		reset(t, client)
		hearReset(t, server)
		s.wantFailed(metrics.CauseClientGone)
	})
	t.Run("by the endpoint", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}})
		client, server := s.dial(), o.accept()
		say(t, client, "hello")
		hear(t, server, "hello")
		reset(t, server)
		hearReset(t, client)
		line := s.wantFailed(metrics.CauseReset)
		fields := line.ContextMap()
		if fields["bytes_in"] != uint64(5) || fields["bytes_out"] != uint64(0) || fields["endpoint"] != o.addr {
			t.Errorf("the log says %v", fields)
		}
	})
	t.Run("by the client after its end", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}})
		client, server := s.dial(), o.accept()
		closeWrite(t, client)
		hearEnd(t, server)
		reset(t, client)
		// Its stream has ended, so the reset only shows when something is sent to it.
		for {
			if _, err := server.Write([]byte("are you there?")); err != nil {
				break
			}
		}
		s.wantFailed(metrics.CauseClientGone)
	})
	t.Run("by the endpoint after its end", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}})
		client, server := s.dial(), o.accept()
		closeWrite(t, server)
		hearEnd(t, client)
		reset(t, server)
		for {
			if _, err := client.Write([]byte("are you there?")); err != nil {
				break
			}
		}
		s.wantFailed(metrics.CauseReset)
	})
	t.Run("in the midst of bulk", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}})
		client, server := s.dial(), o.accept()
		go func() {
			sendNoise(server, 1, 10_000_000)
			server.(*net.TCPConn).SetLinger(0)
			server.Close()
		}()
		n, err := io.Copy(io.Discard, client)
		if err == nil {
			t.Errorf("a clean end after %d bytes", n)
		}
		s.wantFailed(metrics.CauseReset)
	})
}

// The endpoint refuses an upload: it answers and closes without having read everything, so
// that its kernel sends a reset. The answer still arrives.
func TestLastWordsArriveBeforeTheReset(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{instances: []string{o.addr}})
	client, server := s.dial(), o.accept()
	uploaded := make(chan error, 1)
	go func() { uploaded <- sendNoise(client, 1, 100_000_000) }()
	hearNoise(t, server, 1, 100_000)
	say(t, server, "too large")
	server.Close()
	hear(t, client, "too large")
	if err := <-uploaded; err == nil {
		t.Error("all was sent to nobody")
	}
	s.drained()
}

func TestIdleSessionsEnd(t *testing.T) {
	t.Run("quiet from the beginning", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{IdleTimeout: 20 * time.Millisecond}}})
		client, server := s.dial(), o.accept()
		hearReset(t, client)
		hearReset(t, server)
		s.wantFailed(metrics.CauseIdleTimeout)
	})
	t.Run("quiet after a while", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{IdleTimeout: 200 * time.Millisecond}}})
		client, server := s.dial(), o.accept()
		for range 100 {
			say(t, client, "ping")
			hear(t, server, "ping")
			say(t, server, "pong")
			hear(t, client, "pong")
		}
		hearReset(t, client)
		hearReset(t, server)
		s.wantFailed(metrics.CauseIdleTimeout)
	})
	t.Run("half-closed", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{IdleTimeout: 20 * time.Millisecond}}})
		client, server := s.dial(), o.accept()
		closeWrite(t, client)
		hearEnd(t, server)
		hearReset(t, client)
		s.wantFailed(metrics.CauseIdleTimeout)
		server.Close()
	})
	t.Run("not read any more", func(t *testing.T) {
		o := newOrigin(t)
		s := enter(t, setup{instances: []string{o.addr}, options: Options{Settings: Settings{IdleTimeout: 20 * time.Millisecond}}})
		client, server := s.dial(), o.accept()
		if err := sendNoise(client, 1, 1<<30); err == nil {
			t.Error("a gibibyte went to nobody")
		}
		s.wantFailed(metrics.CauseIdleTimeout)
		server.Close()
	})
}

// bare hides the methods by which io.Copy splices, with pipes that stay open.
type bare struct{ io.ReadWriter }

// Sessions come and go in every way there is.
func TestChurn(t *testing.T) {
	o := newOrigin(t)
	s := enter(t, setup{loops: 2, instances: []string{closedPort(t), o.addr}})
	n := 1000
	if testing.Short() || raceEnabled {
		n = 200
	}
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			var server net.Conn
			select {
			case server = <-o.conns:
			case <-over:
				return
			}
			wg.Go(func() {
				defer server.Close()
				switch i % 5 {
				case 0:
				case 1:
					io.CopyN(bare{server}, bare{server}, 10_000)
				case 2:
					server.(*net.TCPConn).SetLinger(0)
				default:
					io.Copy(bare{server}, bare{server})
				}
			})
		}
	})
	clients := make(chan int, 50)
	var dialling sync.WaitGroup
	for range cap(clients) {
		dialling.Go(func() {
			for i := range clients {
				client, err := net.Dial("tcp", s.listener.Addr().String())
				if errors.Is(err, syscall.ECONNRESET) {
					continue // the endpoint was quicker than the dialling
				}
				if err != nil {
					t.Error(err)
					continue
				}
				switch i % 7 {
				case 0:
				case 1:
					client.(*net.TCPConn).SetLinger(0)
				case 2:
					sendNoise(client, 1, 50_000)
					client.(*net.TCPConn).SetLinger(0)
				default:
					wg.Go(func() { sendNoise(client, 1, 100_000); client.(*net.TCPConn).CloseWrite() })
					io.Copy(io.Discard, client)
				}
				client.Close()
			}
		})
	}
	for i := range n {
		clients <- i
	}
	close(clients)
	dialling.Wait()
	s.drained()
	close(over)
	wg.Wait()
}
