package upstream

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"sidecar/breaker"
)

// ErrNoEndpoint is that the operator asks for something about an endpoint that is not there.
var ErrNoEndpoint = errors.New("there is no endpoint")

// A command is what the operator has asked for.
type command struct {
	id     string
	action action
}

type action uint8

const (
	drain action = iota
	undrain
	uneject
)

// SetDrained takes an endpoint out, or puts it back. One that is drained gets no new leases, those
// that it has run on, and its idle connections end when their time is over. It is for the ID: an
// instance that leaves and comes back, or changes its address, is still drained, but not in another
// process. What a drained endpoint has been ejected for is forgotten, and its health check is
// followed without a word. A service whose endpoints are all drained uses its fallback, and without
// one these endpoints all the same.
//
// The error is ErrNoEndpoint. It takes effect soon, and does not block; before the first set is known
// it is for any ID. Fallback instances cannot be drained.
func (s *Service) SetDrained(id string, on bool) error {
	if on {
		return s.command(id, drain)
	}
	return s.command(id, undrain)
}

// Uneject ends the ejection of an endpoint; one that is not ejected stays as it is. The error is
// ErrNoEndpoint. It takes effect soon, and does not block.
func (s *Service) Uneject(id string) error { return s.command(id, uneject) }

// Drained are the IDs that are drained, sorted: for a service that takes the place of this one.
func (s *Service) Drained() []string { return slices.Sorted(maps.Keys(*s.drained.Load())) }

func (s *Service) command(id string, a action) error {
	listed := slices.ContainsFunc(s.snapshot.Load().Endpoints, func(e *Endpoint) bool { return e.id == id })
	if !listed && s.isKnown() && (a != undrain || !s.isDrained(id)) {
		return fmt.Errorf("service %s: %w %q", s.options.Name, ErrNoEndpoint, id)
	}
	s.inbox.putCommand(command{id, a})
	return nil
}

func (s *Service) isKnown() bool {
	select {
	case <-s.known:
		return true
	default:
		return false
	}
}

func (s *Service) isDrained(id string) bool { return (*s.drained.Load())[id] }

// setDrained remembers which IDs are drained. Only the service's goroutine calls it.
func (s *Service) setDrained(id string, on bool) {
	next := maps.Clone(*s.drained.Load())
	if on {
		next[id] = true
	} else {
		delete(next, id)
	}
	s.drained.Store(&next)
}

// applyCommand does what the operator has asked for.
func (s *Service) applyCommand(c command, now time.Time) {
	if c.action != uneject {
		s.setDrained(c.id, c.action == drain)
	}
	e := s.endpoints[c.id]
	if e == nil {
		return // it has left the service
	}
	switch {
	case c.action == uneject:
		e.release()
		return
	case e.drained.Swap(c.action == drain) == (c.action == drain):
		return
	case c.action == drain:
		e.release()
		s.verdict(e, zap.WarnLevel, Decision{At: now, What: "drained", Why: "the operator has taken it out; what it has begun goes on"})
	default:
		if s.options.SlowStart > 0 {
			e.hold.startRamp(s.clock.moment())
		}
		s.verdict(e, zap.WarnLevel, Decision{At: now, What: "undrained", Why: "the operator has put it back"})
	}
	s.resizeSlots()
}

// release ends the endpoint's ejection for the operator, and forgives its failures.
func (e *Endpoint) release() {
	e.failing.forget()
	e.pardon()
	if e.breaker.State() != breaker.Closed {
		e.cleared.Store(byOperator)
		e.breaker.Reset()
	}
}

// resizeSlots says how many endpoints may be ejected, of those that are not drained.
func (s *Service) resizeSlots() {
	n := 0
	for _, e := range s.order {
		if !e.drained.Load() {
			n++
		}
	}
	s.slots.resize(n, s.options.MaxEjected)
}
