package upstream

import (
	"time"

	"go.uber.org/zap"
)

// A State is what is decided about an endpoint.
type State string

// The states.
const (
	StateUsable  State = "usable"
	StateDown    State = "down"    // by its health check
	StateEjected State = "ejected" // by its breaker
	StateProbing State = "probing" // its ejection is over; a request decides
	StateRetired State = "retired" // has left the service; has leases still
)

// A standing is the state of an endpoint with its reason. It is immutable.
type standing struct {
	state State
	why   string
	since time.Time
}

// Why a service fails open.
const (
	openAllDown    = "all endpoints are down by their health checks, so they are used all the same"
	openAllEjected = "all endpoints that are not down are ejected, so they are used all the same"
)

// publish decides about each endpoint, and publishes a snapshot if that makes a difference.
// It returns when the next ejection is over, or the zero time.
func (s *Service) publish(now time.Time) time.Time {
	snap, next := s.decide(now)
	snap.Cause = s.cause(snap)
	old := s.snapshot.Load()
	if !s.reweighted && snap.same(old) {
		return next
	}
	s.reweighted = false
	if len(snap.Usable) > 0 {
		snap.Picker = s.options.Policy(snap.Usable)
	}
	s.snapshot.Store(snap)
	if snap.FailOpen == old.FailOpen {
		return next
	}
	if snap.FailOpen == "" {
		s.note(now, "", "fail-open ended", "there are endpoints in good standing, or none at all")
		s.log.Info("no longer failing open")
	} else {
		s.note(now, "", "fail-open", snap.FailOpen)
		s.log.Warn("failing open", zap.String("why", snap.FailOpen), zap.Int("usable", len(snap.Usable)))
	}
	return next
}

// decide says which endpoints are usable and which are due for a probe. The snapshot it
// returns has neither picker nor cause yet.
func (s *Service) decide(now time.Time) (snap *Snapshot, next time.Time) {
	snap = &Snapshot{Endpoints: s.order}
	var up, downDue, downSound []*Endpoint // up: not down, whatever the breaker says
	for _, e := range s.order {
		stand, readyAt := e.judge(now)
		if old := e.standing.Load(); old == nil || old.state != stand.state || old.why != stand.why {
			if old != nil && old.state == stand.state {
				stand.since = old.since
			}
			e.standing.Store(&stand)
		}
		out := !readyAt.IsZero()
		waiting := out && readyAt.After(now)
		if waiting && (next.IsZero() || readyAt.Before(next)) {
			next = readyAt
		}
		switch down := e.down.Load(); {
		case down && !out:
			downSound = append(downSound, e)
		case down && !waiting:
			downDue = append(downDue, e)
		case down:
		case !out:
			up = append(up, e)
			snap.Usable = append(snap.Usable, e)
		case waiting:
			up = append(up, e)
		default:
			up = append(up, e)
			snap.due = append(snap.due, e)
		}
	}
	switch {
	case len(snap.Usable) > 0 || len(s.order) == 0:
	case len(up) > 0:
		snap.FailOpen, snap.Usable, snap.force = openAllEjected, up, true
	case len(downSound) > 0:
		snap.FailOpen, snap.Usable, snap.due = openAllDown, downSound, downDue
	default:
		snap.FailOpen, snap.Usable, snap.due, snap.force = openAllDown, s.order, downDue, true
	}
	return snap, next
}

// judge says how an endpoint stands. readyAt is when its breaker lets a probe through, or
// has let it, and zero while the breaker is closed.
func (e *Endpoint) judge(now time.Time) (stand standing, readyAt time.Time) {
	stand = standing{state: StateUsable, why: "the source reports it", since: now}
	// ReadyAt alone says whether the breaker is closed: asked for its state as well, it
	// might have changed in between.
	readyAt = e.breaker.ReadyAt()
	switch {
	case e.down.Load():
		stand.state, stand.why = StateDown, e.healthWhy
	case readyAt.After(now):
		stand.state, stand.why = StateEjected, e.breakerWhy
	case !readyAt.IsZero():
		stand.state, stand.why = StateProbing, "its ejection is over; it was out because of "+e.breakerWhy
	case e.checked:
		stand.why = e.healthWhy
	case e.breakerWhy != "":
		stand.why = e.breakerWhy
	}
	return stand, readyAt
}

// cause says why nothing is usable, or returns nil. What the source last said goes into the
// text, for it is the likely reason.
func (s *Service) cause(snap *Snapshot) error {
	if len(snap.Usable) > 0 {
		return nil
	}
	state := s.source.Load()
	detail := ""
	if state.failing {
		detail = state.errorText
	}
	switch {
	case !state.known:
		return ErrUnknownYet.of(s.options.Name, detail)
	case state.unknown:
		return ErrUnknownService.of(s.options.Name, detail)
	default:
		return ErrNoInstances.of(s.options.Name, detail)
	}
}
