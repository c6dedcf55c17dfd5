package main

import "time"

// An actor is something that events happen to. what is the actor's own word for it.
type actor interface{ act(what int) }

// An event is due at a time of the simulation.
type event struct {
	at   time.Duration
	turn uint64 // of two at the same time, the one that was put first comes first
	who  actor
	what int
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.turn < other.turn
}

// A queue is the events to come: a heap in which each event has up to four below it, which
// is flatter than two and kinder to the cache.
type queue struct {
	events []event
	turn   uint64
}

const children = 4

func (q *queue) put(at time.Duration, who actor, what int) {
	q.turn++
	e := event{at, q.turn, who, what}
	q.events = append(q.events, e)
	i := len(q.events) - 1
	for i > 0 {
		parent := (i - 1) / children
		if !e.before(&q.events[parent]) {
			break
		}
		q.events[i] = q.events[parent]
		i = parent
	}
	q.events[i] = e
}

// take removes the next event that is not after until.
func (q *queue) take(until time.Duration) (next event, ok bool) {
	if len(q.events) == 0 || q.events[0].at > until {
		return event{}, false
	}
	next = q.events[0]
	n := len(q.events) - 1
	last := q.events[n]
	q.events[n] = event{}
	q.events = q.events[:n]
	if n > 0 {
		q.sink(last)
	}
	return next, true
}

// sink finds the place of e, from the top down.
func (q *queue) sink(e event) {
	i, n := 0, len(q.events)
	for {
		first := i*children + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < min(first+children, n); c++ {
			if q.events[c].before(&q.events[least]) {
				least = c
			}
		}
		if !q.events[least].before(&e) {
			break
		}
		q.events[i] = q.events[least]
		i = least
	}
	q.events[i] = e
}
