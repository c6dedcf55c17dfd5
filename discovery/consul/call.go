package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"

	"github.com/hashicorp/consul/api"
)

// maxComplaint is how much of an answer other than 200 is read.
const maxComplaint = 4 << 10

// Call makes one call of the agent's API, for what is no query: path is such as
// "/v1/agent/service/register", with what it names escaped. In is sent as JSON, and the answer's
// JSON is put into out, as encoding/json does; either may be nil. The current token goes with
// it, and the Client's namespace and partition unless query names others.
//
// It returns when the agent has answered, ctx has ended or 10 s have passed. Any answer but
// 2xx is an error, in whose chain something has the method StatusCode() int. An error names the
// call, the cause and the next step. It is for concurrent use.
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerMargin, noAnswerError{answerMargin})
	defer cancel()
	if err := c.call(ctx, method, path, query, in, out); err != nil {
		if statusOf(err) == http.StatusForbidden {
			c.token.refused()
		}
		return c.explain(asked{what: method + " " + path, call: true}, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	token, err := c.token.current()
	if err != nil {
		return complete{err}
	}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return complete{fmt.Errorf("what is to be sent has no form in JSON: %w", err)}
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return complete{err}
	}
	req.URL.RawQuery = c.scoped(query).Encode()
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxComplaint))
		if err != nil && len(text) == 0 {
			return err
		}
		return api.StatusError{Code: resp.StatusCode, Body: string(text)}
	}
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
		return err
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// scoped adds the client's namespace and partition to a call's parameters.
func (c *Client) scoped(query url.Values) url.Values {
	all := maps.Clone(query)
	if all == nil {
		all = url.Values{}
	}
	for key, value := range map[string]string{"ns": c.namespace, "partition": c.partition} {
		if value != "" && !all.Has(key) {
			all.Set(key, value)
		}
	}
	return all
}
