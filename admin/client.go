package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// answerTimeout is how long a Client waits when its caller's context sets no deadline.
	answerTimeout = 5 * time.Second
	// maxAnswer bounds what a Client reads: thousands of endpoints make a few megabytes.
	maxAnswer = 64 << 20
)

// A Client asks a running sidecar. Its errors are sentences for the person at the command
// line. The zero value asks DefaultAddress; methods may be called concurrently.
type Client struct {
	// Address is what admin.listen holds: "host:port" or "unix:/path".
	Address string
}

// Status asks for everything at a glance.
func (c *Client) Status(ctx context.Context) (*Document, error) {
	d := &Document{}
	return d, c.document(ctx, "/status", d, http.StatusOK)
}

// Explain asks for everything about one service. That the sidecar has none of this name is
// an error that lists those it has.
func (c *Client) Explain(ctx context.Context, service string) (*Explanation, error) {
	if service == "" {
		return nil, errors.New("admin: the name of a service is empty")
	}
	e := &Explanation{}
	return e, c.document(ctx, "/explain/"+url.PathEscape(service), e, http.StatusOK)
}

// Verdicts asks how each service stands.
func (c *Client) Verdicts(ctx context.Context) (*Verdicts, error) {
	v := &Verdicts{}
	return v, c.document(ctx, "/explain", v, http.StatusOK)
}

// Ready asks whether every service can be served. That it is not ready is no error.
func (c *Client) Ready(ctx context.Context) (Readiness, error) {
	var r Readiness
	return r, c.document(ctx, "/readyz", &r, http.StatusOK, http.StatusServiceUnavailable)
}

// Build asks which build is running.
func (c *Client) Build(ctx context.Context) (Build, error) {
	var b Build
	return b, c.document(ctx, "/version", &b, http.StatusOK)
}

// Config asks for the effective configuration.
func (c *Client) Config(ctx context.Context) ([]byte, error) {
	return c.get(ctx, "/config", typeText, http.StatusOK)
}

// Healthy asks whether the process works; the error says why it does not.
func (c *Client) Healthy(ctx context.Context) error {
	_, err := c.get(ctx, "/healthz", typeText, http.StatusOK)
	return err
}

func (c *Client) address() string { return cmp.Or(c.Address, DefaultAddress) }

// document gets a page and decodes it.
func (c *Client) document(ctx context.Context, page string, into any, codes ...int) error {
	body, err := c.get(ctx, page, typeJSON, codes...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("admin: what %s answered to %s is not understood: %w; is it another version?", c.address(), page, err)
	}
	return nil
}

// get gets a page. Any status but one of codes is an error.
func (c *Client) get(ctx context.Context, page, accept string, codes ...int) ([]byte, error) {
	network, where, err := parse(c.address())
	if err != nil {
		return nil, err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerTimeout)
		defer cancel()
	}
	// One connection for one question: no pool outlives it, and no proxy of the environment
	// comes in between.
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, where)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// The name is one that guard trusts, wherever the connection goes.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+page, nil)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	request.Header.Set("Accept", accept)
	response, err := client.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	defer func() { _ = response.Body.Close() }() // all that matters has been read
	if !strings.HasPrefix(response.Header.Get("Server"), product) {
		return nil, fmt.Errorf("admin: what answers on %s is not a sidecar; does admin.listen differ?", c.address())
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, c.explain(err)
	}
	for _, code := range codes {
		if response.StatusCode == code {
			return body, nil
		}
	}
	said := printable(strings.TrimSpace(string(body[:min(len(body), 500)])))
	return nil, fmt.Errorf("admin: the sidecar on %s answered %d to %s: %s", c.address(), response.StatusCode, page, said)
}

// explain says in a sentence why there was no answer.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("admin: no answer from %s in time; the process may be stuck or the host overloaded: %w", c.address(), err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("admin: no sidecar answers on %s: %w; is it running, or does admin.listen differ?", c.address(), root(err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("admin: may not connect to %s: %w; join the group that owns it, or ask as root", c.address(), root(err))
	}
	return fmt.Errorf("admin: no answer from %s: %w; does another program listen there?", c.address(), err)
}
