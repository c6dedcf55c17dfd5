package http

import (
	"math/bits"
	"time"
)

// A silence is what a loop knows of who has answered last. A process that is stopped, or a
// host that has gone from the network, accepts requests (the kernel does) and says nothing;
// one slow request looks the same. What tells them apart is that the endpoint has sent
// nothing to anybody, while others have, or nobody else was asked.
type silence struct {
	last    *pool         // that was heard from last
	lastAt  time.Duration // loop time
	before  time.Duration // when another one was
	resumed time.Duration // when somebody was heard after nobody had been for long
}

// heardFrom takes in that the pool's endpoint has sent something. After a silence of all of
// them, of at least long, each has to be given its time anew: they may all be about to answer.
func (s *silence) heardFrom(p *pool, now, long time.Duration) {
	if now-s.lastAt >= long {
		s.resumed = now
	}
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

// rescueAt is when the try is to be given up for dead, or to be looked at again, as far as is
// known now; 0 is never. Once it has come, now is the answer. It waits on: the copy that is
// sent then runs beside it, and if it was not dead after all, its answer still counts.
func (x *exchange) rescueAt(now time.Duration) time.Duration {
	s := x.shard
	limit := s.set.Retry.Stalled
	if limit <= 0 || x.rescued || x.attempts > s.set.Retry.Attempts || x.alone() || !x.repeatable() {
		return 0
	}
	if now < x.secondAt {
		return x.secondAt
	}
	p := x.up.pool
	since := max(x.waited, p.heard, s.silence.resumed)
	crowded := since + max(limit, timesTypical*s.latencies.percentile(now, nearlyAll))
	due := since + max(limit, timesLongest*s.latencies.longest(now))
	first := min(crowded, due)
	if p.endpoint.InFlight() >= crowd {
		due = crowded
	}
	switch {
	case now < first:
		return first
	case now >= due && (s.silence.others(p) >= since || x.elsewhere(now-since, due-since)):
		return now
	}
	// More may come to be in flight. Or nobody else has answered either: that may be anything.
	return now + max(limit/4, time.Millisecond)
}

// elsewhere is asked when this loop has heard nobody for long, and says whether it is the
// endpoint all the same: because it has been silent to other loops as well for the limit that
// silence has, and others have not, or because nobody else was asked at all, as when there is one
// client. Where others were asked and are silent too, it may be anything.
func (x *exchange) elsewhere(long, limit time.Duration) bool {
	e := x.lease.Endpoint()
	if e.Answered(limit) {
		return false
	}
	answered, waiting := x.shard.set.Service.Others(e, long)
	return answered || !waiting
}

// keptLatencies is how long latencies are kept: half of it in the present window, half in
// the one before.
const keptLatencies = 10 * time.Minute

// latencies are those of one loop's answers, in windows of five minutes for the longest and of ten
// seconds for the percentiles. The buckets are eighths of a power of two of microseconds.
type latencies struct {
	window [2]histogram // the present one and the one before
	turned time.Duration
	peak   [2]time.Duration
	peaked time.Duration
	known  [2]quantile // of percentile: two shares are asked for, one by hedges and nearlyAll
}

// A quantile is what is known of a share until it is looked at again.
type quantile struct {
	share        float64
	value, until time.Duration
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
	q := &l.known[0]
	if q.share != share && q.share != 0 {
		q = &l.known[1]
	}
	if q.share != share || now >= q.until {
		l.turn(now)
		*q = quantile{share: share, value: l.measure(share), until: now + refresh}
	}
	return q.value
}

func (l *latencies) measure(share float64) time.Duration {
	total := l.window[0].count + l.window[1].count
	if total < fewLatencies {
		return 0
	}
	left := uint32(share * float64(total))
	for i := range l.window[0].buckets {
		n := l.window[0].buckets[i] + l.window[1].buckets[i]
		if n > left {
			return bucketTop(i)
		}
		left -= n
	}
	return 0
}
