package upstream

import "sync/atomic"

// connections counts the connections to one endpoint, or to all of a service.
type connections struct {
	open    atomic.Int64 // with those that are being made
	pending atomic.Int64
}

// begin counts one that is about to be made. It returns which limit is in the way, if any.
func (c *connections) begin(l *Limits) (tooManyOpen, tooManyPending bool) {
	if n := c.open.Add(1); l.Connections > 0 && n > int64(l.Connections) {
		c.open.Add(-1)
		return true, false
	}
	if n := c.pending.Add(1); l.Pending > 0 && n > int64(l.Pending) {
		c.pending.Add(-1)
		c.open.Add(-1)
		return false, true
	}
	return false, false
}

// BeginConnect counts a connection that is about to be made to the endpoint, within the
// limits of endpoint and service. If it returns nil, EndConnect must follow, and when the
// connection was made, Disconnect after that. The error is an *Unavailable, and nothing has
// been counted then.
func (e *Endpoint) BeginConnect() error {
	s := e.service
	if open, pending := e.connections.begin(&s.options.Endpoint); open {
		return s.refusals.endpointConnections
	} else if pending {
		return s.refusals.endpointPending
	}
	if open, pending := s.connections.begin(&s.options.Limits); open || pending {
		e.connections.pending.Add(-1)
		e.connections.open.Add(-1)
		if open {
			return s.refusals.connections
		}
		return s.refusals.pending
	}
	return nil
}

// EndConnect tells whether the connection was made.
func (e *Endpoint) EndConnect(made bool) {
	e.connections.pending.Add(-1)
	e.service.connections.pending.Add(-1)
	if !made {
		e.Disconnect()
	}
}

// Disconnect tells that a connection that was made has been closed.
func (e *Endpoint) Disconnect() {
	e.connections.open.Add(-1)
	e.service.connections.open.Add(-1)
}

// Connections is how many connections there are to the endpoint, those that are being made
// included.
func (e *Endpoint) Connections() int64 { return e.connections.open.Load() }
