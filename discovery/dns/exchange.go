package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is the largest answer that is asked for over UDP: what passes every path unfragmented
	// (DNS flag day 2020).
	udpSize = 1232
	// udpBuffer takes in what servers send that overlook udpSize.
	udpBuffer = 4096
	// maxStray messages that do not answer the question are passed over, one of which a stranger
	// may have forged. More are an attack, and each would be another guess.
	maxStray = 64
)

// A question is what one message asks for.
type question struct {
	name string // canonical: absolute, lower case
	kind uint16 // dns.TypeA, …
}

func (q question) String() string { return dns.TypeToString[q.kind] + " of " + q.name }

// exchange asks until a server has answered properly: first the preferred one, then the others
// at once, then all at once. While none can be heard there is no preferred one. If they were
// asked in turn, as libc does, the return of one of three would be noticed only when the
// timeouts of the others are over.
func (r *Resolver) exchange(ctx context.Context, s *settings, q question) (*dns.Msg, error) {
	failed := &unansweredError{question: q, from: s.from, tries: make([]try, len(s.servers))}
	order := s.order()
	rounds := [][]int{order[:1], order[1:]}
	if s.down.Load() {
		rounds = [][]int{order}
	}
	for range s.attempts - 1 {
		rounds = append(rounds, order)
	}
	for _, round := range rounds {
		winner, m := r.race(ctx, s, round, q, failed)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if m != nil {
			s.answered(winner)
			return m, nil
		}
	}
	if !slices.ContainsFunc(failed.tries, func(t try) bool { return heard(t.err) }) {
		s.down.Store(true)
	}
	return nil, failed
}

// race asks some servers at once and returns the first proper answer, or nil. It has ended all
// it started when it returns.
func (r *Resolver) race(ctx context.Context, s *settings, servers []int, q question, failed *unansweredError) (winner int, m *dns.Msg) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		server int
		m      *dns.Msg
		err    error
	}
	results := make(chan result, len(servers))
	for _, i := range servers {
		go func() {
			m, err := r.askServer(ctx, s, s.servers[i], q)
			results <- result{i, m, err}
		}()
	}
	for range servers {
		switch got := <-results; {
		case got.err != nil:
			failed.tries[got.server] = try{s.servers[got.server], got.err}
		case m == nil:
			winner, m = got.server, got.m
			cancel() // nobody waits for the others
		}
	}
	return winner, m
}

// askServer asks one server once. Servers that do not know EDNS0 are asked without.
func (r *Resolver) askServer(ctx context.Context, s *settings, server string, q question) (*dns.Msg, error) {
	ask := new(dns.Msg).SetQuestion(q.name, q.kind)
	ask.SetEdns0(udpSize, false)
	m, err := r.askOnce(ctx, s, server, ask)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		m, err = r.askOnce(ctx, s, server, new(dns.Msg).SetQuestion(q.name, q.kind))
	}
	if err != nil {
		return nil, err
	}
	return m, judge(m, q)
}

// askOnce asks over UDP, and again over TCP when the answer is cut off.
func (r *Resolver) askOnce(ctx context.Context, s *settings, server string, ask *dns.Msg) (*dns.Msg, error) {
	if !s.tcp {
		m, err := r.roundTrip(ctx, "udp", server, ask, s.timeout)
		if err != nil || !m.Truncated {
			return m, err
		}
	}
	m, err := r.roundTrip(ctx, "tcp", server, ask, s.timeout)
	switch {
	case err != nil && !s.tcp:
		return nil, fmt.Errorf("the answer is cut off, and over TCP: %w", err)
	case err != nil:
		return nil, fmt.Errorf("over TCP: %w", err)
	case m.Truncated:
		return nil, errCutOff
	}
	return m, nil
}

// roundTrip sends one message over a connection of its own, so that each question has another
// port, and returns what answers it. It takes no longer than timeout.
func (r *Resolver) roundTrip(ctx context.Context, network, server string, ask *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := r.dial(ctx, network, server)
	if err == nil {
		defer conn.Close()
		// The deadline of ctx is that of the connection too.
		defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
		var m *dns.Msg
		if m, err = converse(conn, network, ask); err == nil {
			return m, nil
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return nil, noAnswerError{timeout, err}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // what it says besides are the addresses, which are told anyway
	}
	return nil, err
}

func converse(conn net.Conn, network string, ask *dns.Msg) (*dns.Msg, error) {
	packed, err := ask.Pack()
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		return converseTCP(conn, packed, ask)
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	// What does not answer the question is passed over: anybody may send a packet to our port, and
	// the answer itself may still come (go.dev/issue/13281).
	buf := make([]byte, udpBuffer)
	var stray error
	for range maxStray {
		n, err := conn.Read(buf)
		if err != nil && stray != nil {
			return nil, fmt.Errorf("%w, after %w", err, stray)
		} else if err != nil {
			return nil, err
		}
		m, err := parse(buf[:n], ask)
		if err == nil {
			return m, nil
		}
		stray = err
	}
	return nil, fmt.Errorf("%d messages that are no answer: %w", maxStray, stray)
}

func converseTCP(conn net.Conn, packed []byte, ask *dns.Msg) (*dns.Msg, error) {
	// The length and the message leave in one segment: there are servers that read no further.
	if _, err := conn.Write(slices.Concat(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	return parse(answer, ask)
}

// parse reads a message that answers ask. When it is cut off it may lack any of its records.
func parse(packed []byte, ask *dns.Msg) (*dns.Msg, error) {
	const header = 12
	if len(packed) < header {
		return nil, errMalformed
	}
	m := new(dns.Msg)
	err := m.Unpack(packed)
	switch {
	case m.Id != ask.Id:
		return nil, errOtherID
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return nil, errNoResponse
	case !sameQuestion(m, ask):
		return nil, errOtherQuestion
	case err != nil && !m.Truncated:
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return m, nil
}

// sameQuestion tells whether m repeats the question. Servers that refuse may leave it out.
func sameQuestion(m, ask *dns.Msg) bool {
	if len(m.Question) == 0 {
		return m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
	}
	got, want := m.Question[0], ask.Question[0]
	return len(m.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass &&
		dns.CanonicalName(got.Name) == want.Name
}

// heard tells whether a server has answered, if only to say nothing of the name.
func heard(err error) bool {
	_, ok := errors.AsType[rcodeError](err)
	return ok || errors.Is(err, errLame) || errors.Is(err, errOtherName)
}

// judge tells why an answer proves nothing. What it lets pass says what the records are, or
// that there are none.
func judge(m *dns.Msg, q question) error {
	switch m.Rcode {
	case dns.RcodeNameError:
	case dns.RcodeSuccess:
		if len(owned(m.Answer, q.name, q.kind))+len(owned(m.Answer, q.name, dns.TypeCNAME)) > 0 {
			return nil
		}
		if len(m.Answer) > 0 {
			return errOtherName
		}
	default:
		return rcodeError(m.Rcode)
	}
	// A negative answer is one of a server that is responsible, or asks those who are. One that
	// names other servers and no SOA is a referral (RFC 2308, section 2.2).
	if !m.Authoritative && !m.RecursionAvailable {
		return errLame
	}
	if m.Rcode == dns.RcodeSuccess && !m.Authoritative && has[*dns.NS](m.Ns) && !has[*dns.SOA](m.Ns) {
		return errLame
	}
	return nil
}

func has[T dns.RR](records []dns.RR) bool {
	return slices.ContainsFunc(records, func(rr dns.RR) bool { _, ok := rr.(T); return ok })
}
