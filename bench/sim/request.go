package main

import (
	"time"

	"sidecar/upstream"
)

// requestTimeout is the users' patience: the default of timeout.request.
const requestTimeout = 15 * time.Second

// A request is one of a user's, with all its attempts. All may be repeated.
type request struct {
	sidecar  *sidecar
	began    time.Duration
	key      uint64
	attempts int
	retried  bool // counts in sidecar.retrying
	ended    bool
	first    *attempt
	second   *attempt             // a copy that runs beside the first; nil for none
	tried    []*upstream.Endpoint // that have failed
	previous reason               // why the last attempt failed
}

// An attempt is one try at an instance.
type attempt struct {
	request *request
	lease   upstream.Lease
	index   int // of the instance
	began   time.Duration
	status  int  // of an answer that is an error
	over    bool // the sidecar does not wait for it any more

	on   *instance // while it is worked on
	life int
}

// What happens to an attempt.
const (
	workDone        = iota // a worker has done it
	toldAnswer             // the answer is here
	toldStatus             // an answer is here that is an error
	toldRefused            // the connection is refused
	toldUnreachable        // the connection has timed out
	toldReset              // the connection is reset
	mayBeStalled           // it is time to look whether the instance is alive
)

// What happens to a request: it is time for the next try.
const again = 0

func (r *request) act(int) {
	if !r.ended {
		r.try()
	}
}

// try makes the next attempt.
func (r *request) try() {
	s := r.sidecar
	key := upstream.PickKey{Hash: r.key, Repeatable: true}
	avoid := r.tried
	if !s.retry.avoid {
		avoid = nil
	}
	s.pinned = nil
	if last := r.first; s.retry.sticks && last != nil && r.attempts < s.retry.attempts {
		s.pinned = last.lease.Endpoint()
	}
	lease, err := s.service.Acquire(key, avoid...)
	if err != nil && len(avoid) > 0 {
		if s.retry.once || r.previous == byConnect {
			if s.retry.budget {
				s.service.Budget().Refund()
			}
			r.end(false) // there is no other, and this one has just refused
			return
		}
		lease, err = s.service.Acquire(key)
	}
	if err != nil {
		r.end(false)
		return
	}
	r.first = r.begin(lease)
}

// begin makes an attempt with a lease.
func (r *request) begin(lease upstream.Lease) *attempt {
	s := r.sidecar
	w := s.world
	a := &attempt{request: r, lease: lease, index: indexOf(lease.Endpoint()), began: w.now}
	r.attempts++
	s.listen()
	if patience := s.retry.stalled; patience > 0 {
		w.stalls.put(w.now+patience, a)
	}
	w.instances[a.index].take(a)
	return a
}

func (a *attempt) act(what int) {
	if what == workDone {
		a.on.done(a)
		return
	}
	if a.over {
		return
	}
	switch what {
	case toldAnswer:
		a.finish(upstream.Result{Outcome: upstream.Success}, none)
	case toldStatus:
		a.finish(upstream.Result{Outcome: upstream.ServerError, Status: a.status}, byStatus)
	case toldRefused, toldUnreachable:
		a.finish(upstream.Result{Outcome: upstream.ConnectFailed}, byConnect)
	case toldReset:
		a.finish(upstream.Result{Outcome: upstream.Reset}, byReset)
	case mayBeStalled:
		a.stalled()
	}
}

// trip is how long a message takes to the instance and back.
func (a *attempt) trip(in *instance) time.Duration {
	if a.request.sidecar.zone == in.zone {
		return 500 * time.Microsecond
	}
	return 2 * time.Millisecond
}

// finish tells the service what became of the attempt, and the user, or tries again.
func (a *attempt) finish(result upstream.Result, why reason) {
	r, s := a.request, a.request.sidecar
	w := s.world
	took := w.now - a.began
	if why != byConnect {
		s.hear(a.index)
	}
	a.report(result, took)
	if result.Outcome == upstream.Success {
		s.longest = max(s.longest, took)
		r.settle(a)
		r.end(true)
	} else {
		r.tried = append(r.tried, a.lease.Endpoint())
		if !r.goOn(a) && !r.tryAgain(why, result.Status) {
			r.end(false)
		}
	}
	s.listen()
}

// settle gives up the other attempt, if there is one, when a has an answer.
func (r *request) settle(a *attempt) {
	now := r.sidecar.world.now
	switch {
	case r.second == nil:
	case a == r.first:
		r.second.report(upstream.Result{Outcome: upstream.Canceled}, now-r.second.began)
	case !r.first.over:
		r.first.report(upstream.Result{Outcome: upstream.TimedOut}, now-r.first.began)
	}
}

// goOn tells whether the other attempt runs on when a has failed.
func (r *request) goOn(a *attempt) bool {
	if r.second == nil {
		return false
	}
	if a == r.first {
		r.first = r.second
	}
	r.second = nil
	return true
}

// report gives the lease back.
func (a *attempt) report(result upstream.Result, took time.Duration) {
	s := a.request.sidecar
	a.over = true
	result.Latency = took
	e := a.lease.Endpoint()
	a.lease.Report(result)
	a.lease.Release()
	if s.watcher != nil {
		s.watcher.told(e, result.Outcome, took)
	}
}

// expire is the end of the user's patience.
func (r *request) expire() {
	if r.ended {
		return
	}
	now := r.sidecar.world.now
	if a := r.first; a != nil && !a.over {
		a.report(upstream.Result{Outcome: upstream.TimedOut}, now-a.began)
	}
	if b := r.second; b != nil {
		b.report(upstream.Result{Outcome: upstream.Canceled}, now-b.began)
	}
	r.end(false)
	r.sidecar.listen()
}

// end is the answer to the user.
func (r *request) end(ok bool) {
	w := r.sidecar.world
	r.ended = true
	if r.retried {
		r.retried = false
		r.sidecar.retrying--
	}
	w.tally.answer(r.began, w.now-r.began, ok)
	r.first, r.second, r.tried = nil, nil, nil // the line of deadlines holds on to the request
}
