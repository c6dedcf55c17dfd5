package upstream

import (
	"math/rand/v2"

	"sidecar/breaker"
)

const (
	// maxPicks is how many endpoints one Acquire tries.
	maxPicks = 8
	// maxProbes is how many endpoints that wait for a probe one Acquire tries.
	maxProbes = 4
)

// A refusal is why an endpoint that was picked gave no lease.
type refusal uint8

const (
	admitted refusal = iota
	overLimit
	ejected
)

// Acquire picks an endpoint that is not one of avoid, and counts it in flight until the
// lease is released. The error is an *Unavailable. It may be called from any number of
// goroutines; it takes no lock, does not allocate and never blocks. (avoid itself is
// passed on to the picker, so the caller should keep it in memory that it has anyway.)
//
// An endpoint whose ejection is over gets the next request that has nothing to avoid, as
// its probe; a retry is not spent on that unless there is nothing else.
func (s *Service) Acquire(key PickKey, avoid ...*Endpoint) (Lease, error) {
	snap := s.snapshot.Load()
	if snap.Cause != nil {
		return Lease{}, snap.Cause
	}
	if len(snap.due) > 0 && len(avoid) == 0 {
		if lease, ok := snap.probe(nil); ok {
			return lease, nil
		}
	}
	e := snap.Picker.Pick(key, avoid)
	if e == nil {
		if lease, ok := snap.probe(avoid); ok {
			return lease, nil
		}
		return Lease{}, s.allAvoided
	}
	lease, why := e.admit(snap.force)
	if why != admitted {
		return s.acquireAnother(snap, key, avoid, e, why)
	}
	return lease, nil
}

// avoidList is the endpoints to avoid together with those that refused. It comes from a
// pool, because what is passed to an interface's method is allocated otherwise.
type avoidList struct{ endpoints []*Endpoint }

// acquireAnother picks on after refused has refused.
func (s *Service) acquireAnother(snap *Snapshot, key PickKey, avoid []*Endpoint, refused *Endpoint, why refusal) (Lease, error) {
	list := s.avoidLists.Get().(*avoidList)
	defer func() {
		clear(list.endpoints)
		list.endpoints = list.endpoints[:0]
		s.avoidLists.Put(list)
	}()
	list.endpoints = append(list.endpoints, avoid...)
	limited := why == overLimit
	for range maxPicks - 1 {
		list.endpoints = append(list.endpoints, refused)
		e := snap.Picker.Pick(key, list.endpoints)
		if e == nil {
			break
		}
		lease, why := e.admit(snap.force)
		if why == admitted {
			return lease, nil
		}
		limited = limited || why == overLimit
		refused = e
	}
	if lease, ok := snap.probe(avoid); ok {
		return lease, nil
	}
	if limited {
		return Lease{}, s.overLimit
	}
	return Lease{}, s.ejected
}

// probe tries a few of the endpoints that wait for one, from a random one on.
func (snap *Snapshot) probe(avoid []*Endpoint) (Lease, bool) {
	n := len(snap.due)
	if n == 0 {
		return Lease{}, false
	}
	start := 0
	if n > 1 {
		start = rand.IntN(n)
	}
	for i := range min(n, maxProbes) {
		e := snap.due[(start+i)%n]
		// One that has recovered a moment ago must not get all requests until the next
		// snapshot says so.
		if contains(avoid, e) || e.breaker.State() == breaker.Closed {
			continue
		}
		if lease, why := e.admit(false); why == admitted {
			return lease, true
		}
	}
	return Lease{}, false
}

// admit counts an attempt in, unless a limit or the breaker refuses. With force the
// breaker's refusal is passed over; the attempt then tells it nothing.
func (e *Endpoint) admit(force bool) (Lease, refusal) {
	// Counted first, so that the limit holds however many threads come at once.
	if n := e.inFlight.Add(1); e.limit > 0 && n > e.limit {
		e.inFlight.Add(-1)
		return Lease{}, overLimit
	}
	permit, ok := e.breaker.Allow()
	if !ok && !force {
		e.inFlight.Add(-1)
		return Lease{}, ejected
	}
	e.attempts.Add(1)
	return Lease{endpoint: e, permit: permit}, admitted
}

func contains(endpoints []*Endpoint, e *Endpoint) bool {
	for _, other := range endpoints {
		if other == e {
			return true
		}
	}
	return false
}
