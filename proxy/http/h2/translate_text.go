package h2

import (
	"bytes"
	"net/http"
	"strconv"

	"sidecar/proxy/http/h1"
)

// request appends the head of the HTTP/1.1 request that the list stands for, and tells what
// becomes of the data behind it, of which there is none with endStream. After an error dst is
// as it was.
func (d *decoder) request(dst []byte, endStream bool) (text []byte, body framing, method h1.Method, err error) {
	if d.err == nil {
		d.err = d.checkRequest()
	}
	if d.err == nil && endStream && d.length > 0 {
		d.err = errLength
	}
	if d.err != nil {
		return dst, framing{}, 0, d.err
	}
	start := len(dst)
	dst = append(dst, d.method...)
	method = h1.MethodOf(dst[start:])
	dst = append(dst, ' ')
	dst = d.appendTarget(dst, method)
	dst = append(dst, " HTTP/1.1\r\n"...)
	switch {
	case d.seen&pseudoAuthority != 0:
		dst = appendLine(dst, "host: ", d.authority)
	case d.hosts > 0:
		dst = appendLine(dst, "host: ", d.host)
	}
	dst = append(dst, d.lines...)
	if len(d.cookie) > 0 {
		dst = h1.AppendField(dst, "cookie", d.cookie)
	}
	switch {
	case method == h1.MethodConnect:
		body.discard = true
	case endStream && (d.length == 0 || method == h1.MethodPost || method == h1.MethodPut || method == h1.MethodPatch):
		// For methods that give content a meaning its absence is said (RFC 9110 §8.6).
		dst = append(dst, "content-length: 0\r\n"...)
	case !endStream:
		dst, body = d.appendFraming(dst)
	}
	return d.appendEnd(dst), body, method, nil
}

// response is request for responses; method is that of the request. After an interim response,
// whose status is below 200, another follows.
func (d *decoder) response(dst []byte, endStream bool, method h1.Method) (text []byte, status int, body framing, err error) {
	if d.err == nil {
		status, d.err = d.checkStatus(endStream)
	}
	bodyless := method == h1.MethodHead || status == http.StatusNotModified
	if d.err == nil && endStream && d.length > 0 && !bodyless {
		d.err = errLength
	}
	if d.err != nil {
		return dst, 0, framing{}, d.err
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, d.status...)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	dst = append(dst, '\r', '\n')
	dst = append(dst, d.lines...)
	switch {
	case status < 200:
		return append(dst, '\r', '\n'), status, body, nil
	case status == http.StatusNoContent:
	case bodyless:
		if d.length >= 0 {
			dst = appendLength(dst, d.length)
		}
	case endStream:
		dst = append(dst, "content-length: 0\r\n"...)
	default:
		dst, body = d.appendFraming(dst)
	}
	return d.appendEnd(dst), status, body, nil
}

// trailers appends the field lines of a trailer section: framing.end takes them. Fields that do
// not belong there are left out (RFC 9110 §6.5.1). How large the section is only the limit of begin
// bounds here; who reads the text has a bound of its own.
func (d *decoder) trailers(dst []byte) (lines []byte, err error) {
	if d.err != nil {
		return dst, d.err
	}
	for rest := d.lines; len(rest) > 0; {
		n := lineLength(rest)
		line := rest[:n]
		rest = rest[n:]
		if h1.Trailable(line[:bytes.IndexByte(line, ':')]) {
			dst = append(dst, line...)
		}
	}
	return dst, nil
}

// lineLength is the length of the line that b begins with; values have no line ends.
func lineLength(b []byte) int {
	for i, c := range b {
		if c == '\n' {
			return i + 1
		}
	}
	return len(b)
}

// checkRequest checks the pseudo-fields of a request (RFC 9113 §8.3.1), so far as they could
// not be written into a request line or mean something else there.
func (d *decoder) checkRequest() error {
	if len(d.method) == 0 {
		return errMissing
	}
	if !all(d.method, charToken) {
		return errMethod
	}
	if err := d.checkAuthority(); err != nil {
		return err
	}
	if d.method == "CONNECT" { // §8.5
		if d.seen&(pseudoScheme|pseudoPath) != 0 || d.seen&pseudoAuthority == 0 {
			return errConnect
		}
		return nil
	}
	switch {
	case d.seen&pseudoScheme == 0 || d.seen&pseudoPath == 0:
		return errMissing
	case !validScheme(d.scheme):
		return errScheme
	case len(d.path) == 0 || !all(d.path, charGraph):
		return errPath
	case d.path[0] != '/' && (d.path != "*" || d.method != "OPTIONS"):
		return errPath
	}
	return nil
}

// checkAuthority checks that there is one host at most. User information has no place in it.
func (d *decoder) checkAuthority() error {
	if d.hosts > 1 {
		return errHost
	}
	if d.seen&pseudoAuthority == 0 {
		return nil
	}
	if len(d.authority) == 0 || !all(d.authority, charGraph) {
		return errAuthority
	}
	for i := range len(d.authority) {
		if d.authority[i] == '@' {
			return errAuthority
		}
	}
	if d.hosts == 1 && !equalFold(withoutPort(d.host, d.scheme), withoutPort(d.authority, d.scheme)) {
		return errHost
	}
	return nil
}

// withoutPort takes off an authority the port that the scheme has anyway (RFC 3986 §6.2.3).
func withoutPort(authority, scheme string) string {
	port := ":80"
	if equalFold(scheme, "https") {
		port = ":443"
	}
	n := len(authority)
	if n > 0 && authority[n-1] == ':' {
		return authority[:n-1]
	}
	if n > len(port) && authority[n-len(port):] == port {
		return authority[:n-len(port)]
	}
	return authority
}

// validScheme checks the form of a scheme (RFC 3986 §3.1).
func validScheme(s string) bool {
	for i := range len(s) {
		c := lower(s[i])
		if ('a' > c || c > 'z') && (i == 0 || ('0' > c || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return len(s) > 0
}

// appendTarget appends the request target. A scheme other than http and https makes it an
// absolute one, which h1 refuses with the reason.
func (d *decoder) appendTarget(dst []byte, method h1.Method) []byte {
	switch {
	case method == h1.MethodConnect:
		return append(dst, d.authority...)
	case !equalFold(d.scheme, "http") && !equalFold(d.scheme, "https"):
		dst = append(dst, d.scheme...)
		dst = append(dst, "://"...)
		dst = append(dst, d.authority...)
	}
	return append(dst, d.path...)
}

// checkStatus reads the status of a response (RFC 9113 §8.3.2).
func (d *decoder) checkStatus(endStream bool) (int, error) {
	if d.seen&pseudoStatus == 0 {
		return 0, errMissing
	}
	status := 0
	for i := range len(d.status) {
		c := d.status[i]
		if c < '0' || c > '9' {
			return 0, errStatus
		}
		status = status*10 + int(c-'0')
	}
	switch {
	case len(d.status) != 3 || status < 100 || status == http.StatusSwitchingProtocols: // §8.6
		return 0, errStatus
	case status < 200 && endStream: // §8.1
		return 0, errInterimEnd
	}
	return status, nil
}

// appendFraming appends what says how long the body is, and returns the framing that holds to
// it. Content-Length leaves no room for trailers, so where these are to be expected chunks are
// used; data is counted all the same.
func (d *decoder) appendFraming(dst []byte) ([]byte, framing) {
	if d.length >= 0 && !d.trailer && !d.grpc {
		return appendLength(dst, d.length), framing{left: d.length}
	}
	return append(dst, "transfer-encoding: chunked\r\n"...), framing{chunked: true, left: d.length}
}

// appendEnd ends the head of a final message.
func (d *decoder) appendEnd(dst []byte) []byte {
	if d.single {
		dst = append(dst, "connection: close\r\n"...)
	}
	return append(dst, '\r', '\n')
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "content-length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}
