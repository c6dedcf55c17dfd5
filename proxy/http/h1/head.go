package h1

import (
	"bytes"
	"math"
)

// Limits bound a head, and the trailer section that may follow behind the body
// likewise. A field that is zero means its default.
type Limits struct {
	MaxHead   int // octets from the first of the head to its empty line; 64 KiB if 0; 1 GiB at most
	MaxFields int // field lines; 256 if 0; 65535 at most
	MaxTarget int // octets of the request target; 16 KiB if 0
}

const (
	defaultMaxHead   = 64 << 10
	defaultMaxFields = 256
	defaultMaxTarget = 16 << 10
)

func (l *Limits) head() int {
	if l == nil || l.MaxHead <= 0 {
		return defaultMaxHead
	}
	return min(l.MaxHead, 1<<30) // Field has 32 bits for an offset
}

func (l *Limits) fields() int {
	if l == nil || l.MaxFields <= 0 {
		return defaultMaxFields
	}
	return min(l.MaxFields, math.MaxUint16)
}

func (l *Limits) target() int {
	if l == nil || l.MaxTarget <= 0 {
		return defaultMaxTarget
	}
	return l.MaxTarget
}

// Field is one field line, as offsets into the head it belongs to: see
// Head.Name and Head.Value. It holds no pointers, so that filling the list is
// cheap for the garbage collector, and so that the buffer may move while the
// head is incomplete.
type Field struct {
	Kind Kind
	// Drop says that the field does not pass the proxy: it is hop-by-hop, was
	// named by Connection, or repeats a Content-Length.
	Drop bool
	// rewrite says that the line cannot be passed as it was received: its
	// whitespace is not the usual, or its value was replaced.
	rewrite    bool
	start, end uint32 // of the line, CRLF included
	colon      uint32
	value      uint32 // start of the value
	valueEnd   uint32
}

// Head is what requests and responses have in common.
type Head struct {
	// Minor is the minor version of HTTP/1: 0, or 1 for every other, since a
	// higher one is to be treated as the highest known (RFC 9110 §2.5).
	Minor int
	// Fields are the field lines in the order received.
	Fields []Field
	// Seen is the set of kinds among Fields.
	Seen KindSet
	// KeepAlive says that the sender means to use the connection again after
	// this message (RFC 9112 §9.3). It is what the message alone tells.
	KeepAlive bool
	// Upgrade says that Connection names upgrade and one Upgrade field names
	// protocols, in HTTP/1.1 (RFC 9110 §7.8). h2c counts as no protocol (RFC
	// 9113 §3.1 took it back): an upgrade that offers it is not seen.
	Upgrade bool
	// Trailers says that the sender accepts trailer fields, by "TE: trailers".
	Trailers bool
	// Body reaches from behind the head to the end of the message. It is ready
	// to be used, in place or copied.
	Body Body

	buf      []byte
	pos      int // start of the first line not yet taken, 0: none is
	scanned  int // up to here there is no line end at or behind pos
	progress progress
	edited   bool // some field has Drop or rewrite set
	options  options
	repeated KindSet       // kinds seen more than once
	first    [kinds]uint16 // index of the first field of a kind in Seen
}

// progress says what the next call of Parse finds.
type progress uint8

const (
	fresh    progress = iota // nothing, or a head that was complete
	partial                  // a head that was incomplete
	complete                 // the same as fresh, but the fields are still good
)

// reset forgets the head but for the memory of Fields.
func (h *Head) reset() {
	h.Fields = h.Fields[:0]
	h.Minor, h.Seen, h.repeated = 0, 0, 0
	h.KeepAlive, h.Upgrade, h.Trailers = false, false, false
	h.Body = Body{}
	h.buf, h.pos, h.scanned = nil, 0, 0
	h.progress, h.edited, h.options = fresh, false, 0
}

// Name returns the i-th field's name as received.
func (h *Head) Name(i int) []byte {
	f := &h.Fields[i]
	return h.buf[f.start:f.colon]
}

// Value returns the i-th field's value without the whitespace around it.
func (h *Head) Value(i int) []byte {
	f := &h.Fields[i]
	return h.buf[f.value:f.valueEnd]
}

// Find returns the index of the first field of kind k, or -1.
func (h *Head) Find(k Kind) int {
	if !h.Seen.Has(k) {
		return -1
	}
	return int(h.first[k])
}

// next returns the index of the next field of kind k behind the i-th, or -1.
func (h *Head) next(i int, k Kind) int {
	if h.repeated.Has(k) {
		for i++; i < len(h.Fields); i++ {
			if h.Fields[i].Kind == k {
				return i
			}
		}
	}
	return -1
}

// Get returns the value of the first field of kind k, or nil.
func (h *Head) Get(k Kind) []byte {
	if i := h.Find(k); i >= 0 {
		return h.Value(i)
	}
	return nil
}

// Passes reports whether a field of kind k is there and is passed on. A field
// that Connection names is there (in Seen), but does not pass.
func (h *Head) Passes(k Kind) bool {
	for i := h.Find(k); i >= 0; i = h.next(i, k) {
		if !h.Fields[i].Drop {
			return true
		}
	}
	return false
}

// Lookup returns the index of the first field with that name, in whatever
// case, or -1.
func (h *Head) Lookup(name string) int {
	for i := range h.Fields {
		f := &h.Fields[i]
		if equalTokens(h.buf[f.start:f.colon], name) {
			return i
		}
	}
	return -1
}

// Omit keeps the i-th of Fields from passing.
func (h *Head) Omit(i int) { h.drop(i) }

// drop keeps the i-th field from passing.
func (h *Head) drop(i int) {
	h.Fields[i].Drop = true
	h.edited = true
}

// AppendFields appends the field lines that pass: all but those with Drop set
// and those whose kind is in without, which the caller writes itself or leaves
// out. What passes is octet for octet what came, in the same order; only
// whitespace around a value that is not the one usual space is made so.
func (h *Head) AppendFields(dst []byte, without KindSet) []byte {
	if len(h.Fields) == 0 {
		return dst
	}
	if !h.edited && h.Seen&without == 0 {
		return append(dst, h.buf[h.Fields[0].start:h.Fields[len(h.Fields)-1].end]...)
	}
	// Neighbours that pass as they are go in one copy.
	from, to := uint32(0), uint32(0)
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Drop || without.Has(f.Kind) {
			continue
		}
		if f.rewrite {
			dst = append(dst, h.buf[from:to]...)
			from, to = 0, 0
			dst = append(dst, h.buf[f.start:f.colon]...)
			dst = append(dst, ':', ' ')
			dst = append(dst, h.buf[f.value:f.valueEnd]...)
			dst = append(dst, '\r', '\n')
			continue
		}
		if f.start != to {
			dst = append(dst, h.buf[from:to]...)
			from = f.start
		}
		to = f.end
	}
	return append(dst, h.buf[from:to]...)
}

// begin prepares for parsing buf, which has at most limit octets, and reports
// whether it is worth trying: a head that was incomplete is looked at again
// only when a line has ended, so that one that drips in costs linear time.
func (h *Head) begin(buf []byte, eager bool) bool {
	if h.progress != partial {
		h.reset()
		h.buf = buf
		return true
	}
	h.buf = buf
	if eager || h.scanned > len(buf) {
		return true
	}
	if bytes.IndexByte(buf[h.scanned:], '\n') >= 0 {
		return true
	}
	h.scanned = len(buf)
	return false
}

// parseFields takes the field lines from h.pos on. It returns the length of
// the head, or 0 if its end is not there yet.
func (h *Head) parseFields(buf []byte, maxFields int) (int, *fault) {
	for {
		start := h.pos
		colon := scanToken(buf, start)
		if colon >= len(buf) {
			return 0, nil
		}
		if buf[colon] != ':' || colon == start {
			return h.endOfFields(buf, start, colon)
		}
		value := colon + 1
		for value < len(buf) && isSpace(buf[value]) {
			value++
		}
		valueEnd := scanText(buf, value)
		if valueEnd+1 >= len(buf) {
			if valueEnd < len(buf) && buf[valueEnd] != '\r' {
				return 0, badText(buf[valueEnd])
			}
			return 0, nil
		}
		if buf[valueEnd] != '\r' || buf[valueEnd+1] != '\n' {
			return 0, badText(buf[valueEnd])
		}
		if len(h.Fields) >= maxFields {
			return 0, faultFieldCount
		}
		end := valueEnd + 2
		f := Field{
			Kind:  KindOf(buf[start:colon]),
			start: uint32(start), colon: uint32(colon), value: uint32(value), end: uint32(end),
		}
		// One space or none in front of the value and none behind it is how
		// everyone writes it; such lines pass as they are.
		for valueEnd > value && isSpace(buf[valueEnd-1]) {
			valueEnd--
		}
		f.valueEnd = uint32(valueEnd)
		if valueEnd+2 != end || value > colon+2 || value == colon+2 && buf[colon+1] == '\t' {
			f.rewrite = true
			h.edited = true
		}
		h.add(f)
		h.pos = end
	}
}

// add appends f to the list.
func (h *Head) add(f Field) {
	if hopKinds.Has(f.Kind) {
		f.Drop, h.edited = true, true
	}
	if h.Seen.Has(f.Kind) {
		h.repeated |= f.Kind.bit()
	} else {
		h.Seen |= f.Kind.bit()
		h.first[f.Kind] = uint16(len(h.Fields))
	}
	h.Fields = append(h.Fields, f)
}

// endOfFields judges a line that does not begin with a token and a colon: the
// empty line, or a mistake. It is cut off at the octet at, which is there.
func (h *Head) endOfFields(buf []byte, start, at int) (int, *fault) {
	switch c := buf[at]; {
	case c == '\n':
		return 0, faultLineBreak
	case at > start:
		return 0, faultFieldName
	case c == ' ' || c == '\t':
		// A recipient may also replace the fold by spaces (RFC 9112 §5.2).
		// Nobody sends it any more but those who hope it is misread.
		return 0, faultFold
	case c != '\r':
		return 0, faultFieldName
	case at+1 == len(buf):
		return 0, nil
	case buf[at+1] != '\n':
		return 0, faultLineBreak
	}
	return at + 2, nil
}

// badText says what is wrong with a value that the octet c ended.
func badText(c byte) *fault {
	if c == '\r' || c == '\n' {
		return faultLineBreak
	}
	return faultFieldValue
}
