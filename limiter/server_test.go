package limiter

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A trial is a service of some workers with one queue before them, in virtual time, a
// crowd of clients that come at random, and a Gradient, or none, in between. Arrivals and
// work are exponentially distributed: M/M/c.
type trial struct {
	t       *testing.T
	g       *Gradient   // nil lets everything in
	proxies []*Gradient // g and those that have joined
	random  *rand.Rand
	workers int
	work    time.Duration // mean
	rate    float64       // arrivals per second

	now     time.Duration
	next    time.Duration // arrival
	busy    completions
	queue   []request
	refused int
	longest int // queue
	highest int // limit
	least   int // limit

	answered  int
	latencies []time.Duration
}

// A request has come through one of the proxies.
type request struct {
	came time.Duration
	by   *Gradient
}

// A completion is the end of a request's work.
type completion struct {
	at time.Duration
	request
}

type completions []completion

func (c completions) Len() int           { return len(c) }
func (c completions) Less(i, j int) bool { return c[i].at < c[j].at }
func (c completions) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *completions) Push(x any)        { *c = append(*c, x.(completion)) }
func (c *completions) Pop() any {
	old := *c
	last := old[len(old)-1]
	*c = old[:len(old)-1]
	return last
}

const work = 10 * time.Millisecond

// newTrial makes one whose clients ask for load times what the workers can do.
func newTrial(t *testing.T, seed uint64, workers int, load float64, o *Options) *trial {
	t.Helper()
	s := &trial{t: t, random: rand.New(rand.NewPCG(seed, 1)), workers: workers, work: work}
	if o != nil {
		options := *o
		options.Random = rand.New(rand.NewPCG(seed, 2)).Uint64
		s.g = New(options)
		s.proxies = []*Gradient{s.g}
		s.highest, s.least = s.g.Limit(), s.g.Limit()
	}
	s.load(load)
	return s
}

// join adds n proxies like the first; each request comes through one of them, at random.
func (s *trial) join(n int) {
	for range n {
		s.proxies = append(s.proxies, New(s.g.control.options))
	}
}

// load sets how many times what the workers can do now is asked for.
func (s *trial) load(times float64) {
	s.rate = times * s.capacity()
	s.next = s.now + s.between()
}

// capacity is what the workers can do per second.
func (s *trial) capacity() float64 { return float64(s.workers) / s.work.Seconds() }

func (s *trial) between() time.Duration {
	if s.rate == 0 {
		return 1000 * time.Hour // never
	}
	return time.Duration(s.random.ExpFloat64() / s.rate * float64(time.Second))
}

// run lets d pass, and forgets what was counted before.
func (s *trial) run(d time.Duration) *trial {
	s.answered, s.refused, s.latencies, s.longest = 0, 0, s.latencies[:0], 0
	until := s.now + d
	for {
		arrives := len(s.busy) == 0 || s.next <= s.busy[0].at
		if arrives {
			s.now = s.next
		} else {
			s.now = s.busy[0].at
		}
		if s.now > until {
			s.now = until
			return s
		}
		if arrives {
			s.arrive()
			s.next = s.now + s.between()
		} else {
			s.finish()
		}
	}
}

func (s *trial) arrive() {
	r := request{came: s.now}
	if s.g != nil {
		r.by = s.proxies[s.random.IntN(len(s.proxies))]
		if !r.by.Allow() {
			s.refused++
			return
		}
	}
	s.queue = append(s.queue, r)
	s.begin()
	s.longest = max(s.longest, len(s.queue))
}

// begin hands the queue to idle workers.
func (s *trial) begin() {
	for len(s.queue) > 0 && len(s.busy) < s.workers {
		d := time.Duration(s.random.ExpFloat64() * float64(s.work))
		heap.Push(&s.busy, completion{s.now + d, s.queue[0]})
		s.queue = s.queue[1:]
	}
}

func (s *trial) finish() {
	done := heap.Pop(&s.busy).(completion)
	s.begin()
	latency := s.now - done.came
	s.answered++
	s.latencies = append(s.latencies, latency)
	if s.g == nil {
		return
	}
	done.by.Done(s.now, latency, true)
	s.highest, s.least = max(s.highest, s.g.Limit()), min(s.least, s.g.Limit())
	inFlight := 0
	for _, g := range s.proxies {
		inFlight += g.InFlight()
	}
	if want := len(s.busy) + len(s.queue); inFlight != want {
		s.t.Fatalf("%d in flight, want %d", inFlight, want)
	}
}

// drain sends no more and waits for what is in flight.
func (s *trial) drain() {
	s.load(0)
	s.run(time.Hour)
}

// p99 is the latency that 99 in 100 of the last run did not exceed.
func (s *trial) p99() time.Duration {
	slices.Sort(s.latencies)
	return s.latencies[len(s.latencies)*99/100]
}

// goodput is the share of what the workers could have done in a run of d that was done.
func (s *trial) goodput(d time.Duration) float64 {
	return float64(s.answered) / (s.capacity() * d.Seconds())
}
