package h2

import "time"

// What a connection may do without moving anything. Each counts against an allowance that
// time gives back, so that a burst passes and a steady flood does not.
const (
	// resetBurst and resetRate (per second) are for streams that are opened and reset. Clients
	// that hedge or give up in time do so too, but not as often as they could send frames. When
	// a service hangs all of its callers may give up, call after call; those have waited, each
	// on one of the streams that there may be at once, which is limit enough. So resets by the
	// client count only before resetAge.
	resetBurst = 1000
	resetRate  = 100
	resetAge   = 50 * time.Millisecond
	// frameBurst and frameRate are for frames that only keep us busy. frameBonus comes on top
	// for each frame that opens a stream or carries data, either way, and one more for every
	// bonusBytes of data: who receives much sends many WINDOW_UPDATEs, some clients one of the
	// stream and one of the connection for 4 KiB each, and gRPC measures with PINGs. What has
	// come together so is for what is still on its way, and ends at frameMost.
	frameBurst = 1000
	frameRate  = 100
	frameBonus = 4
	bonusBytes = 512
	frameMost  = 64 << 10
	// bonusFrom is how much data a frame that is received must carry, or end a stream with: from
	// less nothing follows that a peer would have to answer.
	bonusFrom = 16
)

const (
	// maxContinuations is how many frames may follow HEADERS: with full ones a block four times
	// the default bound.
	maxContinuations = 16
	// blockSlack is by how many octets a block may exceed what its list may have. A list is
	// larger than its block but for what the block says of tables.
	blockSlack = 1 << 10
	// maxSettings is how many parameters one SETTINGS may have; there are some ten.
	maxSettings = 64
	// backlogMost is how many octets of answers to frames, as of PING, may wait for a peer in
	// excess of what outMost holds back.
	backlogMost = 64 << 10
)

// An allowance is how much is left of a burst, which time fills again.
type allowance struct {
	left int
	at   time.Duration // loop time up to which it was filled
}

// take takes one, and reports false when nothing is left.
func (a *allowance) take(now time.Duration, burst, rate int) bool {
	if a.left == 0 {
		gained := min(int64(now-a.at)*int64(rate)/int64(time.Second), int64(burst))
		if gained <= 0 {
			return false
		}
		a.left, a.at = int(gained), now
	}
	a.left--
	return true
}

// resetting counts a stream that was opened and reset, and ends the connection when there were
// too many.
func (c *conn) resetting() {
	if !c.resets.take(c.loop.Now(), resetBurst, resetRate) {
		c.flood(FloodResets)
	}
}

// idling counts a frame that moves nothing.
func (c *conn) idling(f Flood) {
	if !c.frames.take(c.loop.Now(), frameBurst, frameRate) {
		c.flood(f)
	}
}

// moving counts a frame of the peer's that opens a stream or carries so much data.
func (c *conn) moving(data int) {
	c.earn(data)
	c.stir()
}

// pushing is moving for what we send. To a server it is no sign that may be answered with another
// ping soon: those of gRPC count pings between which they have sent nothing themselves.
func (c *conn) pushing(data int) {
	c.earn(data)
	if !c.client {
		c.stir()
	}
}

func (c *conn) earn(data int) {
	c.frames.left = min(c.frames.left+frameBonus+data/bonusBytes, frameMost)
}

// stir notes that something has moved.
func (c *conn) stir() {
	if !c.moved {
		c.moved = true
		c.arm()
	}
}

// flood ends the connection because of abuse.
func (c *conn) flood(f Flood) {
	if c.err == nil {
		c.abused(f)
		c.quit(broken(EnhanceYourCalm, "too many "+f.String()))
	}
}

// abused takes note of what the connection is ended for.
func (c *conn) abused(f Flood) {
	c.opts.Counters.Floods[f].Add(1)
	c.abuse = f
}
