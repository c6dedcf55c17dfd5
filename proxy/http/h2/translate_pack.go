package h2

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"golang.org/x/net/http2/hpack"

	"sidecar/proxy/http/h1"
)

const (
	// maxTable bounds the dynamic table that the peer decodes with (RFC 7541 §4.2).
	maxTable = 4096
	// maxIndexed bounds a value that goes into the table: a larger one would displace many.
	maxIndexed = 512
	// packSlots is how many fields a packer remembers: about what fits into the table.
	packSlots = 128
	// slotCredit is how many other fields a remembered one outlasts between two uses.
	slotCredit = 3
	// shortCookie is below which size a Cookie can be guessed by whoever sees how well it is
	// compressed (RFC 7541 §7.1.3).
	shortCookie = 20
	// staticEntries is how many HPACK's static table has.
	staticEntries = 61
	// keepBlock is how much memory for header blocks a packer keeps.
	keepBlock = 16 << 10
)

// A packer makes header blocks of HTTP/1.1 heads, for one direction of one connection: blocks
// must reach the peer in the order in which they were made.
//
// A field is put into HPACK's table when it comes for the second time. What is different in
// each message (an identifier, a date) so neither displaces what repeats itself, nor does it
// cost memory. Credentials are never indexed: Authorization, Proxy-Authorization and short
// Cookies, and it is said that nobody on the way should (RFC 7541 §7.1.3); Set-Cookie is not
// indexed either. These are the choices of nghttp2. That a field came as one never to be
// indexed (§6.2.3) is not remembered by HTTP/1.1 text, so that for others it is lost.
//
// To find a field in the table takes the HPACK encoder much longer than to find its slot. So the
// slot knows its place: the table drops what is oldest, and nothing else, when its size exceeds
// the limit, so that it has a field as long as this and those added since fit together.
type packer struct {
	scheme  string // of requests
	table   *hpack.Encoder
	resize  bool   // a change of the table's size is to be told by the next block
	count   uint64 // fields added to the table
	cleared uint64 // of them, those that were in it when it was last cleared, or before
	added   uint64 // octets added to the table
	block   []byte // the one that is made
	name    []byte // the field's, in lower case
	slots   [packSlots]packSlot

	// Heads come whole or are put together first, so that all streams can share these.
	req  h1.Request
	resp h1.Response
}

// A packSlot remembers a field: at first its hash alone.
type packSlot struct {
	hash        uint64
	name, value string
	known       bool // name and value are set: it has come more than once
	credit      uint8
	static      uint8  // its index in the static table, 0: it is not there
	number      uint64 // of the packer's count, 0: it has not been in the table
	before      uint64 // octets added to the table before it
}

// indexing is what may be done with a field (RFC 7541 §6.2).
type indexing uint8

const (
	indexRepeated indexing = iota
	indexNot
	indexNever
)

// newPacker returns a packer; scheme is that of the requests it will make.
func newPacker(scheme string) *packer {
	p := &packer{scheme: scheme}
	p.table = hpack.NewEncoder(p)
	return p
}

// Write takes a field from the HPACK encoder. It never fails.
func (p *packer) Write(b []byte) (int, error) {
	p.block = append(p.block, b...)
	return len(b), nil
}

// tableSize bounds the dynamic table by what the peer can hold; more than 4096 octets are not
// used. A change clears the table.
func (p *packer) tableSize(n uint32) {
	n = min(n, maxTable)
	if n == p.table.MaxDynamicTableSize() {
		return
	}
	p.table.SetMaxDynamicTableSize(0)
	p.table.SetMaxDynamicTableSize(n)
	p.cleared, p.resize = p.count, true
}

// begin begins a block. A change of the table's size comes first in it (RFC 7541 §4.2); the
// HPACK encoder writes that in front of a field, which is taken off again.
func (p *packer) begin() {
	if p.block = p.block[:0]; cap(p.block) > keepBlock {
		p.block = nil
	}
	if p.resize {
		p.resize = false
		p.write(":method", "GET") // one octet: it is in the static table
		p.block = p.block[:len(p.block)-1]
	}
}

// request returns the block of a request. Like those of the other methods it is good until the
// next one is made.
func (p *packer) request(r *h1.Request) ([]byte, error) {
	if r.MethodID == h1.MethodConnect {
		return nil, errTunnel
	}
	p.begin()
	p.static(":method", r.Method)
	p.add([]byte(":scheme"), []byte(p.scheme), indexRepeated)
	if len(r.Host) > 0 {
		p.static(":authority", r.Host)
	}
	target := r.Path
	if r.Form != h1.FormOrigin {
		target = r.AppendTarget(nil)
	}
	p.static(":path", target)
	p.fields(&r.Head, h1.Kinds(h1.KindHost))
	if r.Trailers {
		p.add([]byte("te"), []byte("trailers"), indexRepeated)
	}
	return p.block, nil
}

// response returns the block of a response.
func (p *packer) response(r *h1.Response) []byte {
	p.begin()
	p.status(r.Status)
	p.fields(&r.Head, 0)
	return p.block
}

// answer returns the block of an answer that has neither fields nor a body.
func (p *packer) answer(status int) []byte {
	p.begin()
	p.status(status)
	p.add([]byte("content-length"), []byte{'0'}, indexRepeated)
	return p.block
}

// trailers returns the block of a trailer section, given as lines that h1 has accepted.
func (p *packer) trailers(lines []byte) []byte {
	p.begin()
	for len(lines) > 0 {
		n := lineLength(lines)
		line := lines[:n-len("\r\n")]
		lines = lines[n:]
		colon := bytes.IndexByte(line, ':')
		p.add(p.lower(line[:colon]), bytes.Trim(line[colon+1:], " \t"), indexRepeated)
	}
	return p.block
}

func (p *packer) status(status int) {
	digits := [3]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)}
	p.static(":status", digits[:])
}

// static adds a field whose name is in lower case already.
func (p *packer) static(name string, value []byte) {
	p.name = append(p.name[:0], name...)
	p.add(p.name, value, indexRepeated)
}

// fields adds what passes of a head. Messages of gRPC carry their lengths themselves, and its
// libraries take a Content-Length for metadata.
func (p *packer) fields(h *h1.Head, without h1.KindSet) {
	if h.Seen.Has(h1.KindContentLength) && isGRPC(h.Get(h1.KindContentType)) {
		without |= h1.Kinds(h1.KindContentLength)
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Drop || without.Has(f.Kind) {
			continue
		}
		value, how := h.Value(i), indexRepeated
		switch f.Kind {
		case h1.KindAuthorization, h1.KindProxyAuthorization:
			how = indexNever
		case h1.KindCookie:
			if len(value) < shortCookie {
				how = indexNever
			}
		case h1.KindSetCookie:
			how = indexNot
		}
		p.add(p.lower(h.Name(i)), value, how)
	}
}

// lower returns a name in lower case, good until the next call.
func (p *packer) lower(name []byte) []byte {
	p.name = p.name[:0]
	for _, c := range name {
		p.name = append(p.name, lower(c))
	}
	return p.name
}

// add adds a field to the block; name is in lower case.
func (p *packer) add(name, value []byte, how indexing) {
	if how == indexRepeated && len(value) <= maxIndexed {
		if s := p.repeated(name, value); s != nil {
			p.index(s)
			return
		}
	}
	p.literal(name, value, how == indexNever)
}

// index adds the field that a slot knows, by its index if it has one (RFC 7541 §6.1). If not
// the HPACK encoder adds it to the table, unless it is in the static one (appendix A), or too
// large.
func (p *packer) index(s *packSlot) {
	switch {
	case s.static > 0:
		p.block = append(p.block, 0x80|s.static)
		return
	case s.number > p.cleared && p.added-s.before <= uint64(p.table.MaxDynamicTableSize()):
		p.block = appendInt(p.block, 0x80, 7, staticEntries+1+int(p.count-s.number))
		return
	}
	start := len(p.block)
	p.write(s.name, s.value)
	switch first := p.block[start]; {
	case first&0x80 != 0 && first <= 0x80|staticEntries:
		s.static = first & 0x7f
	case first&0xc0 == 0x40:
		p.count++
		s.number, s.before = p.count, p.added
		p.added += uint64(len(s.name) + len(s.value) + 32) // RFC 7541 §4.1
	}
}

// write has the HPACK encoder write a field.
func (p *packer) write(name, value string) {
	_ = p.table.WriteField(hpack.HeaderField{Name: name, Value: value}) // it fails if Write does
}

// fieldHash tells fields apart well enough to find their slots: by their lengths and their ends.
// Two of one hash only share a slot, so nothing is won by making some on purpose.
func fieldHash(name, value []byte) uint64 {
	h := (edges(name)*0x9e3779b97f4a7c15 ^ edges(value)) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

// edges is a number of the length of b and up to eight octets at either end.
func edges(b []byte) uint64 {
	n := len(b)
	length := uint64(n) * 0xff51afd7ed558ccd
	switch {
	case n >= 8:
		return binary.LittleEndian.Uint64(b) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(b[n-8:]), 29) ^ length
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b))<<32 ^ uint64(binary.LittleEndian.Uint32(b[n-4:])) ^ length
	case n > 0:
		return uint64(b[0])<<16 ^ uint64(b[n/2])<<8 ^ uint64(b[n-1]) ^ length
	}
	return length
}

// repeated returns the slot of a field that has come before, or nil if it is new. Then it is
// remembered, unless its slot belongs to one that comes more often.
func (p *packer) repeated(name, value []byte) *packSlot {
	hash := fieldHash(name, value)
	s := &p.slots[hash%packSlots]
	switch {
	case s.hash != hash && s.credit > 0:
		s.credit--
		return nil
	case s.hash != hash:
		*s = packSlot{hash: hash}
		return nil
	case !s.known:
		s.name, s.value, s.known = string(name), string(value), true
	case s.name != string(name) || s.value != string(value):
		return nil
	}
	s.credit = slotCredit
	return s
}

// literal adds a field that is not indexed (RFC 7541 §6.2.2, §6.2.3), as it is: Huffman's code
// would save a third of what crosses the network once, for more time than that takes.
func (p *packer) literal(name, value []byte, never bool) {
	first := byte(0)
	if never {
		first = 0x10
	}
	if i := staticName(name); i > 0 {
		p.block = appendInt(p.block, first, 4, i)
	} else {
		p.block = append(p.block, first)
		p.block = appendInt(p.block, 0, 7, len(name))
		p.block = append(p.block, name...)
	}
	p.block = appendInt(p.block, 0, 7, len(value))
	p.block = append(p.block, value...)
}

// appendInt appends an integer with a prefix of so many bits, of which the octet has the other
// bits of first (RFC 7541 §5.1).
func appendInt(dst []byte, first byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}
