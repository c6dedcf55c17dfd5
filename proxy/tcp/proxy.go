package tcp

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/preamble"
	"sidecar/upstream"
)

// Times that hold when Options leave them zero.
const (
	DefaultConnectTimeout = time.Second
	DefaultIdleTimeout    = time.Hour
)

// Options say what a Proxy is for. Service, Sessions and Listener are required.
type Options struct {
	Settings
	Log      *zap.Logger // nil: nothing is logged
	Sessions *metrics.TCP
	Listener *metrics.Listener
}

// Settings are what a Proxy can take new ones of while sessions run; see Reconfigure.
type Settings struct {
	Service *upstream.Service

	ConnectTimeout time.Duration // for each endpoint tried; 0: DefaultConnectTimeout
	IdleTimeout    time.Duration // no byte either way; 0: DefaultIdleTimeout, negative: no limit

	// Tries is how many endpoints a session tries until one accepts; 0: DefaultTries.
	Tries int
	// Hash makes the hash of the client's address that its endpoint is picked by; nil: none
	// is made. It never returns 0.
	Hash func([]byte) uint64

	// TLS is what clients are spoken to with; nil: in plain text.
	TLS *tls.Config
	// UpstreamTLS is what endpoints are spoken to with; nil: in plain text. It is asked for each
	// connection, so that new files count. A config without a ServerName gets that of the
	// endpoint's address.
	UpstreamTLS func() *tls.Config

	// AcceptFrom are those who must begin with a PROXY header.
	AcceptFrom preamble.Senders
	// SendProxy is the version of the PROXY header that endpoints are told of the client by, 0: none.
	SendProxy int

	// CloseOnDown cuts the sessions of an endpoint when it is retired or marked down by its
	// health check, even if it goes on being used because all are down. Otherwise they run on.
	CloseOnDown bool
}

// withDefaults returns a copy in which nothing is left to say.
func (s Settings) withDefaults() *Settings {
	if s.Tries <= 0 {
		s.Tries = DefaultTries
	}
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = DefaultConnectTimeout
	}
	if s.IdleTimeout == 0 {
		s.IdleTimeout = DefaultIdleTimeout
	}
	return &s
}

// A Proxy turns the connections of a service's listeners into sessions. Accepted is for the
// loops; the other methods may be called from any goroutine that is not a loop.
type Proxy struct {
	name     string // of the service
	log      *zap.Logger
	group    *eventloop.Group
	lanes    []*lane // by the index of their loop
	settings atomic.Pointer[Settings]
}

var _ eventloop.Acceptor = (*Proxy)(nil)

// New makes a Proxy whose sessions run on the loops of group. It follows the service and therefore
// comes before Service.Run.
func New(group *eventloop.Group, o Options) *Proxy {
	p := &Proxy{name: o.Service.Name(), log: o.Log, group: group}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	p.Reconfigure(o.Settings)
	for _, l := range group.Loops() {
		p.lanes = append(p.lanes, newLane(p, l, o.Sessions.Shard(l.Index()), o.Listener.Shard(l.Index())))
	}
	p.Follow(o.Service)
	return p
}

// Follow has the proxy heed what happens to the endpoints of a service that Settings will name. It
// comes before Service.Run.
func (p *Proxy) Follow(s *upstream.Service) { s.OnEvent(p.event) }

// Reconfigure changes the settings for sessions that begin from now on; CloseOnDown holds for those
// that run as well. They go on with the endpoints that they have, also of another service.
func (p *Proxy) Reconfigure(s Settings) { p.settings.Store(s.withDefaults()) }

// Accepted begins a session; it is called on the connection's loop.
func (p *Proxy) Accepted(c *eventloop.Conn) {
	p.lanes[c.Loop().Index()].begin(c)
}

// event is called on the service's goroutine.
func (p *Proxy) event(ev upstream.Event) {
	if ev.Kind != upstream.Retired && ev.Kind != upstream.Down || !p.settings.Load().CloseOnDown {
		return
	}
	e := ev.Endpoint
	p.group.Each(func(l *eventloop.Loop) { p.lanes[l.Index()].cutEndpoint(e) })
}

// Drain waits until the last session has ended. When ctx ends first, the remaining ones are
// cut, and Drain returns ctx's error once they have ended too, which takes no longer than a
// connect timeout. The listeners are to be closed before: sessions that begin meanwhile may
// be waited for or not.
func (p *Proxy) Drain(ctx context.Context) error {
	ended := make(chan struct{}, len(p.lanes))
	waiting := 0
	for _, l := range p.lanes {
		if l.loop.Post(func() { l.whenEmpty(ended) }) {
			waiting++
		}
	}
	deadline := ctx.Done()
	for waiting > 0 {
		select {
		case <-ended:
			waiting--
		case <-deadline:
			deadline = nil
			p.group.Each(func(l *eventloop.Loop) { p.lanes[l.Index()].cutAll(metrics.CauseDraining) })
		}
	}
	if deadline == nil && ctx.Done() != nil {
		return ctx.Err()
	}
	return nil
}

// Release does nothing: no connection is kept for later.
func (p *Proxy) Release() {}
