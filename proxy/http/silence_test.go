package http

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestSilenceKnowsWhoSpokeLast(t *testing.T) {
	var s silence
	a, b, c := new(pool), new(pool), new(pool)
	if s.others(a) != 0 {
		t.Error("somebody has spoken")
	}
	for _, step := range []struct {
		who     *pool
		at      time.Duration
		a, b, c time.Duration // when another one than this has spoken
	}{
		{a, 10, 0, 10, 10},
		{a, 20, 0, 20, 20},
		{b, 30, 30, 20, 30},
		{b, 40, 40, 20, 40},
		{a, 50, 40, 50, 50},
		{c, 60, 60, 60, 50},
	} {
		s.heardFrom(step.who, step.at, 15)
		if got := [3]time.Duration{s.others(a), s.others(b), s.others(c)}; got != [3]time.Duration{step.a, step.b, step.c} {
			t.Errorf("at %d: %v", step.at, got)
		}
		if s.resumed != 0 {
			t.Errorf("at %d: all were silent until %d", step.at, s.resumed)
		}
		if step.who.heard != step.at {
			t.Errorf("heard at %d, want %d", step.who.heard, step.at)
		}
	}
}

func TestSilenceOfAllIsNobodysFault(t *testing.T) {
	s := silence{lastAt: 10}
	a, b := new(pool), new(pool)
	s.heardFrom(a, 25, 15)
	s.heardFrom(b, 39, 15)
	if s.resumed != 25 {
		t.Errorf("resumed at %d, want 25", s.resumed)
	}
	s.heardFrom(b, 54, 15)
	if s.resumed != 54 {
		t.Errorf("resumed at %d, want 54", s.resumed)
	}
}

func TestBucketsHoldTheirLatencies(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		d := time.Duration(random.Int64N(1 << (1 + random.IntN(50))))
		i := bucketOf(d)
		if top := bucketTop(i); d > top || float64(top) > 1.125*float64(d)+float64(time.Microsecond) {
			t.Fatalf("%v is in a bucket up to %v", d, top)
		}
		if i > 0 && bucketTop(i-1) > d {
			t.Fatalf("%v belongs into the bucket below, up to %v", d, bucketTop(i-1))
		}
	}
	last := len(histogram{}.buckets) - 1
	if bucketOf(-time.Second) != 0 || bucketOf(1<<62) != last {
		t.Errorf("%d, %d", bucketOf(-time.Second), bucketOf(1<<62))
	}
}

func TestPercentile(t *testing.T) {
	var l latencies
	for i := range fewLatencies - 1 {
		l.add(0, time.Duration(i)*time.Millisecond)
	}
	if got := l.percentile(0, 0.5); got != 0 {
		t.Errorf("%v, of too few to say", got)
	}
	l = latencies{}
	for i := range 1000 {
		l.add(0, time.Duration(i+1)*time.Millisecond)
	}
	within := func(got, want time.Duration) bool { return got >= want && float64(got) <= 1.13*float64(want) }
	// Two shares are asked for in turn, and neither forgets the other.
	for range 3 {
		if got := l.percentile(0, 0.5); !within(got, 500*time.Millisecond) {
			t.Errorf("p50 is %v", got)
		}
		if got := l.percentile(0, 0.95); !within(got, 950*time.Millisecond) {
			t.Errorf("p95 is %v", got)
		}
		if got := l.percentile(0, 0.999); !within(got, 999*time.Millisecond) {
			t.Errorf("p99.9 is %v", got)
		}
	}
	if got := l.longest(0); got != time.Second {
		t.Errorf("longest is %v", got)
	}
}

func TestLatenciesAreForgotten(t *testing.T) {
	var l latencies
	fill := func(now, took time.Duration) {
		for range fewLatencies {
			l.add(now, took)
		}
	}
	at := func(now time.Duration, typical, longest bool) {
		t.Helper()
		if got := l.percentile(now, 0.95) >= time.Second; got != typical {
			t.Errorf("after %v: typical is %v", now, l.percentile(now, 0.95))
		}
		if got := l.longest(now) >= time.Second; got != longest {
			t.Errorf("after %v: longest is %v", now, l.longest(now))
		}
	}
	fill(0, time.Second)
	at(refresh, true, true)
	at(latencyWindow+refresh, true, true) // the window before
	at(2*latencyWindow+refresh, false, true)
	fill(2*latencyWindow+2*refresh, time.Millisecond)
	at(2*latencyWindow+4*refresh, false, true)
	at(keptLatencies/2+time.Second, false, true)
	at(keptLatencies+2*time.Second, false, false)
	fill(keptLatencies+3*time.Second, time.Second)
	at(3*keptLatencies, false, false) // both windows at once
}
