package http

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"testing"
	"time"
)

// listenerTLS is what clients are spoken to with: by a certificate that only it has signed itself.
func listenerTLS(t testing.TB) *tls.Config {
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
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// A slow one is a TLS client that reads nothing for now.
type slow struct {
	*tls.Conn
	r      *rig
	client *client // what the proxy has of it
	want   []byte  // what was sent to it
}

// stall has a client ask, and an origin answer it until TLS holds something for the client, and end then.
func (r *rig) stall(o *origin, request string) *slow {
	r.t.Helper()
	raw := r.dial()
	if err := raw.conn.SetReadBuffer(128 << 10); err != nil {
		r.t.Fatal(err)
	}
	c := &slow{Conn: tls.Client(raw.conn, &tls.Config{InsecureSkipVerify: true}), r: r}
	if _, err := io.WriteString(c, request); err != nil {
		r.t.Fatal(err)
	}
	s := o.accept()
	s.hear(get)
	send := func(text string) {
		s.say(text)
		c.want = append(c.want, text...)
	}
	s.say(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
	c.want = []byte(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
	part := noise(8 << 10)
	for held := 0; held == 0; r.on(func() { held, _ = r.shard.clients.conn.TryFlush() }) {
		send(fmt.Sprintf("%x\r\n%s\r\n", len(part), part))
	}
	send("0\r\n\r\n")
	r.on(func() { c.client = r.shard.clients })
	return c
}

// readAll reads to the end, and wants it to be all that was sent.
func (c *slow) readAll() {
	c.r.t.Helper()
	got, err := io.ReadAll(c)
	if _, body, _ := bytes.Cut(got, []byte("\r\n\r\n")); err != nil || !bytes.HasSuffix(c.want, body) || len(body) < len(c.want)-1000 {
		c.r.t.Errorf("%d bytes of some %d, %v", len(got), len(c.want), err)
	}
}

func TestADrainWaitsForAnIdleClientThatReadsSlowly(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.TLS = listenerTLS(t) }})
	c := r.stall(o, get)
	r.until("it is idle", func() bool { return !c.client.busy })
	drained := make(chan error, 1)
	r.listener.Close()
	go func() { drained <- r.proxy.Drain(context.Background()) }()
	r.until("it is not idle any more", func() bool { return c.client.leaving || r.shard.count == 0 })
	r.on(func() {
		if r.shard.count != 1 {
			t.Error("the client is gone, and has not got all")
		}
	})
	c.readAll()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestTheLastResponseLeavesBeforeTheConnectionEnds(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.TLS = listenerTLS(t) }})
	c := r.stall(o, lines("GET / HTTP/1.1", "Host: a", "Connection: close"))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.pass(50 * time.Millisecond)
	r.on(func() {
		if r.shard.count != 1 {
			t.Error("the client is gone, and has not got all")
		}
	})
	c.readAll()
	r.until("the client is gone", func() bool { return r.shard.count == 0 })
}

// A request that breaks off ends the connection, but not the response before it.
func TestTheResponseBeforeARequestThatBreaksOffLeaves(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) { o.TLS = listenerTLS(t) }})
	c := r.stall(o, get)
	r.until("it is idle", func() bool { return !c.client.busy })
	if _, err := io.WriteString(c, "GET /"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.pass(50 * time.Millisecond)
	r.on(func() {
		if r.shard.count != 1 {
			t.Error("the client is gone, and has not got all")
		}
	})
	c.readAll()
	r.until("the client is gone", func() bool { return r.shard.count == 0 })
}

func TestAClientThatReadsNothingIsClosedInTheEnd(t *testing.T) {
	for name, request := range map[string]string{"idle": get, "at its last response": lines("GET / HTTP/1.1", "Host: a", "Connection: close")} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			r := newRig(t, setup{origins: []string{o.addr}, options: func(o *Options) {
				o.TLS, o.ClientIdle = listenerTLS(t), time.Second
			}})
			c := r.stall(o, request)
			r.until("it is closed", func() bool { return r.shard.count == 0 })
			c.NetConn().Close()
		})
	}
}
