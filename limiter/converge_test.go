package limiter

import (
	"testing"
	"time"
)

// seeds is how many every scenario is told with: no rule may depend on luck. In virtual time
// there is one thread, so the race detector, under which each takes ten times as long, has
// nothing to find in more than one.
func seeds() uint64 {
	if raceEnabled {
		return 1
	}
	return 4
}

func scenario(t *testing.T, tell func(t *testing.T, seed uint64)) {
	t.Helper()
	for seed := range seeds() {
		tell(t, seed)
	}
}

// settled are the limits around the point where the algorithm settles for the trial's
// workers, Tolerance × c + √limit, by as much as noise moves it.
func (s *trial) settled() (low, high int) {
	c := float64(s.workers)
	return int(1.2 * c), int(2*c) + 12
}

func (s *trial) wantSettled(seed uint64, when string) {
	s.t.Helper()
	low, high := s.settled()
	if got := s.g.Limit(); got < low || got > high {
		s.t.Errorf("seed %d: the limit is %d %s, want %d to %d for %d workers", seed, got, when, low, high, s.workers)
	}
}

// outOfDip lets time pass, a little at a time, until no dip is under way.
func (s *trial) outOfDip() *trial {
	s.t.Helper()
	for range 100 {
		if !s.g.Status().Probing {
			return s
		}
		s.run(100 * time.Millisecond)
	}
	s.t.Fatal("a dip does not end")
	return s
}

func TestConvergesFromBelow(t *testing.T) {
	scenario(t, func(t *testing.T, seed uint64) {
		for _, workers := range []int{20, 100} {
			s := newTrial(t, seed, workers, 3, &Options{Initial: 5})
			before := s.g.Limit()
			s.run(20*time.Second).outOfDip().wantSettled(seed, "20 s after the start at 5")
			if before != 5 {
				t.Errorf("the first limit is %d, want 5", before)
			}
			s.run(2*time.Minute).outOfDip().wantSettled(seed, "two minutes later")
		}
	})
}

// The latency without a queue has never been seen when this Gradient begins.
func TestConvergesFromAboveUnderOverload(t *testing.T) {
	scenario(t, func(t *testing.T, seed uint64) {
		for _, workers := range []int{20, 100} {
			s := newTrial(t, seed, workers, 3, &Options{Initial: 20 * workers, Max: 20 * workers})
			s.run(time.Minute).outOfDip().wantSettled(seed, "a minute after the start at 20 times the workers")
		}
	})
}

func TestFollowsCapacity(t *testing.T) {
	scenario(t, func(t *testing.T, seed uint64) {
		s := newTrial(t, seed, 40, 3, &Options{})
		s.run(30 * time.Second).outOfDip()
		s.wantSettled(seed, "with 40 workers")

		s.workers = 20
		s.load(3)
		s.run(20 * DefaultWindow).outOfDip()
		s.wantSettled(seed, "20 windows after half of them have gone")

		s.workers = 80
		s.load(3)
		s.run(15 * time.Second).outOfDip()
		s.wantSettled(seed, "15 s after four times as many have come")
	})
}

// As many workers, each of them slower: the limit has to stay, and what it is compared with
// has to follow.
func TestFollowsAServiceThatBecomesSlower(t *testing.T) {
	for _, times := range []time.Duration{2, 4, 10} {
		scenario(t, func(t *testing.T, seed uint64) {
			s := newTrial(t, seed, 20, 3, &Options{})
			s.run(20 * time.Second)
			s.work *= times
			s.load(3)
			s.run(3 * time.Minute)
			s.run(time.Minute)
			if got := s.goodput(time.Minute); got < 0.9 {
				t.Errorf("seed %d: %d times slower, the workers are busy for %.2f of the time after three minutes", seed, times, got)
			}
			if got, limit := s.p99(), 10*s.work; got > limit {
				t.Errorf("seed %d: %d times slower, p99 is %v, want at most %v", seed, times, got, limit)
			}
		})
	}
}

func TestStaysWithoutLoad(t *testing.T) {
	scenario(t, func(t *testing.T, seed uint64) {
		s := newTrial(t, seed, 20, 0.05, &Options{Initial: 30})
		s.run(5 * time.Minute)
		if s.highest != 30 || s.least != 30 || s.refused > 0 {
			t.Errorf("seed %d: the limit was %d to %d and %d were refused, without load", seed, s.least, s.highest, s.refused)
		}
		s.load(0)
		s.run(time.Hour)
		if s.g.Limit() != 30 {
			t.Errorf("seed %d: the limit is %d after an hour of silence", seed, s.g.Limit())
		}
	})
}

// Nobody is refused while the service can take it, once the limit has been learnt.
func TestRefusesNobodyBelowCapacity(t *testing.T) {
	scenario(t, func(t *testing.T, seed uint64) {
		s := newTrial(t, seed, 20, 0.7, &Options{})
		s.run(time.Minute)
		s.run(5 * time.Minute)
		if share := float64(s.refused) / float64(s.refused+s.answered); share > 0.001 {
			t.Errorf("seed %d: %.4f of the requests were refused at 0.7 of the capacity", seed, share)
		}
	})
}

func TestKeepsGoodputAndLatencyUnderOverload(t *testing.T) {
	const long = 2 * time.Minute
	scenario(t, func(t *testing.T, seed uint64) {
		s := newTrial(t, seed, 20, 0.5, &Options{})
		s.run(time.Minute)
		s.load(3)
		s.run(10 * time.Second) // the limit comes down from what calm has let it grow to
		s.run(long)
		if got := s.goodput(long); got < 0.9 {
			t.Errorf("seed %d: the workers are busy for %.3f of the time", seed, got)
		}
		// 4.6 times the mean work is the p99 of the work itself.
		if got := s.p99(); got > 8*work {
			t.Errorf("seed %d: p99 is %v, want at most %v", seed, got, 8*work)
		}
		if s.longest > 4*s.workers {
			t.Errorf("seed %d: the queue was %d long", seed, s.longest)
		}
		s.drain()
		if n := s.g.InFlight(); n != 0 {
			t.Errorf("seed %d: %d in flight after the last has been answered", seed, n)
		}
	})
}

// What the tests above are worth: without a limit the same queue grows without end.
func TestWithoutALimitTheQueueGrows(t *testing.T) {
	scenario(t, func(t *testing.T, seed uint64) {
		s := newTrial(t, seed, 20, 3, nil)
		before := 0
		for range 5 {
			s.run(10 * time.Second)
			// Each second brings 6000 requests, and 2000 are answered.
			if grown := len(s.queue) - before; grown < 35_000 {
				t.Errorf("seed %d: the queue has grown by %d in 10 s, want about 40,000", seed, grown)
			}
			before = len(s.queue)
		}
		if s.p99() < 1000*work {
			t.Errorf("seed %d: p99 is %v, want far above %v", seed, s.p99(), 1000*work)
		}
	})
}

func TestStaysWithinMinAndMax(t *testing.T) {
	scenario(t, func(t *testing.T, seed uint64) {
		// The workers could do with 160 in flight, and then with 2.
		s := newTrial(t, seed, 100, 3, &Options{Initial: 20, Min: 8, Max: 50})
		s.run(30 * time.Second)
		if s.highest != 50 {
			t.Errorf("seed %d: the limit has grown to %d, want Max", seed, s.highest)
		}
		s.workers = 1
		s.load(3)
		s.run(2 * time.Minute)
		if s.least != 8 {
			t.Errorf("seed %d: the limit has fallen to %d, want Min", seed, s.least)
		}
	})
}

// Under an overload that lasts, gradient2 takes the queue for the normal state and the
// limit grows. Here it must be the same after half an hour.
func TestDoesNotDriftUnderALastingOverload(t *testing.T) {
	s := newTrial(t, 1, 20, 1.5, &Options{})
	s.run(time.Minute)
	for range 12 {
		s.run(5*time.Minute).outOfDip().wantSettled(1, "under a lasting overload")
	}
}

// Each of three proxies sees the queue of the two others, which its own dips do not take
// away. The queue that they allow together is longer, and must have a bound all the same.
func TestAFewProxiesTogetherAllowABoundedQueue(t *testing.T) {
	scenario(t, func(t *testing.T, seed uint64) {
		s := newTrial(t, seed, 40, 0.5, &Options{})
		s.join(2)
		s.run(time.Minute)
		s.load(3)
		s.run(2 * time.Minute)
		if limit := 5 * s.workers; s.longest > limit {
			t.Errorf("seed %d: the queue was %d long, want at most %d", seed, s.longest, limit)
		}
		first := s.longest
		s.run(5 * time.Minute)
		if s.longest > first*5/4 {
			t.Errorf("seed %d: the queue was %d long, and %d in the next five minutes", seed, first, s.longest)
		}
		if got := s.goodput(5 * time.Minute); got < 0.95 {
			t.Errorf("seed %d: the workers are busy for %.2f of the time", seed, got)
		}
	})
}
