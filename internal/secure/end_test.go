package secure

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"sidecar/internal/eventloop"
)

// A sender makes the records of a TLS 1.3 client's application data, which crypto/tls itself cannot
// be had to make: RFC 8446 §5.2, §7.2 and §7.3, for TLS_AES_128_GCM_SHA256.
type sender struct {
	t      *testing.T
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func expand(t *testing.T, secret []byte, label string, size int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	label = "tls13 " + label
	info = append(append(append(info, byte(len(label))), label...), 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), size)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *sender) use(secret []byte) {
	s.secret, s.seq, s.iv = secret, 0, expand(s.t, secret, "iv", 12)
	block, err := aes.NewCipher(expand(s.t, secret, "key", 16))
	if err == nil {
		s.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// record encrypts one of the kind given: 22 is a handshake message, 23 data.
func (s *sender) record(kind byte, data ...byte) []byte {
	plain := append(data, kind)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(plain)+s.aead.Overhead()))
	nonce := append([]byte(nil), s.iv...)
	for i := range 8 {
		nonce[4+i] ^= byte(s.seq >> (56 - 8*i))
	}
	s.seq++
	return s.aead.Seal(head, nonce, plain, head)
}

// update is a KeyUpdate that asks for one in return; what follows it has new keys.
func (s *sender) update() []byte {
	r := s.record(22, 24, 0, 0, 1, 1)
	s.use(expand(s.t, s.secret, "traffic upd", 32))
	return r
}

// keyed connects by crypto/tls, and returns what sends in its place.
func (t *tester) keyed(tt *testing.T, address string) (*tls.Conn, *sender) {
	var keys strings.Builder
	cfg := at(tls.VersionTLS13, t.client())
	cfg.KeyLogWriter = &keys
	c, err := tls.Dial("tcp", address, cfg)
	if err != nil {
		tt.Fatal(err)
	}
	tt.Cleanup(func() { c.Close() })
	if id := c.ConnectionState().CipherSuite; id != tls.TLS_AES_128_GCM_SHA256 {
		tt.Fatalf("the suite is %s", tls.CipherSuiteName(id))
	}
	_, line, _ := strings.Cut(keys.String(), "CLIENT_TRAFFIC_SECRET_0 ")
	line, _, _ = strings.Cut(line, "\n")
	_, text, _ := strings.Cut(line, " ")
	secret, err := hex.DecodeString(text)
	if err != nil || len(secret) != 32 {
		tt.Fatalf("no secret in %q", keys.String())
	}
	s := &sender{t: tt}
	s.use(secret)
	return c, s
}

func TestKeysAreUpdatedInMidStream(t *testing.T) {
	tt := newTester(t)
	address := tt.serve(tt.server(), func(_ *eventloop.Task, s *Conn, err error) {
		if err := echo(s.Upper()); !is(err, io.EOF) {
			t.Errorf("the echo ends with %v", err)
		}
	})
	c, s := tt.keyed(t, address)
	b := make([]byte, 5)
	for range 3 {
		c.NetConn().Write(append(s.update(), s.record(23, []byte("hello")...)...))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	c.NetConn().Write(s.record(21, 1, 0)) // close_notify
	if n, err := c.Read(b); n != 0 || !is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	tt := newTester(t)
	ended := make(chan error, 1)
	most := 0
	address := tt.serve(tt.server(), func(task *eventloop.Task, s *Conn, err error) {
		b := make([]byte, 1000)
		fill(task, s)
		for {
			_, err := s.Upper().TryRead(b)
			most = max(most, s.out.size)
			if is(err, eventloop.ErrWouldBlock) {
				err = task.Wait(-1, eventloop.Interest{Conn: s.Upper(), Events: eventloop.Readable})
			}
			if err != nil {
				ended <- err
				return
			}
		}
	})
	c, s := tt.keyed(t, address)
	got := make(chan error)
	go func() {
		err := <-ended
		c.NetConn().Close()
		got <- err
	}()
	for { // each is answered with an update, and the data keeps crypto/tls from counting them
		var batch []byte
		for range 100 {
			batch = append(append(batch, s.update()...), s.record(23, 'x')...)
		}
		if _, err := c.NetConn().Write(batch); err != nil {
			break
		}
	}
	if err := <-got; err == nil || is(err, io.EOF) {
		t.Errorf("it ends with %v", err)
	}
	if most > outBound || most < outBound-1000 {
		t.Errorf("%d bytes have waited", most)
	}
}

func TestClosedInMidHandshake(t *testing.T) {
	tt := newTester(t)
	var s, k *Conn
	got := make(chan error, 1)
	ln, err := tt.loop.Group().Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *eventloop.Conn) {
		tt.loop.Go(eventloop.RunFunc(func(task *eventloop.Task) {
			s = Server(c, tt.server())
			got <- s.Handshake(task, patience)
			if err := s.Handshake(task, patience); !is(err, net.ErrClosed) {
				t.Errorf("another one: %v", err)
			}
		}))
	}), eventloop.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	tt.until("the listener waits", func() bool { return s != nil && s.task != nil })
	tt.on(func() { s.Upper().Close() })
	if err := <-got; !is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}

	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	tt.run(func(*eventloop.Task) {
		c, err := tt.loop.StartDial(netip.MustParseAddrPort(deaf.Addr().String()))
		if err != nil {
			t.Error(err)
			return
		}
		k = Client(c, tt.client())
	})
	tt.until("the client waits", func() bool { return k.task != nil })
	tt.on(func() { k.Upper().Reset() })
}

func TestTLSEndsWithTheLoops(t *testing.T) {
	g, err := eventloop.NewGroup(eventloop.Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	tt := &tester{TB: t, loop: g.Loops()[0], ca: newAuthority(t, "ours")}
	ended := make(chan error, 2)
	address := tt.serve(tt.server(), func(_ *eventloop.Task, s *Conn, err error) {
		if err != nil { // of the second
			ended <- err
			return
		}
		_, err = s.Upper().Write(make([]byte, 64<<20))
		ended <- err
	})
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	tt.until("both wait", func() bool { return tt.loop.Stats().Tasks == 2 })
	g.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, eventloop.ErrClosed) {
			t.Errorf("%v", err)
		}
	}
	if n := tt.loop.Stats().Conns; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestAResetWakesWhoWrites(t *testing.T) {
	tt := newTester(t)
	ended := make(chan error, 1)
	var s *Conn
	address := tt.serve(tt.server(), func(_ *eventloop.Task, c *Conn, _ error) {
		s = c
		_, failed := c.Upper().Write(make([]byte, 64<<20))
		ended <- failed
	})
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	tt.until("the writer waits", func() bool { return s != nil && s.held })
	c.NetConn().(*net.TCPConn).SetLinger(0)
	c.NetConn().Close()
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%v", err)
	}
}
