package window

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func newCounter(span time.Duration) *Counter {
	c := new(Counter)
	c.Init(span)
	return c
}

func (c *Counter) addTimes(n int, at time.Duration) {
	for range n {
		c.Add(at)
	}
}

// events are how many come at which time; the slices of these tables last a second.
type events []struct {
	n  int
	at time.Duration
}

func TestSum(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name   string
		events events
		at     time.Duration
		want   uint64
	}{
		{"nothing", nil, 0, 0},
		{"nothing, late", nil, 1000 * s, 0},
		{"at the origin", events{{3, 0}}, 0, 3},
		{"before the origin", events{{3, -5 * s}}, 0, 3},
		{"asked before the origin", events{{3, 0}}, -time.Hour, 3},
		{"in one slice", events{{2, 4 * s}, {1, 4*s + s/2}, {1, 5*s - 1}}, 5*s - 1, 4},
		{"in all slices", events{{1, 0}, {1, s}, {1, 2 * s}, {1, 3 * s}, {1, 4 * s}, {1, 5 * s}, {1, 6 * s}, {1, 7 * s}, {1, 8 * s}, {1, 9 * s}}, 9 * s, 10},
		{"the last moment of the window", events{{7, 3 * s}}, 13*s - 1, 7},
		{"out of the window", events{{7, 3 * s}}, 13 * s, 0},
		{"out of the window for a year", events{{7, 3 * s}}, 365 * 24 * time.Hour, 0},
		{"a slot is used again", events{{7, 3 * s}, {2, 13 * s}}, 13 * s, 2},
		{"a slot is used again much later", events{{7, 3 * s}, {2, 3603 * s}}, 3603 * s, 2},
		{"the others of that window stay", events{{7, 3 * s}, {5, 4 * s}, {2, 13 * s}}, 13 * s, 7},
		{"asked a slice too early", events{{1, 3 * s}, {2, 13 * s}}, 12 * s, 2},
		{"asked two slices too early", events{{5, 11 * s}, {2, 13 * s}}, 11 * s, 5},
		{"told a slice too late", events{{1, 13 * s}, {2, 12 * s}}, 13 * s, 3},
		{"told a window too late", events{{1, 13 * s}, {2, 3 * s}}, 13 * s, 1},
		{"told long too late", events{{1, 10000 * s}, {2, 9000 * s}}, 10000 * s, 1},
	} {
		counter := newCounter(10 * s)
		for _, e := range c.events {
			counter.addTimes(e.n, e.at)
		}
		if got := counter.Sum(c.at); got != c.want {
			t.Errorf("%s: %d at %v, want %d", c.name, got, c.at, c.want)
		}
	}
}

func TestSub(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name  string
		added events
		sub   time.Duration
		at    time.Duration
		want  uint64
	}{
		{name: "one of three", added: events{{3, 2 * s}}, sub: 2 * s, at: 2 * s, want: 2},
		{name: "in the same slice", added: events{{3, 2 * s}}, sub: 3*s - 1, at: 3 * s, want: 2},
		{name: "of nothing", sub: 2 * s, at: 2 * s, want: 0},
		{name: "of nothing in the first slice", sub: 0, at: 0, want: 0},
		{name: "of another slice", added: events{{3, 2 * s}}, sub: 4 * s, at: 4 * s, want: 3},
		{name: "after its slot has moved on", added: events{{3, 2 * s}, {4, 12 * s}}, sub: 2 * s, at: 12 * s, want: 4},
	} {
		counter := newCounter(10 * s)
		for _, e := range c.added {
			counter.addTimes(e.n, e.at)
		}
		counter.Sub(c.sub)
		if got := counter.Sum(c.at); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for _, c := range []struct {
		span, lasts time.Duration
	}{
		{10 * time.Second, 10 * time.Second},
		{time.Hour, time.Hour},
		{time.Millisecond, time.Millisecond},
		{25, 20},
		{1, 10},
		{0, 10},
		{-time.Second, 10},
	} {
		counter := newCounter(c.span)
		counter.Add(0)
		if got := counter.Sum(c.lasts - 1); got != 1 {
			t.Errorf("span %v: gone before %v", c.span, c.lasts)
		}
		if got := counter.Sum(c.lasts); got != 0 {
			t.Errorf("span %v: still there after %v", c.span, c.lasts)
		}
	}
}

// A slot that was last used when its number has wrapped looks as if it were ahead. It must
// not keep new events out, but for the few slices that pass for late events.
func TestNumbersWrap(t *testing.T) {
	const wrap = 1 << stampBits // slices of a nanosecond
	for _, at := range []time.Duration{wrap / 2, wrap/2 + 13, wrap - late - Slots, wrap, wrap + 1, 5*wrap + wrap/2} {
		counter := newCounter(Slots)
		counter.Add(0)
		for i := range time.Duration(Slots) {
			counter.Add(at + i)
		}
		if got := counter.Sum(at + Slots - 1); got != Slots {
			t.Errorf("%d after %d slices", got, at)
		}
	}
}

// The sum over random steps of time agrees with a list of all events.
func TestAgreesWithAList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	counter := newCounter(10 * time.Second)
	var list []int64 // numbers of slices
	var at time.Duration
	for range 20000 {
		at += time.Duration(random.Int64N(int64(300 * time.Millisecond)))
		if random.IntN(100) == 0 {
			at += time.Duration(random.Int64N(int64(30 * time.Second)))
		}
		told := max(at-time.Duration(random.Int64N(int64(time.Second))), 0)
		counter.Add(told)
		list = append(list, int64(told/time.Second))
		if random.IntN(3) == 0 {
			counter.Sub(told)
			list = list[:len(list)-1]
		}
		var want uint64
		for i := len(list) - 1; i >= max(0, len(list)-1000); i-- {
			if list[i] > int64(at/time.Second)-Slots {
				want++
			}
		}
		if got := counter.Sum(at); got != want {
			t.Fatalf("at %v: %d, want %d", at, got, want)
		}
	}
}

// Threads whose clocks are up to a slice apart lose nothing, whatever the order in which
// they meet the slots.
func TestManyThreadsLoseNothing(t *testing.T) {
	const threads, rounds = 8, 20000
	counter := newCounter(1000)
	var added, taken [threads]uint64 // in the last window
	var wg sync.WaitGroup
	start := make(chan struct{})
	for g := range threads {
		wg.Go(func() {
			<-start
			random := rand.New(rand.NewPCG(3, uint64(g)))
			for i := range rounds {
				at := time.Duration(random.Int64N(900)) // all within one window
				counter.Add(at)
				added[g]++
				if i%3 == 0 {
					counter.Sub(at)
					taken[g]++
				}
				counter.Sum(at)
			}
		})
	}
	close(start)
	wg.Wait()
	var want uint64
	for g := range threads {
		want += added[g] - taken[g]
	}
	if got := counter.Sum(900); got != want {
		t.Errorf("%d events, want %d", got, want)
	}
}

// While time goes on, many threads meet at the first event of each slice, half of them with
// the time of the slice before. They wait for each other after each slice.
func TestManyThreadsOverTime(t *testing.T) {
	const threads, slices, each = 8, 50, 100
	counter := newCounter(10 * time.Second)
	for slice := range slices {
		var wg sync.WaitGroup
		for g := range threads {
			wg.Go(func() {
				at := time.Duration(max(slice-g%2, 0)) * time.Second
				for range each {
					counter.Add(at)
				}
			})
		}
		wg.Wait()
		want := uint64(min(slice+1, Slots) * threads * each)
		if slice >= Slots {
			want -= threads / 2 * each // what those behind told in its first slice was of the one before
		}
		at := time.Duration(slice) * time.Second
		if got := counter.Sum(at); got != want {
			t.Fatalf("slice %d: %d events, want %d", slice, got, want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	counter := newCounter(time.Second)
	var at time.Duration
	if n := testing.AllocsPerRun(1000, func() {
		at += 10 * time.Millisecond
		counter.Add(at)
		counter.Sum(at)
		counter.Sub(at)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCounter(b *testing.B) {
	counter := newCounter(10 * time.Second)
	b.Run("add", func(b *testing.B) {
		b.ReportAllocs()
		var at time.Duration
		for b.Loop() {
			counter.Add(at)
			at += 20 * time.Microsecond
		}
	})
	b.Run("sum", func(b *testing.B) {
		b.ReportAllocs()
		var at time.Duration
		for b.Loop() {
			counter.Sum(at)
			at += 20 * time.Microsecond
		}
	})
}
