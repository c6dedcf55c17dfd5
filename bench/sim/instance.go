package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// A condition is what is the matter with an instance.
type condition struct {
	state state
	// slow multiplies the time of the requests that begin; 0 is 1.
	slow float64
	// fails is the share of requests that are answered with status at once.
	fails  float64
	status int
}

// A state is how an instance treats requests.
type state uint8

const ( // serving works through its queue.
	serving state = iota
	// hanging accepts requests and answers none, as after SIGSTOP.
	hanging
	// gone refuses connections. What it had is reset.
	gone
	// silent loses all packets: a connection to it times out, and nothing is heard of the
	// requests that it has.
	silent
)

const (
	// workers is how many requests an instance works on at once, and work how long one
	// takes on average: it can answer 400 requests per second.
	workers = 4
	work    = 10 * time.Millisecond
	// spread is the sigma of the logarithm of that time: half take 8.8 ms or less, one in a
	// hundred 28 ms or more.
	spread = 0.5
	// instantly is how long an answer takes that is no work.
	instantly = time.Millisecond
	// busy is what it answers when its queue is full.
	busy = 503
	// connectTimeout is the sidecars' patience with a connection.
	connectTimeout = time.Second
)

// capacity is what one instance can answer, per second.
const capacity = float64(workers) * float64(time.Second) / float64(work)

// An instance answers requests: a queue of bounded length before a few workers.
type instance struct {
	world *world
	index int
	zone  int
	now   condition
	rng   *rand.Rand

	life    int // counts its deaths
	working []*attempt
	stopped []*attempt // those of working that are done, while it hangs
	waiting backlog
}

// take is a request that arrives.
func (in *instance) take(a *attempt) {
	w := in.world
	w.tally.attempt(w.now, in.index, a.request.sidecar.zone == in.zone)
	switch in.now.state {
	case gone:
		w.queue.put(w.now+a.trip(in), a, toldRefused)
		return
	case silent:
		w.queue.put(w.now+connectTimeout, a, toldUnreachable)
		return
	}
	serves := in.now.state == serving
	switch {
	case serves && in.now.fails > 0 && in.rng.Float64() < in.now.fails:
		a.status = in.now.status
		w.queue.put(w.now+instantly+a.trip(in), a, toldStatus)
	case serves && len(in.working) < workers:
		in.begin(a)
	case in.waiting.len() < w.scenario.backlog:
		in.waiting.put(a)
	case serves:
		a.status = busy
		w.queue.put(w.now+instantly+a.trip(in), a, toldStatus)
	default:
		// It hangs, and there is no room even to wait: the kernel drops the connection.
		w.queue.put(w.now+connectTimeout, a, toldUnreachable)
	}
}

// begin has a worker begin.
func (in *instance) begin(a *attempt) {
	in.working = append(in.working, a)
	a.on, a.life = in, in.life
	took := float64(work) * math.Exp(spread*in.rng.NormFloat64()-spread*spread/2)
	if in.now.slow > 0 {
		took *= in.now.slow
	}
	in.world.queue.put(in.world.now+time.Duration(took), a, workDone)
}

// done is a worker that has an answer.
func (in *instance) done(a *attempt) {
	switch {
	case a.life != in.life:
		// The answer died with it.
	case in.now.state == hanging:
		in.stopped = append(in.stopped, a)
	default:
		in.answer(a)
		in.work()
	}
}

func (in *instance) answer(a *attempt) {
	in.working = remove(in.working, a)
	in.world.queue.put(in.world.now+a.trip(in), a, toldAnswer)
}

// work puts idle workers to what is waiting.
func (in *instance) work() {
	for len(in.working) < workers && in.waiting.len() > 0 {
		in.begin(in.waiting.take())
	}
}

// become changes what is the matter with it.
func (in *instance) become(c condition) {
	in.now = c
	switch c.state {
	case gone:
		in.lose(func(a *attempt) { in.world.queue.put(in.world.now+a.trip(in), a, toldReset) })
	case silent:
		in.lose(func(*attempt) {})
	case serving:
		for _, a := range in.stopped {
			in.answer(a)
		}
		in.stopped = in.stopped[:0]
		in.work()
	case hanging:
	}
}

// lose forgets all requests that it has, and tells of each.
func (in *instance) lose(tell func(*attempt)) {
	for _, a := range in.working {
		tell(a)
	}
	for in.waiting.len() > 0 {
		tell(in.waiting.take())
	}
	in.working, in.stopped = in.working[:0], in.stopped[:0]
	in.life++
}

func remove(attempts []*attempt, a *attempt) []*attempt {
	for i, other := range attempts {
		if other == a {
			last := len(attempts) - 1
			attempts[i], attempts[last] = attempts[last], nil
			return attempts[:last]
		}
	}
	return attempts
}

// A backlog is a first-in, first-out queue of attempts.
type backlog struct {
	attempts []*attempt
	head     int
}

func (b *backlog) len() int { return len(b.attempts) - b.head }

func (b *backlog) put(a *attempt) { b.attempts = append(b.attempts, a) }

func (b *backlog) take() *attempt {
	a := b.attempts[b.head]
	b.attempts[b.head] = nil
	b.head++
	if b.head > len(b.attempts)/2 && b.head > 64 {
		b.attempts = append(b.attempts[:0], b.attempts[b.head:]...)
		b.head = 0
	}
	return a
}
