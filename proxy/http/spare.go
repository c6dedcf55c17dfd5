package http

import (
	"time"

	"sidecar/internal/eventloop"
)

// Spare closes a connection to an endpoint that no request has been on for so long, for who needs its
// descriptor more, and tells whether there was one. It is called on a loop, and looks at that one's
// connections. Those of HTTP/2 go only if everything idle may go.
func (p *Proxy) Spare(l *eventloop.Loop, idle time.Duration) bool {
	for _, pool := range p.shards[l.Index()].pools {
		if k := pool.bottom(); k != nil && l.Now()-k.since >= idle {
			pool.unlink(k)
			k.close()
			return true
		}
		if idle <= 0 && pool.spare() {
			return true
		}
	}
	return false
}

// bottom is the connection that has been idle for longest, or nil.
func (p *pool) bottom() *link {
	k := p.top
	for k != nil && k.next != nil {
		k = k.next
	}
	return k
}
