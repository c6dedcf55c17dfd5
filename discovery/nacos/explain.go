package nacos

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// serverError is what one server has failed with.
type serverError struct {
	name string
	error
}

func (e serverError) Unwrap() error { return e.error }

// explain says what failed, in the words of the operator's world, and the next step to take.
// The cause stays in the chain.
func (c *Client) explain(q Query, err error) error {
	var unusable unusableError
	joined, ok := err.(interface{ Unwrap() []error })
	if errors.As(err, &unusable) || !ok {
		return fmt.Errorf("nacos: watch %q: %w", q.Service, err)
	}
	failures := joined.Unwrap()
	texts := make([]string, len(failures))
	for i, failure := range failures {
		var s serverError
		errors.As(failure, &s)
		texts[i] = fmt.Sprintf("server at %s %s", s.name, c.explainOne(q, s.error))
	}
	return fmt.Errorf("nacos: watch %q: %s%w", q.Service, strings.Join(texts, "; "), silent{err})
}

// explainOne is the rest of a sentence that begins with the server.
func (c *Client) explainOne(q Query, err error) string {
	var login loginError
	var status statusError
	switch {
	case errors.As(err, &login):
		return c.explainLogin(login)
	case errors.As(err, &status):
		return c.explainStatus(q, status)
	}
	what, step := "cannot be asked: "+err.Error(), ""
	var timeout net.Error
	var dns *net.DNSError
	var hostname x509.HostnameError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		what, step = "is not there: connection refused", "start it or correct nacos.addresses"
	case errors.As(err, &dns):
		step = "correct nacos.addresses, or see to the resolver"
	case errors.As(err, &hostname), errors.As(err, &certificate):
		step = "set ca_file or server_name in [nacos.tls]"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		step = "it speaks plain HTTP: write its address as http://… and leave [nacos.tls] out"
	case errors.Is(err, errTooLarge):
		step = "see who has registered so much: 10,000 instances are some 5 MiB"
	case errors.Is(err, errTooMany):
		step = "divide the service into several"
	case errors.Is(err, errMalformed):
		step = "check what listens there"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		what, step = fmt.Sprintf("does not answer within %v", answerTimeout), "it hangs, or the network drops packets"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		step = "it closed the connection, as it does when it restarts"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		step = "correct nacos.addresses, or the routes to it"
	}
	if step == "" {
		return what
	}
	return what + "; " + step
}

// explainLogin words a failed login.
func (c *Client) explainLogin(err loginError) string {
	var status statusError
	switch {
	case !errors.As(err, &status) && err.refused: // nothing was sent
		return "is not asked: " + err.Error()
	case !errors.As(err, &status):
		return "cannot be logged in to: " + err.Error() + "; check what listens there"
	case !err.refused:
		return fmt.Sprintf("cannot log anybody in (%v); see its log", status)
	}
	from := "nacos.password"
	if c.options.PasswordFile != "" {
		from = "the password in " + c.options.PasswordFile
	}
	return fmt.Sprintf("does not let %q log in (%v); correct nacos.username, or %s", c.options.Username, status, from)
}

// explainStatus words an answer that is an error.
func (c *Client) explainStatus(q Query, status statusError) string {
	what, step := "cannot answer", "see its log"
	switch {
	case isRefusal(status) && c.options.Username == "":
		what, step = "wants a login", "set nacos.username and nacos.password_file"
	case isRefusal(status):
		what, step = fmt.Sprintf("does not let %q read services", c.options.Username), "give one of its roles read access to the namespace"
	case status.code == codeNoNamespace:
		what, step = fmt.Sprintf("does not know the namespace %q", q.Namespace), "correct nacos.namespace: it is the ID, and not the name"
	case status.code == codeServiceName:
		what, step = "rejects the service's name", "correct it, or its group"
	case status.status == http.StatusGone:
		what, step = "has this version of its API switched off", "set nacos.version to auto, or nacos.core.api.compatibility.client.enabled at the server"
	case status.status == http.StatusNotFound, status.status/100 == 3:
		what, step = "has no Nacos API at this address", "correct nacos.addresses (its path, by default /nacos), or nacos.version"
	case status.status == http.StatusBadRequest && strings.Contains(status.text, "TLS"):
		what, step = "speaks only HTTPS", "write its address as https://…"
	case status.status == http.StatusTooManyRequests:
		what, step = "limits this client", "set a longer poll, or raise its limits"
	case status.status == http.StatusServiceUnavailable:
		what, step = "is not ready", "it answers when it has started and found the others"
	}
	return fmt.Sprintf("%s (%v); %s", what, status, step)
}

// silent keeps an error in the chain whose text has been said already.
type silent struct{ error }

func (s silent) Error() string { return "" }
func (s silent) Unwrap() error { return s.error }
