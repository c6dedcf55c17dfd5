package registration

import (
	"math/rand/v2"
	"time"
)

const (
	// pauseFirst doubles up to pauseMost while calls fail. The most is small, because the
	// registry is to know of the service within seconds of its own return, and can be: there is
	// one such call per local service.
	pauseFirst, pauseMost = 250 * time.Millisecond, 2 * time.Second
	// repeatAfter is how long a failure with another cause waits to be logged after the one before.
	repeatAfter = time.Minute
	// forgotAgain is how long after its line in the log an announcement that is forgotten counts as
	// forgotten once more. Between two that contest one ID, renewals succeed for a while each time.
	forgotAgain = 10 * time.Minute
)

// renewalAfter is the time from one renewal to the next: a third of ttl, so that two may be lost,
// less up to a tenth of that by chance, so that what started together does not stay so.
func renewalAfter(ttl time.Duration) time.Duration {
	third := max(ttl/3, 100*time.Millisecond)
	return third - rand.N(third/10)
}

// A backoff is how long to pause after failures in a row, of which half is left to chance.
type backoff struct{ failures int }

func (b *backoff) next() time.Duration {
	pause := min(pauseFirst<<min(b.failures, 10), pauseMost)
	b.failures++
	return pause/2 + rand.N(pause/2)
}

func (b *backoff) reset() { b.failures = 0 }

// A complaint decides which failures are worth a line in the log: the first in a row, and one
// with another cause, but not one per try when each has, say, another port in its text.
type complaint struct {
	text string // of the last one that was logged; empty: nothing fails
	at   time.Time
}

func (c *complaint) isNews(err error, now time.Time) bool {
	text := err.Error()
	if c.text == text || c.text != "" && now.Sub(c.at) < repeatAfter {
		return false
	}
	c.text, c.at = text, now
	return true
}

// overAfter is over when the last line is older than pause.
func (c *complaint) overAfter(pause time.Duration, now time.Time) {
	if now.Sub(c.at) > pause {
		c.over()
	}
}

// over tells whether a failure that was logged has ended.
func (c *complaint) over() bool {
	was := c.text != ""
	c.text = ""
	return was
}
