package http

import (
	"math/bits"
	"time"
)

// A silence is what a loop knows of who has answered last. A process that is stopped, or a
// host that has gone from the network, accepts requests (the kernel does) and says nothing;
// one slow request looks the same. What tells them apart is that the endpoint has sent
// nothing to anybody, while others have.
type silence struct {
	last   *pool         // that was heard from last
	lastAt time.Duration // loop time
	before time.Duration // when another one was
}

func (s *silence) heardFrom(p *pool, now time.Duration) {
	p.heard = now
	if s.last != p {
		s.last, s.before = p, s.lastAt
	}
	s.lastAt = now
}

// others is when an endpoint other than that of p was last heard from.
func (s *silence) others(p *pool) time.Duration {
	if s.last == p {
		return s.before
	}
	return s.lastAt
}

const (
	// crowd is how many requests in flight on a silent endpoint make it unlikely that each
	// of them is merely slow.
	crowd = 3
	// Where there are fewer, one has to wait this many times the longest answer of the last
	// minutes; where there are as many, this many times what nearly all answers took.
	timesLongest = 2
	timesTypical = 3
	nearlyAll    = 0.95
)

// rescueAt is when the try is to be given up for dead, as far as is known now; 0 if it is
// not to be. It waits on: the copy that is sent then runs beside it, and if it was not dead
// after all, its answer still counts.
func (x *exchange) rescueAt(now time.Duration) time.Duration {
	s := x.shard
	limit := s.proxy.Retry.Stalled
	if limit <= 0 || x.rescued || x.second != nil && x.second.live || x.attempts > s.proxy.Retry.Attempts || !x.repeatable() {
		return 0
	}
	p := x.up.pool
	if p.endpoint.InFlight() >= crowd {
		limit = max(limit, timesTypical*s.latencies.percentile(now, nearlyAll))
	} else {
		limit = max(limit, timesLongest*s.latencies.longest(now))
	}
	at := max(x.waited, p.heard) + limit
	if now >= at && s.silence.others(p) < at-limit {
		// Nobody else has answered either: that may be anything. It is looked at again.
		return now + limit/4
	}
	return at
}

// keptLatencies is how long latencies are kept: half of it in the present window, half in
// the one before.
const keptLatencies = 10 * time.Minute

// latencies are those of one loop's answers, in windows of five minutes for the longest and of ten
// seconds for the percentiles. The buckets are eighths of a power of two of microseconds.
type latencies struct {
	window   [2]histogram // the present one and the one before
	turned   time.Duration
	peak     [2]time.Duration
	peaked   time.Duration
	cached   time.Duration // of percentile
	cachedOf float64
	until    time.Duration
}

const (
	latencyWindow = 10 * time.Second
	subBuckets    = 8
	fewLatencies  = 20 // fewer say nothing of a percentile
	refresh       = time.Second
)

type histogram struct {
	count   uint32
	buckets [40 * subBuckets]uint32
}

// bucketOf numbers the bucket of a latency.
func bucketOf(d time.Duration) int {
	us := uint64(max(d/time.Microsecond, 0))
	if us < subBuckets {
		return int(us)
	}
	exp := bits.Len64(us) - 4 // of the eighths
	return min(exp*subBuckets+int(us>>exp), len(histogram{}.buckets)-1)
}

// bucketTop is the longest latency of a bucket.
func bucketTop(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i+1) * time.Microsecond
	}
	exp := i/subBuckets - 1
	return time.Duration(uint64(i-exp*subBuckets+1)<<exp) * time.Microsecond
}

// add takes in what an answer took.
func (l *latencies) add(now, took time.Duration) {
	l.turn(now)
	h := &l.window[0]
	h.count++
	h.buckets[bucketOf(took)]++
	if took > l.peak[0] {
		l.peak[0] = took
	}
}

// turn begins new windows when it is time.
func (l *latencies) turn(now time.Duration) {
	if now-l.turned >= latencyWindow {
		l.window[1] = l.window[0]
		if now-l.turned >= 2*latencyWindow {
			l.window[1] = histogram{}
		}
		l.window[0], l.turned = histogram{}, now
	}
	if now-l.peaked >= keptLatencies/2 {
		l.peak[1] = l.peak[0]
		if now-l.peaked >= keptLatencies {
			l.peak[1] = 0
		}
		l.peak[0], l.peaked = 0, now
	}
}

// longest is the longest latency of the last minutes.
func (l *latencies) longest(now time.Duration) time.Duration {
	l.turn(now)
	return max(l.peak[0], l.peak[1])
}

// percentile is the latency that this share of the answers of the last seconds did not
// exceed, 0 while there are too few to say. It is up to a second old.
func (l *latencies) percentile(now time.Duration, share float64) time.Duration {
	if now < l.until && l.cachedOf == share {
		return l.cached
	}
	l.turn(now)
	l.cached, l.cachedOf, l.until = 0, share, now+refresh
	total := l.window[0].count + l.window[1].count
	if total < fewLatencies {
		return 0
	}
	left := uint32(share * float64(total))
	for i := range l.window[0].buckets {
		n := l.window[0].buckets[i] + l.window[1].buckets[i]
		if n > left {
			l.cached = bucketTop(i)
			break
		}
		left -= n
	}
	return l.cached
}
