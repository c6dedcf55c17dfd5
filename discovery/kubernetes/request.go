package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// answerTime is how long the beginning of an answer may take, and a page of a list as a whole.
	answerTime = 5 * time.Second
	// maxPage bounds one page of a list: 100 slices of 1,000 endpoints each, which is what there can
	// be at most, are some 40 MB; as a rule a slice has at most 100.
	maxPage = 40 << 20
	// maxComplaint is how much of an answer other than 200 is read.
	maxComplaint = 16 << 10
	// mostPause is the longest pause that the server may ask for.
	mostPause = 15 * time.Second
)

// An answerError is an answer other than 200, or an event that says as much.
type answerError struct {
	Code    int           `json:"code"`
	Message string        `json:"message"`
	after   time.Duration // which the server asks to be left alone for
}

func (e answerError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

// StatusCode is the answer's HTTP status.
func (e answerError) StatusCode() int { return e.Code }

// noAnswerError is the end of a request whose time is over.
type noAnswerError struct{ after time.Duration }

func (e noAnswerError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }

// get makes one request and reads its answer into out.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, noAnswerError{answerTime})
	defer cancel()
	body, err := c.open(ctx, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	limited := &io.LimitedReader{R: body, N: maxPage + 1}
	err = json.NewDecoder(limited).Decode(out)
	switch {
	case limited.N <= 0:
		return complete{fmt.Errorf("the answer is larger than %d MiB", maxPage>>20)}
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case err != nil:
		return malformedError{err}
	}
	return nil
}

// open makes one request, and returns the answer's body as soon as it is known to be one.
func (c *Client) open(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sidecar")
	if !c.plain {
		token, err := c.token()
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxComplaint)) // what there is of it
	answer := answerError{Code: resp.StatusCode}
	if json.Unmarshal(text, &answer) != nil || answer.Message == "" {
		answer.Message = string(bytes.TrimSpace(text))
	}
	answer.Code = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		answer.after = min(time.Duration(min(seconds, 3600))*time.Second, mostPause)
	}
	return nil, answer
}

// malformedError is an answer that is none of an API server.
type malformedError struct{ error }

func (e malformedError) Unwrap() error { return e.error }
