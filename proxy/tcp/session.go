package tcp

import (
	"errors"
	"os"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/internal/secure"
	"sidecar/metrics"
	"sidecar/proxy/preamble"
	"sidecar/upstream"
)

// errReset is the reset that epoll told of, when no call on the connection has returned it.
var errReset = errors.New("connection reset by peer")

var errPanicked = errors.New("panicked; the loop's log has the stack")

// A session is one connection of a client and what becomes of it. It is touched on its loop
// only, by one task at a time.
type session struct {
	lane     *lane
	client   *eventloop.Conn
	task     *eventloop.Task // while it runs
	endpoint *eventloop.Conn // nil until one has accepted
	lease    upstream.Lease
	address  [16]byte  // of the client, where its endpoint is picked by that
	up, down direction // client to endpoint, and back

	set    *Settings     // as they were when it began
	began  time.Duration // loop time
	active time.Duration // loop time at which a byte moved last

	introduced bool // its PROXY header has been taken

	failed   bool // by cause, for the reason err, the first that came up
	lingered bool // what was under way when it failed has had its turn
	stale    bool // the endpoint went down while it was dialled
	cause    metrics.Cause
	err      error

	dials int                  // endpoints that were dialled
	tries []try                // that failed, or were not made
	avoid []*upstream.Endpoint // of those, the endpoints

	inLane       member
	inEndpoint   member
	endpointList *list
}

// A state is how a session stands when its task lets go of it.
type state uint8

const (
	panicking state = iota // nobody has said otherwise
	idle                   // it goes on when one of its connections has something to say
	over                   // it has ended: cleanly unless failed is set
)

// Run is the session's task: from its beginning, or from idleness, to idleness or its end.
func (s *session) Run(t *eventloop.Task) {
	state := panicking
	s.task = t
	defer func() {
		if state == idle {
			return
		}
		if state == panicking {
			s.fail(metrics.CauseInternal, errPanicked)
		}
		s.finish()
	}()
	if s.endpoint == nil && !(s.secure(t) && s.connect()) {
		state = over
		return
	}
	state = s.move(t)
}

// handshakeTime is how long a client may take for its TLS handshake.
const handshakeTime = 10 * time.Second

// secure takes the PROXY header and makes the client's connection one with TLS, where these are
// asked for; false means that the session has failed.
func (s *session) secure(t *eventloop.Task) bool {
	if !s.introduced && s.set.AcceptFrom.Has(s.client) {
		if err := preamble.Receive(t, s.client, handshakeTime); err != nil {
			s.fail(metrics.CauseBadRequest, err)
			return false
		}
	}
	config := s.set.TLS
	if config == nil {
		return true
	}
	conn := secure.Server(s.client, config)
	s.client = conn.Upper()
	if err := conn.Handshake(t, handshakeTime); err != nil {
		s.lane.conns.Refused.Add(1)
		s.fail(metrics.CauseBadRequest, err)
		return false
	}
	return true
}

// move serves both directions until nothing is under way or the session is over.
func (s *session) move(t *eventloop.Task) state {
	for {
		s.step(&s.up)
		s.step(&s.down)
		if s.up.done && s.down.done {
			s.empty(s.client, metrics.CauseClientGone)
			s.empty(s.endpoint, metrics.CauseReset)
			return over
		}
		s.mute()
		var wants [2]eventloop.Interest
		wants[0] = s.wants(s.client, &s.up, &s.down)
		wants[1] = s.wants(s.endpoint, &s.down, &s.up)
		if !ready(wants[0]) && !ready(wants[1]) {
			s.checkReset(s.client, &s.down, metrics.CauseClientGone)
			s.checkReset(s.endpoint, &s.up, metrics.CauseReset)
			if s.failed {
				if s.lingered {
					return over
				}
				// What one side sent before it reset may not have been reported yet.
				s.lingered = true
				t.Yield()
				continue
			}
			if s.goIdle() {
				return idle
			}
		}
		if !s.wait(t, wants) {
			return over
		}
	}
}

// step lets one direction move, and takes note of what came of it.
func (s *session) step(d *direction) {
	n, blame, err := d.step(s.lane.loop)
	if n > 0 {
		s.active = s.lane.loop.Now()
		if d == &s.up {
			s.lane.sessions.BytesIn.Add(uint64(n))
		} else {
			s.lane.sessions.BytesOut.Add(uint64(n))
		}
	}
	if err == nil {
		return
	}
	d.drop(s.lane.loop)
	switch {
	case errors.Is(err, eventloop.ErrClosed):
		s.fail(metrics.CauseDraining, err)
	case blame == s.client:
		s.fail(metrics.CauseClientGone, err)
	default:
		s.fail(metrics.CauseReset, err)
	}
}

// empty waits until all that was written to c has left, which TLS may hold. Only then has the session
// ended well: unlike the kernel, the layer does not go on when it is closed.
func (s *session) empty(c *eventloop.Conn, gone metrics.Cause) {
	if s.failed {
		return
	}
	switch err := c.Flush(s.set.IdleTimeout); {
	case err == nil:
	case errors.Is(err, eventloop.ErrClosed):
		s.fail(metrics.CauseDraining, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.fail(metrics.CauseIdleTimeout, nil)
	default:
		s.fail(gone, err)
	}
}

// wants says what has to happen to c before anything can be moved: from is the direction
// that reads from c, into the one that writes to it. Without any event it is only waited
// for c to break.
func (s *session) wants(c *eventloop.Conn, from, into *direction) eventloop.Interest {
	var e eventloop.Events
	if !from.done && !from.flushing() {
		e |= eventloop.Readable
	}
	if !into.done && into.flushing() {
		e |= eventloop.Writable
	}
	return eventloop.Interest{Conn: c, Events: e}
}

func ready(in eventloop.Interest) bool { return in.Conn.Has(in.Events) }

// checkReset fails the session if c is broken although its stream has not ended; into is
// the direction that writes to c. A TCP connection that we have not shut down ourselves is
// broken by a reset only. A Unix socket is broken as well when its peer has closed it, with
// everything still to be read: there the next read or write tells.
func (s *session) checkReset(c *eventloop.Conn, into *direction, cause metrics.Cause) {
	if c.Has(eventloop.Broken) && !into.done && c.RemoteAddrPort().IsValid() {
		s.fail(cause, errReset)
	}
}

// wait parks until something that is wanted has happened; false means that the session is
// over. If it has happened already, others get their turn when this one has had its share.
func (s *session) wait(t *eventloop.Task, wants [2]eventloop.Interest) bool {
	in := wants[:]
	switch {
	case passed(wants[0]):
		in = wants[1:]
	case passed(wants[1]):
		in = wants[:1]
	}
	switch err := t.Wait(s.left(), in...); {
	case err == nil:
		return true
	case errors.Is(err, eventloop.ErrClosed):
		s.fail(metrics.CauseDraining, err)
	default:
		s.fail(metrics.CauseIdleTimeout, nil)
	}
	return false
}

// mute has the kernel keep quiet about a sender that is held back by its receiver, as long
// as nothing else is wanted of it: each segment it sends meanwhile would wake the loop.
func (s *session) mute() {
	up, down := s.up.flushing(), s.down.flushing()
	if up && !down {
		s.client.Mute()
	} else {
		s.client.Unmute()
	}
	if down && !up {
		s.endpoint.Mute()
	} else {
		s.endpoint.Unmute()
	}
}

// left is how long the session may go on without a byte, or negative without a limit.
func (s *session) left() time.Duration {
	if s.set.IdleTimeout <= 0 {
		return -1
	}
	return max(0, s.set.IdleTimeout-(s.lane.loop.Now()-s.active))
}

// passed tells whether it is no use to wait for a connection: nothing is wanted of it, and
// it is broken, which would end the wait at once.
func passed(in eventloop.Interest) bool {
	return in.Events == 0 && in.Conn.Has(eventloop.Broken)
}

// goIdle leaves both connections without a task, if both have nothing to say and neither
// has bytes to wait for.
func (s *session) goIdle() bool {
	if s.up.done || s.down.done || s.up.flushing() || s.down.flushing() {
		return false
	}
	left := s.left()
	if left == 0 {
		return false // wait says so
	}
	s.client.SetReadTimeout(left)
	if s.client.Idle(s) {
		if s.endpoint.Idle(s) {
			return true
		}
		s.client.Busy()
	}
	s.client.SetReadTimeout(0)
	return false
}

// Ready is called when something has happened to one of two idle connections. A message
// that its receiver takes whole is passed on right here, which spares a task; the other
// connection stays idle all the while. Anything else is for a task.
func (s *session) Ready(c *eventloop.Conn, why eventloop.Cause) {
	if why == eventloop.CauseReadable && s.relay(c) {
		return
	}
	s.wake()
}

// wake ends the idleness of both connections with a task.
func (s *session) wake() {
	s.client.Busy()
	s.endpoint.Busy()
	s.client.SetReadTimeout(0) // if it has passed, wait will find out
	s.lane.loop.Go(s)
}

// relay passes a message on, and leaves c idle again if there is nothing else to do.
func (s *session) relay(c *eventloop.Conn) (done bool) {
	d := &s.up
	if c == s.endpoint {
		d = &s.down
	}
	if d.bulk {
		return false
	}
	panicked := true
	defer func() {
		if panicked { // nobody closes the connections of what is not a task
			s.fail(metrics.CauseInternal, errPanicked)
			s.wake()
		}
	}()
	s.step(d)
	panicked = false
	left := s.left()
	if s.failed || d.done || d.bulk || d.flushing() || left == 0 || !c.Idle(s) {
		return false
	}
	s.client.SetReadTimeout(left)
	return true
}

// fail notes why the session ends, unless there is a reason already.
func (s *session) fail(cause metrics.Cause, err error) {
	if !s.failed {
		s.failed, s.cause, s.err = true, cause, err
	}
}

// errCut is what the calls of a session return that was cut.
var errCut = errors.New("session cut")

// cut ends the session from outside of its task.
func (s *session) cut(cause metrics.Cause) {
	s.fail(cause, nil)
	s.lingered = true
	s.client.Abort(errCut)
	if s.endpoint != nil {
		s.endpoint.Abort(errCut)
	}
}

// endpointDown cuts the session, or has it try another endpoint if this one has not
// accepted yet.
func (s *session) endpointDown() {
	if s.endpoint == nil {
		s.stale = true
	} else {
		s.cut(metrics.CauseEndpointDown)
	}
}

// finish closes what is open, accounts for the session and gives it back.
func (s *session) finish() {
	l := s.lane
	s.up.drop(l.loop)
	s.down.drop(l.loop)
	if s.failed {
		s.client.Reset()
		if s.endpoint != nil {
			s.endpoint.Reset()
		}
		l.sessions.Fail(s.cause)
	} else {
		s.client.Close()
		s.endpoint.Close()
	}
	if s.endpoint != nil {
		s.lease.Endpoint().Disconnect()
	}
	s.lease.Release()
	lasted := l.loop.Now() - s.began
	s.report(lasted)
	l.sessions.Finish(lasted)
	l.conns.Closed.Add(1)
	l.forget(s)
}
