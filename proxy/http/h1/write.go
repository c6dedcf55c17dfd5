package h1

import "strconv"

// LastChunk ends a chunked body without trailer fields.
const LastChunk = "0\r\n\r\n"

// AppendRequestLine appends the request line to send on, in HTTP/1.1 (RFC 9112
// §2.3: an intermediary sends its own version).
func (r *Request) AppendRequestLine(dst []byte) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = r.AppendTarget(dst)
	return append(dst, " HTTP/1.1\r\n"...)
}

// AppendTarget appends the target to send to an origin server: the origin form
// of an absolute target (RFC 9112 §3.2.1), or "*" for OPTIONS without any path
// (§3.2.4).
func (r *Request) AppendTarget(dst []byte) []byte {
	switch {
	case r.Form == FormAuthority:
		return append(dst, r.Target...)
	case len(r.Path) > 0 && r.Path[0] != '?':
		return append(dst, r.Path...)
	case len(r.Path) == 0 && r.MethodID == MethodOptions:
		return append(dst, '*')
	}
	dst = append(dst, '/')
	return append(dst, r.Path...)
}

// AppendStatusLine appends the status line to send on, in HTTP/1.1 whatever
// the version of the request (RFC 9110 §2.5).
func (r *Response) AppendStatusLine(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, byte('0'+r.Status/100), byte('0'+r.Status/10%10), byte('0'+r.Status%10), ' ')
	dst = append(dst, r.Reason...)
	return append(dst, '\r', '\n')
}

// AppendField appends a field line.
func AppendField(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// AppendChunkHeader appends the size line of a chunk of n octets; CRLF has to
// follow its data. A chunk of 0 octets would end the body: use LastChunk.
func AppendChunkHeader(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, '\r', '\n')
}
