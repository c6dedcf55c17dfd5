package main

import (
	"math"
	"slices"
	"time"
)

const (
	// grain is how finely users' requests are counted in time, and grainOfLoad the load of
	// instances: half a second has about a hundred attempts.
	grain       = 100 * time.Millisecond
	grainOfLoad = 500 * time.Millisecond
	// inTime is how fast an answer is that counts as goodput.
	inTime = time.Second
)

// A tally counts what happens in a run. Users' requests count for the moment at which they
// arrived, attempts for that at which they began.
type tally struct {
	scenario  *scenario
	size      size
	requests  []int // by grain
	good      []int // of those, answered without an error
	prompt    []int // of those, in time
	ended     []int
	local     []int // attempts in the sidecar's own zone
	attempts  []int
	load      [][]int32 // attempts by grainOfLoad and instance
	latencies histogram // of good answers to requests of the window
}

func newTally(sc *scenario, sz size) *tally {
	n := int(sc.length/grain) + 1
	t := &tally{scenario: sc, size: sz, latencies: newHistogram()}
	for _, counts := range []*[]int{&t.requests, &t.good, &t.prompt, &t.ended, &t.local, &t.attempts} {
		*counts = make([]int, n)
	}
	t.load = make([][]int32, int(sc.length/grainOfLoad)+1)
	for i := range t.load {
		t.load[i] = make([]int32, sz.instances+sc.spare)
	}
	return t
}

func (t *tally) request(at time.Duration) { t.requests[at/grain]++ }

func (t *tally) attempt(at time.Duration, instance int, local bool) {
	t.attempts[at/grain]++
	t.load[at/grainOfLoad][instance]++
	if local {
		t.local[at/grain]++
	}
}

func (t *tally) answer(began, took time.Duration, ok bool) {
	t.ended[began/grain]++
	if !ok {
		return
	}
	t.good[began/grain]++
	if took <= inTime {
		t.prompt[began/grain]++
	}
	if t.scenario.window.has(began) {
		t.latencies.add(took)
	}
}

// sum adds up the counts of a span.
func sum(counts []int, s span) int {
	total := 0
	for _, n := range counts[s.from/grain : s.to/grain] {
		total += n
	}
	return total
}

// share is that of the attempts of a span that went to some of the instances.
func (t *tally) share(s span, indices []int) float64 {
	all, some := 0, 0
	for _, load := range t.load[s.from/grainOfLoad : s.to/grainOfLoad] {
		for _, n := range load {
			all += int(n)
		}
		for _, i := range indices {
			some += int(load[i])
		}
	}
	return ratio(some, all)
}

// peak is the load of the busiest instance in any half second of a span, as a multiple of
// its share of the users' requests.
func (t *tally) peak(s span, among []int) float64 {
	most := int32(0)
	for _, load := range t.load[s.from/grainOfLoad : s.to/grainOfLoad] {
		for i, n := range load {
			if among == nil || slices.Contains(among, i) {
				most = max(most, n)
			}
		}
	}
	fair := t.scenario.load * capacity * grainOfLoad.Seconds()
	return float64(most) / fair
}

// errors is the share of the requests of a span that got an error. Those that had none of
// both when the run ended are left out.
func (t *tally) errors(s span) float64 {
	ended := sum(t.ended, s)
	return ratio(ended-sum(t.good, s), ended)
}

// recovery is how long after from the last second ended in which fewer than 99 % of the
// requests were answered without an error; never tells that it did not end before to.
func (t *tally) recovery(s span) (after time.Duration, never bool) {
	const second = time.Second
	for at := s.to - second; at >= s.from; at -= grain {
		if t.errors(span{at, at + second}) <= 0.01 {
			continue
		}
		// The first part of that second is what weighs on it; its rest may be sound.
		return at + grain - s.from, at == s.to-second
	}
	return 0, false
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// A histogram counts durations in steps of one per cent.
type histogram struct {
	counts []int
	total  int
}

const (
	least    = 10 * time.Microsecond
	fineness = 1.01
)

func newHistogram() histogram { return histogram{counts: make([]int, 1800)} }

func (h *histogram) add(d time.Duration) {
	i := 0
	if d > least {
		i = int(math.Log(float64(d)/float64(least)) / math.Log(fineness))
	}
	h.counts[min(i, len(h.counts)-1)]++
	h.total++
}

// quantile is the duration that a share of all were not above.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(h.total)))
	for i, n := range h.counts {
		if rank -= n; rank <= 0 && h.total > 0 {
			return time.Duration(float64(least) * math.Pow(fineness, float64(i)+0.5))
		}
	}
	return 0
}

// amplification is the attempts for each request of the window.
func (t *tally) amplification() float64 {
	w := t.scenario.window
	return ratio(sum(t.attempts, w), sum(t.requests, w))
}

// goodput is what was answered in time, as a share of what the instances could answer.
func (t *tally) goodput() float64 {
	w := t.scenario.window
	return float64(sum(t.prompt, w)) / (w.length().Seconds() * capacity * float64(t.size.instances))
}

// localShare is that of the attempts that stayed in the sidecar's zone.
func (t *tally) localShare(s span) float64 { return ratio(sum(t.local, s), sum(t.attempts, s)) }
