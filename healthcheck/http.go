package healthcheck

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	// maxResponseBytes is how much of a response a probe reads, fields and body together.
	maxResponseBytes = 64 << 10
	// maxReasonBytes is how much of what a server says goes into the reason.
	maxReasonBytes = 256
	// maxInterim is how many 1xx responses may come before the real one.
	maxInterim = 5
	userAgent  = "sidecar-health-check"
)

// HTTPOptions say what an HTTP probe asks for.
type HTTPOptions struct {
	Transport Transport
	// HTTP2 says that the probe speaks HTTP/2, without TLS with prior knowledge, and not
	// HTTP/1.1.
	HTTP2 bool
	// Method is the request's method, GET if empty. The request has no body.
	Method string
	// Path is the request's path and query, "/" if empty.
	Path string
	// Host is the request's Host field; the address if empty, "localhost" for a Unix
	// socket.
	Host string
	// Header holds further fields of the request, or is nil.
	Header http.Header
	// Statuses are those that pass; 200 to 399 if there are none. Of those below 200 only
	// 101 can be the response's, the others announce one.
	Statuses []StatusRange
	// Body must match the response's body, of which it sees what is within the 64 KiB. Nil,
	// the body is not looked at. The response to HEAD has an empty one.
	Body *regexp.Regexp
}

// HTTP returns a Prober that sends a request over a connection of its own and passes if
// status and body are as wanted. It follows no redirects and reads at most 64 KiB of the
// response. A path or method that is none is found at the first probe, which fails because
// of it.
func HTTP(o HTTPOptions) Prober {
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	if o.Path == "" {
		o.Path = "/"
	}
	return &httpProber{o}
}

type httpProber struct{ options HTTPOptions }

// Probe speaks HTTP on the calling goroutine. http.Transport would do, but its goroutines
// outlive the response for a while, and nobody could wait for them.
func (h *httpProber) Probe(ctx context.Context, address string) error {
	req, err := h.request(address)
	if err != nil {
		return err
	}
	protocol := "http/1.1"
	if h.options.HTTP2 {
		protocol = "h2"
	}
	l, err := h.options.Transport.connect(ctx, address, []string{protocol})
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	defer l.within(ctx)()
	if err := h.ask(l, req); err != nil {
		return l.why(err)
	}
	return nil
}

// ask sends the request and judges the response.
func (h *httpProber) ask(l *link, req *http.Request) error {
	limited := &io.LimitedReader{R: l, N: maxResponseBytes}
	over := overHTTP1
	if h.options.HTTP2 {
		over = overHTTP2
	}
	// Closing the body would read the rest of it first; closing the connection does not.
	resp, err := over(l, limited, req) //nolint:bodyclose // see above
	if err != nil {
		return err
	}
	if wanted := statusSet(h.options.Statuses); !wanted.holds(resp.StatusCode) {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxReasonBytes))
		return &probeError{text: describe(resp, wanted, body)}
	}
	if h.options.Body == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil && limited.N > 0 { // otherwise it is cut off here, not there
		return fmt.Errorf("status %s, but reading the body: %w", firstLine(resp.Status), err)
	}
	return h.judgeBody(resp, body)
}

// overHTTP1 sends a request and returns the response, whose body is still to be read from r.
func overHTTP1(w io.Writer, r io.Reader, req *http.Request) (*http.Response, error) {
	if err := req.Write(w); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	resp, err := readResponse(bufio.NewReader(r), req)
	if err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	return resp, nil
}

func (h *httpProber) judgeBody(resp *http.Response, body []byte) error {
	if h.options.Body.Match(body) {
		return nil
	}
	text := fmt.Sprintf("status %s, but the body does not match %q", firstLine(resp.Status), h.options.Body)
	if line := firstLine(string(body)); line != "" {
		return &probeError{text: fmt.Sprintf("%s; it begins with %q", text, line)}
	}
	return &probeError{text: text + "; there is no text in it"}
}

func (h *httpProber) request(address string) (*http.Request, error) {
	u, err := url.ParseRequestURI(h.options.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", h.options.Path, err)
	}
	host := hostField(h.options.Host, address)
	u.Scheme, u.Host = "http", host
	if h.options.Transport.TLS != nil {
		u.Scheme = "https"
	}
	if !isToken(h.options.Method) {
		return nil, fmt.Errorf("method %q is none; want one such as GET", h.options.Method)
	}
	header := h.options.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", userAgent)
	}
	return &http.Request{Method: h.options.Method, URL: u, Host: host, Header: header, Close: true}, nil
}

// readResponse reads the first response that is not an interim one.
func readResponse(r *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range maxInterim + 1 {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
	return nil, errInterim
}

var errInterim = fmt.Errorf("more than %d interim responses", maxInterim)

// hostField returns what a request names as its host, unless that is configured.
func hostField(configured, address string) string {
	switch {
	case configured != "":
		return configured
	case strings.HasPrefix(address, "unix:"):
		return "localhost"
	default:
		return address
	}
}

// isToken tells whether s may stand where HTTP wants a token, RFC 9110, 5.6.2. A space or a
// line's end would make another request of it.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// describe says what was answered: the status, which ones were wanted if that is configured,
// and the first line of the body, where health endpoints tend to say what is wrong.
func describe(resp *http.Response, wanted statusSet, body []byte) string {
	text := "status " + firstLine(resp.Status)
	if len(wanted) > 0 {
		text += ", want " + wanted.String()
	}
	if line := firstLine(string(body)); line != "" {
		text += ": " + line
	}
	return text
}

// firstLine returns the first line of s that has any text, as far as it is fit for a reason.
func firstLine(s string) string {
	s = strings.TrimSpace(s)
	line, _, _ := strings.Cut(s[:min(len(s), maxReasonBytes)], "\n")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, line)
	return strings.TrimSpace(line)
}
