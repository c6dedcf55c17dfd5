package tcp

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/preamble"
)

// RouterOptions say what a Router is for. Unrouted is required.
type RouterOptions struct {
	Log      *zap.Logger // nil: nothing is logged
	Unrouted *metrics.Unrouted
	// Timeout is how long a client may take to say its name; 0: 10 s.
	Timeout time.Duration
}

// A Router is the Acceptor of a socket that is shared by services: each connection goes to the
// one whose name its TLS client asks for. The ClientHello is looked at and left where it is, so TLS
// is between the client and the endpoint. Accepted is for the loops; the other methods may be called
// from any goroutine that is not a loop.
type Router struct {
	log      *zap.Logger
	group    *eventloop.Group
	routes   atomic.Pointer[routes]
	unrouted *metrics.Unrouted
	timeout  time.Duration
	halls    []*hall // by the index of their loop
}

var _ eventloop.Acceptor = (*Router)(nil)

// NewRouter makes a Router on the loops of group, which are those of the Proxies. Without SetRoutes
// it refuses everything.
func NewRouter(group *eventloop.Group, o RouterOptions) *Router {
	r := &Router{log: o.Log, group: group, unrouted: o.Unrouted, timeout: o.Timeout}
	if r.timeout <= 0 {
		r.timeout = handshakeTime
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	r.SetRoutes(nil, nil)
	for _, l := range group.Loops() {
		r.halls = append(r.halls, &hall{router: r, loop: l})
	}
	return r
}

// SetRoutes changes where connections go whose names are not known yet. Those who come from one of
// the networks of from must begin with a PROXY header, which comes before the name.
func (r *Router) SetRoutes(from preamble.Senders, all []Route) { r.routes.Store(newRoutes(from, all)) }

// Accepted waits for the name that a connection asks for; it is called on the connection's loop.
func (r *Router) Accepted(c *eventloop.Conn) {
	h := r.halls[c.Loop().Index()]
	h.loop.Go(h.admit(c))
}

// Drain waits until no connection waits for its name any more; each that still comes up with one
// is its service's. So it comes before the Drain of the Proxies, and behind the end of the listener.
// When ctx ends first, those that are left are cut, and Drain returns ctx's error.
func (r *Router) Drain(ctx context.Context) error {
	empty := make(chan struct{}, len(r.halls))
	waiting := 0
	for _, h := range r.halls {
		if h.loop.Post(func() { h.whenEmpty(empty) }) {
			waiting++
		}
	}
	deadline := ctx.Done()
	for waiting > 0 {
		select {
		case <-empty:
			waiting--
		case <-deadline:
			deadline = nil
			r.group.Each(func(l *eventloop.Loop) { r.halls[l.Index()].cutAll() })
		}
	}
	if deadline == nil && ctx.Done() != nil {
		return ctx.Err()
	}
	return nil
}

// A hall is what a Router has on one loop. Only that loop touches it.
type hall struct {
	router *Router
	loop   *eventloop.Loop
	all    map[*arrival]struct{} // that wait
	free   []*arrival
	empty  []chan<- struct{} // told when nobody waits any more
	quiet  [metrics.UnroutedReasons]limiter
}

// An arrival is a connection whose name is not known yet.
type arrival struct {
	hall   *hall
	client *eventloop.Conn
	hello  preamble.Hello
}

func (h *hall) admit(c *eventloop.Conn) *arrival {
	var a *arrival
	if n := len(h.free); n > 0 {
		a = h.free[n-1]
		h.free = h.free[:n-1]
	} else {
		a = new(arrival)
	}
	a.hall, a.client = h, c
	if h.all == nil {
		h.all = make(map[*arrival]struct{})
	}
	h.all[a] = struct{}{}
	return a
}

// leave takes back an arrival, whose connection has been handed over or closed.
func (h *hall) leave(a *arrival) {
	delete(h.all, a)
	a.client = nil
	a.hello.Reset()
	if len(h.free) < keepSessions {
		h.free = append(h.free, a)
	}
	if len(h.all) == 0 {
		for _, c := range h.empty {
			c <- struct{}{}
		}
		h.empty = nil
	}
}

// whenEmpty sends to c as soon as nobody waits. c has room for it.
func (h *hall) whenEmpty(c chan<- struct{}) {
	if len(h.all) == 0 {
		c <- struct{}{}
		return
	}
	h.empty = append(h.empty, c)
}

func (h *hall) cutAll() {
	for a := range h.all {
		a.client.Abort(errCut)
	}
}

// Run is the arrival's task, and then that of its session.
func (a *arrival) Run(t *eventloop.Task) {
	s := a.route(t)
	a.hall.leave(a)
	if s != nil {
		s.Run(t)
	}
}

// route finds out whose the connection is, and begins its session; nil if it is nobody's.
func (a *arrival) route(t *eventloop.Task) *session {
	panicked := true
	defer func() {
		if panicked { // the loop closes the connection
			a.hall.leave(a)
		}
	}()
	s := a.session(t)
	panicked = false
	return s
}

func (a *arrival) session(t *eventloop.Task) *session {
	h := a.hall
	introduced := false
	if h.router.routes.Load().from.Has(a.client) {
		if err := preamble.Receive(t, a.client, h.router.timeout); err != nil {
			a.refuse(reasonOf(err, metrics.UnroutedMalformed), err)
			return nil
		}
		introduced = true
	}
	named, err := a.await(t)
	if err != nil && !errors.Is(err, errNoHello) {
		a.refuse(reasonOf(err, metrics.UnroutedClosed), err)
		return nil
	}
	table := h.router.routes.Load()
	p := table.others
	if named {
		if of := table.find(a.hello.ServerName()); of != nil {
			p = of
		}
	}
	if p == nil {
		a.turnAway(named, err)
		return nil
	}
	s := p.lanes[h.loop.Index()].enter(a.client)
	s.introduced = introduced
	return s
}

// errNoHello goes with what a connection begins with instead of a good ClientHello.
var errNoHello = errors.New("no ClientHello")

// await waits for the ClientHello, which stays where it is. named tells that there is one.
func (a *arrival) await(t *eventloop.Task) (named bool, err error) {
	c := a.client
	c.SetReadTimeout(a.hall.router.timeout)
	for {
		b := a.hall.loop.Buffer()
		n, err := c.TryPeek(b[:min(len(b), preamble.MaxHello)])
		if err == nil {
			if named, err = a.hello.Parse(b[:n]); err != nil {
				err = errors.Join(errNoHello, err)
			}
		}
		a.hall.loop.Release(b)
		switch {
		case err == eventloop.ErrWouldBlock:
		case err != nil && !errors.Is(err, errNoHello):
			return false, err
		case err != nil || named:
			c.SetReadTimeout(0)
			return named, errors.Join(err, c.Take(nil))
		case c.Has(eventloop.HalfClosed):
			return false, io.ErrUnexpectedEOF
		}
		if err := t.Wait(-1, eventloop.Interest{Conn: c, Events: eventloop.Readable}); err != nil {
			return false, err
		}
	}
}

// unrecognizedName is the alert for a name that is nobody's (RFC 6066 §3), fatal, in a record of its own.
var unrecognizedName = []byte{21, 3, 3, 0, 2, 2, 112}

// turnAway refuses a connection that is for none of the services.
func (a *arrival) turnAway(named bool, err error) {
	switch {
	case errors.Is(err, preamble.ErrNotTLS):
		a.refuse(metrics.UnroutedNotTLS, err)
	case !named:
		a.refuse(metrics.UnroutedMalformed, err)
	default:
		reason := metrics.UnroutedUnknownName
		if len(a.hello.ServerName()) == 0 {
			reason = metrics.UnroutedNoName
		}
		// What the client has sent is thrown away first, or the reset would overtake the alert.
		b := a.hall.loop.Buffer()
		_, _ = a.client.TryRead(b)
		a.hall.loop.Release(b)
		_, _ = a.client.TryWrite(unrecognizedName)
		a.count(reason, nil)
		a.client.Close()
	}
}

// refuse resets a connection.
func (a *arrival) refuse(reason metrics.UnroutedReason, err error) {
	a.count(reason, err)
	a.client.Reset()
}

// reasonOf names an error of waiting; other is for those that come of what was read.
func reasonOf(err error, other metrics.UnroutedReason) metrics.UnroutedReason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return metrics.UnroutedTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, errCut), errors.Is(err, eventloop.ErrClosed):
		return metrics.UnroutedClosed
	}
	return other
}

// count accounts for a connection that is nobody's, and says so in the log: clients that leave
// are not worth a line.
func (a *arrival) count(reason metrics.UnroutedReason, err error) {
	h := a.hall
	h.router.unrouted.Count(reason)
	level := zapcore.WarnLevel
	if reason == metrics.UnroutedClosed {
		level = zapcore.DebugLevel
	}
	ce := h.router.log.Check(level, "connection refused: it is for none of the services that share the socket")
	if ce == nil {
		return
	}
	more, ok := h.quiet[reason].pass(h.loop.Now(), linesUnavailable)
	if !ok {
		return
	}
	fields := []zapcore.Field{zap.Stringer("cause", reason), zap.String("client", clientOf(a.client))}
	if name := a.hello.ServerName(); len(name) > 0 {
		fields = append(fields, zap.ByteString("server_name", name))
	}
	if err != nil {
		fields = append(fields, zap.Error(err))
	}
	if more > 0 {
		fields = append(fields, zap.Int("more_before", more))
	}
	ce.Write(fields...)
}
