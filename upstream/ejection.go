package upstream

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sidecar/breaker"
)

// slots is how many endpoints of a service may be ejected at once. Breakers take a slot on
// the data path, before they open, and so it is atomics.
type slots struct {
	limit atomic.Int64
	taken atomic.Int64
}

// resize sets the limit for a set of total endpoints: the share of it, at least one, and
// never all of them.
func (s *slots) resize(total int, share float64) {
	limit := 0
	if share > 0 {
		// The margin is for shares that are not exact in binary: 0.29 of 100 is 29.
		limit = max(1, int(math.Floor(min(share, 1)*float64(total)+1e-9)))
	}
	s.limit.Store(int64(max(min(limit, total-1), 0)))
}

func (s *slots) take() bool {
	for {
		n := s.taken.Load()
		if n >= s.limit.Load() {
			return false
		}
		if s.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// mayTrip is asked by the endpoint's breaker before it opens, under gobreaker's lock.
func (e *Endpoint) mayTrip() bool {
	if e.retired.Load() {
		return false
	}
	if !e.slots.take() {
		e.ejectionsRefused.Add(1)
		return false
	}
	e.ejecting.Store(true)
	// retire sets retired and then gives the slot back. If it came in between, one of us
	// sees the other.
	if e.retired.Load() {
		e.giveSlotBack()
		return false
	}
	return true
}

// giveSlotBack gives back the slot that the endpoint holds, if any.
func (e *Endpoint) giveSlotBack() {
	if e.ejecting.Swap(false) {
		e.slots.taken.Add(-1)
	}
}

// onTrip is told of each change of the endpoint's breaker, mostly under gobreaker's lock.
func (e *Endpoint) onTrip(from, to breaker.State) {
	if to == breaker.Closed {
		e.giveSlotBack()
	}
	if from == breaker.Closed {
		e.ejections.Add(1)
	}
	e.trips.push(&trip{
		endpoint: e,
		from:     from,
		to:       to,
		at:       time.Now(),
		readyAt:  e.breaker.ReadyAt(),
		last:     Outcome(e.lastError.Load()),
	})
}

// A trip is one change of a breaker's state.
type trip struct {
	next     *trip
	endpoint *Endpoint
	from, to breaker.State
	at       time.Time
	readyAt  time.Time
	last     Outcome // the failure that led to it
}

// A tripLog carries trips from the data path to the service's goroutine without a lock.
type tripLog struct {
	newest atomic.Pointer[trip]
	poke   func()
}

func (l *tripLog) push(t *trip) {
	for {
		t.next = l.newest.Load()
		if l.newest.CompareAndSwap(t.next, t) {
			break
		}
	}
	l.poke()
}

// take empties the log and returns its trips, linked from the oldest on.
func (l *tripLog) take() *trip {
	var oldest *trip
	for t := l.newest.Swap(nil); t != nil; {
		next := t.next
		t.next = oldest
		oldest, t = t, next
	}
	return oldest
}

// applyTrip keeps and logs what a breaker has decided.
func (s *Service) applyTrip(t *trip) {
	e := t.endpoint
	if e.retired.Load() {
		return
	}
	open := t.readyAt.Sub(t.at).Round(time.Millisecond)
	var what string
	switch {
	case t.to == breaker.HalfOpen:
		e.note(t.at, "probing", "its ejection is over, one request at a time is tried")
		return
	case t.to == breaker.Closed:
		what, e.breakerWhy = "recovered", "a request that probed it succeeded"
	case t.from == breaker.Closed:
		what = "ejected"
		e.breakerWhy = fmt.Sprintf("%d failures in a row, the last: %v; out for %v",
			s.options.Breaker.ConsecutiveFailures, t.last, open)
	default:
		what = "ejected again"
		e.breakerWhy = fmt.Sprintf("the request that probed it failed: %v; out for %v", t.last, open)
	}
	e.note(t.at, what, e.breakerWhy)
	level := zap.InfoLevel
	if t.to == breaker.Open {
		level = zap.WarnLevel
	}
	s.log.Log(level, "endpoint "+what, endpointFields(e, e.breakerWhy)...)
}

func endpointFields(e *Endpoint, why string) []zap.Field {
	return []zap.Field{
		zap.String("endpoint", e.id),
		zap.String("address", e.address),
		zap.String("why", why),
	}
}
