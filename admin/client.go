package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sidecar/upstream"
)

const (
	// answerTimeout is how long a Client waits when its caller's context sets no deadline.
	answerTimeout = 5 * time.Second
	// reloadTimeout is the same for a reload, which may have to read certificates and open sockets.
	reloadTimeout = time.Minute
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

// Reload has the configuration loaded again, and says what that has changed. That it cannot be
// loaded is an error of several lines, which changes nothing.
func (c *Client) Reload(ctx context.Context) (Report, error) {
	var r Report
	body, err := c.post(ctx, "/reload", nil, reloadTimeout, http.StatusOK)
	if err != nil {
		return r, err
	}
	return r, c.decode("/reload", body, &r)
}

// Drain has the process drain and end. It does not wait for that.
func (c *Client) Drain(ctx context.Context) error {
	_, err := c.post(ctx, "/drain", nil, answerTimeout, http.StatusAccepted)
	return err
}

// Endpoint has an endpoint of a service drained or put back, or its ejection ended: action is drain,
// undrain or uneject.
func (c *Client) Endpoint(ctx context.Context, service, id, action string) error {
	_, err := c.post(ctx, "/services/"+url.PathEscape(service)+"/endpoints/"+segment(id)+"/"+url.PathEscape(action), nil, answerTimeout, http.StatusNoContent)
	return err
}

// IsNoEndpoint tells whether an error of Client.Endpoint says that the service has no such endpoint.
func IsNoEndpoint(err error) bool {
	return err != nil && strings.Contains(err.Error(), upstream.ErrNoEndpoint.Error())
}

// segment is a part of a path. One of dots alone would be taken for a way up.
func segment(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	return url.PathEscape(id)
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
	return c.decode(page, body, into)
}

func (c *Client) decode(page string, body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("admin: what %s answered to %s is not understood: %w; is it another version?", c.address(), page, err)
	}
	return nil
}
