package http

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sidecar/accesslog"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/proxy/http/h2"
	"sidecar/proxy/preamble"
	"sidecar/tap"
	"sidecar/tracing"
	"sidecar/upstream"
)

// ForwardedFor says what becomes of X-Forwarded-For, and whether what a client says of
// itself in X-Forwarded-Proto and X-Forwarded-Host is believed.
type ForwardedFor uint8

// Ways to treat what a client says of earlier hops.
const (
	ForwardedAppend ForwardedFor = iota // believed: the client's address is added at the end
	ForwardedSet                        // not believed: replaced
	ForwardedOff                        // passed on as it came
)

// Forwarding says what the sidecar adds to the heads that it passes on.
type Forwarding struct {
	For   ForwardedFor
	Proto bool   // X-Forwarded-Proto: http or https, unless ForwardedOff
	Host  bool   // X-Forwarded-Host: the client's Host, unless ForwardedOff
	Via   string // pseudonym for Via (RFC 9110 §7.6.3), requests and responses; empty: none
	Date  bool   // Date, to responses without one
	// Rewrite replaces the request's Host; empty: the client's own passes.
	Rewrite string
}

// Retry says what is tried again. See exchange.again for the rules behind it.
type Retry struct {
	Attempts int           // tries after the first
	PerTry   time.Duration // bound of one try up to the response's head; 0: none of its own
	Connect  bool          // the connection could not be made
	Reset    bool          // it broke before the first byte of a response
	Timeout  bool          // PerTry ran out
	Status   [100]bool     // 5xx, by the last two digits
	Refused  bool          // the endpoint has said that it did not process it
	GRPC     [17]bool      // statuses of gRPC, without a message before them

	Backoff       time.Duration // most that is waited before the second try; doubles with each further one
	BackoffMax    time.Duration // … up to this
	RetryAfterMax time.Duration // the longest Retry-After that is waited for, where there is one endpoint only
	Stalled       time.Duration // of silence, after which a copy goes elsewhere; see silence
}

// Fallback is answered when nothing of the service can be used. With Status 0 the sidecar's
// own 503 is.
type Fallback struct {
	Status      int
	ContentType string
	Body        string
}

// Options make a Proxy.
type Options struct {
	Settings
	Name     string // of the service, for logs, answers and Host where a client sent none
	Log      *zap.Logger
	Requests *metrics.HTTP
	Listener *metrics.Listener
	// AccessLog has a line for each request; nil: there is none.
	AccessLog *accesslog.Logger
	// Tap is where requests can be watched; nil: they cannot.
	Tap *tap.Point
}

// Settings are what a Proxy can take new ones of while requests run; see Reconfigure. Durations of 0
// mean no bound.
type Settings struct {
	Service  *upstream.Service
	Forward  Forwarding
	Limits   h1.Limits
	MaxBody  int64 // of a request, in bytes of data: 413; 0: no limit
	Retry    Retry
	Hedge    Hedge
	Fallback Fallback
	HashKey  HashKey
	// TimeoutHeader is the field in which a client says how long it will wait; empty: none.
	TimeoutHeader string

	HeadTimeout     time.Duration // for a client to send a request's head: 408
	ClientIdle      time.Duration // a client's connection without a request, or stalled in a body
	ConnectTimeout  time.Duration
	RequestTimeout  time.Duration // from the request's last byte to the response's head: 504
	UpstreamIdle    time.Duration // a connection in the pool
	StreamIdle      time.Duration // a response's body in which nothing moves
	CloseOnDown     bool          // cut the tunnels of an endpoint that is retired or marked down
	PoolPerEndpoint int           // idle connections kept per endpoint and loop

	// Tracer takes spans of sampled requests and sees to it that all have a traceparent; nil: that
	// passes as any other field.
	Tracer *tracing.Tracer

	// TLS is what clients are spoken to with; nil: in plain text.
	TLS *tls.Config

	// AcceptFrom are those who must begin with a PROXY header.
	AcceptFrom preamble.Senders

	// UpstreamTLS is what endpoints are spoken to with, by HTTP/2 or by HTTP/1.1; nil: in plain
	// text. It is asked for each connection, so that new files count. A config without a
	// ServerName gets that of the endpoint's address.
	UpstreamTLS func(two bool) *tls.Config

	// Upstream says how endpoints are spoken to, and HTTP2 bounds connections of HTTP/2, on
	// either side; what happens on them is counted by Requests, and ClientIdle and UpstreamIdle
	// say for how long they are kept.
	Upstream Upstream
	HTTP2    h2.Options
}

// Upstream is the protocol in which endpoints are spoken to.
type Upstream uint8

// The protocols.
const (
	UpstreamAuto  Upstream = iota // HTTP/2 for calls of gRPC, HTTP/1.1 for all else
	UpstreamHTTP1                 // HTTP/1.1
	UpstreamH2C                   // HTTP/2, known to be there
)

// A Proxy forwards the requests of one service's listeners. New makes one; its methods may
// be called from any goroutine, except Accepted.
type Proxy struct {
	name      string
	log       *zap.Logger
	requests  *metrics.HTTP
	listener  *metrics.Listener
	accessLog *accesslog.Logger
	tap       *tap.Point
	current   atomic.Pointer[settings] // that the loops have, or are about to have
	group     *eventloop.Group
	shards    []*shard
	ended     chan struct{} // a shard that drains has lost its last client
}

// settings are Settings, and what is made of them once. They do not change.
type settings struct {
	Settings
	hedges *upstream.Budget // nil without hedging
	via    string           // the two lines of Via, ready to be appended
	via10  string
	proto  string // the line of X-Forwarded-Proto
}

// newSettings keeps the account of before, which may be nil, as long as the rules for it stay the same.
func newSettings(o Settings, before *settings) *settings {
	s := &settings{Settings: o, proto: "X-Forwarded-Proto: http\r\n"}
	if o.Forward.Via != "" {
		s.via = "Via: 1.1 " + o.Forward.Via + "\r\n"
		s.via10 = "Via: 1.0 " + o.Forward.Via + "\r\n"
	}
	switch {
	case o.Hedge.Percentile <= 0:
	case before != nil && before.Hedge == o.Hedge:
		s.hedges = before.hedges
	default:
		s.hedges = upstream.NewBudget(upstream.BudgetOptions{Ratio: o.Hedge.Budget})
	}
	if o.TLS != nil {
		s.proto = "X-Forwarded-Proto: https\r\n"
	}
	return s
}

var errDraining = errors.New("the sidecar is shutting down")

// New makes the proxy of a service on all loops of a group. It follows the service, and so comes
// before Service.Run.
func New(group *eventloop.Group, o Options) *Proxy {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Proxy{
		name: o.Name, log: o.Log, requests: o.Requests, listener: o.Listener, accessLog: o.AccessLog, tap: o.Tap,
		group: group, ended: make(chan struct{}, 1),
	}
	set := newSettings(o.Settings, nil)
	for _, l := range group.Loops() {
		p.shards = append(p.shards, newShard(p, l, set))
	}
	p.current.Store(set)
	p.Follow(o.Service)
	return p
}

// Follow has the proxy heed what happens to the endpoints of a service that Settings will name. It
// comes before Service.Run.
func (p *Proxy) Follow(s *upstream.Service) { s.OnEvent(p.onEvent) }

// Reconfigure changes the settings, for connections and requests that begin when it has returned;
// what runs goes by the new ones as far as it has not begun with something yet. Tries of a request
// that runs may go to the new service. Client connections and, unless the service is another one,
// those to endpoints are not touched.
func (p *Proxy) Reconfigure(o Settings) {
	set := newSettings(o, p.current.Load())
	p.current.Store(set)
	// It only ends early when the loops do, and then nobody needs settings any more.
	_ = p.group.EachWait(context.Background(), func(l *eventloop.Loop) { p.shards[l.Index()].take(set) })
}

// Release gives up the connections that are kept for endpoints which are retired: those of a service
// that another has taken the place of.
func (p *Proxy) Release() {
	p.group.Each(func(l *eventloop.Loop) {
		s := p.shards[l.Index()]
		for e := range s.pools {
			if e.Retired() {
				s.dropPool(e, true)
			}
		}
	})
}

// onEvent gives up the idle connections of an endpoint that is gone or down. Requests in
// flight on it are not disturbed.
func (p *Proxy) onEvent(e upstream.Event) {
	if e.Kind == upstream.Up {
		return
	}
	p.group.Each(func(l *eventloop.Loop) {
		s := p.shards[l.Index()]
		s.dropPool(e.Endpoint, e.Kind == upstream.Retired)
		if s.set.CloseOnDown {
			s.cutTunnels(e.Endpoint)
		}
	})
}

// Accepted serves a client's connection; it is called by the listener on the connection's
// loop.
func (p *Proxy) Accepted(conn *eventloop.Conn) {
	p.shards[conn.Loop().Index()].accept(conn)
}

// idleGrace is how long a drain waits for one more request on an idle connection.
const idleGrace = time.Second

// Drain lets running requests end: each connection is closed behind its next response, which says so,
// and an idle one when no request has come for a second. It returns nil when the last client has gone. When
// ctx ends first, what is left is cut and ctx's error returned. The listeners are closed
// before.
func (p *Proxy) Drain(ctx context.Context) error {
	wait := idleGrace
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(min(wait, time.Until(deadline)/2), time.Millisecond)
	}
	if p.settle(ctx, func(s *shard) { s.drain(wait) }) == nil {
		return nil
	}
	grace, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if p.settle(grace, (*shard).cut) != nil {
		p.log.Error("connections that were cut have not ended", zap.String("service", p.name))
	}
	return ctx.Err()
}

// settle has every shard act, until none has a client left or ctx ends.
func (p *Proxy) settle(ctx context.Context, act func(*shard)) error {
	for {
		left := make(chan int, len(p.shards))
		if err := p.group.EachWait(ctx, func(l *eventloop.Loop) {
			s := p.shards[l.Index()]
			act(s)
			left <- s.count
		}); err != nil {
			return err
		}
		clients := 0
		for range len(left) {
			clients += <-left
		}
		if clients == 0 {
			return nil
		}
		select {
		case <-p.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
