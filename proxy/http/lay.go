package http

import (
	"time"

	"sidecar/internal/eventloop"
)

const (
	// layWait is when a second try looks for a trunk again after the first look has found none; it
	// doubles with each of the layTries.
	layWait  = 10 * time.Millisecond
	layTries = 8
)

// A layer makes a trunk that no request waits for: a second try must not begin before it can be
// sent, or it would be paid for in vain.
type layer struct {
	pool *pool
	task *eventloop.Task
}

// prepare has a trunk made, unless one is being made already.
func (p *pool) prepare() {
	if !p.connecting {
		p.connecting = true
		p.shard.loop.Go(&layer{pool: p})
	}
}

// Run makes the trunk. That it cannot be made is for those to find out who need one.
func (l *layer) Run(t *eventloop.Task) {
	p := l.pool
	l.task = t
	defer func() {
		p.connecting = false
		p.wake()
	}()
	by := p.shard.loop.Now() + p.shard.set.ConnectTimeout
	k := l.dial()
	if k == nil {
		return
	}
	trunk := p.lay(k)
	for !trunk.Settled() && trunk.Err() == nil && l.await(by) {
	}
	trunk.fresh = false
	if !trunk.Settled() {
		p.cut(trunk)
		return
	}
	p.changed(trunk) // the endpoint may have been retired meanwhile
}

// dial connects, or returns nil.
func (l *layer) dial() *link {
	p := l.pool
	k, err := p.startDial(true)
	if err != nil {
		return nil
	}
	k.conn.SetWriteTimeout(p.shard.set.ConnectTimeout)
	for {
		made, err := k.established()
		if made {
			return k
		}
		if err != nil || l.task.Wait(-1, eventloop.Interest{Conn: k.conn, Events: eventloop.Writable}) != nil {
			k.close()
			return nil
		}
	}
}

// await waits for something to happen in the pool, and reports false when it is too late for that.
func (l *layer) await(by time.Duration) bool {
	p := l.pool
	limit := time.Duration(-1)
	if p.shard.set.ConnectTimeout > 0 {
		limit = max(by-p.shard.loop.Now(), 0)
	}
	p.waiting = append(p.waiting, l.task)
	err := l.task.Wait(limit)
	p.forget(l.task)
	return err == nil
}

// ready tells whether a trunk has a stream to give.
func (p *pool) ready() bool { return p.freest() != nil }

// freest is the trunk that has the fewest streams, nil if none has one to give.
func (p *pool) freest() *trunk {
	var best *trunk
	for _, t := range p.trunks {
		if !t.fresh && t.Settled() && t.Free() && (best == nil || t.Streams() < best.Streams()) {
			best = t
		}
	}
	return best
}

// postpone puts a second try off until there is a trunk to its endpoint; it comes to nothing if
// there is none after a few looks.
func (x *exchange) postpone(p *pool, rescue bool) {
	if x.looks == layTries {
		return
	}
	p.prepare()
	x.secondAt = x.shard.loop.Now() + layWait<<x.looks
	x.looks++
	if rescue {
		x.rescued = false
	} else {
		x.hedged = false
	}
}

// spare cuts a trunk on which nothing is, and reports whether there was one.
func (p *pool) spare() bool {
	for _, t := range p.trunks {
		if t.Streams() == 0 && !t.fresh {
			p.cut(t)
			return true
		}
	}
	return false
}
