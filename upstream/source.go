package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

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
	told        bool   // the error had been logged
	stored      bool   // its last answer was the set on disk
	problems    []string
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
	if wasFailing && !errors.Is(u.Err, discovery.ErrHeld) {
		s.log.Debug("source still fails", zap.Error(u.Err))
		return
	}
	s.note(state.lastError, "", "source failed", state.errorText)
	level := zap.WarnLevel
	if state.told = discovery.Told(u.Err); state.told {
		level = zap.DebugLevel
	}
	s.log.Log(level, "source fails, the last set stands", zap.Error(u.Err), zap.Int("endpoints", len(s.order)))
}

// applySet takes in a complete set: it retires the endpoints that are not in it, keeps
// those that are, and makes the new ones.
func (s *Service) applySet(ctx context.Context, u *discovery.Update, now time.Time) {
	state := *s.source.Load()
	if state.failing {
		s.note(now, "", "source answers again", "after: "+state.errorText)
		level := zap.InfoLevel
		if state.told {
			level = zap.DebugLevel
		}
		s.log.Log(level, "source answers again", zap.String("after", state.errorText))
	}
	first := !state.known
	s.tellProblems(state.problems, u.Problems)
	state.problems = u.Problems
	same := !first && u.Unknown == state.unknown && discovery.Equal(u.Instances, s.reported)
	state.unknown, state.failing = u.Unknown, false
	s.heed(&state, u, now)
	state.index = u.Index
	state.lastSuccess = u.At
	if u.At.IsZero() {
		state.lastSuccess = now
	}
	if same {
		s.source.Store(&state)
		return
	}
	state.updates++
	s.source.Store(&state)
	s.reported = u.Instances
	s.asking.calm()

	before := len(s.endpoints)
	added, retired := s.reconcile(ctx, u.Instances, now)
	s.resizeSlots()
	s.options.Before = nil // its endpoints, and whom it came after, are not kept
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

// tellProblems logs what is left out of a set, once for as long as it stays the same.
func (s *Service) tellProblems(before, now []string) {
	switch {
	case slices.Equal(before, now):
	case len(now) > 0:
		s.log.Warn("instances are left out", zap.String("why", strings.Join(now, "; ")))
	default:
		s.log.Info("no instance is left out any more")
	}
}

// heed takes in whether a set is the registry's or that on disk.
func (s *Service) heed(state *sourceState, u *discovery.Update, now time.Time) {
	if u.Stored && !state.stored {
		s.note(now, "", "from disk", "the registry does not answer yet; the last good set is used")
		s.log.Warn("the registry does not answer yet, the last good set is used", zap.Int("instances", len(u.Instances)),
			zap.Duration("age", now.Sub(u.At).Round(time.Second)))
	}
	if state.stored && !u.Stored {
		s.note(now, "", "from the registry", "it answers, the set on disk is used no more")
		s.log.Info("the registry answers, the set on disk is used no more")
	}
	state.known, state.stored = true, u.Stored
}

// reconcile makes the endpoints those of instances.
func (s *Service) reconcile(ctx context.Context, instances []discovery.Instance, now time.Time) (added, retired int) {
	next := make(map[string]*Endpoint, len(instances))
	order := make([]*Endpoint, 0, len(instances))
	var fresh []*Endpoint
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
			fresh = append(fresh, e)
		case e.address != in.Address:
			s.retire(e, now, "its address changed to "+in.Address)
			e = s.newEndpoint(ctx, in, now, "its address was "+e.address)
			fresh = append(fresh, e)
			retired++
		default:
			s.update(e, in, now)
		}
		next[in.ID] = e
		order = append(order, e)
	}
	taken := s.addresses(order)
	for _, e := range s.order {
		switch {
		case next[e.id] != nil:
		case s.keeps(e, taken, now):
			next[e.id] = e
			order = append(order, e)
		default:
			s.retire(e, now, "the source reports it no longer")
			retired++
		}
	}
	// Where all are new there is nobody to carry the load meanwhile.
	if s.options.SlowStart > 0 && len(fresh) < len(order) {
		for _, e := range fresh {
			e.hold.startRamp(s.clock.moment())
		}
	}
	slices.SortFunc(order, func(a, b *Endpoint) int { return strings.Compare(a.id, b.id) })
	s.endpoints, s.order = next, order
	return len(fresh), retired
}

// addresses are those of a set, for keeps; nil if nothing is kept anyway.
func (s *Service) addresses(set []*Endpoint) map[string]bool {
	if check := s.options.HealthCheck; check == nil || !check.KeepDropped {
		return nil
	}
	taken := make(map[string]bool, len(set))
	for _, e := range set {
		taken[e.address] = true
	}
	return taken
}

// keeps decides whether an endpoint that the source has dropped serves on. What a registry
// says is advisory then: it may be the registry that is wrong. This is the rule by which
// Envoy combines discovery with its health checks. One whose address another instance of the
// set has taken over does not: the check that passes is that one's.
func (s *Service) keeps(e *Endpoint, taken map[string]bool, now time.Time) bool {
	if taken == nil || taken[e.address] || !e.checked || e.down.Load() || e.drained.Load() {
		return false
	}
	if !e.dropped {
		e.dropped = true
		e.note(Decision{At: now, What: "dropped", Why: "the source reports it no longer, but its health check passes: it serves on until that fails"})
		s.log.Warn("endpoint dropped by the source serves on, for its health check passes", endpointFields(e, e.healthWhy)...)
	}
	return true
}

// purge retires an endpoint that the source has dropped and whose health check has failed.
func (s *Service) purge(e *Endpoint, now time.Time) {
	s.retire(e, now, "the source reports it no longer, and its health check fails: "+e.healthWhy)
	delete(s.endpoints, e.id)
	s.order = slices.DeleteFunc(slices.Clone(s.order), func(other *Endpoint) bool { return other == e })
	s.resizeSlots()
}

func (s *Service) newEndpoint(ctx context.Context, in discovery.Instance, now time.Time, why string) *Endpoint {
	e := s.makeEndpoint(in)
	e.note(Decision{At: now, What: "discovered", Why: why})
	if s.isDrained(e.id) {
		e.drained.Store(true)
		e.note(Decision{At: now, What: "drained", Why: "the operator had taken it out before"})
	}
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

// makeEndpoint makes the live state of an instance, without anything that runs.
func (s *Service) makeEndpoint(in discovery.Instance) *Endpoint {
	e := &Endpoint{id: in.ID, address: in.Address, service: s}
	e.addrPort, _ = netip.ParseAddrPort(in.Address)
	e.latency.forget()
	settings := s.options.Breaker
	settings.MayTrip, settings.MayDouble, settings.OnChange = e.mayTrip, e.mayDouble, e.onTrip
	settings.Clock, settings.Origin, settings.Random = s.options.Clock, s.clock.origin, s.options.Random
	e.breaker = breaker.New(settings)
	e.describe(in)
	if before := s.options.Before; before != nil {
		e.inherit(before)
	}
	return e
}

// inherit takes over what another service knows of the same instance. The clocks of both are the same.
func (e *Endpoint) inherit(before *Service) {
	all := before.Snapshot().Endpoints
	i, found := slices.BinarySearchFunc(all, e.id, func(o *Endpoint, id string) int { return strings.Compare(o.id, id) })
	if !found || all[i].address != e.address {
		return
	}
	was := all[i]
	e.latency.word.Store(was.latency.word.Load())
	e.failing.word.Store(was.failing.word.Load())
	if e.service.options.HealthCheck != nil && was.down.Load() {
		e.down.Store(true)
		e.checked, e.healthWhy = true, "it was down before the reload"
		if st := was.standing.Load(); st != nil && st.state == StateDown {
			e.healthWhy = st.why
		}
	}
}

// update takes over what the source says of an endpoint that stays.
func (s *Service) update(e *Endpoint, in discovery.Instance, now time.Time) {
	was := e.instance.Load()
	if e.dropped {
		e.dropped = false
		e.note(Decision{At: now, What: "discovered", Why: "the source reports it again"})
	}
	if e.describe(in) {
		e.note(Decision{At: now, What: "reweighted", Why: fmt.Sprintf("the source changed its weight from %d to %d", was.Weight, in.Weight)})
		s.reweighted = true
	}
	if was.Zone != in.Zone {
		e.note(Decision{At: now, What: "moved", Why: fmt.Sprintf("the source changed its zone from %q to %q", was.Zone, in.Zone)})
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
	e.note(Decision{At: now, What: "retired", Why: why})
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
	switch {
	case v.Healthy == !e.down.Load():
		s.tellVerdict(e, zap.DebugLevel, "checked", "endpoint passes its health check", v)
	case v.Healthy:
		e.down.Store(false)
		// The check has seen it work again; that ends what its failures had led to.
		if e.breaker.State() != breaker.Closed {
			e.cleared.Store(byCheck)
			e.breaker.Reset()
		}
		e.failing.forget()
		e.pardon()
		if s.options.SlowStart > 0 {
			e.hold.startRamp(s.clock.moment())
		}
		s.events = append(s.events, Event{e, Up})
		s.tellVerdict(e, zap.InfoLevel, "up", "endpoint up", v)
	default:
		e.down.Store(true)
		s.events = append(s.events, Event{e, Down})
		s.tellVerdict(e, zap.WarnLevel, "down", "endpoint down", v)
		if e.dropped {
			s.purge(e, v.At)
		}
	}
}

// tellVerdict keeps and logs what a health check has come to. Of one that is drained nobody wants to
// know: it is about to be stopped and started.
func (s *Service) tellVerdict(e *Endpoint, level zapcore.Level, what, message string, v verdict) {
	if e.drained.Load() {
		s.log.Debug(message+" while it is drained", endpointFields(e, v.Reason)...)
		return
	}
	e.note(Decision{At: v.At, What: what, Why: v.Reason})
	s.log.Log(level, message, endpointFields(e, v.Reason)...)
}
