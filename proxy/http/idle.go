package http

import "time"

const (
	// idleFloor is the least that an idle connection is kept whatever was observed.
	idleFloor = 100 * time.Millisecond
	// idleMemory is how long an observation holds: servers are configured anew, and one that
	// was restarted has closed connections of any age.
	idleMemory = 10 * time.Minute
)

// An idleLimit is what is known of how long an endpoint keeps idle connections. They are to
// be given up before that: a request sent on one just as the endpoint closes it is lost, and
// if it must not be sent twice, there is nothing to do but to fail.
type idleLimit struct {
	named    time.Duration // by the field Keep-Alive, less a margin; 0: not
	observed time.Duration // from connections that it closed, less a margin; 0: none
	until    time.Duration // loop time up to which observed holds
}

// at returns how long a connection may be idle from now on. What the endpoint says of itself
// goes before the configuration, and what it was seen to do before both if it is less.
func (l *idleLimit) at(now, configured time.Duration) time.Duration {
	d := configured
	if l.named > 0 {
		d = l.named
	}
	if l.observed > 0 && now < l.until && l.observed < d {
		d = l.observed
	}
	return d
}

// name takes in what the endpoint says: Keep-Alive: timeout=seconds.
func (l *idleLimit) name(seconds int) {
	l.named = max(less(time.Duration(seconds)*time.Second), idleFloor)
}

// observe takes in that the endpoint has closed a connection that was idle for d.
func (l *idleLimit) observe(now, d time.Duration) {
	d = max(less(d), idleFloor)
	if l.observed == 0 || now >= l.until || d < l.observed {
		l.observed = d
	}
	l.until = now + idleMemory
}

// less takes the margin off: a fifth, at most a second. It covers the way to the endpoint and
// the grain of both clocks.
func less(d time.Duration) time.Duration { return d - min(d/5, time.Second) }
