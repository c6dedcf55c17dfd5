package healthcheck

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxResponseBytes is how much of a response a probe reads, fields and body together.
	maxResponseBytes = 64 << 10
	// maxBodyBytes is how much of the body goes into the reason.
	maxBodyBytes = 256
	// maxInterim is how many 1xx responses may come before the real one.
	maxInterim = 5
)

// HTTPOptions say what an HTTP probe asks for.
type HTTPOptions struct {
	// Path is the request's path and query, "/" if empty.
	Path string
	// Host is the request's Host field; the address if empty, "localhost" for a Unix
	// socket.
	Host string
	// Header holds further fields of the request, or is nil.
	Header http.Header
}

// HTTP returns a Prober that sends GET over a connection of its own and passes on a status
// of 2xx or 3xx. It follows no redirects and reads at most 64 KiB of the response. A path
// that is none is found at the first probe, which fails because of it.
func HTTP(o HTTPOptions) Prober {
	if o.Path == "" {
		o.Path = "/"
	}
	return &httpProber{o}
}

type httpProber struct{ options HTTPOptions }

// Probe speaks HTTP/1.1 on the calling goroutine. http.Transport would do, but its
// goroutines outlive the response for a while, and nobody could wait for them.
func (h *httpProber) Probe(ctx context.Context, address string) error {
	req, err := h.request(address)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
	}()

	if err := req.Write(conn); err != nil {
		return fmt.Errorf("sending the request: %w", err)
	}
	r := bufio.NewReader(io.LimitReader(conn, maxResponseBytes))
	// Closing the body would read the rest of it first; closing the connection does not.
	resp, err := readResponse(r, req) //nolint:bodyclose // see above
	if err != nil {
		return fmt.Errorf("reading the response: %w", err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 400 {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes))
	return &probeError{text: describe(resp, body)}
}

func (h *httpProber) request(address string) (*http.Request, error) {
	u, err := url.ParseRequestURI(h.options.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", h.options.Path, err)
	}
	host := h.options.Host
	switch {
	case host != "":
	case strings.HasPrefix(address, "unix:"):
		host = "localhost"
	default:
		host = address
	}
	u.Scheme, u.Host = "http", host
	header := h.options.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "sidecar-health-check")
	}
	return &http.Request{Method: http.MethodGet, URL: u, Host: host, Header: header, Close: true}, nil
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
	return nil, fmt.Errorf("more than %d interim responses", maxInterim)
}

// describe says what was answered: the status, and the first line of the body, where
// health endpoints tend to say what is wrong.
func describe(resp *http.Response, body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, line)
	if line = strings.TrimSpace(line); line == "" {
		return "status " + resp.Status
	}
	return "status " + resp.Status + ": " + line
}
