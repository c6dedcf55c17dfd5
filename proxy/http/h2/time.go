package h2

import "time"

// Contents of the pings that we send.
const (
	pingAlive uint64 = 0x616c697665 // is the peer there?
	pingDrain uint64 = 0x647261696e // has it seen that we are going away?
)

// tick does what is due.
func (c *conn) tick() {
	now := c.loop.Now()
	if c.err != nil {
		return
	}
	if (!c.acked || !c.settled) && now-c.began >= c.settingsTime {
		c.quit(broken(SettingsTimeout, ""))
		return
	}
	c.expire(now)
	if c.drain == warned && now-c.drained >= c.pingTime {
		c.drainLast()
	}
	if c.sent < len(c.out) && c.stalled() {
		c.abused(FloodStall)
		c.fail(errStall)
		return
	}
	if c.stuck != 0 && !c.manyBlocked() {
		c.stuck = 0
	}
	if c.stuck != 0 && now-c.stuck >= c.opts.Stall {
		c.flood(FloodStall)
		return
	}
	if c.live == 0 && len(c.spare) > keepIdle && now-c.idleSince >= spareTime {
		c.shrink()
	}
	switch {
	case c.pinged != 0 && c.heard > c.pinged:
		c.pinged = 0
	case c.pinged != 0 && now-c.pinged >= c.pingTime:
		c.opts.Counters.PingsLost.Add(1)
		c.fail(errSilent)
		return
	}
	switch {
	case c.live > 0 && c.pinged == 0 && now >= c.nextPing():
		c.pinged, c.moved = now, false
		c.room()
		c.out = appendPing(c.out, 0, pingAlive)
		c.schedule()
	case c.live > 0 || c.opts.Idle <= 0 || now-c.idleSince < c.opts.Idle:
	case c.client:
		c.leave()
	default:
		c.startDrain()
	}
}

// due is when tick has to be called next, 0 for never.
func (c *conn) due() time.Duration {
	at := time.Duration(0)
	sooner := func(t time.Duration) {
		if at == 0 || t < at {
			at = t
		}
	}
	if !c.acked || !c.settled {
		sooner(c.began + c.settingsTime)
	}
	if c.drain == warned {
		sooner(c.drained + c.pingTime)
	}
	if c.stuck != 0 {
		sooner(c.stuck + c.opts.Stall)
	}
	if c.orphans > 0 {
		sooner(c.orphaned + c.orphanTime)
	}
	if c.live == 0 && len(c.spare) > keepIdle {
		sooner(c.idleSince + spareTime)
	}
	switch {
	case c.pinged != 0:
		sooner(c.pinged + c.pingTime)
	case c.live > 0:
		sooner(c.nextPing())
	case c.opts.Idle > 0 && c.drain == serving:
		sooner(c.idleSince + c.opts.Idle)
	}
	return at
}

// nextPing is when the peer is asked for a sign of life if none comes by itself.
func (c *conn) nextPing() time.Duration {
	if c.moved {
		return c.heard + c.opts.Ping
	}
	return c.heard + max(c.opts.Ping, c.quietTime)
}

// arm sets the timer, unless it will fire in time. A timer that fires too early costs less than
// one that is set again with every frame.
func (c *conn) arm() {
	at := c.due()
	if at == 0 || c.armed != 0 && c.armed <= at || c.ended {
		return
	}
	c.armed = at
	c.sock.SetReadTimeout(max(at-c.loop.Now(), time.Millisecond))
}

// startDrain ends the connection as soon as its streams have ended. The client is told twice:
// first that this is coming, so that what it has sent by then is still served, and when it must
// have seen that, which stream was the last (RFC 9113 §6.8).
func (c *conn) startDrain() {
	if c.drain != serving || c.err != nil {
		return
	}
	c.drain, c.drained = warned, c.loop.Now()
	c.goaway(maxStreamID, NoError, "")
	c.out = appendPing(c.out, 0, pingDrain)
	c.arm()
	if c.live == 0 && len(c.streams) == 0 && c.task != nil {
		c.task.Wake()
	}
}

func (c *conn) drainLast() {
	c.drain = draining
	c.goaway(c.lastPeer, NoError, "")
	if c.task != nil {
		c.task.Wake()
	}
}
