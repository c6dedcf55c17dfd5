package http

import (
	"time"

	"sidecar/accesslog"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http/h2"
	"sidecar/tracing"
	"sidecar/upstream"
)

// keepExchanges is how many exchanges without a request a loop keeps for the next ones.
const keepExchanges = 512

// keepStreams is the same for the links and clients of streams.
const keepStreams = 1024

// keepHeads is how much memory for heads an exchange may keep.
const keepHeads = 32 << 10

// A shard is what a proxy has on one loop.
type shard struct {
	proxy    *Proxy
	set      *settings // as they are now; only Reconfigure changes them, between two turns
	loop     *eventloop.Loop
	requests *metrics.HTTPShard
	accepts  *metrics.ListenerShard
	log      *accesslog.Shard // nil without an access log
	trace    *tracing.Shard   // nil without tracing
	pools    map[*upstream.Endpoint]*pool
	free     []*exchange
	silence  silence
	date     date    // the last that was made
	scratch  []byte  // where heads of responses are made; good until the next task runs
	clients  *client // a list through the clients, idle and busy
	count    int     // of clients
	draining bool
	grace    time.Duration // that idle connections have then
	begged   time.Duration // loop time at which other loops were last asked to give up a connection
	quotas   [complaints]quota
	skew     time.Duration // from the loop's time to that of the service's account; 0: not known yet

	strands []*link   // of streams that have ended, for the next ones
	callers []*client // the same of clients

	unasked [1]byte // for what a connection in the pool says although nobody has asked

	latencies latencies
}

func newShard(p *Proxy, l *eventloop.Loop, set *settings) *shard {
	return &shard{
		proxy: p, loop: l, set: set, trace: set.Tracer.Shard(l.Index()),
		requests: p.requests.Shard(l.Index()), accepts: p.listener.Shard(l.Index()),
		log:   p.accessLog.Shard(l.Index()),
		pools: make(map[*upstream.Endpoint]*pool),
	}
}

// take has the shard go by other settings.
func (s *shard) take(set *settings) {
	s.set, s.trace = set, set.Tracer.Shard(s.loop.Index())
}

// http2 is how connections of HTTP/2 are made, with what they are counted by, and for how long they
// are kept without a stream.
func (s *shard) http2(counters *metrics.HTTP2, idle time.Duration) *h2.Options {
	o := s.set.HTTP2
	o.Counters, o.Idle = (*h2.Counters)(counters), idle
	return &o
}

// now is the time of the service's account as of the beginning of this turn of the loop. Reading
// the clock costs as much as the rest of what is kept per request.
func (s *shard) now() time.Duration { return s.loop.Now() + s.skew }

func (s *shard) accept(conn *eventloop.Conn) {
	if s.skew == 0 {
		s.skew = s.set.Service.Elapsed() - s.loop.Now()
	}
	c := &client{shard: s, conn: conn}
	s.add(c)
	s.accepts.Accepted.Add(1)
	conn.SetReadTimeout(s.set.ClientIdle)
	c.await()
}

// acceptStream serves the request on a stream of HTTP/2.
func (s *shard) acceptStream(conn *eventloop.Conn) {
	var c *client
	if n := len(s.callers); n > 0 {
		c = s.callers[n-1]
		s.callers = s.callers[:n-1]
	} else {
		c = new(client)
	}
	*c = client{shard: s, conn: conn, stream: true}
	s.add(c)
	c.start()
}

func (s *shard) add(c *client) {
	c.next = s.clients
	if s.clients != nil {
		s.clients.prev = c
	}
	s.clients = c
	s.count++
}

// remove forgets a client whose connection is closed.
func (s *shard) remove(c *client) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.clients = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	s.count--
	if !c.stream {
		s.accepts.Closed.Add(1)
	} else if len(s.callers) < keepStreams {
		s.callers = append(s.callers, c)
	}
	if s.draining && s.count == 0 {
		select {
		case s.proxy.ended <- struct{}{}:
		default: // one that nobody has read yet says the same
		}
	}
}

// drain has connections close behind their response, since the head of each response asks whether
// the shard drains. An idle one waits for one more request, for grace at most: a client that
// has just sent one would find it gone, and could not know whether it was heard.
func (s *shard) drain(grace time.Duration) {
	s.grace = grace
	for c := s.clients; c != nil; {
		next := c.next
		switch {
		case c.h2 != nil:
			c.h2.Drain()
		case !c.busy && !s.draining:
			c.conn.SetReadTimeout(grace)
		}
		c = next
	}
	s.draining = true
	for _, p := range s.pools {
		p.clear()
		p.leave(false)
	}
}

// cut aborts what is still there.
func (s *shard) cut() {
	for c := s.clients; c != nil; {
		next := c.next
		c.conn.Abort(errDraining)
		c = next
	}
}

func (s *shard) exchange() *exchange {
	if n := len(s.free); n > 0 {
		x := s.free[n-1]
		s.free = s.free[:n-1]
		return x
	}
	return &exchange{shard: s}
}

// recycle keeps an exchange for the next request, unless there are enough or it has grown
// to the size of an unusual head.
func (s *shard) recycle(x *exchange) {
	if c := x.second; c != nil && cap(c.out.spill) > keepHeads {
		x.second = nil
	}
	if len(s.free) < keepExchanges && cap(x.head)+cap(x.reqHead)+cap(x.out.spill)+cap(x.back.spill) <= keepHeads {
		s.free = append(s.free, x)
	}
}
