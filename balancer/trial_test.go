package balancer

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/upstream"
)

// A trial sends requests to a service in virtual time, at random intervals, and lets its
// endpoints answer as they are told. Breakers never open: what is tried is the policy.
type trial struct {
	t       testing.TB
	service *upstream.Service
	clock   *clock
	random  *rand.Rand
	servers []*server // of the first set, in the order of the IDs
	of      map[string]*server
	met     map[*upstream.Endpoint]bool // all that have had a request
	due     schedule

	now     time.Duration // since the clock's origin
	latency time.Duration // sum of all answers since the last send
	failed  int
}

// A server is what an endpoint answers with.
type server struct {
	takes time.Duration // for each request
	fails float64       // share of requests that fail, in 1 ms
	// slots is how many requests it works on at once, the others wait; 0: any number.
	slots   int
	busy    int
	waiting []*visit
	got     int // requests since the last send
}

// A visit is one request.
type visit struct {
	lease  upstream.Lease
	server *server
	began  time.Duration
	ends   time.Duration
	fails  bool
}

// A schedule is the visits that are being answered, the earliest end first.
type schedule []*visit

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].ends < s[j].ends }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(v any)        { *s = append(*s, v.(*visit)) }
func (s *schedule) Pop() any {
	old := *s
	last := old[len(old)-1]
	*s = old[:len(old)-1]
	return last
}

func newTrial(t testing.TB, seed uint64, policy upstream.Policy, set []discovery.Instance, servers ...server) *trial {
	tr := &trial{t: t, clock: newClock(), random: rand.New(rand.NewPCG(seed, 1)), of: make(map[string]*server), met: make(map[*upstream.Endpoint]bool)}
	tr.service = upstream.New(upstream.Options{
		Name:          "trial",
		Policy:        policy,
		CountInFlight: true,
		Clock:         func() time.Time { return tr.clock.now },
		Random:        rand.New(rand.NewPCG(seed, 2)).Uint64,
	})
	tr.report(set)
	for i, e := range tr.service.Snapshot().Endpoints {
		tr.servers = append(tr.servers, &servers[i])
		tr.of[e.ID()] = &servers[i]
	}
	return tr
}

// report has the source report a set of instances that the trial began with.
func (tr *trial) report(set []discovery.Instance) {
	tr.service.Feed(discovery.Update{Instances: set, At: tr.clock.now})
	tr.service.Step()
}

// send sends n requests, rate per second on average, and returns the servers' shares.
func (tr *trial) send(n int, rate float64) []float64 {
	tr.t.Helper()
	tr.latency, tr.failed = 0, 0
	for _, s := range tr.servers {
		s.got = 0
	}
	for range n {
		next := tr.now + time.Duration(tr.random.ExpFloat64()/rate*float64(time.Second))
		tr.answerUntil(next)
		tr.visit()
	}
	var shares []float64
	for _, s := range tr.servers {
		shares = append(shares, float64(s.got)/float64(n))
	}
	return shares
}

// sendFor sends requests for so long.
func (tr *trial) sendFor(d time.Duration, rate float64) []float64 {
	tr.t.Helper()
	return tr.send(int(rate*d.Seconds()), rate)
}

func (tr *trial) at(now time.Duration) {
	tr.now = now
	tr.clock.set(now)
	if tr.service.Awake() {
		tr.service.Step()
	}
}

// answerUntil lets all requests end that end by then.
func (tr *trial) answerUntil(then time.Duration) {
	for len(tr.due) > 0 && tr.due[0].ends <= then {
		v := heap.Pop(&tr.due).(*visit)
		tr.at(v.ends)
		took := v.ends - v.began
		tr.latency += took
		result := upstream.Result{Latency: took}
		if v.fails {
			tr.failed++
			result.Outcome, result.Status = upstream.ServerError, 500
		}
		v.lease.Report(result)
		v.lease.Release()
		s := v.server
		if s.busy--; len(s.waiting) > 0 {
			tr.serve(s.waiting[0])
			s.waiting = s.waiting[1:]
		}
	}
	tr.at(then)
}

// end lets all requests end and checks that none is still counted.
func (tr *trial) end() {
	tr.t.Helper()
	for len(tr.due) > 0 {
		tr.answerUntil(tr.due[0].ends)
	}
	for e := range tr.met {
		if n := e.InFlight(); n != 0 {
			tr.t.Errorf("%s has %d in flight at the end", e.ID(), n)
		}
	}
}

// visit sends one request now.
func (tr *trial) visit() {
	tr.t.Helper()
	lease, err := tr.service.Acquire(upstream.PickKey{Hash: tr.random.Uint64()})
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.met[lease.Endpoint()] = true
	s := tr.of[lease.Endpoint().ID()]
	s.got++
	v := &visit{lease: lease, server: s, began: tr.now}
	if s.slots > 0 && s.busy >= s.slots {
		s.waiting = append(s.waiting, v)
		return
	}
	tr.serve(v)
}

// serve begins to work on a request.
func (tr *trial) serve(v *visit) {
	s := v.server
	s.busy++
	v.fails = tr.random.Float64() < s.fails
	// An answer varies by a fifth.
	v.ends = tr.now + time.Duration(float64(s.takes)*(0.9+0.2*tr.random.Float64()))
	if v.fails {
		v.ends = tr.now + time.Millisecond
	}
	heap.Push(&tr.due, v)
}
