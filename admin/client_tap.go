package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"sidecar/tap"
)

// ErrTapEnded is that a sidecar shows no more requests: it ends, or has the service no more.
var ErrTapEnded = errors.New("admin: the sidecar has ended this: it ends itself, or the service has left its configuration; see \"sidecar status\"")

// TapOptions say which requests Client.Tap shows.
type TapOptions struct {
	Rate     int    // per second; 0: as many as is usual
	Count    int    // how many; 0: no end
	Status   string // as tap.ParseStatus reads it; empty: any
	Endpoint string // address of an endpoint; empty: any
	Headers  tap.Headers
}

// Tap has each request shown that passes a service, until ctx ends, show returns an error, or there
// were Count. Without one of these the error is ErrTapEnded.
func (c *Client) Tap(ctx context.Context, service string, o TapOptions, show func(*tap.Record) error) error {
	query := url.Values{}
	set := func(key, value string) {
		if value != "" && value != "0" {
			query.Set(key, value)
		}
	}
	set("rate", strconv.Itoa(o.Rate))
	set("n", strconv.Itoa(o.Count))
	set("status", o.Status)
	set("endpoint", o.Endpoint)
	switch o.Headers {
	case tap.HeadersPlain:
		set("headers", "1")
	case tap.HeadersAll:
		set("headers", "all")
	}
	page := "/tap/" + url.PathEscape(service)
	response, err := c.send(ctx, http.MethodGet, page+"?"+query.Encode(), http.Header{"Accept": {typeLines}}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // all that matters has been read
	if response.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		if err != nil {
			return c.explain(err)
		}
		return c.refused(page, response.StatusCode, body)
	}
	decoder := json.NewDecoder(response.Body)
	for n := 0; o.Count == 0 || n < o.Count; n++ {
		record := new(tap.Record)
		switch err := decoder.Decode(record); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return ErrTapEnded // also when the process was killed
		}
		if err := show(record); err != nil {
			return err
		}
	}
	return nil
}
