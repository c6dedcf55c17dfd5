package preamble

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
)

func helloSeeds(t testing.TB) [][]byte {
	return [][]byte{
		realHello(t, &tls.Config{ServerName: "a.example", NextProtos: []string{"h2"}}),
		records(hello(serverName("A", "b"), protocolList("h2", "")).message(), 3),
		records(hello(protocolList("h2", "http/1.1"), serverName("a.b")).message(), 1),
		records(hello(serverName("a.b"), "\x00\x0a\x00\x00").message(), 30),
		[]byte("\x16\x03\x01\x00\x05\x01\xff\xff\xff"),
	}
}

// FuzzHello: no panic, and the same answer however the bytes arrive.
func FuzzHello(f *testing.F) {
	for i, seed := range helloSeeds(f) {
		f.Add(seed, uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var once, grown Hello
		done, err := once.Parse(b)
		if done && err != nil {
			t.Fatalf("%q: an answer and %v", b, err)
		}
		var done2 bool
		var err2 error
		for i := 0; i < len(b) && !done2 && err2 == nil; {
			i = min(i+1+int(step), len(b))
			done2, err2 = grown.Parse(b[:i])
		}
		if len(b) > 0 && (done != done2 || err != err2) || done && !sameHello(&once, &grown) {
			t.Fatalf("%q: %t, %v, %q; in pieces %t, %v, %q", b, done, err, once.ServerName(), done2, err2, grown.ServerName())
		}
	})
}

// serverNameOf is what crypto/tls reads; it is ok when there was a whole ClientHello.
func serverNameOf(b []byte) (name string, ok bool) {
	var sent recorder
	sent.in.Reset(b)
	stop := errors.New("enough")
	_ = tls.Server(&sent, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		name, ok = info.ServerName, true
		return nil, stop
	}}).Handshake()
	return name, ok
}

// FuzzServerName: the server name is the one that crypto/tls finds, unless there is something that
// only this package refuses.
func FuzzServerName(f *testing.F) {
	for _, seed := range helloSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Hello
		done, err := h.Parse(b)
		switch name, ok := serverNameOf(b); {
		case !ok:
		case done && !strings.EqualFold(name, string(h.ServerName())):
			t.Fatalf("%q: the server name is %q, and %q to crypto/tls", b, h.ServerName(), name)
		case !done && err == nil:
			t.Fatalf("%q: crypto/tls reads it, and here more is wanted", b)
		}
	})
}
