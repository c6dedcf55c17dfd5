package h1

// Response is the head of a response. The zero value is ready for Parse, and
// one value serves any number of responses in turn.
type Response struct {
	Head

	// Status is 100 to 999. RFC 9110 §15 defines codes up to 599 and asks
	// clients to take others for a 5xx; that is left to the client.
	Status int
	// Reason is the reason phrase as received, often empty.
	Reason []byte

	reason, reasonEnd int
}

// Reset forgets a head that was incomplete. After a complete head and after an
// error Parse starts anew by itself. It keeps the memory of Fields, and no
// reference to the buffer.
func (r *Response) Reset() {
	r.reset()
	*r = Response{Head: r.Head}
}

// Interim reports whether another response to the same request follows: a 1xx
// other than 101 (RFC 9110 §15.2).
func (r *Response) Interim() bool { return r.Status < 200 && r.Status != 101 }

// Parse reads a response head from the start of buf. It returns the head's
// length with the empty line; 0 if its end is not in buf yet; or an *Error
// with status 502. method is that of the request: the answers to HEAD have no
// body, and those to CONNECT neither if it succeeded. lim may be nil.
func (r *Response) Parse(buf []byte, method Method, lim *Limits) (int, error) {
	n, f := r.parse(buf, method, lim)
	if f != nil {
		r.progress = fresh
		return 0, f.response
	}
	return n, nil
}

func (r *Response) parse(buf []byte, method Method, lim *Limits) (int, *fault) {
	maxHead := lim.head()
	if len(buf) > maxHead {
		buf = buf[:maxHead]
	}
	full := len(buf) == maxHead
	if !r.begin(buf, full) {
		return 0, nil
	}
	n := 0
	f := r.statusLine(buf)
	if f == nil && r.pos > 0 {
		n, f = r.parseFields(buf, lim.fields())
	}
	switch {
	case f != nil:
		return 0, f
	case n > 0:
		r.buf = buf[:n]
		r.progress = complete
		return n, r.finish(method, lim)
	case full:
		return 0, faultHeadLarge
	}
	r.incomplete()
	return 0, nil
}

// statusLine takes the status line (RFC 9112 §4), and leaves r.pos at 0 if its
// end is not there yet. The space behind the status may be missing with an
// empty reason phrase: servers do so, and it cannot be misread.
func (r *Response) statusLine(buf []byte) *fault {
	if r.pos > 0 {
		return nil
	}
	minor, i, f := version(buf, 0, ' ')
	if f != nil || i == 0 {
		return f
	}
	i++
	status := 0
	for end := i + 3; i < end; i++ {
		switch {
		case i == len(buf):
			return nil
		case !is(buf[i], charDigit):
			return faultStatus
		}
		status = status*10 + int(buf[i]-'0')
	}
	if status < 100 {
		return faultStatus
	}
	if i == len(buf) {
		return nil
	}
	reason := i
	if buf[i] == ' ' {
		reason = i + 1
		i = scanText(buf, reason)
	}
	if i+1 >= len(buf) {
		if i < len(buf) && buf[i] != '\r' {
			return faultStatus
		}
		return nil
	}
	if buf[i] != '\r' || buf[i+1] != '\n' {
		return faultStatus
	}
	r.Minor, r.Status = minor, status
	r.reason, r.reasonEnd = reason, i
	r.pos = i + 2
	return nil
}

// finish settles what needs the whole head.
func (r *Response) finish(method Method, lim *Limits) *fault {
	r.Reason = r.buf[r.reason:r.reasonEnd]
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
	case r.Status < 200 || r.Status == 204:
		r.bodyless(fr)
	case method == MethodHead, r.Status == 304, method == MethodConnect && r.Status < 300:
		// Content-Length tells what a GET would have got, and stays.
		r.Body.Init(NoBody, 0)
	case fr.chunked:
		r.Body.Init(Chunked, 0)
	case fr.length > 0:
		r.Body.Init(Length, fr.length)
	case fr.length == 0:
		r.Body.Init(NoBody, 0)
	default:
		r.Body.Init(UntilClose, 0)
		r.KeepAlive = false
	}
	r.Body.response = true
	r.Body.bound(lim)
	return nil
}

// bodyless finishes a 1xx or a 204, which have no body and must not have any
// framing either (RFC 9110 §8.6, RFC 9112 §6.1). What is there is dropped, and
// if it announces a body, nobody knows what follows on the connection.
func (r *Response) bodyless(fr framing) {
	r.Body.Init(NoBody, 0)
	if fr.chunked || fr.length > 0 {
		r.KeepAlive = false
	}
	for i := r.Find(KindContentLength); i >= 0; i = r.next(i, KindContentLength) {
		r.drop(i)
	}
}

// KeepAliveTimeout returns the seconds after which the sender closes an idle
// connection, from the field Keep-Alive: timeout=N.
func (r *Response) KeepAliveTimeout() (seconds int, ok bool) {
	for rest := r.Get(KindKeepAlive); len(rest) > 0; {
		var e []byte
		e, rest = element(rest)
		const name = "timeout="
		if len(e) <= len(name) || !equalFold(e[:len(name)], name) {
			continue
		}
		n, ok := number(e[len(name):])
		return int(min(n, 1<<30)), ok
	}
	return 0, false
}
