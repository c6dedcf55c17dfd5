package tcp

import (
	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/upstream"
)

// keepSessions is how many ended sessions a lane keeps to be used again.
const keepSessions = 512

// A lane is what a Proxy has on one loop. Only that loop touches it.
type lane struct {
	proxy    *Proxy
	loop     *eventloop.Loop
	sessions *metrics.TCPShard
	conns    *metrics.ListenerShard

	all        list // every session, in no order
	active     int
	byEndpoint map[*upstream.Endpoint]*list
	empty      []chan<- struct{} // told when active falls to 0
	free       []*session
	quiet      map[metrics.Cause]*limiter
}

func newLane(p *Proxy, l *eventloop.Loop, sessions *metrics.TCPShard, conns *metrics.ListenerShard) *lane {
	return &lane{
		proxy: p, loop: l, sessions: sessions, conns: conns,
		byEndpoint: make(map[*upstream.Endpoint]*list),
		quiet:      make(map[metrics.Cause]*limiter),
	}
}

// begin starts the session of an accepted connection, with a task.
func (l *lane) begin(c *eventloop.Conn) { l.loop.Go(l.enter(c)) }

// enter makes a session of a connection. It wants to be run.
func (l *lane) enter(c *eventloop.Conn) *session {
	var s *session
	if n := len(l.free); n > 0 {
		s = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		s = new(session)
	}
	l.conns.Accepted.Add(1)
	l.sessions.Started.Add(1)
	l.active++
	s.lane, s.client, s.set = l, c, l.proxy.settings.Load()
	s.began = l.loop.Now()
	s.inLane.session, s.inEndpoint.session = s, s
	l.all.push(&s.inLane)
	return s
}

// forget takes back a session that has ended.
func (l *lane) forget(s *session) {
	l.leave(s)
	l.all.remove(&s.inLane)
	*s = session{}
	if len(l.free) < keepSessions {
		l.free = append(l.free, s)
	}
	l.active--
	if l.active == 0 {
		for _, c := range l.empty {
			c <- struct{}{}
		}
		l.empty = nil
	}
}

// join notes that the session uses its lease's endpoint.
func (l *lane) join(s *session) {
	e := s.lease.Endpoint()
	at := l.byEndpoint[e]
	if at == nil {
		at = new(list)
		l.byEndpoint[e] = at
	}
	s.endpointList = at
	at.push(&s.inEndpoint)
}

// leave undoes join; it does nothing to a session that has not joined.
func (l *lane) leave(s *session) {
	at := s.endpointList
	if at == nil {
		return
	}
	s.endpointList = nil
	at.remove(&s.inEndpoint)
	if at.first == nil {
		delete(l.byEndpoint, s.lease.Endpoint())
	}
}

// cutEndpoint ends the sessions of an endpoint.
func (l *lane) cutEndpoint(e *upstream.Endpoint) {
	for other, at := range l.byEndpoint {
		// Or one of a service that another has taken the place of: it is the same instance.
		if other == e || other.Retired() && other.Address() == e.Address() {
			for n := at.first; n != nil; n = n.next {
				n.session.endpointDown()
			}
		}
	}
}

// cutAll ends every session.
func (l *lane) cutAll(why metrics.Cause) {
	for n := l.all.first; n != nil; n = n.next {
		n.session.cut(why)
	}
}

// whenEmpty sends to c as soon as there is no session. c has room for it.
func (l *lane) whenEmpty(c chan<- struct{}) {
	if l.active == 0 {
		c <- struct{}{}
		return
	}
	l.empty = append(l.empty, c)
}

// A list is doubly linked through its members, so that a session leaves it in O(1).
type list struct{ first *member }

type member struct {
	next, prev *member
	session    *session
}

func (l *list) push(m *member) {
	m.next, m.prev = l.first, nil
	if l.first != nil {
		l.first.prev = m
	}
	l.first = m
}

func (l *list) remove(m *member) {
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		l.first = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	}
	m.next, m.prev = nil, nil
}
