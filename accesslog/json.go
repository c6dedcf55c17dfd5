package accesslog

import (
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// jsonSafe are the bytes that stand in a string of JSON as they are.
var jsonSafe = *newCharset(func(c byte) bool { return c >= ' ' && c <= '~' && c != '"' && c != '\\' })

// A charset tells of every byte whether it is in.
type charset [256]bool

func newCharset(in func(byte) bool) *charset {
	var t charset
	for c := range t {
		t[c] = in(byte(c))
	}
	return &t
}

// appendJSON writes the record as one object.
func appendJSON(b []byte, s *Shard) []byte {
	r := &s.record
	b = append(b, `{"time":"`...)
	b = s.stamp.appendISO(b, r.Time, s.logger.zone)
	b = append(b, `","service":"`...)
	b = appendString(b, r.Service)
	b = append(b, `","client":"`...)
	b = appendAddress(b, r.Client)
	b = append(b, `","method":"`...)
	b = appendBounded(b, r.Method, mostMethod)
	path, query := r.path()
	cut := len(r.Target) > mostTarget
	b = append(b, `","path":"`...)
	b = appendPart(b, path, cut && len(query) == 0)
	if len(query) > 0 {
		b = append(b, `","query":"`...)
		b = appendPart(b, query, cut)
	}
	b = append(b, `","protocol":"`...)
	b = appendString(b, r.Protocol)
	b = append(b, `","host":"`...)
	b = appendBounded(b, r.Host, mostHost)
	b = append(b, `","status":`...)
	b = appendInt(b, int64(r.Status))
	if r.GRPC != "" {
		b = append(b, `,"grpc_status":"`...)
		b = append(appendString(b, r.GRPC), '"')
	}
	b = append(b, `,"bytes_in":`...)
	b = appendInt(b, r.BytesIn)
	b = append(b, `,"bytes_out":`...)
	b = appendInt(b, r.BytesOut)
	b = append(b, `,"duration":`...)
	b = appendSeconds(b, r.Duration)
	if r.FirstByte > 0 {
		b = append(b, `,"first_byte":`...)
		b = appendSeconds(b, r.FirstByte)
	}
	b = appendAttempts(b, r.Attempts)
	b = append(b, `,"flag":"`...)
	b = append(appendString(b, r.Flag), '"')
	if id := TraceID(r.Traceparent); id != nil {
		b = append(b, `,"trace_id":"`...)
		b = append(append(b, id...), '"')
	}
	if r.Tunnel {
		b = append(b, `,"tunnel":true`...)
	}
	if len(r.Referer) > 0 {
		b = append(b, `,"referer":"`...)
		b = append(appendBounded(b, r.Referer, mostReferer), '"')
	}
	if len(r.UserAgent) > 0 {
		b = append(b, `,"user_agent":"`...)
		b = append(appendBounded(b, r.UserAgent, mostUserAgent), '"')
	}
	return append(b, '}')
}

func appendAttempts(b []byte, attempts *Attempts) []byte {
	list, omitted := attempts.listed()
	b = append(b, `,"attempts":[`...)
	for i := range list {
		a := &list[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"endpoint":"`...)
		b = appendString(b, a.Endpoint)
		b = append(b, `","outcome":"`...)
		b = appendString(b, a.Outcome)
		b = append(b, `","status":`...)
		b = appendInt(b, int64(a.Status))
		b = append(b, `,"duration":`...)
		b = append(appendSeconds(b, a.Duration), '}')
	}
	b = append(b, ']')
	if omitted > 0 {
		b = append(b, `,"attempts_omitted":`...)
		b = appendInt(b, int64(omitted))
	}
	return b
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendAddress writes an address and its port, IPv4 as such.
func appendAddress(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return b
	}
	return netip.AddrPortFrom(plain(a.Addr()), a.Port()).AppendTo(b)
}

// plain is an address without what the kernel adds to it: IPv4 as such, and no zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// appendBounded writes a string that a client sent, without its quotes.
func appendBounded(b, v []byte, most int) []byte {
	return appendPart(b, v[:min(len(v), most)], len(v) > most)
}

// appendPart writes a string without its quotes, and "..." if it has been cut.
func appendPart(b, v []byte, cut bool) []byte {
	b = appendString(b, v)
	if cut {
		b = append(b, "..."...)
	}
	return b
}

const hex = "0123456789abcdef"

// appendString writes the inside of a string. What is not UTF-8 becomes U+FFFD. What some
// take for the end of a line or a command to the terminal is escaped: control characters,
// those beyond ASCII too, and U+2028 and U+2029.
func appendString[T string | []byte](b []byte, v T) []byte {
	from := 0
	for i := 0; i < len(v); {
		c := v[i]
		if jsonSafe[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			var window [utf8.UTFMax]byte
			r, size := utf8.DecodeRune(window[:copy(window[:], v[i:])])
			if bad := r == utf8.RuneError && size == 1; !bad && r > 0x9f && r != 0x2028 && r != 0x2029 {
				i += size
				continue
			}
			b = append(append(b, v[from:i]...), '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			i += size
			from = i
			continue
		}
		b = append(b, v[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(b, v[from:]...)
}
