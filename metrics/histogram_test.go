package metrics

import (
	"math"
	"testing"
	"time"
)

func TestLatencyBucketsIncludeTheirBound(t *testing.T) {
	for i := range latencyBuckets {
		bound := time.Duration(1<<(i+latencyShift)) * time.Microsecond
		if got := latencyBound(i); math.Abs(got-bound.Seconds()) > 1e-12 {
			t.Errorf("bound %d = %v, want %v", i, got, bound.Seconds())
		}
		if got := latencyBucket(uint64(bound)); got != i {
			t.Errorf("%v falls into bucket %d, want %d", bound, got, i)
		}
		if got := latencyBucket(uint64(bound) + 1); got != i+1 {
			t.Errorf("%v and a nanosecond falls into bucket %d, want %d", bound, got, i+1)
		}
	}
	for _, d := range []time.Duration{0, 1, time.Microsecond} {
		if got := latencyBucket(uint64(d)); got != 0 {
			t.Errorf("%v falls into bucket %d, want 0", d, got)
		}
	}
	if got := latencyBucket(math.MaxInt64); got != latencyBuckets {
		t.Errorf("the longest duration falls into bucket %d, want the last", got)
	}
}

func TestSessionBucketsIncludeTheirBound(t *testing.T) {
	bound := time.Millisecond
	for i := range sessionBuckets {
		if got := sessionBound(i); math.Abs(got-bound.Seconds()) > 1e-9 {
			t.Errorf("bound %d = %v, want %v", i, got, bound.Seconds())
		}
		if got := sessionBucket(uint64(bound)); got != i {
			t.Errorf("%v falls into bucket %d, want %d", bound, got, i)
		}
		if got := sessionBucket(uint64(bound) + 1); got != i+1 {
			t.Errorf("%v and a nanosecond falls into bucket %d, want %d", bound, got, i+1)
		}
		bound *= 4
	}
	if got := sessionBucket(math.MaxInt64); got != sessionBuckets {
		t.Errorf("the longest duration falls into bucket %d, want the last", got)
	}
}

func TestADurationBelowZeroCountsAsZero(t *testing.T) {
	var h Histogram
	var s SessionHistogram
	h.Observe(-time.Hour) // a clock that was set back
	s.Observe(-time.Hour)
	if h.buckets[0].Load() != 1 || h.sum.Load() != 0 || s.buckets[0].Load() != 1 || s.sum.Load() != 0 {
		t.Error("it was counted as something else")
	}
}
