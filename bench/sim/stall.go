package main

import "sidecar/upstream"

const (
	// crowd is how many requests in flight on a silent endpoint make it unlikely that each
	// of them is merely slow; with fewer, timesLongest times the longest answer is waited.
	crowd        = 3
	timesLongest = 2
)

// stalled sends a copy of the request elsewhere if the attempt's instance has sent nothing
// to anyone of its sidecar for a while, and another one has. After a silence of all, the
// while begins anew. Whichever answers first counts. It is proxy/http's rule
// but for three things: a crowd waits for stalled alone here, and there also for three times what
// most answers take; a crowd that gathers meanwhile is not noticed; and where nobody else was asked,
// nothing is sent.
func (a *attempt) stalled() {
	r, s := a.request, a.request.sidecar
	w := s.world
	if r.second != nil || r.attempts > s.retry.attempts {
		return
	}
	limit := s.retry.stalled
	if a.lease.Endpoint().InFlight() < crowd {
		limit = max(limit, timesLongest*s.longest)
	}
	silent := max(s.heard[a.index], a.began, s.resumed)
	if due := silent + limit; due > w.now {
		w.queue.put(due, a, mayBeStalled)
		return
	}
	if !s.othersHeard(a.index, silent) {
		w.queue.put(w.now+limit/4, a, mayBeStalled)
		return
	}
	key := upstream.PickKey{Hash: r.key, Repeatable: true}
	lease, err := s.service.Acquire(key, append(r.tried, a.lease.Endpoint())...)
	if err != nil {
		return
	}
	if !r.mayTryAgain(byStall, 0) {
		lease.Release()
		return
	}
	r.second = r.begin(lease)
}
