package http

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/internal/secure"
	"sidecar/upstream"
)

// A pool keeps the idle connections of one loop to one endpoint, and is used from the end
// that was used last: those the traffic does not need any more run into their deadline.
type pool struct {
	shard    *shard
	endpoint *upstream.Endpoint
	top      *link
	idle     int
	limit    idleLimit
	heard    time.Duration // loop time at which bytes last came from the endpoint, on any connection

	trunks     []*trunk
	connecting bool              // a request makes another trunk
	waiting    []*eventloop.Task // for that
	left       bool              // the endpoint is retired

	anonymous, ownConfig *tls.Config // of TLS: without the endpoint's name, and with it
}

// A link is a connection to an endpoint.
type link struct {
	conn       *eventloop.Conn
	pool       *pool
	next, prev *link         // in the pool
	since      time.Duration // loop time at which it came into the pool
	pending    bool          // its handshake has not ended
	alpn       *secure.Conn  // … by which HTTP/2 is to be agreed on, or nil
	trunk      *trunk        // of which it is a stream; nil for a connection of its own
}

func (s *shard) pool(e *upstream.Endpoint) *pool {
	p := s.pools[e]
	if p == nil {
		p = &pool{shard: s, endpoint: e, left: e.Retired()}
		if !e.Retired() { // or nobody would ever take it out again
			s.pools[e] = p
		}
	}
	return p
}

// dropPool closes the idle connections of an endpoint; gone says that it will not come
// back.
func (s *shard) dropPool(e *upstream.Endpoint, gone bool) {
	if p := s.pools[e]; p != nil {
		p.clear()
		p.leave(gone)
		if gone {
			delete(s.pools, e)
		}
	}
}

// get takes a connection that is not known to be of no use, or returns nil. A request that
// may be sent again takes what the loop believes to be good; for any other the kernel is asked,
// which costs a call and leaves only what is under way on the network.
func (p *pool) get(again bool) *link {
	for p.top != nil {
		k := p.top
		p.unlink(k)
		k.conn.Busy()
		if !k.conn.Has(eventloop.Readable|eventloop.HalfClosed|eventloop.Broken) && (again || k.conn.Quiet()) {
			k.conn.SetReadTimeout(0)
			p.shard.requests.Reused.Add(1)
			return k
		}
		k.close()
	}
	return nil
}

// put keeps a connection for the next request, if there is reason to think that it will be
// good then.
func (p *pool) put(k *link) {
	s := p.shard
	if k.trunk != nil || p.idle >= s.set.PoolPerEndpoint || s.draining || p.endpoint.Retired() || p.endpoint.Down() {
		k.close()
		return
	}
	k.since = s.loop.Now()
	k.conn.SetReadTimeout(p.limit.at(k.since, s.set.UpstreamIdle))
	if !k.idle() {
		k.close()
		return
	}
	k.next = p.top
	if p.top != nil {
		p.top.prev = k
	}
	p.top = k
	p.idle++
	s.requests.Idle.Add(1)
}

func (p *pool) unlink(k *link) {
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		p.top = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	}
	k.next, k.prev = nil, nil
	p.idle--
	p.shard.requests.Idle.Add(-1)
}

func (p *pool) clear() {
	for p.top != nil {
		k := p.top
		p.unlink(k)
		k.close()
	}
}

// idle leaves the connection to the loop. It is false if there are bytes that nobody asked
// for, or an end: then the connection is of no use any more. The loop may also believe that
// there is something to read because of bytes that the last response took already.
func (k *link) idle() bool {
	if k.conn.Idle(k) {
		return true
	}
	_, err := k.conn.TryRead(k.pool.shard.unasked[:])
	return err == eventloop.ErrWouldBlock && k.conn.Idle(k)
}

// Ready is called by the loop when something happens to a connection in the pool.
func (k *link) Ready(_ *eventloop.Conn, why eventloop.Cause) {
	if why == eventloop.CauseReadable && k.idle() {
		return
	}
	if why == eventloop.CauseReadable {
		now := k.pool.shard.loop.Now()
		k.pool.limit.observe(now, now-k.since)
	}
	k.pool.unlink(k)
	k.close()
}

func (k *link) close() {
	k.conn.Close()
	if k.trunk != nil {
		if s := k.pool.shard; len(s.strands) < keepStreams {
			s.strands = append(s.strands, k)
		}
		return
	}
	if k.pending {
		k.pool.endpoint.EndConnect(false)
		return
	}
	k.pool.endpoint.Disconnect()
	k.pool.shard.requests.Closed.Add(1)
}

// established ends the handshake of a link that startDial has begun, and tells whether it
// has ended.
func (k *link) established() (bool, error) {
	if !k.pending {
		return true, nil
	}
	made, err := k.conn.Established()
	if made && k.alpn != nil && k.alpn.Protocol() != "h2" {
		return false, errNoH2 // RFC 9113 §3.2
	}
	if made {
		k.pending = false
		k.pool.endpoint.EndConnect(true)
		k.pool.shard.requests.Opened.Add(1)
	}
	return made, err
}

// secured returns the link of a connection to the endpoint, made one with TLS where that is asked for.
// It is established when its handshake has ended.
func (p *pool) secured(conn *eventloop.Conn, two bool) *link {
	k := &link{conn: conn, pool: p, pending: true}
	if p.shard.set.UpstreamTLS == nil {
		return k
	}
	config := p.shard.set.UpstreamTLS(two)
	if config.ServerName == "" {
		config = p.named(config)
	}
	s := secure.Client(conn, config)
	if k.conn = s.Upper(); two {
		k.alpn = s
	}
	return k
}

// named is the config with the endpoint's name. It is made anew when the other is another one.
func (p *pool) named(config *tls.Config) *tls.Config {
	if p.anonymous != config {
		p.anonymous, p.ownConfig = config, config.Clone()
		if host, _, err := net.SplitHostPort(p.endpoint.Address()); err == nil {
			p.ownConfig.ServerName = host
		}
	}
	return p.ownConfig
}

// dialName connects to an endpoint whose address is a name or a path, and waits for that. With
// TLS the handshake is still to come.
func (p *pool) dialName(limit time.Duration, two bool) (*link, error) {
	s := p.shard
	if err := p.endpoint.BeginConnect(); err != nil {
		p.beg(err)
		return nil, err
	}
	conn, err := s.loop.DialAddress(p.endpoint.Address(), limit)
	if err == nil && s.set.UpstreamTLS != nil {
		return p.secured(conn, two), nil
	}
	p.endpoint.EndConnect(err == nil)
	if err != nil {
		return nil, err
	}
	s.requests.Opened.Add(1)
	return &link{conn: conn, pool: p}, nil
}

// startDial begins to connect to the endpoint. A name would have to be waited for, and is not
// dialled.
func (p *pool) startDial(two bool) (*link, error) {
	ap := p.endpoint.AddrPort()
	if !ap.IsValid() {
		return nil, errNoAddress
	}
	if err := p.endpoint.BeginConnect(); err != nil {
		p.beg(err)
		return nil, err
	}
	conn, err := p.shard.loop.StartDial(ap)
	if err != nil {
		p.endpoint.EndConnect(false)
		return nil, err
	}
	return p.secured(conn, two), nil
}

var errNoAddress = errors.New("its address is a name, which would have to be looked up")

var errNoH2 = errors.New("it has not agreed on HTTP/2 by ALPN")

// begEvery is how often, at the most, a loop asks the others for a connection.
const begEvery = 10 * time.Millisecond

// beg has every loop give up an idle connection: there may be no more than there are, and
// those that this loop needs may lie idle with another one.
func (p *pool) beg(full error) {
	// That too many are being made is no reason: the idle ones are what spares making more.
	var u *upstream.Unavailable
	if !errors.As(full, &u) || !u.Of(upstream.ErrConnections) && !u.Of(upstream.ErrEndpointConnections) {
		return
	}
	service := u.Of(upstream.ErrConnections)
	s := p.shard
	if now := s.loop.Now(); s.begged == 0 || now-s.begged >= begEvery {
		s.begged = now
		s.proxy.group.Each(func(l *eventloop.Loop) { s.proxy.shards[l.Index()].giveUp(p.endpoint, service) })
	}
}

// giveUp closes an idle connection to the endpoint, or if there is none and any will do, to
// another one.
func (s *shard) giveUp(e *upstream.Endpoint, anyWillDo bool) {
	if p := s.pools[e]; p != nil && p.drop() {
		return
	}
	if !anyWillDo {
		return
	}
	for _, p := range s.pools {
		if p.drop() {
			return
		}
	}
}

// drop closes the connection that was used last, or a trunk, and reports whether there was one to
// spare.
func (p *pool) drop() bool {
	k := p.top
	if k == nil {
		return p.spare()
	}
	p.unlink(k)
	k.close()
	return true
}
