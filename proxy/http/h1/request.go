package h1

import "encoding/binary"

// Request is the head of a request. The zero value is ready for Parse, and one
// value serves any number of requests in turn.
type Request struct {
	Head

	Method   []byte
	MethodID Method
	// Target is the request target as received.
	Target []byte
	Form   Form
	// Path is the target's path and query. It is "*" in asterisk form, empty
	// in authority form, and lacks its "/" if an absolute form does: use
	// AppendTarget to send it.
	Path []byte
	// Authority is the host of the absolute or authority form.
	Authority []byte
	// Secure says that the absolute form's scheme is https.
	Secure bool
	// Host is the host the request is for: Authority, or else the value of the
	// Host field, or empty (in HTTP/1.0 only). Authority also replaces the Host
	// field's value, as it must in a proxy (RFC 9112 §3.2.2).
	Host []byte
	// HostAt is the index of the Host field, or -1 if there is none or an empty
	// one, which does not pass then (in HTTP/1.0 only).
	HostAt int
	// ExpectContinue says that the client waits for 100 before it sends its
	// body (RFC 9110 §10.1.1). HTTP/1.0 knows no expectations; there, and where
	// no body follows, the Expect field has Drop set.
	ExpectContinue bool

	method, methodEnd, targetStart, targetEnd int
}

// Reset forgets a head that was incomplete. After a complete head and after an
// error Parse starts anew by itself. It keeps the memory of Fields, and no
// reference to the buffer.
func (r *Request) Reset() {
	r.reset()
	*r = Request{Head: r.Head}
}

// maxBlank bounds the empty lines in front of a request line, in octets. RFC
// 9112 §2.2 asks to ignore at least one: old clients sent it behind a body.
const maxBlank = 8

// Blank returns how many of the octets that b begins with are empty lines that
// Parse would ignore, so that they need not count as a request that has begun.
func Blank(b []byte) int {
	n := 0
	for n < maxBlank && n+1 < len(b) && b[n] == '\r' && b[n+1] == '\n' {
		n += 2
	}
	return n
}

// Parse reads a request head from the start of buf. It returns the head's
// length with the empty line; 0 if its end is not in buf yet; or an *Error,
// after which nothing in r means anything. lim may be nil.
func (r *Request) Parse(buf []byte, lim *Limits) (int, error) {
	n, f := r.parse(buf, lim)
	if f != nil {
		r.progress = fresh
		return 0, f.request
	}
	return n, nil
}

func (r *Request) parse(buf []byte, lim *Limits) (int, *fault) {
	maxHead, maxTarget := lim.head(), lim.target()
	if len(buf) > maxHead {
		buf = buf[:maxHead]
	}
	full := len(buf) == maxHead
	if !r.begin(buf, full || r.pos == 0 && len(buf) > maxTarget) {
		return 0, nil
	}
	if r.pos == 0 {
		f := r.requestLine(buf, maxTarget)
		if f != nil {
			return 0, f
		}
		if r.pos == 0 {
			if full {
				return 0, faultTargetLong
			}
			r.incomplete()
			return 0, nil
		}
	}
	n, f := r.parseFields(buf, lim.fields())
	if f != nil {
		return 0, f
	}
	if n == 0 {
		if full {
			return 0, faultHeadLarge
		}
		r.incomplete()
		return 0, nil
	}
	r.buf = buf[:n]
	r.progress = complete
	return n, r.finish(lim)
}

func (h *Head) incomplete() {
	h.progress = partial
	h.scanned = len(h.buf)
}

// requestLine takes the request line (RFC 9112 §3), and leaves r.pos at 0 if
// its end is not there yet. Its parts are separated by one space, nothing else
// (§3 would let us split on other whitespace).
func (r *Request) requestLine(buf []byte, maxTarget int) *fault {
	start := Blank(buf)
	if start < len(buf) && (buf[start] == '\r' || buf[start] == '\n') {
		return blankFault(buf[start:])
	}
	method := scanToken(buf, start)
	if method-start > maxMethod {
		return faultMethodLong
	}
	if method == len(buf) {
		return nil
	}
	if buf[method] != ' ' || method == start {
		return faultMethod
	}
	target := scanTarget(buf, method+1)
	if target-method-1 > maxTarget {
		return faultTargetLong
	}
	if target == len(buf) {
		return nil
	}
	if buf[target] != ' ' || target == method+1 {
		return targetFault(buf[target])
	}
	minor, end, f := version(buf, target+1, '\r')
	if f != nil {
		if f == faultMajor && string(buf[start:target]) == "PRI *" {
			return faultPreface
		}
		return f
	}
	if end == 0 || end+1 >= len(buf) {
		return nil
	}
	if buf[end+1] != '\n' {
		return faultLineBreak
	}
	r.Minor = minor
	r.method, r.methodEnd, r.targetStart, r.targetEnd = start, method, method+1, target
	r.pos = end + 2
	return nil
}

// blankFault judges what begins with CR or LF where a request line should be.
func blankFault(b []byte) *fault {
	switch {
	case b[0] == '\n' || len(b) > 1 && b[1] != '\n':
		return faultLineBreak
	case len(b) > 1:
		return faultBlank
	}
	return nil
}

// targetFault says what is wrong with a request line whose target the octet c
// ended.
func targetFault(c byte) *fault {
	switch c {
	case '\r':
		return faultVersion // HTTP/0.9 has none
	case '\n':
		return faultLineBreak
	}
	return faultTarget
}

// http1x is the start of every version accepted, as a number.
const http1x = 'H' | 'T'<<8 | 'T'<<16 | 'P'<<24 | '/'<<32 | '1'<<40 | '.'<<48

// version reads HTTP-version (RFC 9112 §2.3) at i, which the octet stop must
// follow. It returns the index of stop, or 0 if it is not there yet.
func version(buf []byte, i int, stop byte) (minor, end int, f *fault) {
	if i+9 <= len(buf) {
		x := binary.LittleEndian.Uint64(buf[i:]) ^ http1x
		if d := x >> 56; x<<8 == 0 && d-'0' <= 9 && buf[i+8] == stop {
			return min(int(d-'0'), 1), i + 8, nil
		}
	}
	const form = "HTTP/d.d"
	for j := range len(form) {
		if i+j == len(buf) {
			return 0, 0, nil
		}
		if c := buf[i+j]; c != form[j] && (form[j] != 'd' || !is(c, charDigit)) {
			return 0, 0, faultVersion
		}
	}
	switch {
	case i+8 == len(buf):
		return 0, 0, nil
	case buf[i+8] == '\n':
		return 0, 0, faultLineBreak
	case buf[i+8] != stop:
		return 0, 0, faultVersion
	}
	return 0, 0, faultMajor
}

// finish settles what needs the whole head.
func (r *Request) finish(lim *Limits) *fault {
	buf := r.buf
	r.Method = buf[r.method:r.methodEnd]
	r.MethodID = MethodOf(r.Method)
	r.Target = buf[r.targetStart:r.targetEnd]
	r.Path, r.Authority, r.Host = nil, nil, nil
	r.Secure, r.ExpectContinue = false, false
	if f := r.target(); f != nil {
		return f
	}
	if f := r.host(); f != nil {
		return f
	}
	if r.Seen&hopKinds != 0 {
		if f := r.control(); f != nil {
			return f
		}
	}
	r.KeepAlive = r.persistent()
	fr, f := r.framing()
	if f != nil {
		return f
	}
	switch {
	case fr.chunked:
		r.Body.Init(Chunked, 0)
	case fr.length > 0:
		r.Body.Init(Length, fr.length)
	default:
		r.Body.Init(NoBody, 0)
	}
	r.Body.bound(lim)
	if r.Seen.Has(KindExpect) {
		return r.expect()
	}
	return nil
}

// host checks the Host field: one and not empty in HTTP/1.1, at most one in
// HTTP/1.0 (RFC 9112 §3.2). An empty one stands for a target without
// authority, and http has none such: in HTTP/1.0 it counts as none. If the
// target has an authority, that counts (§3.3).
func (r *Request) host() *fault {
	r.HostAt = r.Find(KindHost)
	if r.HostAt < 0 {
		if r.Minor > 0 {
			return faultHostMissing
		}
		r.Host = r.Authority
		return nil
	}
	if r.repeated.Has(KindHost) {
		return faultHostTwice
	}
	value := r.Value(r.HostAt)
	if _, ok := splitPort(value); !ok {
		return faultHost
	}
	if len(r.Authority) > 0 {
		r.Host = r.Authority
		r.setValue(r.HostAt, r.Authority)
		return nil
	}
	if len(value) == 0 {
		if r.Minor > 0 {
			return faultHost
		}
		r.drop(r.HostAt)
		r.HostAt = -1
	}
	r.Host = value
	return nil
}

// MaxForwards returns the number in Max-Forwards. Only in OPTIONS and TRACE it
// means something, and only if it is a number; otherwise ok is false (RFC 9110
// §7.6.2).
func (r *Request) MaxForwards() (n int64, ok bool) {
	if r.MethodID != MethodOptions && r.MethodID != MethodTrace {
		return 0, false
	}
	return number(r.Get(KindMaxForwards))
}

// expect checks the expectations (RFC 9110 §10.1.1).
func (r *Request) expect() *fault {
	pass, expects := r.Minor > 0 && r.Body.Kind != NoBody, false
	for i := r.Find(KindExpect); i >= 0; i = r.next(i, KindExpect) {
		if r.Minor > 0 {
			for rest := r.Value(i); len(rest) > 0; {
				var e []byte
				if e, rest = element(rest); len(e) == 0 {
					continue
				}
				if !equalFold(e, "100-continue") {
					return faultExpectation
				}
				expects = true
			}
		}
		if !pass {
			r.drop(i)
		}
	}
	r.ExpectContinue = pass && expects
	return nil
}
