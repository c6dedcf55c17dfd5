package accesslog

import (
	"bytes"
	"net/netip"
	"time"
)

// How a request, or an attempt, can end besides by a cause.
const (
	FlagOK        = "ok"     // the answer reached its end
	OutcomeOK     = "ok"     // the endpoint answered
	OutcomeStatus = "status" // it answered with a status that is tried again elsewhere
)

// Protocols.
const (
	HTTP10 = "HTTP/1.0"
	HTTP11 = "HTTP/1.1"
	HTTP2  = "HTTP/2.0"
)

// What a line shows at the most of what clients send, in bytes.
const (
	mostMethod    = 32
	mostTarget    = 4096
	mostHost      = 256
	mostReferer   = 1024
	mostUserAgent = 512
)

// A Record is what there is to say of a request. Its byte slices are the caller's, who may
// use their memory again when Log has returned. What is empty or zero was not there.
type Record struct {
	Time     time.Time // when the head was complete; zero: now, less Duration
	Service  string
	Client   netip.AddrPort
	Protocol string // HTTP10, HTTP11, HTTP2; empty: no head was understood

	Method      []byte
	Target      []byte // as sent
	Host        []byte
	Referer     []byte
	UserAgent   []byte
	Traceparent []byte // value of the field; of several fields none is valid, so none

	Status    int // 0: the client was not answered
	BytesIn   int64
	BytesOut  int64
	BodyOut   int64         // of BytesOut, the body without its framing
	Duration  time.Duration //
	FirstByte time.Duration // 0: no endpoint answered
	Attempts  *Attempts     // nil: none
	Flag      string        // FlagOK, or a cause
	Tunnel    bool
	GRPC      string // grpc-status of a call of gRPC, or "missing"; empty: it is none, or was not answered as one
}

// Own copies the record's byte slices into the memory of buf, as much of them as a line
// shows, and has them point there, so that the record outlives the message they come from. It
// returns the memory in use, for the next Own.
func (r *Record) Own(buf []byte) []byte {
	buf = buf[:0]
	// Once the memory is large enough it does not move while it is cut into pieces.
	need := 0
	for _, f := range r.fields() {
		if len(*f.value) > f.most {
			*f.value = (*f.value)[:f.most+1] // one more tells that it was cut
		}
		need += len(*f.value)
	}
	if cap(buf) < need {
		buf = make([]byte, 0, max(need, 512))
	}
	for _, f := range r.fields() {
		start := len(buf)
		buf = append(buf, *f.value...)
		*f.value = buf[start:len(buf):len(buf)]
	}
	return buf
}

// A bounded field is a byte slice of a record and what a line shows of it at the most.
type bounded struct {
	value *[]byte
	most  int
}

func (r *Record) fields() [6]bounded {
	return [...]bounded{
		{&r.Method, mostMethod}, {&r.Target, mostTarget}, {&r.Host, mostHost},
		{&r.Referer, mostReferer}, {&r.UserAgent, mostUserAgent}, {&r.Traceparent, mostTrace},
	}
}

// MaxAttempts is how many attempts of a request are listed.
const MaxAttempts = 6

// An Attempt is one try of a request on an endpoint.
type Attempt struct {
	Endpoint string // address
	Outcome  string // OutcomeOK, OutcomeStatus, or a cause
	Status   int    // of the endpoint's answer, 0: none
	Duration time.Duration
}

// Attempts are the tries of one request, in order. The zero value has none.
type Attempts struct {
	list  [MaxAttempts]Attempt
	count int
}

// Add appends an attempt. When there are more than MaxAttempts, the last one takes the place
// of the one before it: how it began and how it ended say most.
func (a *Attempts) Add(one Attempt) {
	a.list[min(a.count, MaxAttempts-1)] = one
	a.count++
}

// Reset forgets them all.
func (a *Attempts) Reset() { *a = Attempts{} }

// Count is how many there were.
func (a *Attempts) Count() int {
	if a == nil {
		return 0
	}
	return a.count
}

// List is the tries that are kept, in order: all of them up to MaxAttempts, of more the first ones and
// the last. The caller must not change it.
func (a *Attempts) List() []Attempt {
	list, _ := a.listed()
	return list
}

// listed are those that a line shows; omitted is how many came before the last of them.
func (a *Attempts) listed() (list []Attempt, omitted int) {
	if a == nil {
		return nil, 0
	}
	n := min(a.count, MaxAttempts)
	return a.list[:n], a.count - n
}

// path and query are the two parts of the target, as long as a line shows it.
func (r *Record) path() (path, query []byte) {
	path, query, _ = bytes.Cut(r.Target[:min(len(r.Target), mostTarget)], []byte{'?'})
	if len(path) > 0 && path[0] != '/' {
		if _, rest, absolute := bytes.Cut(path, []byte("://")); absolute {
			slash := bytes.IndexByte(rest, '/')
			if slash < 0 {
				return []byte{'/'}, query
			}
			path = rest[slash:]
		}
	}
	return path, query
}

// mostTrace is as much of a traceparent as its validity depends on.
const mostTrace = 56

// TraceID is the trace-id in the value of a traceparent field, nil if that is not valid
// (W3C Trace Context, 3.2): version "00" ends behind the flags, later ones may go on after
// another "-".
func TraceID(traceparent []byte) []byte {
	const version, id, parent, flags, end = 0, 3, 36, 53, 55
	t := traceparent
	switch {
	case len(t) < end || t[id-1] != '-' || t[parent-1] != '-' || t[flags-1] != '-':
		return nil
	case !isHex(t[version:id-1]) || t[0] == 'f' && t[1] == 'f':
		return nil
	case len(t) > end && (t[0] == '0' && t[1] == '0' || t[end] != '-'):
		return nil
	case !isHex(t[id:parent-1]) || !isHex(t[parent:flags-1]) || !isHex(t[flags:end]):
		return nil
	case isZero(t[id:parent-1]) || isZero(t[parent:flags-1]):
		return nil
	}
	return t[id : parent-1]
}

// isHex tells whether b is in hexadecimal with small letters.
func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != '0' {
			return false
		}
	}
	return true
}
