package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A sample is what one request of a load has come to.
type sample struct {
	at     time.Time // when it was made
	took   time.Duration
	status int    // 0: there was no answer
	origin string // that has answered; empty where none did
	cause  string // for which the sidecar has, instead
}

// samples are in the order of their answers.
type samples []sample

// where returns those that are so.
func (s samples) where(so func(*sample) bool) samples {
	var some samples
	for i := range s {
		if so(&s[i]) {
			some = append(some, s[i])
		}
	}
	return some
}

// good are those that were answered as they should.
func (s samples) good() samples {
	return s.where(func(one *sample) bool { return one.status == http.StatusOK })
}

// between are those that were answered from one moment to another.
func (s samples) between(from, to time.Time) samples {
	return s.where(func(one *sample) bool {
		answered := one.at.Add(one.took)
		return !answered.Before(from) && answered.Before(to)
	})
}

// slower are those that took longer than d.
func (s samples) slower(d time.Duration) samples {
	return s.where(func(one *sample) bool { return one.took > d })
}

// from are those that an origin has answered.
func (s samples) from(origin string) samples {
	return s.where(func(one *sample) bool { return one.origin == origin })
}

// share is how much of them an origin has answered.
func (s samples) share(origin string) float64 {
	return float64(len(s.from(origin))) / float64(max(len(s), 1))
}

// percentile is what this share of them did not exceed, 0 if there are none.
func (s samples) percentile(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	all := make([]time.Duration, len(s))
	for i := range s {
		all[i] = s[i].took
	}
	slices.Sort(all)
	return all[min(int(share*float64(len(all))), len(all)-1)]
}

func (s samples) String() string {
	tenth := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d requests, %d good, p50 %v, p99 %v, longest %v", len(s), len(s.good()),
		tenth(s.percentile(0.5)), tenth(s.percentile(0.99)), tenth(s.percentile(1)))
}

// streak is how long after from it took until n answers in a row were good; false if there
// were never as many.
func (s samples) streak(from time.Time, n int) (time.Duration, bool) {
	row := 0
	for i := range s {
		answered := s[i].at.Add(s[i].took)
		if answered.Before(from) {
			continue
		}
		if row++; s[i].status != http.StatusOK {
			row = 0
		}
		if row == n {
			return answered.Sub(from), true
		}
	}
	return 0, false
}
