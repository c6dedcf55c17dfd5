package eventloop

import (
	"testing"
	"time"
)

func TestDelayBucketsIncludeTheirBound(t *testing.T) {
	for i := range delayCount {
		bound := uint64(DelayBound(i))
		if got := delayBucket(bound); got != i {
			t.Errorf("%v falls into bucket %d, want %d", DelayBound(i), got, i)
		}
		if got := delayBucket(bound + 1); got != i+1 {
			t.Errorf("%v and a nanosecond falls into bucket %d, want %d", DelayBound(i), got, i+1)
		}
	}
	if got := DelayBound(delayCount); got != 0 {
		t.Errorf("the last bucket has the bound %v", got)
	}
}

// In a turn that is timed every task counts, those behind a slow one with what it has taken.
func TestTasksThatWaitForASlowOneAreSeen(t *testing.T) {
	const slow, behind = 3 * time.Millisecond, 5
	tt := newTester(t, 1)
	l := tt.loop()
	done := make(chan Stats, 1)
	var before Stats
	left := behind
	finish := RunFunc(func(*Task) {
		if left--; left == 0 {
			done <- l.Stats()
		}
	})
	var begin func()
	begin = func() {
		if !l.sampled { // the next turn, then
			l.Post(begin)
			return
		}
		before = l.Stats()
		l.Go(RunFunc(func(*Task) {
			for began := time.Now(); time.Since(began) < slow; {
			}
		}))
		for range behind {
			l.Go(finish)
		}
	}
	l.Post(begin)
	after := <-done

	var all, late uint64
	for i := range after.Delays.Counts {
		n := after.Delays.Counts[i] - before.Delays.Counts[i]
		all += n
		if i > delayBucket(uint64(slow))-1 {
			late += n
		}
	}
	if all != 1+behind || late < behind {
		t.Errorf("%d tasks were timed, %d of them late; want %d and at least %d", all, late, 1+behind, behind)
	}
	if took := after.Delays.Sum - before.Delays.Sum; took < behind*slow {
		t.Errorf("together they waited %v, want %v at least", took, behind*slow)
	}
}

func TestTurnsThatAreNotTimedCountNothing(t *testing.T) {
	tt := newTester(t, 1)
	l := tt.loop()
	done := make(chan [2]Delays, 1)
	var begin func()
	begin = func() {
		if l.sampled {
			l.Post(begin)
			return
		}
		before := l.Stats().Delays
		l.Go(RunFunc(func(*Task) { done <- [2]Delays{before, l.Stats().Delays} }))
	}
	l.Post(begin)
	if d := <-done; d[0] != d[1] {
		t.Errorf("delays %v became %v", d[0], d[1])
	}
}

func TestABusyLoopIsSeen(t *testing.T) {
	const busy = 3 * time.Millisecond
	tt := newTester(t, 1)
	l := tt.loop()
	done := make(chan [2]time.Duration, 1)
	var begin func()
	begin = func() {
		if !l.sampled {
			l.Post(begin)
			return
		}
		before := l.Stats().Busy
		for began := time.Now(); time.Since(began) < busy; {
		}
		l.Post(func() { done <- [2]time.Duration{before, l.Stats().Busy} })
	}
	l.Post(begin)
	if d := <-done; d[1]-d[0] < sampleEvery*busy {
		t.Errorf("busy rose by %v, want %v at least: the turn stands for %d", d[1]-d[0], sampleEvery*busy, sampleEvery)
	}
}
