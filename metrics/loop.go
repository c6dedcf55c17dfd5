package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A LoopSample is what one event loop has done up to the moment of a scrape.
type LoopSample struct {
	Loop int // its index

	Turns  uint64 // times it asked the kernel what is ready
	Events uint64 // what the kernel answered with
	Posts  uint64 // functions posted to it by other goroutines
	Panics uint64 // tasks ended by a panic
	Conns  int64  // connections open
	Tasks  int64  // tasks running or parked

	Busy time.Duration // between two waits for events, all turns together

	// Delays are tasks by how long they waited for their run after the loop had been told that they are
	// ready, each up to the bound of its place and beyond the one before; there is one more of them
	// than of bounds. DelaySum is what they waited all together.
	Delays      []uint64
	DelayBounds []time.Duration
	DelaySum    time.Duration
}

// delay makes the histogram.
func (s *LoopSample) delay(d *prometheus.Desc, loop string) prometheus.Metric {
	cumulative := make(map[float64]uint64, len(s.DelayBounds))
	var count uint64
	for i, n := range s.Delays {
		count += n
		if i < len(s.DelayBounds) {
			cumulative[s.DelayBounds[i].Seconds()] = count
		}
	}
	return prometheus.MustNewConstHistogram(d, count, s.DelaySum.Seconds(), cumulative, loop)
}

type loopFamily struct {
	each                                       atomic.Pointer[func(func(LoopSample))]
	turns, events, posts, panics, conns, tasks *prometheus.Desc
	busy, delay                                *prometheus.Desc
}

func newLoopFamily() *loopFamily {
	const sub = "loop"
	return &loopFamily{
		turns:  desc(sub, "turns_total", "Times the loop asked the kernel what is ready.", "loop"),
		events: desc(sub, "events_total", "Events of sockets that the kernel told the loop.", "loop"),
		posts:  desc(sub, "posts_total", "Functions posted to the loop by other goroutines.", "loop"),
		panics: desc(sub, "panics_total", "Tasks ended by a panic: each is a bug.", "loop"),
		conns:  desc(sub, "connections", "Connections of the loop that are open, to clients and to endpoints.", "loop"),
		tasks:  desc(sub, "tasks", "Tasks of the loop that run or are parked.", "loop"),
		busy:   desc(sub, "busy_seconds_total", "Time between two waits for events, estimated from each 61st turn: the share of the loop's thread that is taken.", "loop"),
		delay:  desc(sub, "run_delay_seconds", "How long tasks waited for their run after the kernel had told that they are ready, in each 61st turn.", "loop"),
	}
}

// Describe is prometheus.Collector's.
func (f *loopFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.turns, f.events, f.posts, f.panics, f.conns, f.tasks, f.busy, f.delay)
}

// Collect is prometheus.Collector's.
func (f *loopFamily) Collect(ch chan<- prometheus.Metric) {
	all := map[int]LoopSample{}
	gather(&f.each, func(s LoopSample) { all[s.Loop] = s })
	for i, s := range all {
		loop := strconv.Itoa(i)
		counter(ch, f.turns, s.Turns, loop)
		counter(ch, f.events, s.Events, loop)
		counter(ch, f.posts, s.Posts, loop)
		counter(ch, f.panics, s.Panics, loop)
		gauge(ch, f.conns, float64(s.Conns), loop)
		gauge(ch, f.tasks, float64(s.Tasks), loop)
		ch <- prometheus.MustNewConstMetric(f.busy, prometheus.CounterValue, s.Busy.Seconds(), loop)
		ch <- s.delay(f.delay, loop)
	}
}
