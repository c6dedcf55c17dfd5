package main

import "time"

// A reason is why an attempt may be repeated.
type reason uint8

const (
	none reason = iota
	byConnect
	byReset
	byStatus
	byStall
)

// retries say when a failed attempt is repeated.
type retries struct {
	attempts int // after the first
	connect  bool
	reset    bool
	status   []int
	budget   bool // the service's budget is asked
	atOnce   int  // retries that may be under way together; 0: no limit
	avoid    bool // other endpoints first
	once     bool // never the same endpoint again
	sticks   bool // the same endpoint, but for the last attempt
	// stalled is after which silence of an instance its attempts are given up; 0: never.
	stalled time.Duration
	// wait is the longest wait before the first retry, which doubles up to waitMax; the
	// real one is anything down to nothing, or if exact is set, always the longest.
	wait, waitMax time.Duration
	exact         bool
	// hurries has a request that met a refused connection go elsewhere without a wait.
	hurries bool
}

// tryAgain sees to another attempt after one has failed, unless that is not to be.
func (r *request) tryAgain(why reason, status int) bool {
	if !r.mayTryAgain(why, status) {
		return false
	}
	r.previous = why
	r.schedule()
	return true
}

// mayTryAgain asks for a retry. A yes has been paid for.
func (r *request) mayTryAgain(why reason, status int) bool {
	s := r.sidecar
	rules := s.retry
	if r.attempts > rules.attempts || !rules.covers(why, status) {
		return false
	}
	if rules.budget && !s.service.Budget().Withdraw() {
		return false
	}
	if r.retried {
		return true
	}
	if rules.atOnce > 0 && s.retrying >= rules.atOnce {
		return false
	}
	r.retried = true
	s.retrying++
	return true
}

func (rules *retries) covers(why reason, status int) bool {
	switch why {
	case byConnect:
		return rules.connect
	case byReset:
		return rules.reset
	case byStall:
		return true
	case byStatus:
		for _, s := range rules.status {
			if s == status {
				return true
			}
		}
	case none:
	}
	return false
}

// schedule puts the next try into the queue, after its wait.
func (r *request) schedule() {
	s := r.sidecar
	rules := s.retry
	wait := rules.wait
	for k := 1; k < r.attempts && wait < rules.waitMax; k++ {
		wait = min(2*wait, rules.waitMax)
	}
	if rules.hurries && r.previous == byConnect {
		wait = 0
	}
	if !rules.exact && wait > 0 {
		wait = time.Duration(s.jitter.Int64N(int64(wait) + 1))
	}
	s.world.queue.put(s.world.now+wait, r, again)
}
