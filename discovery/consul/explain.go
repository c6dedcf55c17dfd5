package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
)

// noAnswerError is the end of a query whose deadline has passed.
type noAnswerError struct{ after time.Duration }

func (e noAnswerError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }

// silentError is a failure because the agent answers nothing at all.
type silentError struct{ noAnswerError }

func (e silentError) Unwrap() error { return e.noAnswerError }

// complete is an error of our own making that says all there is to say.
type complete struct{ error }

func (e complete) Unwrap() error { return e.error }

// statusOf is the status of the agent's answer that err is about, or 0.
func statusOf(err error) int {
	if status, ok := errors.AsType[api.StatusError](err); ok {
		return status.Code
	}
	return 0
}

// asked is what an error is about.
type asked struct {
	what       string // such as `watch "orders"`
	datacenter string // if it is not that of the options
	call       bool   // of the agent, rather than a query
}

// explain says what failed, in the words of the operator's world, and the next step to take.
// The cause stays in the chain.
func (c *Client) explain(a asked, err error) error {
	// url.Error repeats the whole query, of which the service is what matters.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if own, ok := errors.AsType[complete](err); ok {
		err = own.error
	} else if status, ok := errors.AsType[api.StatusError](err); ok {
		err = c.explainStatus(a, status)
	} else if step := c.nextStep(err); step != "" {
		err = fmt.Errorf("agent at %s: %w; %s", c.address, err, step)
	} else {
		err = fmt.Errorf("agent at %s: %w", c.address, err)
	}
	return fmt.Errorf("consul: %s: %w", a.what, err)
}

// explainStatus words an answer other than 200.
func (c *Client) explainStatus(a asked, status api.StatusError) error {
	text := strings.Join(strings.Fields(status.Body), " ")
	if text == "" {
		text = http.StatusText(status.Code)
	}
	if len(text) > 200 {
		text = text[:200] + " …"
	}
	what, step := "cannot answer", "see the agent's log"
	switch {
	case status.Code == 403 && strings.Contains(text, "ACL not found"):
		what = "does not know " + c.token.where()
		step = "it was deleted or is another datacenter's: write a valid one"
	case status.Code == 403:
		what = "refuses " + c.token.where()
		step = "give it service:read and node:read"
		if a.call {
			step = "give it service:write for what is registered"
		}
	case status.Code == 429:
		what = "limits this client"
		step = fmt.Sprintf("raise limits.http_max_conns_per_client or limits.request_limits of the agent (%d services are watched)", c.turns.count())
	case strings.Contains(text, "No cluster leader"):
		what, step = "has no leader to ask", "restore a quorum of Consul's servers"
	case strings.Contains(text, "No known Consul servers"):
		what, step = "has lost its servers", "check that it can reach them (consul members)"
	case strings.Contains(text, "No path to datacenter"):
		what, step = "does not know the datacenter", "correct consul.datacenter"
		if a.datacenter != "" {
			step = fmt.Sprintf("correct the service's datacenter %q", a.datacenter)
		}
	case strings.Contains(text, "HTTP request to an HTTPS server"):
		what, step = "speaks only HTTPS", "write consul.address as https://… or set [consul.tls]"
	case strings.Contains(text, "boolean expression"): // 500 from its view, 400 from servers
		what, step = "does not understand the filter", "correct the service's filter"
	case status.Code == 400 && strings.Contains(text, "Enterprise"):
		what, step = "is not of Consul Enterprise", "leave namespace and partition out"
	case status.Code == 400 && a.call:
		what, step = "rejects what it was sent", "correct what is registered"
	case status.Code == 400:
		what, step = "rejects the query", "check the service's name, tags and filter"
	case status.Code == 404 && strings.Contains(text, "Query not found"):
		what, step = "does not know the prepared query", "create it or correct its name"
	case status.Code == 404 && a.call && strings.Contains(strings.ToLower(text), "unknown"):
		what, step = "does not know it", "register it again"
	case status.Code == 404, status.Code/100 == 3:
		what, step = "has no Consul API at this address", "correct consul.address"
	}
	return fmt.Errorf("agent at %s %s (%d: %s); %s%w", c.address, what, status.Code, text, step, answered{status})
}

// answered keeps the agent's answer in the chain, whose text has been said already.
type answered struct{ status api.StatusError }

func (a answered) Error() string   { return "" }
func (a answered) StatusCode() int { return a.status.Code }
func (a answered) Unwrap() error   { return a.status }

// nextStep is what to do about an error that is not an answer of the agent.
func (c *Client) nextStep(err error) string {
	if doubt, ok := errors.AsType[doubtError](err); ok {
		if doubt.agent {
			return "check that it can reach them (consul members)"
		}
		return "restore a quorum of Consul's servers"
	}
	if errors.Is(err, errHidden) {
		return "give " + c.token.where() + " service:read and node:read"
	}
	if _, ok := errors.AsType[noAnswerError](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return "it hangs, or the network drops packets"
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return "start it or correct consul.address"
	}
	if errors.Is(err, errTooLarge) || isType[*json.SyntaxError](err) || isType[*json.UnmarshalTypeError](err) {
		return "that is no answer of Consul: check what listens there"
	}
	if isType[x509.UnknownAuthorityError](err) || isType[x509.HostnameError](err) || isType[*tls.CertificateVerificationError](err) {
		return "set ca_file or server_name in [consul.tls]"
	}
	if isType[tls.RecordHeaderError](err) || errors.Is(err, http.ErrSchemeMismatch) {
		return "it speaks plain HTTP: write consul.address as http://… and leave [consul.tls] out"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		// Agents before 1.8 or so close silently what is over the limit (hashicorp/consul issue 7527).
		if n := c.turns.count(); n > 150 {
			return fmt.Sprintf("%d services are watched: raise limits.http_max_conns_per_client of the agent above that", n)
		}
		return "it closed the connection, as it does when it restarts"
	}
	return ""
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
