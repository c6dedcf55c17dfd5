package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Unreachable is the error of a Client that has had no answer, or none of a sidecar.
type Unreachable struct {
	// Address is where it has asked.
	Address string
	// Says is the sentence for people, with the next step.
	Says string
	err  error
}

func (u *Unreachable) Error() string { return "admin: " + u.Says }

// Unwrap returns what has failed, or nil.
func (u *Unreachable) Unwrap() error { return u.err }

// AddressError is that Client.Address is none.
type AddressError struct{ err error }

func (e *AddressError) Error() string { return e.err.Error() }

// Unwrap returns what is wrong with it.
func (e *AddressError) Unwrap() error { return e.err }

// get gets a page. Any status but one of codes is an error.
func (c *Client) get(ctx context.Context, page, accept string, codes ...int) ([]byte, error) {
	return c.ask(ctx, http.MethodGet, page, http.Header{"Accept": {accept}}, nil, answerTimeout, codes...)
}

// post asks for something to be done. Any status but code is an error.
func (c *Client) post(ctx context.Context, page string, body []byte, limit time.Duration, code int) ([]byte, error) {
	return c.ask(ctx, http.MethodPost, page, http.Header{actionHeader: {"1"}}, body, limit, code)
}

// ask sends a request and returns the answer, which takes no longer than ctx or else limit allow.
func (c *Client) ask(ctx context.Context, method, page string, header http.Header, body []byte, limit time.Duration, codes ...int) ([]byte, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	response, err := c.send(ctx, method, page, header, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // all that matters has been read
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, c.explain(err)
	}
	for _, code := range codes {
		if response.StatusCode == code {
			return answer, nil
		}
	}
	return nil, c.refused(page, response.StatusCode, answer)
}

// send sends a request and returns what a sidecar answers, of whatever status. The caller closes its
// body.
func (c *Client) send(ctx context.Context, method, page string, header http.Header, body []byte) (*http.Response, error) {
	network, where, err := parse(c.address())
	if err != nil {
		return nil, &AddressError{err}
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
	request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+page, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	request.Header = header
	response, err := client.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	if !strings.HasPrefix(response.Header.Get("Server"), product) {
		_ = response.Body.Close() // nothing of it matters
		return nil, c.unreachable(nil, "what answers on %s is not a sidecar; does admin.listen differ? --admin says where to ask", c.address())
	}
	return response, nil
}

// refused says in a sentence what another answer than was hoped for means.
func (c *Client) refused(page string, code int, body []byte) error {
	var r refusal
	if code == http.StatusUnprocessableEntity && json.Unmarshal(body, &r) == nil && r.Error != "" {
		lines := strings.Split(r.Error, "\n")
		for i := range lines {
			lines[i] = printable(lines[i])
		}
		return errors.New(strings.Join(lines, "\n"))
	}
	said := printable(strings.TrimSpace(string(body[:min(len(body), 2000)])))
	switch {
	case code == http.StatusNotFound && said == "404 page not found":
		return fmt.Errorf("admin: the sidecar on %s has no %s (answered 404 to %[2]s); is it another version? \"sidecar version\" says which this is", c.address(), page)
	case said != "" && slices.Contains([]int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict}, code):
		return errors.New("admin: " + said) // it is a sentence already, with the next step
	}
	return fmt.Errorf("admin: the sidecar on %s answered %d to %s: %s", c.address(), code, page, said)
}

// explain says in a sentence why there was no answer.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return c.unreachable(err, "no answer from %s in time; the process may be stuck or the host overloaded: see the log (journalctl -u sidecar)", c.address())
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return c.unreachable(err, "no sidecar answers on %s: %v; is it running, or does admin.listen differ? --admin says where to ask", c.address(), root(err))
	case errors.Is(err, fs.ErrPermission):
		return c.unreachable(err, "may not connect to %s: %v; join the group that owns it, or ask as root", c.address(), root(err))
	}
	return c.unreachable(err, "no answer from %s: %v; does another program listen there, or does admin.listen differ? --admin says where to ask", c.address(), err)
}

func (c *Client) unreachable(err error, format string, args ...any) error {
	return &Unreachable{Address: c.address(), Says: fmt.Sprintf(format, args...), err: err}
}
