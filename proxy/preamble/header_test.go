package preamble

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// A wanted is what Parse is to say of a header.
type wanted struct {
	name string
	in   string
	want Header
	err  error
}

func addr(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

// test feeds the header at every length: there is no answer before its last byte, unless it is
// wrong, and the answer does not depend on what follows.
func (w wanted) test(t *testing.T) {
	t.Helper()
	t.Run(w.name, func(t *testing.T) {
		for i := range len(w.in) + 1 {
			h, n, err := Parse([]byte(w.in[:i]))
			switch {
			case err != nil && (!errors.Is(err, w.err) || w.err == nil):
				t.Fatalf("the first %d bytes: error %v, want %v", i, err, w.err)
			case err != nil && (n != 0 || h != Header{}):
				t.Fatalf("the first %d bytes: %+v, %d beside an error", i, h, n)
			case err == nil && i < len(w.in) && n != 0:
				t.Fatalf("the first %d bytes: an answer, %+v", i, h)
			}
		}
		for _, rest := range []string{"", "\r\n", "GET / HTTP/1.1\r\n", w.in} {
			h, n, err := Parse([]byte(w.in + rest))
			if !errors.Is(err, w.err) {
				t.Fatalf("with %q behind it: error %v, want %v", rest, err, w.err)
			}
			if w.err == nil && (h != w.want || n != len(w.in)) {
				t.Fatalf("with %q behind it:\n got %+v, %d\nwant %+v, %d", rest, h, n, w.want, len(w.in))
			}
		}
	})
}

func TestVersionOne(t *testing.T) {
	v1 := func(from, to string) Header {
		return Header{Source: addr(t, from), Destination: addr(t, to), Version: 1}
	}
	const longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	for _, w := range []wanted{
		{"IPv4", "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", v1("192.0.2.1:56324", "198.51.100.2:443"), nil},
		{"extremes of IPv4", "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", v1("0.0.0.0:0", "255.255.255.255:65535"), nil},
		{"IPv6", "PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", v1("[2001:db8::1]:1", "[::1]:2"), nil},
		{"longest IPv6", "PROXY TCP6 " + longest + " " + longest + " 65535 65535\r\n", v1("["+longest+"]:65535", "["+longest+"]:65535"), nil},
		{"IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n", v1("192.0.2.1:1", "[2001:db8::1]:2"), nil},
		{"unknown", "PROXY UNKNOWN\r\n", v1("", ""), nil},
		{"unknown with addresses", "PROXY UNKNOWN " + longest + " " + longest + " 65535 65535\r\n", v1("", ""), nil},
		{"unknown with anything", "PROXY UNKNOWN  \xff?\r\n", v1("", ""), nil},

		{"no header", "GET / HTTP/1.1\r\n", Header{}, ErrNoHeader},
		{"small letters", "proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n", Header{}, ErrNoHeader},
		{"blank before it", " PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n", Header{}, ErrNoHeader},
		{"nothing but the word", "PROXY\r\n", Header{}, ErrNoHeader},
		{"no family", "PROXY \r\n", Header{}, errFamily},
		{"two blanks", "PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n", Header{}, errFamily},
		{"unknown family", "PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", Header{}, errFamily},
		{"family with a tail", "PROXY UNKNOWNS\r\n", Header{}, errFamily},
		{"no addresses", "PROXY TCP4\r\n", Header{}, errFields},
		{"no destination's port", "PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", Header{}, errFields},
		{"empty port", "PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n", Header{}, errFields},
		{"two blanks between", "PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n", Header{}, errFields},
		{"blank at the end", "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", Header{}, errFields},
		{"a fifth field", "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", Header{}, errFields},
		{"tab", "PROXY TCP4\t192.0.2.1 198.51.100.2 1 2\r\n", Header{}, errLine},
		{"LF alone", "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n", Header{}, errLine},
		{"CR alone", "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r ", Header{}, errLine},
		{"NUL", "PROXY UNKNOWN \x00\r\n", Header{}, errLine},
		{"IPv6 as TCP4", "PROXY TCP4 ::1 ::1 1 2\r\n", Header{}, errAddr},
		{"IPv4 as TCP6", "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", Header{}, errAddr},
		{"bad destination", "PROXY TCP4 192.0.2.1 198.51.100 1 2\r\n", Header{}, errAddr},
		{"zone", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Header{}, errAddr},
		{"port too large", "PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n", Header{}, errPort},
		{"port with a zero before it", "PROXY TCP4 192.0.2.1 198.51.100.2 1 02\r\n", Header{}, errPort},
		{"port with a sign", "PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n", Header{}, errPort},
		{"port in hexadecimal", "PROXY TCP4 192.0.2.1 198.51.100.2 1 ff\r\n", Header{}, errPort},
		{"one byte too long", "PROXY UNKNOWN " + strings.Repeat("x", MaxV1-15) + "\r\n", Header{}, errLine},
		{"endless", "PROXY UNKNOWN " + strings.Repeat("x", 200), Header{}, errLong},
	} {
		w.test(t)
	}
}

// binaryHeader writes a header of version 2 with the right length.
func binaryHeader(command, family byte, parts ...string) string {
	rest := strings.Join(parts, "")
	b := append([]byte(startV2), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(b) + rest
}

func extension(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// sum puts the right checksum into the last four bytes of the header but those behind it.
func sum(header string, behind int) string {
	b := []byte(header)
	at := len(b) - behind - 4
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return string(b)
}

const (
	four = "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"
	six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc6\x33\x64\x02\xdc\x04\x01\xbb"
	noSum = "\x00\x00\x00\x00"
)

func TestVersionTwo(t *testing.T) {
	v4 := Header{Source: addr(t, "192.0.2.1:56324"), Destination: addr(t, "198.51.100.2:443"), Version: 2}
	v6 := Header{Source: addr(t, "[2001:db8::1]:56324"), Destination: addr(t, "198.51.100.2:443"), Version: 2}
	none, local := Header{Version: 2}, Header{Version: 2, Local: true}
	unix := strings.Repeat("/", 216)
	checksum := extension(3, noSum)
	for _, w := range []wanted{
		{"IPv4", binaryHeader(0x21, 0x11, four), v4, nil},
		{"IPv6", binaryHeader(0x21, 0x21, six), v6, nil},
		{"unix socket", binaryHeader(0x21, 0x31, unix), none, nil},
		{"datagrams", binaryHeader(0x21, 0x12, four), none, nil},
		{"datagrams of unix", binaryHeader(0x21, 0x32, unix), none, nil},
		{"unspecified", binaryHeader(0x21, 0x00), none, nil},
		{"unspecified with anything", binaryHeader(0x21, 0x00, "\x05\xff"), none, nil},
		{"unspecified protocol", binaryHeader(0x21, 0x10, "\x05\xff"), none, nil},
		{"local", binaryHeader(0x20, 0x00), local, nil},
		{"local with an unknown family", binaryHeader(0x20, 0xff, "?"), local, nil},
		{"extensions", binaryHeader(0x21, 0x11, four, extension(1, "h2"), extension(2, "a.example"), extension(4, ""),
			extension(5, strings.Repeat("x", 128)), extension(0x20, "\x01\x00\x00\x00\x00"), extension(0xee, "?")), v4, nil},
		{"checksum", sum(binaryHeader(0x21, 0x11, four, checksum), 0), v4, nil},
		{"checksum between others", sum(binaryHeader(0x21, 0x21, six, extension(4, "x"), checksum, extension(2, "a.example")), 12), v6, nil},
		{"longest", binaryHeader(0x21, 0x11, four, extension(4, strings.Repeat("x", MaxV2-16-12-3))), v4, nil},

		{"version 1 in binary", binaryHeader(0x11, 0x11, four), Header{}, errVersion},
		{"version 3", binaryHeader(0x31, 0x11, four), Header{}, errVersion},
		{"unknown command", binaryHeader(0x22, 0x11, four), Header{}, errCommand},
		{"unknown family", binaryHeader(0x21, 0x41, four), Header{}, errSocket},
		{"unknown protocol", binaryHeader(0x21, 0x13, four), Header{}, errSocket},
		{"too short for IPv4", binaryHeader(0x21, 0x11, four[:11]), Header{}, errShort},
		{"too short for IPv6", binaryHeader(0x21, 0x21, six[:35]), Header{}, errShort},
		{"too short for datagrams", binaryHeader(0x21, 0x12, four[:11]), Header{}, errShort},
		{"too short for unix", binaryHeader(0x21, 0x31, unix[1:]), Header{}, errShort},
		{"too large", binaryHeader(0x21, 0x11, four, extension(4, strings.Repeat("x", MaxV2-16-12-2))), Header{}, errLarge},
		{"too large and local", binaryHeader(0x20, 0x00, strings.Repeat("x", MaxV2-15)), Header{}, errLarge},
		{"half an extension", binaryHeader(0x21, 0x11, four, "\x04\x00"), Header{}, errExtension},
		{"extension beyond the end", binaryHeader(0x21, 0x11, four, "\x04\x00\x02x"), Header{}, errExtension},
		{"unique ID too long", binaryHeader(0x21, 0x11, four, extension(5, strings.Repeat("x", 129))), Header{}, errExtension},
		{"TLS too short", binaryHeader(0x21, 0x11, four, extension(0x20, "\x01\x00\x00\x00")), Header{}, errExtension},
		{"short checksum", binaryHeader(0x21, 0x11, four, extension(3, "\x00\x00\x00")), Header{}, errExtension},
		{"wrong checksum", binaryHeader(0x21, 0x11, four, checksum), Header{}, errChecksum},
		{"checksum of another address", strings.Replace(sum(binaryHeader(0x21, 0x11, four, checksum), 0), "\xc0\x00\x02\x01", "\xc0\x00\x02\x03", 1), Header{}, errChecksum},
		{"wrong checksum of nobody", binaryHeader(0x21, 0x00, checksum), Header{}, errChecksum},
		{"right checksum of nobody", sum(binaryHeader(0x21, 0x00, checksum), 0), Header{Version: 2}, nil},
		{"wrong checksum of a local one", binaryHeader(0x20, 0x11, four, checksum), Header{}, errChecksum},
		{"right checksum of a local one", sum(binaryHeader(0x20, 0x00, checksum), 0), Header{Version: 2, Local: true}, nil},
		{"two checksums", sum(binaryHeader(0x21, 0x11, four, checksum, checksum), 7), Header{}, errChecksum},
		{"other signature", "\r\n\r\n\x00\r\nQUIT\r\x21\x11\x00\x00", Header{}, ErrNoHeader},
	} {
		w.test(t)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, tt := range []struct{ name, from, to, line, readFrom, readTo string }{
		{"IPv4", "192.0.2.1:1", "198.51.100.2:65535", "PROXY TCP4 192.0.2.1 198.51.100.2 1 65535\r\n", "192.0.2.1:1", "198.51.100.2:65535"},
		{"IPv6", "[2001:db8::1]:1", "[::]:0", "PROXY TCP6 2001:db8::1 :: 1 0\r\n", "[2001:db8::1]:1", "[::]:0"},
		{"zone", "[fe80::1%eth0]:1", "[::1]:2", "PROXY TCP6 fe80::1 ::1 1 2\r\n", "[fe80::1]:1", "[::1]:2"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:1", "198.51.100.2:2", "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n", "192.0.2.1:1", "198.51.100.2:2"},
		{"one of each", "192.0.2.1:1", "[::1]:2", "PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n", "192.0.2.1:1", "[::1]:2"},
		{"no source", "", "[::1]:2", "PROXY UNKNOWN\r\n", "", ""},
		{"no destination", "192.0.2.1:1", "", "PROXY UNKNOWN\r\n", "", ""},
	} {
		from, to := addr(t, tt.from), addr(t, tt.to)
		want := Header{Source: addr(t, tt.readFrom), Destination: addr(t, tt.readTo), Version: 1}
		line := AppendV1([]byte("before"), from, to)
		if string(line) != "before"+tt.line {
			t.Errorf("%s: version 1 is %q, want %q", tt.name, line, tt.line)
		}
		if h, n, err := Parse([]byte(tt.line)); h != want || n != len(tt.line) || err != nil {
			t.Errorf("%s: version 1 is read as %+v, %d, %v", tt.name, h, n, err)
		}
		want.Version = 2
		block := AppendV2([]byte("before"), from, to)[len("before"):]
		if h, n, err := Parse(block); h != want || n != len(block) || err != nil {
			t.Errorf("%s: version 2 is %q and read as %+v, %d, %v", tt.name, block, h, n, err)
		}
	}
	block := AppendLocal([]byte("before"))[len("before"):]
	if h, n, err := Parse(block); h != (Header{Version: 2, Local: true}) || n != len(block) || err != nil {
		t.Errorf("local is %q and read as %+v, %d, %v", block, h, n, err)
	}
}

func TestTheBinaryFormIsThatOfTheSpecification(t *testing.T) {
	from, to := addr(t, "192.0.2.1:56324"), addr(t, "198.51.100.2:443")
	if got, want := string(AppendV2(nil, from, to)), binaryHeader(0x21, 0x11, four); got != want {
		t.Errorf("IPv4 is %q, want %q", got, want)
	}
	if got, want := string(AppendV2(nil, addr(t, "[2001:db8::1]:56324"), to)), binaryHeader(0x21, 0x21, six); got != want {
		t.Errorf("IPv6 is %q, want %q", got, want)
	}
	if got, want := string(AppendV2(nil, netip.AddrPort{}, to)), binaryHeader(0x21, 0x00); got != want {
		t.Errorf("unspecified is %q, want %q", got, want)
	}
	if got, want := string(AppendLocal(nil)), binaryHeader(0x20, 0x00); got != want {
		t.Errorf("local is %q, want %q", got, want)
	}
}

func TestHeadersDoNotAllocate(t *testing.T) {
	from, to := addr(t, "[2001:db8::1]:56324"), addr(t, "198.51.100.2:443")
	headers := [][]byte{
		[]byte("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"),
		[]byte("PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 2001:db8:1111:2222:3333:4444:5555:7777 1 2\r\n"),
		[]byte("PROXY UNKNOWN\r\n"),
		[]byte("PROXY TCP6 nonsense\r\n"),
		[]byte(sum(binaryHeader(0x21, 0x21, six, extension(3, noSum)), 0)),
		[]byte(binaryHeader(0x20, 0x00)),
	}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		for _, h := range headers {
			_, _, _ = Parse(h)
		}
		buf = AppendV1(buf[:0], from, to)
		buf = AppendV2(buf, from, to)
		buf = AppendLocal(buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A sender that delivers single bytes must not get an answer that whole headers do not get.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET", "PROXY TCP6 ::ffff:192.0.2.1 1::2 1 2\r\n", "PROXY UNKNOWN x\r\n",
		binaryHeader(0x21, 0x11, four, extension(5, "id")), sum(binaryHeader(0x21, 0x21, six, extension(3, noSum)), 0),
		binaryHeader(0x20, 0x00), binaryHeader(0x21, 0x31, strings.Repeat("x", 216)), "\r\n\r\n\x00\r\nQUIT\n\x21", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := slices.Clone(b)
		want, n, err := Parse(b)
		if !slices.Equal(kept, b) || n < 0 || n > len(b) || n > MaxV2 || (n == 0 || err != nil) && want != (Header{}) {
			t.Fatalf("%q: %+v, %d, %v", b, want, n, err)
		}
		for i := range len(b) {
			h, m, early := Parse(b[:i])
			switch {
			case early != nil && !errors.Is(err, early), m != 0 && (m != n || h != want):
				t.Fatalf("%q: %+v, %d, %v; its first %d bytes: %+v, %d, %v", b, want, n, err, i, h, m, early)
			case m == 0 && early == nil && n > 0 && i >= n:
				t.Fatalf("%q: %d bytes are a header, and %d are not", b, n, i)
			}
		}
		if err != nil || n == 0 || want.Local {
			return
		}
		if h, _, err := Parse(AppendV1(nil, want.Source, want.Destination)); err != nil || h.Source != want.Source || h.Destination != want.Destination {
			t.Fatalf("%+v is passed on in version 1 as %+v, %v", want, h, err)
		}
		if h, _, err := Parse(AppendV2(nil, want.Source, want.Destination)); err != nil || h.Source != want.Source || h.Destination != want.Destination {
			t.Fatalf("%+v is passed on in version 2 as %+v, %v", want, h, err)
		}
	})
}
