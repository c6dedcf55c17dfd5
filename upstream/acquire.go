package upstream

import (
	"time"

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
	// ramping and paused are those that were passed over. They can be used if need be.
	ramping
	paused
)

// Acquire picks an endpoint that is not one of avoid, and counts it in flight until the
// lease is released. The error is an *Unavailable. It may be called from any number of
// goroutines; it takes no lock, does not allocate and never blocks. (avoid itself is
// passed on to the picker, so the caller should keep it in memory that it has anyway.)
//
// An endpoint whose ejection is over gets the next request that may be repeated and has
// nothing to avoid, as its probe; a retry is not spent on that unless there is nothing else.
// An endpoint that has asked for a pause, or begins slowly, is passed over in favour of
// another one.
func (s *Service) Acquire(key PickKey, avoid ...*Endpoint) (lease Lease, err error) {
	snap := s.snapshot.Load()
	if snap.Cause != nil {
		return lease, snap.Cause
	}
	if s.gate != nil {
		if refused := s.gate.enter(); refused != nil {
			s.gate.refused.Add(s.clock.elapsed())
			return lease, refused
		}
	}
	// The lease is filled in where it is returned: to hand it up by value through three
	// functions costs a third more of the whole.
	refused := s.acquire(&lease, snap, key, avoid)
	if refused == nil {
		return lease, nil
	}
	if s.gate != nil {
		s.gate.leave(0, 0)
	}
	return lease, refused
}

func (s *Service) acquire(l *Lease, snap *Snapshot, key PickKey, avoid []*Endpoint) *Unavailable {
	if len(snap.due) > 0 && len(avoid) == 0 && s.sparesProbe(snap) && s.probe(l, snap, key.Repeatable, nil, false) {
		return nil
	}
	e := snap.Picker.Pick(key, avoid)
	if e == nil {
		if s.probe(l, snap, true, avoid, true) {
			return nil
		}
		return s.refusals.allAvoided
	}
	if why := s.try(l, e, snap.force); why != admitted {
		return s.acquireAnother(l, snap, key, avoid, e, why)
	}
	return nil
}

// try takes a lease on an endpoint, unless it is to be passed over or refuses.
func (s *Service) try(l *Lease, e *Endpoint, force bool) refusal {
	if e.hold.word.Load() != 0 {
		if why := s.passesOver(e); why != admitted {
			return why
		}
	}
	return s.admit(l, e, force)
}

const (
	// fewDue is the share of the usable endpoints up to which those that wait for a probe are
	// few, and probeShare how many requests become probes where they are more.
	fewDue     = 0.2
	probeShare = 0.2
)

// sparesProbe decides whether a request may be spent on a probe. When many endpoints have
// failed together and requests are few, nearly each of them would be one, and fail.
func (s *Service) sparesProbe(snap *Snapshot) bool {
	few := max(1, fewDue*float64(len(snap.Usable)))
	return float64(len(snap.due)) <= few || s.clock.chance() < probeShare
}

// passesOver decides whether a request goes elsewhere because of the endpoint's hold.
func (s *Service) passesOver(e *Endpoint) refusal {
	pause, share := e.hold.read(s.clock.moment(), s.options.SlowStart)
	switch {
	case pause > 0:
		return paused
	case share < 1 && s.clock.chance() >= share:
		return ramping
	default:
		return admitted
	}
}

// avoidList is the endpoints to avoid together with those that refused. It comes from a
// pool, because what is passed to an interface's method is allocated otherwise.
type avoidList struct{ endpoints []*Endpoint }

// acquireAnother picks on after refused has refused, or has been passed over. One that was
// only passed over is used if there is no other.
func (s *Service) acquireAnother(l *Lease, snap *Snapshot, key PickKey, avoid []*Endpoint, refused *Endpoint, why refusal) *Unavailable {
	list := s.avoidLists.Get().(*avoidList)
	defer func() {
		clear(list.endpoints)
		list.endpoints = list.endpoints[:0]
		s.avoidLists.Put(list)
	}()
	list.endpoints = append(list.endpoints, avoid...)
	var passed passedOver
	limited := passed.note(refused, why)
	for range maxPicks - 1 {
		list.endpoints = append(list.endpoints, refused)
		if refused = snap.Picker.Pick(key, list.endpoints); refused == nil {
			break
		}
		if why = s.try(l, refused, snap.force); why == admitted {
			return nil
		}
		limited = passed.note(refused, why) || limited
	}
	for _, e := range passed {
		if e == nil {
			continue
		}
		if why = s.admit(l, e, snap.force); why == admitted {
			return nil
		}
		limited = limited || why == overLimit
	}
	if s.probe(l, snap, true, avoid, true) {
		return nil
	}
	if limited {
		return s.refusals.overLimit
	}
	return s.refusals.ejected
}

// passedOver are the first endpoint that was ramping and the first that was paused: one
// that begins slowly is sooner used than one that has asked to be left alone.
type passedOver [2]*Endpoint

// note remembers what was passed over. It tells whether a limit was in the way instead.
func (p *passedOver) note(e *Endpoint, why refusal) (limited bool) {
	if why >= ramping && p[why-ramping] == nil {
		p[why-ramping] = e
	}
	return why == overLimit
}

// probePatience is how long an endpoint that is due waits for a request that may be
// repeated, before any request will do.
const probePatience = time.Second

// probe tries a few of the endpoints that wait for one, from a random one on. A pause that
// one of them has asked for holds for probes too, unless this is the last resort.
func (s *Service) probe(l *Lease, snap *Snapshot, repeatable bool, avoid []*Endpoint, lastResort bool) bool {
	n := len(snap.due)
	if n == 0 {
		return false
	}
	start := 0
	if n > 1 {
		start = int(s.clock.random() % uint64(n))
	}
	for i := range min(n, maxProbes) {
		e := snap.due[(start+i)%n]
		// One that has recovered a moment ago must not get all requests until the next
		// snapshot says so.
		if contains(avoid, e) || e.breaker.State() == breaker.Closed {
			continue
		}
		if !repeatable && s.clock.now().Sub(e.breaker.ReadyAt()) < probePatience {
			continue
		}
		if !lastResort && e.hold.word.Load() != 0 {
			if pause, _ := e.hold.read(s.clock.moment(), s.options.SlowStart); pause > 0 {
				continue
			}
		}
		if s.admit(l, e, false) == admitted {
			return true
		}
	}
	return false
}

// admit counts an attempt in, unless a limit or the breaker refuses. With force the
// breaker's refusal is passed over; the attempt then tells it nothing.
func (s *Service) admit(l *Lease, e *Endpoint, force bool) refusal {
	// Counted first, so that the limit holds however many threads come at once.
	if n, limit := e.inFlight.Add(1), int64(s.options.Endpoint.InFlight); limit > 0 && n > limit {
		e.inFlight.Add(-1)
		return overLimit
	}
	permit, ok := e.breaker.Allow()
	if !ok && !force {
		e.inFlight.Add(-1)
		return ejected
	}
	e.attempts.Add(1)
	l.endpoint, l.service, l.permit = e, s, permit
	return admitted
}

func contains(endpoints []*Endpoint, e *Endpoint) bool {
	for _, other := range endpoints {
		if other == e {
			return true
		}
	}
	return false
}
