package h1

import "math"

// framing is what the fields of a head say about the length of its body.
type framing struct {
	length  int64 // Content-Length, -1: none
	chunked bool
}

// framing reads Content-Length and Transfer-Encoding by RFC 9112 §6.
func (h *Head) framing() (fr framing, f *fault) {
	fr.length = -1
	if h.Seen&(1<<KindContentLength|1<<KindTransferEncoding) == 0 {
		return fr, nil
	}
	if h.Seen.Has(KindTransferEncoding) {
		switch {
		case h.Minor == 0:
			// RFC 9112 §6.1: to be treated as faulty framing.
			return fr, faultCodingOld
		case h.Seen.Has(KindContentLength):
			// RFC 9112 §6.3 lets Transfer-Encoding win. Whoever sends both
			// hopes that someone else lets Content-Length win.
			return fr, faultLengthChunked
		}
		fr.chunked = true
		return fr, h.transferEncoding()
	}
	for i := h.Find(KindContentLength); i >= 0; i = h.next(i, KindContentLength) {
		n, f := h.contentLength(i)
		switch {
		case f != nil:
			return fr, f
		case fr.length < 0:
			fr.length = n
		case n != fr.length:
			return fr, faultLengthDiffer
		default:
			h.drop(i)
		}
	}
	return fr, nil
}

// contentLength reads the i-th field as a Content-Length. A list of equal
// numbers counts as one number and is passed on as such (RFC 9110 §8.6), as
// are numbers with leading zeros, which some read as octal.
func (h *Head) contentLength(i int) (int64, *fault) {
	value := h.Value(i)
	n, ok := number(value)
	if ok {
		h.shorten(i, value)
		return n, nil
	}
	n = -1
	var first []byte
	for rest := value; rest != nil; {
		var e []byte
		e, rest = element(rest)
		m, ok := number(e)
		switch {
		case !ok:
			return 0, faultLength
		case n < 0:
			n, first = m, e
		case m != n:
			return 0, faultLengthDiffer
		}
	}
	h.setValue(i, first)
	h.shorten(i, first)
	return n, nil
}

// shorten takes the leading zeros off the number that is the i-th value.
func (h *Head) shorten(i int, digits []byte) {
	zeros := 0
	for zeros < len(digits)-1 && digits[zeros] == '0' {
		zeros++
	}
	if zeros > 0 {
		h.setValue(i, digits[zeros:])
	}
}

// setValue makes v, a slice of the head's buffer, the value of the i-th field.
func (h *Head) setValue(i int, v []byte) {
	f := &h.Fields[i]
	// Both slices end where the buffer's capacity ends, so their capacities
	// tell how far into it they begin.
	at := uint32(cap(h.buf) - cap(v))
	f.value, f.valueEnd = at, at+uint32(len(v))
	f.rewrite, h.edited = true, true
}

// number reads 1*DIGIT below 2^63.
func number(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		d := int64(c) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// transferEncoding accepts "chunked", once and alone: no other coding is known
// here (RFC 9112 §6.1: 501). One that does not end in chunked has no length in
// a request (§6.3: 400), and a chunked one must not be chunked again (§6.1).
func (h *Head) transferEncoding() *fault {
	chunked, others := 0, 0
	last := false // the last coding was chunked
	for i := h.Find(KindTransferEncoding); i >= 0; i = h.next(i, KindTransferEncoding) {
		for rest := h.Value(i); rest != nil; {
			var e []byte
			e, rest = element(rest)
			switch {
			case equalFold(e, "chunked"):
				chunked++
				last = true
			case len(e) > 0 && is(e[0], charToken):
				others++
				last = false
			default:
				return faultCoding
			}
		}
	}
	switch {
	case chunked != 1 || !last:
		return faultCoding
	case others > 0:
		return faultCodingUnknown
	}
	return nil
}
