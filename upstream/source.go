package upstream

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/healthcheck"
)

// A sourceState is what the source has said so far. It is immutable.
type sourceState struct {
	known       bool // it has answered
	unknown     bool // its last answer: it does not know the service
	lastSuccess time.Time
	lastError   time.Time
	errorText   string // of the last error
	failing     bool   // the error is newer than the answer
	index       uint64
	updates     uint64
	errors      uint64
}

// applyFailure takes in an error. The last set stands.
func (s *Service) applyFailure(u *discovery.Update, now time.Time) {
	state := *s.source.Load()
	wasFailing := state.failing
	state.lastError = u.At
	if u.At.IsZero() {
		state.lastError = now
	}
	state.errorText = u.Err.Error()
	state.failing = true
	state.errors++
	s.source.Store(&state)
	if wasFailing {
		s.log.Debug("source still fails", zap.Error(u.Err))
		return
	}
	s.note(state.lastError, "", "source failed", state.errorText)
	s.log.Warn("source fails, the last set stands", zap.Error(u.Err), zap.Int("endpoints", len(s.order)))
}

// applySet takes in a complete set: it retires the endpoints that are not in it, keeps
// those that are, and makes the new ones.
func (s *Service) applySet(ctx context.Context, u *discovery.Update, now time.Time) {
	state := *s.source.Load()
	if state.failing {
		s.note(now, "", "source answers again", "after: "+state.errorText)
		s.log.Info("source answers again", zap.String("after", state.errorText))
	}
	first := !state.known
	state.known, state.unknown, state.failing = true, u.Unknown, false
	state.index = u.Index
	state.updates++
	state.lastSuccess = u.At
	if u.At.IsZero() {
		state.lastSuccess = now
	}
	s.source.Store(&state)

	before := len(s.endpoints)
	added, retired := s.reconcile(ctx, u.Instances, now)
	s.slots.resize(len(s.order), s.options.MaxEjected)
	switch {
	case u.Unknown && (first || before > 0):
		s.note(now, "", "unknown", "the source does not know the service")
		s.log.Warn("the source does not know the service")
	case len(s.order) == 0 && (first || before > 0):
		s.note(now, "", "empty", "the service has no instances")
		s.log.Warn("the service has no instances")
	case added > 0 || retired > 0:
		s.log.Info("instances changed", zap.Int("added", added), zap.Int("retired", retired),
			zap.Int("total", len(s.order)), zap.Uint64("index", u.Index))
	}
}

// reconcile makes the endpoints those of instances.
func (s *Service) reconcile(ctx context.Context, instances []discovery.Instance, now time.Time) (added, retired int) {
	next := make(map[string]*Endpoint, len(instances))
	order := make([]*Endpoint, 0, len(instances))
	for _, in := range instances {
		if _, twice := next[in.ID]; twice {
			s.log.Warn("the source reports an ID twice, the first stands",
				zap.String("endpoint", in.ID), zap.String("address", in.Address))
			continue
		}
		e := s.endpoints[in.ID]
		switch {
		case e == nil:
			e = s.newEndpoint(ctx, in, now, "the source reports it")
			added++
		case e.address != in.Address:
			s.retire(e, now, "its address changed to "+in.Address)
			e = s.newEndpoint(ctx, in, now, "its address was "+e.address)
			added++
			retired++
		default:
			s.update(e, in, now)
		}
		next[in.ID] = e
		order = append(order, e)
	}
	for _, e := range s.order {
		if next[e.id] == nil {
			s.retire(e, now, "the source reports it no longer")
			retired++
		}
	}
	slices.SortFunc(order, func(a, b *Endpoint) int { return strings.Compare(a.id, b.id) })
	s.endpoints, s.order = next, order
	return added, retired
}

func (s *Service) newEndpoint(ctx context.Context, in discovery.Instance, now time.Time, why string) *Endpoint {
	e := &Endpoint{
		id:      in.ID,
		address: in.Address,
		limit:   int64(max(s.options.MaxInFlight, 0)),
		slots:   &s.slots,
		trips:   &s.trips,
	}
	e.addrPort, _ = netip.ParseAddrPort(in.Address)
	e.latency.forget()
	e.breaker = breaker.New(breaker.Settings{
		ConsecutiveFailures: s.options.Breaker.ConsecutiveFailures,
		Open:                s.options.Breaker.Open,
		OpenMax:             s.options.Breaker.OpenMax,
		MayTrip:             e.mayTrip,
		OnChange:            e.onTrip,
	})
	e.describe(in)
	e.note(now, "discovered", why)
	if check := s.options.HealthCheck; check != nil {
		var checking context.Context
		checking, e.cancelCheck = context.WithCancel(ctx)
		s.running.Go(func() {
			healthcheck.Watch(checking, check.Prober, e.address, check.Settings,
				func(v healthcheck.Verdict) { s.inbox.putVerdict(e, v) })
		})
	}
	return e
}

// update takes over what the source says of an endpoint that stays.
func (s *Service) update(e *Endpoint, in discovery.Instance, now time.Time) {
	was := e.instance.Load()
	if e.describe(in) {
		e.note(now, "reweighted", fmt.Sprintf("the source changed its weight from %d to %d", was.Weight, in.Weight))
		s.reweighted = true
	}
	if was.Zone != in.Zone {
		e.note(now, "moved", fmt.Sprintf("the source changed its zone from %q to %q", was.Zone, in.Zone))
		s.reweighted = true
	}
}

// retire takes an endpoint out for good. Its leases run on.
func (s *Service) retire(e *Endpoint, now time.Time, why string) {
	e.retired.Store(true)
	e.giveSlotBack()
	if e.cancelCheck != nil {
		e.cancelCheck()
	}
	e.note(now, "retired", why)
	e.standing.Store(&standing{state: StateRetired, why: why, since: now})
	s.note(now, e.id, "retired", why)
	s.events = append(s.events, Event{e, Retired})
	gone := append(s.goneWithLeases(), e)
	s.gone.Store(&gone)
}

// goneWithLeases returns the retired endpoints that have leases, in a slice of its own.
func (s *Service) goneWithLeases() []*Endpoint {
	var gone []*Endpoint
	if p := s.gone.Load(); p != nil {
		for _, e := range *p {
			if e.InFlight() > 0 {
				gone = append(gone, e)
			}
		}
	}
	return gone
}

// applyVerdict takes in what a health check has come to.
func (s *Service) applyVerdict(v verdict) {
	e := v.endpoint
	if e.retired.Load() {
		return
	}
	e.checked, e.healthWhy = true, v.Reason
	fields := endpointFields(e, v.Reason)
	switch {
	case v.Healthy == !e.down.Load():
		e.note(v.At, "checked", v.Reason)
		s.log.Debug("endpoint passes its health check", fields...)
	case v.Healthy:
		e.down.Store(false)
		e.note(v.At, "up", v.Reason)
		s.events = append(s.events, Event{e, Up})
		s.log.Info("endpoint up", fields...)
	default:
		e.down.Store(true)
		e.note(v.At, "down", v.Reason)
		s.events = append(s.events, Event{e, Down})
		s.log.Warn("endpoint down", fields...)
	}
}
