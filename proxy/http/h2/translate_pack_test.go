package h2

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"sidecar/proxy/http/h1"
)

// blocks makes header blocks of requests with the given fields and returns the last one's
// size. Each is decoded and compared.
type blocks struct {
	t      *testing.T
	packer *packer
	peer   *hpack.Decoder
}

func newBlocks(t *testing.T) *blocks {
	return &blocks{t, newPacker("https"), hpack.NewDecoder(maxTable, nil)}
}

func (b *blocks) request(fields string) int {
	b.t.Helper()
	var r h1.Request
	text := "GET /path HTTP/1.1\r\nhost: a\r\n" + fields + "\r\n"
	if n, err := r.Parse([]byte(text), nil); err != nil || n != len(text) {
		b.t.Fatalf("%q: %d, %v", text, n, err)
	}
	block, err := b.packer.request(&r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.same(block, ":method: GET\r\n:scheme: https\r\n:authority: a\r\n:path: /path\r\n"+fields)
	return len(block)
}

func (b *blocks) same(block []byte, want string) {
	b.t.Helper()
	var got strings.Builder
	b.peer.SetEmitFunc(func(f hpack.HeaderField) { got.WriteString(f.Name + ": " + f.Value + "\r\n") })
	if _, err := b.peer.Write(block); err != nil {
		b.t.Fatalf("%x: %v", block, err)
	}
	if err := b.peer.Close(); err != nil {
		b.t.Fatalf("%x: %v", block, err)
	}
	if got.String() != want {
		b.t.Fatalf("got  %q\nwant %q", got.String(), want)
	}
}

func TestWhatComesAgainIsIndexed(t *testing.T) {
	b := newBlocks(t)
	const text = "user-agent: something\r\nx-special: another thing\r\n"
	first, second, third := b.request(text), b.request(text), b.request(text)
	if third != 6 || second <= third || first <= second {
		t.Errorf("blocks of %d, %d and %d octets", first, second, third)
	}
}

// Fields that are never the same twice leave the table alone.
func TestWhatIsUniqueDisplacesNothing(t *testing.T) {
	b := newBlocks(t)
	const text = "user-agent: something\r\n"
	for range 3 {
		b.request(text)
	}
	empty := b.request(text)
	size := b.request(text + "x-request-id: 000000\r\n")
	for i := range 10_000 {
		if n := b.request(fmt.Sprintf("%sx-request-id: 1%05d\r\n", text, i)); n != size {
			t.Fatalf("request %d has %d octets, not %d", i, n, size)
		}
	}
	if n := b.request(text); n != empty {
		t.Errorf("%d octets, not %d", n, empty)
	}
}

// Slots are few, so that fields share them, and the table is small, so that they leave it: what
// blocks say must be right all the same.
func TestFieldsShareSlots(t *testing.T) {
	b, r := newBlocks(t), rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		b.request(fmt.Sprintf("x: %d\r\ny: %d\r\n", r.IntN(200), r.IntN(20)))
	}
}

// A hash is not all that tells two fields apart.
func TestFieldsWithTheSameHash(t *testing.T) {
	b := newBlocks(t)
	const text = "user-agent: something\r\n"
	b.request(text)
	b.request(text)
	changed := 0
	for i := range b.packer.slots {
		if s := &b.packer.slots[i]; s.name == "user-agent" {
			s.value = "else"
			changed++
		}
	}
	b.request(text)
	if changed != 1 {
		t.Errorf("%d slots know the field", changed)
	}
}

func TestCredentialsAreNeverIndexed(t *testing.T) {
	p, sensitive := newPacker("http"), map[string]bool{}
	peer := hpack.NewDecoder(maxTable, func(f hpack.HeaderField) { sensitive[f.Name] = f.Sensitive })
	const text = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nProxy-Authorization: y\r\nCookie: c\r\nX: y\r\n\r\n"
	const answer = "HTTP/1.1 200 OK\r\nSet-Cookie: secret-one\r\n\r\n"
	for range 4 {
		var r h1.Request
		if _, err := r.Parse([]byte(text), nil); err != nil {
			t.Fatal(err)
		}
		block, err := p.request(&r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = peer.Write(block)
		var resp h1.Response
		if _, err := resp.Parse([]byte(answer), h1.MethodGet, nil); err != nil {
			t.Fatal(err)
		}
		if block = p.response(&resp); !strings.Contains(string(block), "secret-one") {
			t.Errorf("Set-Cookie is indexed: %x", block)
		}
		_, _ = peer.Write(block)
	}
	for _, name := range []string{"authorization", "proxy-authorization", "cookie"} {
		if !sensitive[name] {
			t.Errorf("%s may be indexed", name)
		}
	}
	if sensitive["x"] || sensitive[":path"] || sensitive["set-cookie"] {
		t.Errorf("sensitive: %v", sensitive)
	}
}

// RFC 7541 §4.2, §6.3: a change of the table's size is told at the start of the next block.
func TestTableSizes(t *testing.T) {
	b := newBlocks(t)
	const text = "user-agent: something\r\nx-special: another thing\r\n"
	for _, size := range []uint32{4096, 1 << 20, 0, 100, 4096, 50} {
		b.packer.tableSize(size)
		b.peer.SetAllowedMaxDynamicTableSize(min(size, maxTable))
		for range 4 {
			b.request(text)
		}
	}
	b.packer.tableSize(0)
	b.packer.tableSize(4096)
	b.peer.SetAllowedMaxDynamicTableSize(4096)
	b.request(text)
	b.packer.tableSize(50)
	block := b.packer.answer(431)
	if !strings.HasPrefix(string(block), "\x20\x3f\x13") { // 0, then 50
		t.Errorf("%x does not begin with the change", block)
	}
	b.same(block, ":status: 431\r\ncontent-length: 0\r\n")
	b.packer.tableSize(50)
	if block = b.packer.answer(431); block[0]&0xe0 == 0x20 {
		t.Errorf("%x tells a change where there is none", block)
	}
}

func TestStaticNames(t *testing.T) {
	index := map[string]int{}
	for i := 61; i > 0; i-- {
		peer := hpack.NewDecoder(0, func(f hpack.HeaderField) { index[f.Name] = i })
		if _, err := peer.Write([]byte{0x80 | byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for name, i := range index {
		if got := staticName([]byte(name)); got != i {
			t.Errorf("%s: %d, not %d", name, got, i)
		}
	}
	for _, name := range []string{"", "x", "accept-", ":statu"} {
		if i := staticName([]byte(name)); i != 0 {
			t.Errorf("%q: %d", name, i)
		}
	}
}

// Values and names of all lengths around the steps of RFC 7541 §5.1.
func TestLiterals(t *testing.T) {
	b := newBlocks(t)
	for _, n := range []int{0, 1, 14, 15, 16, 126, 127, 128, 129, 254, 255, 256, 511, 512, 513, 16510, 16511, 16512} {
		b.request("x: " + strings.Repeat("v", n) + "\r\n")
		b.request("vary: " + strings.Repeat("v", n) + "\r\n")
		if n > 0 {
			b.request(strings.Repeat("n", n) + ": v\r\n")
		}
	}
}
