package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// complete is an error of our own making that says all there is to say.
type complete struct{ error }

func (e complete) Unwrap() error { return e.error }

// silent keeps an error in the chain whose text has been said already.
type silent struct{ error }

func (s silent) Error() string { return "" }
func (s silent) Unwrap() error { return s.error }

// explain says what failed, in the words of the operator's world, and the next step to take. The
// cause stays in the chain.
func (c *Client) explain(namespace, service string, err error) error {
	// url.Error repeats the whole address, of which the service is what matters.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if own, ok := errors.AsType[complete](err); ok {
		err = own.error
	} else if answer, ok := errors.AsType[answerError](err); ok {
		err = c.explainAnswer(namespace, answer)
	} else if step := nextStep(err); step != "" {
		err = fmt.Errorf("API server at %s: %w; %s", c.address, err, step)
	} else {
		err = fmt.Errorf("API server at %s: %w", c.address, err)
	}
	name := service
	if namespace != "" {
		name = namespace + "/" + service
	}
	return fmt.Errorf("kubernetes: watch %q: %w", name, err)
}

// explainAnswer words an answer other than 200.
func (c *Client) explainAnswer(namespace string, answer answerError) error {
	text := strings.Join(strings.Fields(answer.Message), " ")
	if text == "" {
		text = http.StatusText(answer.Code)
	}
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + " …"
	}
	what, step := "cannot answer", "see its log"
	switch answer.Code {
	case http.StatusUnauthorized:
		what, step = "does not accept the token in "+c.tokenFile, "write a valid one of its own service accounts; it is read again each time"
		if c.plain {
			what, step = "wants a token, which plain HTTP would tell everybody", "write kubernetes.address as https://…"
		}
	case http.StatusForbidden:
		what = "refuses"
		step = fmt.Sprintf("give the service account list and watch on endpointslices.discovery.k8s.io in namespace %s (a Role and a RoleBinding)", namespace)
	case http.StatusNotFound:
		what, step = "does not serve discovery.k8s.io/v1", "correct kubernetes.address; Kubernetes has it since 1.21"
	case http.StatusTooManyRequests:
		what, step = "limits this client", "it is asked again later"
	case http.StatusBadRequest:
		what, step = "rejects the request", "write kubernetes.address as https://… if it speaks only that"
	}
	return fmt.Errorf("API server at %s %s (%d: %s); %s%w", c.address, what, answer.Code, text, step, silent{answer})
}

// nextStep is what to do about an error that is not an answer of the server.
func nextStep(err error) string {
	if isType[noAnswerError](err) || errors.Is(err, context.DeadlineExceeded) {
		return "it hangs, or the network drops packets"
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "start it or correct kubernetes.address"
	}
	if isType[*net.DNSError](err) {
		return "correct kubernetes.address"
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "it cannot be reached: correct kubernetes.address, or let the pod through"
	}
	if isType[x509.UnknownAuthorityError](err) || isType[x509.HostnameError](err) || isType[*tls.CertificateVerificationError](err) {
		return "set kubernetes.ca_file to the authority of its certificate, and kubernetes.address to a name in it"
	}
	if isType[tls.RecordHeaderError](err) || errors.Is(err, http.ErrSchemeMismatch) {
		return "it speaks plain HTTP: correct kubernetes.address"
	}
	if isType[malformedError](err) {
		return "that is no answer of Kubernetes: check what listens there"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return "it closed the connection, as it does when it restarts"
	}
	return ""
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
