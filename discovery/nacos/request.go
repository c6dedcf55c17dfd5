package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A version of the API.
type version struct {
	name     string
	path     string // of the list of instances
	clusters string // the parameter that names them
	envelope bool   // the list is in {"code", "message", "data"}
}

// versions are in the order in which they are tried.
var versions = []version{
	{"v2", "/v2/ns/instance/list", "clusterName", true},
	{"v1", "/v1/ns/instance/list", "clusters", false},
	{"v3", "/v3/client/ns/instance/list", "clusterName", true},
}

var (
	errTooLarge  = errors.New("the answer is larger than 16 MiB")
	errMalformed = errors.New("that is no answer of Nacos")
	errTooMany   = fmt.Errorf("the list has more than %d instances", maxHosts)
)

// statusError is an answer that is none to what was asked.
type statusError struct {
	status int // of HTTP
	code   int // of the API, 0 where it has none
	text   string
}

func (e statusError) Error() string {
	if e.code != 0 {
		return fmt.Sprintf("%d, code %d: %s", e.status, e.code, e.text)
	}
	return fmt.Sprintf("%d: %s", e.status, e.text)
}

// A response is what one server has said.
type response struct {
	index int // of the server
	list  list
	found bool
	err   error
}

// list asks for the instances that q wants: the server that answered last, and one more whenever
// one has failed or all are silent. The first answer counts. Found is false when it says that
// there is no such service.
func (c *Client) list(ctx context.Context, q Query) (l list, found bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel() // the others need not go on
	responses := make(chan response, len(c.servers))
	first, next, open := int(c.current.Load()), 0, 0
	ask := func() {
		if next == len(c.servers) {
			return
		}
		i := (first + next) % len(c.servers)
		next, open = next+1, open+1
		asked.Go(func() {
			r := response{index: i}
			r.list, r.found, r.err = c.listFrom(ctx, c.servers[i], q)
			responses <- r
		})
	}
	waits := time.NewTicker(impatience / time.Duration(max(len(c.servers)-1, 1)))
	defer waits.Stop()
	failures := make([]error, len(c.servers)) // in the order of Options
	for ask(); open > 0; ask() {
		select {
		case r := <-responses:
			open--
			if r.err == nil {
				c.current.Store(int64(r.index))
				return r.list, r.found, nil
			}
			failures[r.index] = serverError{c.servers[r.index].name, r.err}
			if ctx.Err() != nil || !elsewhere(r.err) {
				return l, false, errors.Join(failures...)
			}
		case <-waits.C:
		}
	}
	return l, false, errors.Join(failures...)
}

// elsewhere tells whether another server may know better. A refusal is for all of them.
func elsewhere(err error) bool {
	var status statusError
	var login loginError
	if errors.As(err, &login) {
		return !login.refused
	}
	if errors.Is(err, errTooMany) {
		return false
	}
	return !errors.As(err, &status) || status.status >= 500 || status.status == http.StatusNotFound
}

// listFrom asks one server, in the version that it has.
func (c *Client) listFrom(ctx context.Context, s server, q Query) (l list, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	known := int(c.version.Load())
	var missing error // that none of them is there: 410 says more than 404
	for i := range versions {
		i = (known + i) % len(versions)
		v := versions[i]
		body, err := c.authorized(ctx, s, v.path+"?"+v.parameters(q))
		var status statusError
		switch {
		case err == nil:
			c.version.Store(int64(i))
			l, err = v.read(body)
			if errors.As(err, &status) && status.unknownService() {
				return l, false, nil
			}
			return l, err == nil, err
		case errors.As(err, &status) && status.unknownService():
			c.version.Store(int64(i))
			return l, false, nil
		case !errors.As(err, &status) || !status.otherVersion() || c.fixed():
			return l, false, err
		}
		if missing == nil || status.status != http.StatusNotFound {
			missing = err
		}
	}
	return l, false, missing
}

// fixed tells whether the version is given.
func (c *Client) fixed() bool { return c.options.Version == versions[c.version.Load()].name }

// otherVersion tells of an answer that a path has which the server does not know, or which has
// been switched off (410). What it says of services and namespaces (codes 21xxx and 22xxx) is of
// one that it knows.
func (e statusError) otherVersion() bool {
	return e.code/1000 != 21 && e.code/1000 != 22 &&
		slices.Contains([]int{http.StatusNotFound, http.StatusGone, http.StatusNotImplemented}, e.status)
}

// Codes of the API.
const (
	codeServiceName     = 21000
	codeServiceNotExist = 21008
	codeNoNamespace     = 22001
)

// noService is how servers before there were codes say it.
var noService = regexp.MustCompile(`(?i)\bservice not found|\bno service \S+ found|\bservice:? \S+ (is )?not found`)

func (e statusError) unknownService() bool {
	return e.code == codeServiceNotExist ||
		e.code == 0 && e.status >= 400 && noService.MatchString(e.text)
}

func (v version) parameters(q Query) string {
	p := url.Values{"serviceName": {q.Service}, "groupName": {q.Group}, "healthyOnly": {"false"}}
	if q.Namespace != "" {
		p.Set("namespaceId", q.Namespace)
	}
	if len(q.Clusters) > 0 {
		p.Set(v.clusters, strings.Join(q.Clusters, ","))
	}
	return p.Encode()
}

// authorized is get with a token, and once more with a new one when that is refused.
func (c *Client) authorized(ctx context.Context, s server, path string) ([]byte, error) {
	value, err := c.token.current(ctx, s)
	if err != nil {
		return nil, err
	}
	body, err := c.get(ctx, s, path, value)
	if value == "" || !isRefusal(err) {
		return body, err
	}
	c.token.refused(ctx, value)
	if value, err = c.token.current(ctx, s); err != nil {
		return nil, err
	}
	return c.get(ctx, s, path, value)
}

func isRefusal(err error) bool {
	var status statusError
	return errors.As(err, &status) && (status.status == http.StatusForbidden || status.status == http.StatusUnauthorized)
}

func (c *Client) get(ctx context.Context, s server, path, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		// In a header, since parameters are written to access logs.
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.do(req)
}

// do returns the body of an answer with status 200.
func (c *Client) do(req *http.Request) ([]byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error // it repeats the whole request
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, errTooLarge
	}
	if resp.StatusCode != http.StatusOK {
		return nil, newStatusError(resp.StatusCode, body)
	}
	return body, nil
}

// newStatusError reads what there is of a reason in the body: an envelope of v2, Spring's own
// form, or text.
func newStatusError(status int, body []byte) statusError {
	var e struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	text := string(body)
	if json.Unmarshal(body, &e) == nil {
		var detail string
		_ = json.Unmarshal(e.Data, &detail) // it is a text, or says nothing
		text = strings.TrimSuffix(e.Message+": "+detail, ": ")
	}
	return statusError{status: status, code: e.Code, text: oneLine(text, http.StatusText(status))}
}

// oneLine is a text that somebody is told of, or instead.
func oneLine(text, instead string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text[:min(len(text), 200)], "")), " ")
	if text == "" || strings.HasPrefix(text, "<") { // a page
		return instead
	}
	return text
}
