package http

import (
	"time"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h1"
	"sidecar/upstream"
)

// A try is one attempt of an exchange: a lease, a connection, and what has come from it.
type try struct {
	lease  upstream.Lease
	up     *link
	reused bool // up comes from the pool
	heard  bool // bytes have come from it

	ub      []byte // from the endpoint: ub[:uw], a buffer only while there is something in it
	uw      int
	resp    h1.Response
	headEnd int // where the body begins in ub, once the head is complete

	upBounded eventloop.Events // what there are deadlines for on up, besides that of converse
	began     time.Duration    // loop time when it began
	waited    time.Duration    // … since when the endpoint can answer
	expires   time.Duration    // … when its time is over, 0: never; known once all has been sent

	mark mark // in the trace
}

// let ends what is left of a try: its connection, whose state nobody knows any more, its
// lease and its buffer.
func (t *try) let(l *eventloop.Loop) {
	if t.up != nil {
		t.up.close()
		t.up, t.upBounded = nil, 0
	}
	t.lease.Release()
	t.lease = upstream.Lease{}
	if t.ub != nil {
		l.Release(t.ub)
		t.ub = nil
	}
}

// hear reads from the try's endpoint up to the end of a final response's head. Interim
// responses go to the client as they come, unless the try is only the second.
func (x *exchange) hear(t *try) (bool, error) {
	for {
		if t.uw > 0 {
			n, err := t.resp.Parse(t.ub[:t.uw], x.req.MethodID, &x.shard.set.Limits)
			switch {
			case err != nil:
				return false, err
			case n > 0 && !t.resp.Interim():
				t.headEnd = n
				return true, nil
			case n > 0:
				if t == &x.try {
					if err := x.interim(); err != nil {
						return false, err
					}
				}
				t.uw = copy(t.ub, t.ub[n:t.uw])
				continue
			}
		}
		if !t.up.conn.Has(eventloop.Readable) && t.uw == 0 {
			if _, err := t.up.conn.TryRead(nil); err != nil && err != eventloop.ErrWouldBlock {
				return false, err
			}
			return false, nil // and no buffer while there is nothing to put into it
		}
		if t.ub == nil {
			t.ub = x.shard.loop.Buffer()
		}
		t.ub = x.grow(t.ub, t.uw+chunkBack)
		n, err := t.up.conn.TryRead(t.ub[t.uw : len(t.ub)-chunkBack])
		if err == eventloop.ErrWouldBlock {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		t.heard = true
		x.shard.silence.heardFrom(t.up.pool, x.shard.loop.Now(), x.shard.set.Retry.Stalled)
		t.uw += n
	}
}

// connect gets the lease of the next try, unless again has it already, and a connection to
// its endpoint. An endpoint that may not have more connections is passed over.
func (x *exchange) connect() *failure {
	s := x.shard
	if x.next.Endpoint() != nil {
		x.lease, x.next = x.next, upstream.Lease{}
	} else {
		lease, err := s.set.Service.Acquire(x.key, x.tried...)
		if err != nil {
			return unavailable(err)
		}
		x.lease = lease
	}
	for {
		f := x.open()
		if f == nil || f.cause != metrics.CauseOverLimit || len(x.tried) >= maxTried {
			return f
		}
		x.tried = append(x.tried, x.lease.Endpoint())
		x.lease.Release()
		lease, err := s.set.Service.Acquire(x.key, x.tried...)
		if err != nil {
			x.lease = upstream.Lease{}
			return f
		}
		x.lease = lease
	}
}

// open gets a connection to the endpoint of the lease: from the pool, or a new one.
func (x *exchange) open() *failure {
	s := x.shard
	x.upBounded, x.began, x.waited = 0, s.loop.Now(), s.loop.Now()
	pool := s.pool(x.lease.Endpoint())
	if x.multiplexed() {
		return x.openStream(pool)
	}
	if !x.fresh {
		if x.up = pool.get(x.key.Repeatable); x.up != nil {
			x.reused = true
			return nil
		}
	}
	x.reused = false
	f := x.dial(pool, x.within(s.set.ConnectTimeout))
	if f != nil && f.cause != metrics.CauseOverLimit {
		x.attempts++
	}
	return f
}

// dial connects to the pool's endpoint, within limit, 0 being any time, and for as long as the client
// is there.
func (x *exchange) dial(p *pool, limit time.Duration) *failure {
	var k *link
	var err error
	if p.endpoint.AddrPort().IsValid() {
		k, err = p.startDial(x.multiplexed())
	} else {
		k, err = p.dialName(limit, x.multiplexed())
	}
	if err != nil {
		return dialFailure(err)
	}
	k.conn.SetWriteTimeout(limit)
	for {
		switch made, err := k.established(); {
		case err != nil:
			k.close()
			return dialFailure(err)
		case made:
			k.conn.SetWriteTimeout(0)
			x.up = k
			return nil
		}
		if f := x.waitFor(k); f != nil {
			k.close()
			return f
		}
	}
}

// waitFor parks until a handshake has come on, or the client is gone.
func (x *exchange) waitFor(k *link) *failure {
	x.probe()
	client := eventloop.Events(0)
	if x.mayProbe() {
		client = eventloop.HalfClosed
	}
	err := x.task.Wait(-1, eventloop.Interest{Conn: x.conn, Events: client}, eventloop.Interest{Conn: k.conn, Events: eventloop.Writable})
	switch {
	case err != nil:
		return clientFailure(err)
	case x.conn.Has(eventloop.Broken):
		return clientFailure(x.gone())
	}
	return nil
}
