package upstream

import (
	"slices"
	"strings"
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
	StateDrained State = "drained" // by the operator
	StateProbing State = "probing" // its ejection is over; a request decides
	StateRetired State = "retired" // has left the service; has leases still
	StateSpare   State = "spare"   // a fallback instance, used when nothing else is left
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
	openPanic      = "too few endpoints are usable, so those that are down by their health checks are used as well"
	openAllDrained = "all endpoints are drained by the operator, and there is nothing else, so they are used all the same"
	openFallback   = "no endpoint is usable, so the fallback instances are used"
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
		snap.Picker = s.options.Policy(s.candidates(snap))
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

func (s *Service) candidates(snap *Snapshot) Candidates {
	c := Candidates{Endpoints: snap.Usable, Listed: snap.Endpoints, Now: s.clock.moment, Random: s.clock.random}
	if snap.Fallback {
		c.Listed = s.spares
	}
	if s.gate != nil {
		c.InFlight = s.gate.inFlight.Load
	}
	return c
}

// A sorting is what decide has found the endpoints to be.
type sorting struct {
	listed    []*Endpoint // all that are not drained
	sound     []*Endpoint // neither down nor ejected
	up        []*Endpoint // not down, whatever the breaker says
	due       []*Endpoint // not down, their ejection is over
	downSound []*Endpoint // down, and not ejected
	downDue   []*Endpoint // down, their ejection is over
}

// decide says which endpoints are usable and which are due for a probe. The snapshot it
// returns has neither picker nor cause yet.
func (s *Service) decide(now time.Time) (snap *Snapshot, next time.Time) {
	var f sorting
	for _, e := range s.order {
		stand, readyAt := e.judge(now)
		if old := e.standing.Load(); old == nil || old.state != stand.state || old.why != stand.why {
			if old != nil && old.state == stand.state {
				stand.since = old.since
			}
			kept := stand // so that nothing is allocated where nothing has changed
			e.standing.Store(&kept)
		}
		if e.drained.Load() {
			continue
		}
		f.listed = append(f.listed, e)
		if readyAt.After(now) && (next.IsZero() || readyAt.Before(next)) {
			next = readyAt
		}
		f.put(e, !readyAt.IsZero(), readyAt.After(now))
	}
	return s.choose(&f), next
}

// put sorts an endpoint in: out by its breaker, and waiting until that ends.
func (f *sorting) put(e *Endpoint, out, waiting bool) {
	switch down := e.down.Load(); {
	case down && !out:
		f.downSound = append(f.downSound, e)
	case down && !waiting:
		f.downDue = append(f.downDue, e)
	case down:
	case !out:
		f.up = append(f.up, e)
		f.sound = append(f.sound, e)
	case waiting:
		f.up = append(f.up, e)
	default:
		f.up = append(f.up, e)
		f.due = append(f.due, e)
	}
}

// choose makes the snapshot.
func (s *Service) choose(f *sorting) *Snapshot {
	snap := &Snapshot{Endpoints: s.order, Usable: f.sound, due: f.due}
	total := float64(len(f.listed))
	switch {
	case len(f.sound) == 0 && len(s.spares) > 0:
		snap.FailOpen, snap.Usable, snap.Fallback = openFallback, s.spares, true
	case len(s.order) == 0:
	case len(f.sound) > 0 && len(f.downSound) > 0 && float64(len(f.sound)) < s.options.Panic*total:
		snap.FailOpen = openPanic
		snap.Usable = sorted(f.sound, f.downSound)
		snap.due = sorted(f.due, f.downDue)
	case len(f.sound) > 0:
	case len(f.up) > 0:
		snap.FailOpen, snap.Usable, snap.force = openAllEjected, f.up, true
	case len(f.downSound) > 0:
		snap.FailOpen, snap.Usable, snap.due = openAllDown, f.downSound, f.downDue
	case len(f.listed) > 0:
		snap.FailOpen, snap.Usable, snap.due, snap.force = openAllDown, f.listed, f.downDue, true
	default:
		snap.FailOpen, snap.Usable, snap.force = openAllDrained, upOrAll(s.order), true
	}
	return snap
}

// upOrAll returns those that are not down, or all if there are none.
func upOrAll(all []*Endpoint) []*Endpoint {
	var up []*Endpoint
	for _, e := range all {
		if !e.down.Load() {
			up = append(up, e)
		}
	}
	if up == nil {
		return all
	}
	return up
}

// sorted returns both lists in one, by ID.
func sorted(a, b []*Endpoint) []*Endpoint {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(a, b *Endpoint) int { return strings.Compare(a.id, b.id) })
	return all
}

// judge says how an endpoint stands. readyAt is when its breaker lets a probe through, or
// has let it, and zero while the breaker is closed.
func (e *Endpoint) judge(now time.Time) (stand standing, readyAt time.Time) {
	stand = standing{state: StateUsable, why: "the source reports it", since: now}
	// ReadyAt alone says whether the breaker is closed: asked for its state as well, it
	// might have changed in between.
	readyAt = e.breaker.ReadyAt()
	switch {
	case e.drained.Load():
		stand.state, stand.why = StateDrained, "the operator has taken it out"
	case e.down.Load():
		stand.state, stand.why = StateDown, e.healthWhy
	case readyAt.After(now):
		stand.state, stand.why = StateEjected, e.breakerWhy
	case !readyAt.IsZero():
		stand.state, stand.why = StateProbing, "its ejection is over. Before: "+e.breakerWhy
	case e.dropped:
		stand.why = "the source reports it no longer, but its health check passes"
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
