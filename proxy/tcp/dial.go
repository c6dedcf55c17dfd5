package tcp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/internal/secure"
	"sidecar/metrics"
	"sidecar/proxy/preamble"
	"sidecar/upstream"
)

// DefaultTries is how many endpoints a session tries where Options do not say. A service of
// which three endpoints in a row do not accept is as good as down, and a client should not
// wait for all the others.
const DefaultTries = 3

// maxPassed is how many endpoints that may have no more connections a session passes over.
const maxPassed = 16

// A try is an attempt to connect that failed.
type try struct {
	endpoint *upstream.Endpoint
	err      error
}

var errWentDown = errors.New("it went down meanwhile")

// connect finds an endpoint that accepts. Nothing of the client's is read before, so each
// endpoint that does not is simply passed over; false means that the session has failed. Tries
// after the first are paid for from the service's retry budget: when everything is down, each
// client must not become several. An endpoint that may have no more connections costs nothing.
func (s *session) connect() bool {
	p := s.set
	budget := p.Service.Budget()
	budget.Deposit()
	for s.dials < p.Tries && len(s.tries) < p.Tries+maxPassed && !s.failed {
		before := s.dials
		if before > 0 && !budget.Withdraw() {
			break
		}
		if s.connectNext() {
			return true
		}
		if before > 0 && s.dials == before {
			budget.Refund()
		}
	}
	if last := len(s.tries) - 1; last >= 0 && (!s.failed || s.cause == metrics.CauseNoOtherEndpoint) {
		// That there is no other endpoint says less than why this one is none.
		s.failed = false
		s.fail(dialCause(s.tries[last].err), s.tries[last].err)
	}
	return false
}

// connectNext tries an endpoint that has not been tried.
func (s *session) connectNext() bool {
	var err error
	if s.lease, err = s.set.Service.Acquire(s.key(), s.avoid...); err != nil {
		s.fail(causeOf(err), err)
		return false
	}
	s.lane.join(s)
	if s.dial() {
		return true
	}
	s.lane.leave(s)
	s.lease.Release()
	return false
}

// key is what the session's endpoint is picked by. A connection that is not made may always
// be tried elsewhere.
func (s *session) key() upstream.PickKey {
	key := upstream.PickKey{Repeatable: true}
	if hash := s.set.Hash; hash != nil {
		if addr := s.client.RemoteAddrPort().Addr(); addr.IsValid() {
			s.address = addr.As16()
			key.Hash = hash(s.address[:])
		}
	}
	return key
}

// dial tries the endpoint of the lease, and reports how that went.
func (s *session) dial() bool {
	e, l := s.lease.Endpoint(), s.lane.loop
	start := time.Now()
	s.stale = false
	err := e.BeginConnect()
	if err != nil {
		s.tries = append(s.tries, try{e, err})
		s.avoid = append(s.avoid, e)
		return false
	}
	s.dials++
	var c *eventloop.Conn
	if ap := e.AddrPort(); ap.IsValid() {
		c, err = l.Dial(ap, s.set.ConnectTimeout)
	} else {
		c, err = l.DialAddress(e.Address(), s.set.ConnectTimeout)
	}
	if err == nil && s.set.SendProxy > 0 {
		err = s.introduce(c)
	}
	if err == nil && s.set.UpstreamTLS != nil {
		c, err = s.secured(c, e)
	}
	e.EndConnect(err == nil)
	took := time.Since(start)
	if err == nil {
		s.lease.Report(upstream.Result{Outcome: upstream.Success, Latency: took})
		s.lane.sessions.Connect.Observe(took)
		if !s.stale && !s.failed {
			s.established(c)
			return true
		}
		c.Close()
		e.Disconnect()
		err = errWentDown
	} else {
		s.lease.Report(upstream.Result{Outcome: dialOutcome(err), Latency: took, Err: err})
	}
	s.tries = append(s.tries, try{e, err})
	s.avoid = append(s.avoid, e)
	switch {
	case errors.Is(err, eventloop.ErrClosed):
		s.fail(metrics.CauseDraining, err)
	case exhausted(err):
		s.fail(metrics.CauseOverload, err)
	case s.clientGone():
		s.fail(metrics.CauseClientGone, errReset)
	}
	return false
}

// secured makes a connection to an endpoint one with TLS, and waits for the handshake.
func (s *session) secured(c *eventloop.Conn, e *upstream.Endpoint) (*eventloop.Conn, error) {
	config := s.set.UpstreamTLS()
	if config.ServerName == "" {
		config = config.Clone()
		if host, _, err := net.SplitHostPort(e.Address()); err == nil {
			config.ServerName = host
		}
	}
	upper := secure.Client(c, config).Upper()
	upper.SetWriteTimeout(s.set.ConnectTimeout)
	for {
		made, err := upper.Established()
		if made {
			upper.SetWriteTimeout(0)
			return upper, nil
		}
		if err == nil && s.clientGone() {
			err = errClientGone
		}
		if err == nil {
			err = s.awaitEither(upper)
		}
		if err != nil {
			upper.Close()
			return nil, err
		}
	}
}

// errClientGone ends a handshake with an endpoint that nobody needs any more.
var errClientGone = errors.New("the client is gone")

// clientGone tells whether the client has reset its connection.
func (s *session) clientGone() bool {
	return s.client.Has(eventloop.Broken) && s.client.RemoteAddrPort().IsValid()
}

// awaitEither waits for the endpoint's handshake to go on, or for the client to leave.
func (s *session) awaitEither(upper *eventloop.Conn) error {
	wants := [2]eventloop.Interest{{Conn: upper, Events: eventloop.Writable}, {Conn: s.client}}
	if s.client.Has(eventloop.Broken) { // of which a unix socket says nothing
		return s.task.Wait(-1, wants[:1]...)
	}
	return s.task.Wait(-1, wants[:]...)
}

// established makes c the session's endpoint.
func (s *session) established(c *eventloop.Conn) {
	s.endpoint = c
	s.up = direction{src: s.client, dst: c}
	s.down = direction{src: c, dst: s.client}
	s.active = s.lane.loop.Now()
}

// introduce sends the PROXY header, which comes before everything else, TLS too.
func (s *session) introduce(c *eventloop.Conn) error {
	source := s.client.RemoteAddrPort()
	var destination netip.AddrPort
	if local, ok := s.client.LocalAddr().(*net.TCPAddr); ok {
		destination = local.AddrPort()
	}
	buf := s.lane.loop.Buffer()
	defer s.lane.loop.Release(buf)
	var header []byte
	if s.set.SendProxy == 1 {
		header = preamble.AppendV1(buf[:0], source, destination)
	} else {
		header = preamble.AppendV2(buf[:0], source, destination)
	}
	n, err := c.TryWrite(header)
	if err == nil && n < len(header) {
		err = io.ErrShortWrite // nothing was written to it before: there is room for 100 bytes
	}
	if err != nil {
		c.Close()
	}
	return err
}

// exhausted tells whether it is this host that lacks something, so that it is no use to
// try another endpoint.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// dialOutcome says what a failed dial tells of the endpoint: nothing, if the fault was on
// this side. Ports are lacking per destination, so another endpoint may still do.
func dialOutcome(err error) upstream.Outcome {
	switch {
	case exhausted(err), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, eventloop.ErrClosed), err == errClientGone:
		return upstream.Canceled
	case errors.Is(err, os.ErrDeadlineExceeded):
		return upstream.TimedOut
	}
	return upstream.ConnectFailed
}

func dialCause(err error) metrics.Cause {
	var full *upstream.Unavailable
	switch {
	case errors.As(err, &full):
		return causeOf(err)
	case err == errWentDown:
		return metrics.CauseEndpointDown
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return metrics.CauseOverload
	case errors.Is(err, os.ErrDeadlineExceeded):
		return metrics.CauseConnectTimeout
	}
	return metrics.CauseConnectFailed
}

// causeOf names an error of Service.Acquire.
func causeOf(err error) metrics.Cause {
	var u *upstream.Unavailable
	if errors.As(err, &u) {
		return metrics.CauseOf(u.Cause)
	}
	return metrics.CauseOther
}
