package http

import (
	"time"

	"sidecar/internal/eventloop"
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
}

// A link is a connection to an endpoint.
type link struct {
	conn       *eventloop.Conn
	pool       *pool
	next, prev *link         // in the pool
	since      time.Duration // loop time at which it came into the pool
}

func (s *shard) pool(e *upstream.Endpoint) *pool {
	p := s.pools[e]
	if p == nil {
		p = &pool{shard: s, endpoint: e}
		s.pools[e] = p
	}
	return p
}

// dropPool closes the idle connections of an endpoint; gone says that it will not come
// back.
func (s *shard) dropPool(e *upstream.Endpoint, gone bool) {
	if p := s.pools[e]; p != nil {
		p.clear()
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
	if p.idle >= s.proxy.PoolPerEndpoint || s.draining || p.endpoint.Retired() || p.endpoint.Down() {
		k.close()
		return
	}
	k.since = s.loop.Now()
	k.conn.SetReadTimeout(p.limit.at(k.since, s.proxy.UpstreamIdle))
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
	var b [1]byte
	_, err := k.conn.TryRead(b[:])
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
	k.pool.shard.requests.Closed.Add(1)
}

// dial connects to the pool's endpoint.
func (p *pool) dial() (*link, error) {
	s := p.shard
	var conn *eventloop.Conn
	var err error
	if ap := p.endpoint.AddrPort(); ap.IsValid() {
		conn, err = s.loop.Dial(ap, s.proxy.ConnectTimeout)
	} else {
		conn, err = s.loop.DialAddress(p.endpoint.Address(), s.proxy.ConnectTimeout)
	}
	if err != nil {
		return nil, err
	}
	s.requests.Opened.Add(1)
	return &link{conn: conn, pool: p}, nil
}
