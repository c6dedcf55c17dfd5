package eventloop

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// sampleEvery is how many turns pass until one is timed. Timing every one would cost a few per mille of
// what a small request costs. It is a prime, so that traffic which takes turns in twos or fours is
// seen from all sides.
const sampleEvery = 61

// The bounds of Delays are 16 µs · 4^k, up to a second.
const (
	delayShift = 4 // the first bound is 2^4 µs
	delayCount = 9
)

// Delays says how long tasks that were ready have waited for their run: from the beginning of the
// turn, when the kernel had told what is ready, until the task went on. One turn of 61 is timed.
type Delays struct {
	// Counts are tasks by how long they waited, up to DelayBound(i) and beyond the bound before;
	// the last has no bound.
	Counts [delayCount + 1]uint64
	// Sum is what they waited all together.
	Sum time.Duration
}

// DelayBound is the inclusive upper bound of Delays.Counts[i]; 0 for the last, which has none.
func DelayBound(i int) time.Duration {
	if i >= delayCount {
		return 0
	}
	return time.Duration(1<<(2*i+delayShift)) * time.Microsecond
}

// delays are written by their loop alone, and read by any goroutine.
type delays struct {
	counts [delayCount + 1]atomic.Uint64
	sum    atomic.Uint64 // nanoseconds
	busy   atomic.Uint64 // nanoseconds, of the turns that were timed
}

// passed is how long this turn has taken so far. Unlike Now it asks the clock.
func (l *Loop) passed() uint64 { return uint64(max(0, int64(time.Since(l.group.start))-l.now)) }

// waited counts a task that gets its run now.
func (d *delays) waited(ns uint64) {
	add(&d.counts[delayBucket(ns)], 1)
	add(&d.sum, ns)
}

func delayBucket(ns uint64) int {
	us := (ns + 999) / 1000
	if us <= 1<<delayShift {
		return 0
	}
	return min((bits.Len64(us-1)-delayShift+1)/2, delayCount)
}

func (d *delays) load() Delays {
	out := Delays{Sum: time.Duration(d.sum.Load())}
	for i := range d.counts {
		out.Counts[i] = d.counts[i].Load()
	}
	return out
}
