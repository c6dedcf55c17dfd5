package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The bounds of a Histogram are 64 µs · 2^k, up to 67 s: powers of two, because then finding
// the bucket is one instruction, and two neighbours are never further apart than the
// difference that matters to a person.
const (
	latencyShift   = 6 // the first bound is 2^6 µs
	latencyBuckets = 21
)

// The bounds of a SessionHistogram are 1 ms · 4^k, up to 18.6 hours.
const sessionBuckets = 14

// A Histogram counts latencies, from 64 µs to a minute, in 22 buckets of atomics. The zero
// value is ready; Observe may be called from any goroutine, takes no lock and allocates nothing.
//
// prometheus.Histogram does more than is needed here (exemplars, native buckets, two
// generations under a lock for a consistent sum) and its Observe costs ten times as much.
type Histogram struct {
	buckets [latencyBuckets + 1]atomic.Uint64 // not cumulative; the last one has no bound
	sum     atomic.Uint64                     // nanoseconds
}

// Observe counts one latency. One that is negative counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	ns := uint64(max(d, 0))
	h.buckets[latencyBucket(ns)].Add(1)
	h.sum.Add(ns)
}

// latencyBucket tells which bucket ns nanoseconds fall into; bounds are inclusive.
func latencyBucket(ns uint64) int {
	us := (ns + 999) / 1000
	if us <= 1<<latencyShift {
		return 0
	}
	return min(bits.Len64(us-1)-latencyShift, latencyBuckets)
}

// latencyBound is the inclusive upper bound of bucket i in seconds.
func latencyBound(i int) float64 {
	return float64(uint64(1)<<(i+latencyShift)) / 1e6
}

// A SessionHistogram counts how long sessions lasted, from a millisecond to a day, in 15
// buckets of atomics. What holds for Histogram holds for it too.
type SessionHistogram struct {
	buckets [sessionBuckets + 1]atomic.Uint64
	sum     atomic.Uint64 // nanoseconds
}

// Observe counts one duration. One that is negative counts as 0.
func (h *SessionHistogram) Observe(d time.Duration) {
	ns := uint64(max(d, 0))
	h.buckets[sessionBucket(ns)].Add(1)
	h.sum.Add(ns)
}

// sessionBucket tells which bucket ns nanoseconds fall into; bounds are inclusive.
func sessionBucket(ns uint64) int {
	ms := (ns + 999_999) / 1_000_000
	if ms <= 1 {
		return 0
	}
	return min((bits.Len64(ms-1)+1)/2, sessionBuckets)
}

// sessionBound is the inclusive upper bound of bucket i in seconds.
func sessionBound(i int) float64 {
	return float64(uint64(1)<<(2*i)) / 1e3
}

// distribution is the sum of the histograms of all shards, taken for one scrape.
type distribution struct {
	buckets [latencyBuckets + 1]uint64 // the longest of the two kinds
	sum     uint64
}

func (t *distribution) add(buckets []atomic.Uint64, sum *atomic.Uint64) {
	// The sum is read first: an observation that arrives in between may be missing from the
	// sum, and is never in the sum without being counted.
	t.sum += sum.Load()
	for i := range buckets {
		t.buckets[i] += buckets[i].Load()
	}
}

// metric makes the series of bounded buckets and the one without a bound. The count is what
// the buckets add up to, so the two always agree.
func (t *distribution) metric(d *prometheus.Desc, bounded int, bound func(int) float64, labels ...string) prometheus.Metric {
	cumulative := make(map[float64]uint64, bounded)
	var count uint64
	for i := range bounded {
		count += t.buckets[i]
		cumulative[bound(i)] = count
	}
	count += t.buckets[bounded]
	return prometheus.MustNewConstHistogram(d, count, float64(t.sum)/1e9, cumulative, labels...)
}
