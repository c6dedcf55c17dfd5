package dns

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// What a server may answer that is none.
var (
	errMalformed     = errors.New("malformed answer")
	errOtherID       = errors.New("an answer with another ID")
	errOtherQuestion = errors.New("an answer to another question")
	errOtherName     = errors.New("the answer is about another name or type")
	errNoResponse    = errors.New("a message that is no response")
	errCutOff        = errors.New("the answer is cut off even over TCP")
	errLame          = errors.New("a referral to other servers, or an empty answer without authority")
)

// rcodeError is a response code that says nothing of the name.
type rcodeError int

func (e rcodeError) Error() string {
	if text, ok := dns.RcodeToString[int(e)]; ok {
		return text
	}
	return fmt.Sprintf("response code %d", int(e))
}

// noAnswerError is the end of a question whose time has passed. cause also tells of messages that
// were passed over.
type noAnswerError struct {
	after time.Duration
	cause error
}

func (e noAnswerError) Error() string {
	text := fmt.Sprintf("no answer within %v", e.after)
	for _, stray := range []error{errMalformed, errOtherID, errOtherQuestion, errNoResponse} {
		if errors.Is(e.cause, stray) {
			return fmt.Sprintf("%s, only %v", text, stray)
		}
	}
	return text
}

func (e noAnswerError) Unwrap() error { return e.cause }

// aliasError is a chain of CNAME records that goes on, or round.
type aliasError struct {
	question question
	most     int
}

func (e aliasError) Error() string {
	return fmt.Sprintf("%v: more than %d aliases (CNAME) in a row; shorten the chain", e.question, e.most)
}

// noneUsableError is an answer of which nothing can be used: a mistake in the records, and no
// reason to drop what worked.
type noneUsableError struct{ problems []string }

func (e noneUsableError) Error() string {
	const shown = 3
	text := strings.Join(e.problems[:min(shown, len(e.problems))], "; ")
	if more := len(e.problems) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return "no record is usable: " + text
}

// unansweredError is a question that no server has answered.
type unansweredError struct {
	question question
	from     string // where the servers are configured
	tries    []try
}

// A try is what came of the last time that a server was asked.
type try struct {
	server string
	err    error
}

func (e *unansweredError) Error() string {
	servers := make([]string, 0, len(e.tries))
	for _, t := range e.tries {
		servers = append(servers, fmt.Sprintf("server %s: %v", t.server, t.err))
	}
	return fmt.Sprintf("%v: %s; %s", e.question, strings.Join(servers, ", "), e.nextStep())
}

func (e *unansweredError) Unwrap() []error {
	var out []error
	for _, t := range e.tries {
		out = append(out, t.err)
	}
	return out
}

// nextStep is what to do about the first server's error.
func (e *unansweredError) nextStep() string {
	err := e.tries[0].err
	if code, ok := errors.AsType[rcodeError](err); ok {
		if code == dns.RcodeRefused {
			return "let it answer this host, or correct " + e.from
		}
		return "see the server's log"
	}
	if _, ok := errors.AsType[noAnswerError](err); ok {
		return "it hangs, or the network drops packets; else correct " + e.from
	}
	switch {
	case errors.Is(err, errLame), errors.Is(err, errOtherName):
		return "it does not resolve this name; correct " + e.from
	case errors.Is(err, errMalformed), errors.Is(err, errOtherID), errors.Is(err, errOtherQuestion), errors.Is(err, errNoResponse):
		return "check what listens there"
	case errors.Is(err, errCutOff):
		return "see the server's log"
	}
	return "start it or correct " + e.from
}

// explain says what was looked up when err happened.
func (q Query) explain(err error) error { return fmt.Errorf("dns: look up %q: %w", q.Name, err) }
