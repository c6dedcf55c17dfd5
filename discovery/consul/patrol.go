package consul

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// patrolEvery is how often the token's file is looked at.
	patrolEvery = time.Second
	// probeEvery rounds of the patrol the agent is asked whether it is there, and has probeTime
	// to answer. What hangs is thus noticed within 6 s, at the cost of a question in 3 s.
	probeEvery = 3
	probeTime  = 2500 * time.Millisecond
	// shunned is what it takes an agent at most to ask its servers again for its views: it waits
	// up to a minute after failures, and as much again by chance.
	shunned = 130 * time.Second
)

// A patrol is one goroutine per Client, which runs while it has members: it looks whether the
// token has changed, and whether the agent still answers. A query that waits cannot tell an
// agent that has nothing to say from one that was stopped or whose packets are dropped.
type patrol struct {
	client *Client

	mu      sync.Mutex
	members map[*member]struct{}
	scout   *member   // the one whose index is highest; nil: none
	lost    bool      // the agent has lost its servers, as the scout has found out
	shun    time.Time // until then nobody waits at the agent's views
	began   bool      // version means something
	version uint64    // of the token that the members have been told of
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the goroutine that cancel ends has ended
}

// A member is told of what the patrol finds. Its functions do not block; those of who has no
// query that waits are nil, but for the first.
type member struct {
	renewed func() // the token has changed
	dead    func() // the agent does not answer
	rewound func() // what it knows may be of another history or out of date, or it is the scout now

	index uint64 // of the view that the agent has of the service, 0: none. Guarded by patrol.mu
}

// join adds a member until leave is called, which returns when the goroutine has ended if it
// was the last.
func (p *patrol) join(m *member) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.began {
		p.began, p.version = true, p.client.token.look()
	}
	if len(p.members) == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		p.cancel, p.ended = cancel, make(chan struct{})
		go p.run(ctx, p.ended)
	}
	p.members[m] = struct{}{}
	return func() { p.leave(m) }
}

func (p *patrol) leave(m *member) {
	p.mu.Lock()
	delete(p.members, m)
	m.index = 0
	was := p.scout
	p.chooseScout(m)
	next := p.scout
	last, cancel, ended := len(p.members) == 0, p.cancel, p.ended
	p.mu.Unlock()
	if was == m && next != nil {
		next.rewound() // it waits at the agent's view, perhaps for a minute, and could not find out anything
	}
	if last {
		cancel()
		<-ended
	}
}

func (p *patrol) run(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	ticker := time.NewTicker(patrolEvery)
	defer ticker.Stop()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		p.lookAtToken()
		if watchers := p.watchers(); round%probeEvery == 0 && len(watchers) > 0 && p.silent(ctx) {
			p.client.connections.renew() // first, so that nobody asks again on the old ones
			for _, m := range watchers {
				m.dead()
			}
		}
	}
}

// lookAtToken tells all members if the token has changed since they were last told.
func (p *patrol) lookAtToken() {
	version := p.client.token.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	if version == p.version {
		return
	}
	p.version = version
	for m := range p.members {
		m.renewed()
	}
}

// watchers are the members that have queries.
func (p *patrol) watchers() []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	var watchers []*member
	for m := range p.members {
		if m.dead != nil {
			watchers = append(watchers, m)
		}
	}
	return watchers
}

// silent asks the agent what it can answer without a server, a token or any work, and tells
// whether no answer came in time. Any answer will do, and no other failure counts: the
// queries notice those themselves.
func (p *patrol) silent(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodOptions, p.client.base+"/v1/status/leader", nil)
	if err != nil {
		return false // New has checked base
	}
	resp, err := p.client.http.Do(req)
	if err == nil {
		resp.Body.Close()
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// saw takes note of the index of a member's service, 0 if the agent has no view of it, and
// tells whether the member is the scout.
//
// A view that the agent keeps of a service says nothing when it is not up to date. When the
// servers are put back to an older state, queries wait on for an index above the one they know.
// When the servers were gone, it takes the agent a minute and more to ask them again. So one
// watch asks the servers themselves all the time, the one with the highest index, which is
// concerned by the former if anybody is; and finds out for all.
func (p *patrol) saw(m *member, index uint64) (scout bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.index = index
	p.chooseScout(m)
	return p.scout == m
}

// chooseScout makes good that m's index has changed.
func (p *patrol) chooseScout(m *member) {
	if m == p.scout {
		p.scout = nil // its index may be lower than before
		for o := range p.members {
			if o.index > 0 && (p.scout == nil || o.index > p.scout.index || o == m && o.index == p.scout.index) {
				p.scout = o
			}
		}
	} else if m.index > 0 && (p.scout == nil || m.index > p.scout.index) {
		p.scout = m
	}
}

// lose tells that the agent has no servers to ask. From now on, and for as long after their
// return as it may take the agent to bring its views up to date, nobody waits at those.
func (p *patrol) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost, p.shun = true, time.Now().Add(shunned)
}

// answered tells that a server has answered by. If they were lost, all look again.
func (p *patrol) answered(by *member) {
	p.mu.Lock()
	back := p.lost
	if back {
		p.lost, p.shun = false, time.Now().Add(shunned)
	}
	p.mu.Unlock()
	if back {
		p.rewound(by)
	}
}

// shuns tells whether the agent's views are not to be relied upon.
func (p *patrol) shuns() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.shun)
}

// rewound tells all who watch, but for who has found out, that what they know may be of
// another history, or out of date.
func (p *patrol) rewound(by *member) {
	for _, m := range p.watchers() {
		if m != by {
			m.rewound()
		}
	}
}

// TokenChanged returns a channel that has something whenever the ACL token in the file has
// been replaced, until ctx ends. Each call makes a channel of its own, which holds one signal
// for any number of changes and is never closed. A token that is in no file never changes.
func (c *Client) TokenChanged(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	if c.token.path == "" {
		return changed
	}
	leave := c.patrol.join(&member{renewed: func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}})
	context.AfterFunc(ctx, leave)
	return changed
}
