package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sidecar/discovery"
	"sidecar/upstream"
)

// What happens to a sidecar.
const (
	arrival = iota // of a request
	step           // of its service's goroutine
	update         // of its source
)

// A sidecar sends the requests of its users, which come at random, to a service of its own.
type sidecar struct {
	world    *world
	zone     int
	rng      *rand.Rand // of the users
	jitter   *rand.Rand // of the sidecar
	interval float64    // mean time between two requests, ns
	service  *upstream.Service
	retry    *retries
	watcher  watcher // nil unless the policy keeps its own account

	stepped  time.Duration      // the last step
	stepAt   time.Duration      // the next one; 0 for none
	heard    []time.Duration    // when each instance was last heard from
	heardAt  time.Duration      // when any was
	resumed  time.Duration      // when one was, after a silence of all
	longest  time.Duration      // that a good answer took
	pinned   *upstream.Endpoint // where the next attempt goes, for policies that ask
	retrying int                // retries that are under way or wait to begin
}

// A watcher is a policy that wants to know what became of attempts. told is called with
// each, at its end.
type watcher interface {
	told(e *upstream.Endpoint, o upstream.Outcome, took time.Duration)
}

// newSidecar makes a sidecar with a service made by the preset.
func newSidecar(w *world, index int) *sidecar {
	s := &sidecar{
		world:    w,
		stepped:  -time.Hour, // the first step is at once
		rng:      rand.New(rand.NewPCG(w.seed, uint64(index)+1)),
		interval: float64(time.Second) * float64(w.size.sidecars) / (w.scenario.load * capacity * float64(w.size.instances)),
		heard:    make([]time.Duration, len(w.instances)),
		retry:    &w.preset.retry,
	}
	if w.scenario.zones > 0 {
		s.zone = index % w.scenario.zones
	}
	chance := rand.NewPCG(w.seed, uint64(index)+1<<32)
	s.jitter = rand.New(chance)
	o := upstream.Options{
		Name:   "simulated",
		Clock:  w.clock,
		Random: chance.Uint64,
	}
	w.preset.make(s, &o)
	s.service = upstream.New(o)
	return s
}

func (s *sidecar) act(what int) {
	switch what {
	case arrival:
		s.arrive()
	case step:
		if s.stepAt == s.world.now { // and not one that an earlier one has replaced
			s.step()
		}
	case update:
		s.service.Feed(discovery.Update{Instances: s.world.listed, At: s.world.clock()})
		s.listen()
	}
}

// arrive is a request, and the next one.
func (s *sidecar) arrive() {
	w := s.world
	if w.now >= w.quiet {
		return
	}
	w.queue.put(w.now+time.Duration(s.rng.ExpFloat64()*s.interval), s, arrival)
	r := &request{sidecar: s, began: w.now}
	if w.preset.hashed {
		// A thousand keys, all as popular.
		r.key = uint64(s.jitter.IntN(1000)+1) * 0x9e3779b97f4a7c15
	}
	w.tally.request(w.now)
	w.deadlines.put(w.now+requestTimeout, r)
	s.service.Budget().Deposit()
	r.try()
}

// pace is the least time between two steps, in mean intervals between requests. A goroutine
// that is woken more often than that takes several causes in at once, and the simulation has
// to get through an outage with thousands of breakers.
const pace = 4

// listen has the service decide if somebody has told it something.
func (s *sidecar) listen() {
	if s.service.Awake() {
		s.wake(s.world.now)
	}
}

// wake has the next step come at a time, or earlier.
func (s *sidecar) wake(at time.Duration) {
	at = max(at, s.stepped+time.Duration(pace*s.interval))
	switch {
	case at <= s.world.now:
		s.step()
	case s.stepAt == 0 || at < s.stepAt:
		s.stepAt = at
		s.world.queue.put(at, s, step)
	}
}

// step is what Service.Run does when it wakes up or its timer has run out.
func (s *sidecar) step() {
	s.stepped, s.stepAt = s.world.now, 0
	s.service.Awake() // takes the token
	if next := s.service.Step(); !next.IsZero() {
		s.wake(next.Sub(origin))
	}
	s.listen()
}

// hear takes in that an instance has sent something.
func (s *sidecar) hear(index int) {
	now := s.world.now
	if now-s.heardAt >= s.retry.stalled {
		s.resumed = now
	}
	s.heard[index], s.heardAt = now, now
}

// othersHeard tells whether any instance but one has been heard of since a time.
func (s *sidecar) othersHeard(but int, since time.Duration) bool {
	for i, at := range s.heard {
		if i != but && at >= since && at > 0 {
			return true
		}
	}
	return false
}

// indexOf is the index of the instance behind an endpoint: its address holds it.
func indexOf(e *upstream.Endpoint) int { return int(e.AddrPort().Port()) - 1 }

// listing is what the source reports of the first n instances.
func (w *world) listing(n int) []discovery.Instance {
	set := make([]discovery.Instance, 0, n)
	for _, in := range w.instances[:n] {
		set = append(set, discovery.Instance{
			ID:      fmt.Sprintf("i%05d", in.index),
			Address: fmt.Sprintf("10.0.0.1:%d", in.index+1),
			Weight:  1,
			Zone:    zoneName(in.zone),
		})
	}
	return set
}

func zoneName(zone int) string { return string(rune('a' + zone)) }
