package main

import (
	"math/rand/v2"
	"time"

	"sidecar/discovery"
)

// origin is when simulations begin, for the services' clocks. Any time will do.
var origin = time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)

// A size is how much there is of everything.
type size struct{ sidecars, instances int }

// A world is one run of a scenario with one preset: virtual time, sidecars and instances.
// It is used by one goroutine.
type world struct {
	scenario *scenario
	preset   *preset
	size     size
	seed     uint64

	now       time.Duration
	quiet     time.Duration // from then on no user comes
	queue     queue
	instances []*instance
	sidecars  []*sidecar
	listed    []discovery.Instance // what sources report
	deadlines line[*request]
	stalls    line[*attempt]
	tally     *tally
}

func newWorld(sc *scenario, p *preset, sz size, seed uint64) *world {
	w := &world{scenario: sc, preset: p, size: sz, seed: seed, quiet: sc.length}
	w.tally = newTally(sc, sz)
	w.deadlines = line[*request]{world: w, expire: (*request).expire}
	w.stalls = line[*attempt]{world: w, expire: func(a *attempt) { a.act(mayBeStalled) }}
	for i := range sz.instances + sc.spare {
		in := &instance{world: w, index: i, rng: rand.New(rand.NewPCG(seed, uint64(i)+1<<33))}
		if sc.zones > 0 {
			in.zone = i % sc.zones
		}
		w.instances = append(w.instances, in)
	}
	w.listed = w.listing(sz.instances)
	for i := range sz.sidecars {
		s := newSidecar(w, i)
		w.sidecars = append(w.sidecars, s)
		s.act(update)
		w.queue.put(time.Duration(s.rng.ExpFloat64()*s.interval), s, arrival)
	}
	sc.happen(w)
	return w
}

func (w *world) clock() time.Time { return origin.Add(w.now) }

// run lets the time pass, until then.
func (w *world) run(until time.Duration) {
	for {
		e, ok := w.queue.take(until)
		if !ok {
			return
		}
		w.now = e.at
		e.who.act(e.what)
	}
}

// at has something happen.
func (w *world) at(at time.Duration, do func()) { w.queue.put(at, happening(do), 0) }

type happening func()

func (h happening) act(int) { h() }

// change puts instances into a condition.
func (w *world) change(at time.Duration, c condition, indices ...int) {
	w.at(at, func() {
		for _, i := range indices {
			w.instances[i].become(c)
		}
	})
}

// A line is things that expire, each later than the one before it. Only its first is in the
// queue: most of them will have been settled when their time comes.
type line[T any] struct {
	world  *world
	expire func(T)
	due    []expiry[T]
	head   int
}

type expiry[T any] struct {
	at   time.Duration
	what T
}

func (l *line[T]) put(at time.Duration, what T) {
	l.due = append(l.due, expiry[T]{at, what})
	if len(l.due)-l.head == 1 {
		l.world.queue.put(at, l, 0)
	}
}

func (l *line[T]) act(int) {
	first := l.due[l.head]
	l.due[l.head] = expiry[T]{}
	l.head++
	if l.head == len(l.due) {
		l.due, l.head = l.due[:0], 0
	} else {
		if l.head > 1024 && l.head > len(l.due)/2 {
			l.due, l.head = append(l.due[:0], l.due[l.head:]...), 0
		}
		l.world.queue.put(l.due[l.head].at, l, 0)
	}
	l.expire(first.what)
}
