package preamble

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// realHello is what crypto/tls sends first.
func realHello(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	var sent recorder
	if err := tls.Client(&sent, c).Handshake(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return sent.Bytes()
}

// A recorder is a connection to nobody: it has something to read, and keeps what is written.
type recorder struct {
	bytes.Buffer
	in bytes.Reader
}

func (r *recorder) Read(p []byte) (int, error)     { return r.in.Read(p) }
func (*recorder) Close() error                     { return nil }
func (*recorder) LocalAddr() net.Addr              { return nil }
func (*recorder) RemoteAddr() net.Addr             { return nil }
func (*recorder) SetDeadline(time.Time) error      { return nil }
func (*recorder) SetReadDeadline(time.Time) error  { return nil }
func (*recorder) SetWriteDeadline(time.Time) error { return nil }

// records puts a message of a handshake into records of that size.
func records(message []byte, size int) []byte {
	var b []byte
	for part := range slices.Chunk(message, size) {
		b = append(b, typeHandshake, 3, 1)
		b = binary.BigEndian.AppendUint16(b, uint16(len(part)))
		b = append(b, part...)
	}
	return b
}

// A sketch is a ClientHello of our own.
type sketch struct {
	session      string
	suites       string
	compressions string
	extensions   []string // nil: none, and no length either
}

func (s sketch) message() []byte {
	body := "\x03\x03" + strings.Repeat("r", 32) + prefixed(1, s.session) + prefixed(2, s.suites) + prefixed(1, s.compressions)
	if s.extensions != nil {
		body += prefixed(2, strings.Join(s.extensions, ""))
	}
	return []byte("\x01" + prefixed(3, body))
}

// prefixed is a text with its length before it, in so many bytes.
func prefixed(size int, s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))[4-size:]) + s
}

// hello is a ClientHello with nothing special but its extensions.
func hello(extensions ...string) sketch { return sketch{"", "\x13\x01", "\x00", extensions} }

func serverName(names ...string) string {
	var list string
	for _, name := range names {
		list += "\x00" + prefixed(2, name)
	}
	return "\x00\x00" + prefixed(2, prefixed(2, list))
}

func protocolList(names ...string) string {
	var list string
	for _, name := range names {
		list += prefixed(1, name)
	}
	return "\x00\x10" + prefixed(2, prefixed(2, list))
}

// readHello reads a ClientHello at every length, with one Hello that sees it grow and another that
// sees it once, and returns what both say.
func readHello(t *testing.T, b []byte) (Hello, bool, error) {
	t.Helper()
	var grown Hello
	for i := range len(b) + 1 {
		done, err := grown.Parse(b[:i])
		var once Hello
		done2, err2 := once.Parse(b[:i])
		if done != done2 || !errors.Is(err2, err) || err == nil && done && !sameHello(&grown, &once) {
			t.Fatalf("%d bytes: %t, %v; at once %t, %v", i, done, err, done2, err2)
		}
		if done || err != nil {
			var more Hello
			done2, err2 := more.Parse(b)
			if done2 != done || !errors.Is(err2, err) || done && !sameHello(&grown, &more) {
				t.Fatalf("%d bytes: %t, %v; with those behind them %t, %v", i, done, err, done2, err2)
			}
			return grown, done, err
		}
	}
	return grown, false, nil
}

func sameHello(a, b *Hello) bool {
	return string(a.ServerName()) == string(b.ServerName()) && string(a.protocols[:a.listLen]) == string(b.protocols[:b.listLen])
}

func TestRealClientHellos(t *testing.T) {
	for _, tt := range []struct {
		name, server string
		config       *tls.Config
		protocols    []string
	}{
		{"name and protocols", "orders.example", &tls.Config{ServerName: "orders.example", NextProtos: []string{"h2", "http/1.1"}}, []string{"h2", "http/1.1"}},
		{"capitals", "orders.example", &tls.Config{ServerName: "Orders.EXAMPLE"}, nil},
		{"TLS 1.2", "orders.example", &tls.Config{ServerName: "orders.example", MaxVersion: tls.VersionTLS12}, nil},
		{"no name", "", &tls.Config{InsecureSkipVerify: true}, nil},
		{"an address, which crypto/tls leaves out", "", &tls.Config{ServerName: "192.0.2.1"}, nil},
		{"longest name", strings.Repeat("a.", 126) + "a", &tls.Config{ServerName: strings.Repeat("a.", 126) + "a"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := realHello(t, tt.config)
			for _, size := range []int{longestRecord, 300, 40} {
				split := records(b[recordHeader:], size)
				h, done, err := readHello(t, split)
				if !done || err != nil || string(h.ServerName()) != tt.server {
					t.Fatalf("in records of %d: %t, %v, server name %q, want %q", size, done, err, h.ServerName(), tt.server)
				}
				for _, p := range []string{"h2", "http/1.1", "h3", ""} {
					if h.Offers(p) != slices.Contains(tt.protocols, p) {
						t.Errorf("in records of %d: offers %q: %t", size, p, h.Offers(p))
					}
				}
				if _, err := h.Parse(split[:len(split)-1]); err != nil {
					t.Errorf("in records of %d: %v", size, err)
				}
			}
		})
	}
}

func TestWhatFollowsTheClientHelloIsNotLookedAt(t *testing.T) {
	b := realHello(t, &tls.Config{ServerName: "a.example"})
	for _, rest := range []string{"\x17\x03\x03\x00\x01x", "nonsense", strings.Repeat("x", 2*MaxHello), string(b)} {
		h, done, err := readHello(t, slices.Concat(b, []byte(rest)))
		if !done || err != nil || string(h.ServerName()) != "a.example" {
			t.Errorf("with %.20q behind it: %t, %v, %q", rest, done, err, h.ServerName())
		}
	}
}

func TestClientHellos(t *testing.T) {
	long := make([]string, 60)
	for i := range long {
		long[i] = "proto"
	}
	for _, tt := range []struct {
		name   string
		hello  sketch
		server string
		err    error
	}{
		{"no extensions at all", sketch{"", "\x13\x01", "\x00", nil}, "", nil},
		{"an empty list of extensions", hello([]string{}...), "", nil},
		{"longest session", sketch{strings.Repeat("s", 32), "\x13\x01", "\x00", nil}, "", nil},
		{"name", hello(serverName("a.example")), "a.example", nil},
		{"name after others", hello("\x00\x0a\x00\x02hi", "\x1a\x1a\x00\x00", serverName("a_b.Example-1")), "a_b.example-1", nil},
		{"a name of another kind", hello("\x00\x00" + prefixed(2, prefixed(2, "\x07\x00\x01x\x00\x00\x01a"))), "a", nil},
		{"many protocols", hello(protocolList(long...), serverName("a")), "a", nil},

		{"session too long", sketch{strings.Repeat("s", 33), "\x13\x01", "\x00", nil}, "", errHello},
		{"no suites", sketch{"", "", "\x00", nil}, "", errHello},
		{"half a suite", sketch{"", "\x13\x01\x13", "\x00", nil}, "", errHello},
		{"no compression", sketch{"", "\x13\x01", "", nil}, "", errHello},
		{"half an extension", hello("\x00\x0a\x00"), "", errHello},
		{"extension beyond the end", hello("\x00\x0a\x00\x02h"), "", errHello},
		{"two lists of names", hello(serverName("a"), serverName("b")), "", errExtra},
		{"two names", hello(serverName("a", "b")), "", errExtra},
		{"two lists of protocols", hello(protocolList("h2"), protocolList("h2")), "", errExtra},
		{"no name in the list", hello(serverName()), "", errHello},
		{"empty extension of names", hello("\x00\x00\x00\x00"), "", errHello},
		{"empty name", hello(serverName("")), "", errHello},
		{"list of names too short", hello("\x00\x00" + prefixed(2, prefixed(2, "\x00\x00\x01a")+"x")), "", errHello},
		{"name beyond its list", hello("\x00\x00" + prefixed(2, prefixed(2, "\x00\x00\x02a"))), "", errHello},
		{"name too long", hello(serverName(strings.Repeat("a", longestName+1))), "", errName},
		{"dot at the end", hello(serverName("a.example.")), "", errName},
		{"dot at the beginning", hello(serverName(".example")), "", errName},
		{"two dots", hello(serverName("a..example")), "", errName},
		{"blank", hello(serverName("a example")), "", errName},
		{"NUL", hello(serverName("a\x00.example")), "", errName},
		{"letters of Unicode", hello(serverName("ä.example")), "", errName},
		{"IPv6", hello(serverName("2001:db8::1")), "", errName},
		{"wildcard", hello(serverName("*.example")), "", errName},
		{"no protocol", hello(protocolList()), "", errProtocols},
		{"empty protocol", hello(protocolList("h2", "")), "", errProtocols},
		{"protocol beyond its list", hello("\x00\x10" + prefixed(2, prefixed(2, "\x03h2"))), "", errProtocols},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{longestRecord, 5, 1} {
				h, done, err := readHello(t, records(tt.hello.message(), size))
				if !errors.Is(err, tt.err) || done != (tt.err == nil) || done && string(h.ServerName()) != tt.server {
					t.Fatalf("in records of %d: %t, %v, %q; want %v, %q", size, done, err, h.ServerName(), tt.err, tt.server)
				}
			}
		})
	}
}

func TestOffersOfLongLists(t *testing.T) {
	names := make([]string, 0, 70)
	for i := range 70 {
		names = append(names, string([]byte{'p', byte('0' + i/10), byte('0' + i%10)}))
	}
	h, done, err := readHello(t, records(hello(protocolList(names...)).message(), longestRecord))
	if !done || err != nil {
		t.Fatal(done, err)
	}
	for i, name := range names {
		if h.Offers(name) != (i < 64) { // of four bytes each, 256 hold 64
			t.Errorf("offers %q: %t", name, h.Offers(name))
		}
	}
}

func TestWhatIsNoClientHello(t *testing.T) {
	good := hello(serverName("a")).message()
	changed := func(at int, to byte) []byte {
		b := records(good, 10)
		b[at] = to
		return b
	}
	larger := slices.Clone(good)
	larger[3]++ // and so the extensions end too early
	long := hello("\x00\x15" + prefixed(2, strings.Repeat("x", MaxHello))).message()
	for _, tt := range []struct {
		name string
		in   []byte
		err  error
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), ErrNotTLS},
		{"an alert", changed(0, 21), ErrNotTLS},
		{"other version", changed(1, 2), ErrNotTLS},
		{"empty record", []byte{22, 3, 1, 0, 0}, ErrNotTLS},
		{"record too long", []byte{22, 3, 1, 0x40, 1}, ErrNotTLS},
		{"another message", changed(5, 2), ErrNotTLS},
		{"other record in between", changed(15, 21), errRecord},
		{"other version in between", changed(16, 2), errRecord},
		{"empty record in between", slices.Concat(records(good[:10], 10), []byte{22, 3, 1, 0, 0}, records(good[10:], 100)), errRecord},
		{"message longer than what is in it", append(records(larger, 100), records([]byte{0}, 1)...), errHello},
		{"longer than ever", records(long, longestRecord), errHelloLong},
		{"longer by its records", records(long[:MaxHello], 1), errHelloLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, done, err := readHello(t, tt.in); done || !errors.Is(err, tt.err) {
				t.Errorf("%t, %v; want %v", done, err, tt.err)
			}
		})
	}
}

func TestTheLongestClientHello(t *testing.T) {
	base := len(hello(serverName("a"), "\x00\x15"+prefixed(2, "")).message())
	for _, tt := range []struct {
		total int
		err   error
	}{{MaxHello, nil}, {MaxHello + 1, errHelloLong}} {
		padding := tt.total - 2*recordHeader - base
		message := hello(serverName("a"), "\x00\x15"+prefixed(2, strings.Repeat("x", padding))).message()
		b := slices.Concat(records(message[:100], 100), records(message[100:], longestRecord))
		if len(b) != tt.total {
			t.Fatalf("%d bytes, want %d", len(b), tt.total)
		}
		for _, at := range []int{1, 99, 5000} {
			var h Hello
			_, _ = h.Parse(b[:at])
			done, err := h.Parse(b)
			if done != (tt.err == nil) || !errors.Is(err, tt.err) {
				t.Errorf("%d bytes in two pieces, the first of %d: %t, %v; want %v", tt.total, at, done, err, tt.err)
			}
		}
	}
}

func TestClientHellosDoNotAllocate(t *testing.T) {
	whole := realHello(t, &tls.Config{ServerName: "orders.example", NextProtos: []string{"h2"}})
	split := records(whole[recordHeader:], 9)
	bad := records(hello(serverName("a..b")).message(), 9)
	var h Hello
	if n := testing.AllocsPerRun(100, func() {
		for _, b := range [][]byte{whole, split, bad} {
			h.Reset()
			_, _ = h.Parse(b[:len(b)/2])
			_, _ = h.Parse(b)
			_, _ = h.ServerName(), h.Offers("h2")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAHelloServesOneConnectionAfterTheOther(t *testing.T) {
	var h Hello
	first := records(hello(serverName("a.example"), protocolList("h2")).message(), 20)
	second := records(hello("\x00\x0a\x00\x00").message(), 30)
	if done, err := h.Parse(first); !done || err != nil || string(h.ServerName()) != "a.example" || !h.Offers("h2") {
		t.Fatal(done, err, h.ServerName())
	}
	h.Reset()
	if len(h.ServerName()) != 0 || h.Offers("h2") {
		t.Errorf("%q is left", h.ServerName())
	}
	if done, err := h.Parse(second); !done || err != nil || len(h.ServerName()) != 0 || h.Offers("h2") {
		t.Error(done, err, h.ServerName())
	}
}

func BenchmarkHello(b *testing.B) {
	bytes := realHello(b, &tls.Config{ServerName: "orders.example", NextProtos: []string{"h2", "http/1.1"}})
	b.ReportAllocs()
	var h Hello
	for b.Loop() {
		h.Reset()
		if done, err := h.Parse(bytes); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}
