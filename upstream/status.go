package upstream

import (
	"time"

	"sidecar/limiter"
)

// A Status is what a service knows and has decided, as plain values for people and JSON.
type Status struct {
	Service string `json:"service"`
	// Verdict says in a sentence how the service stands.
	Verdict string       `json:"verdict"`
	Source  SourceStatus `json:"source"`
	// Total is how many endpoints the source reports, Usable how many of them requests
	// may be sent to.
	Total  int `json:"total"`
	Usable int `json:"usable"`
	// Cause is the short word for why nothing is usable, and Unavailable the sentence;
	// both are empty while there is something.
	Cause       string `json:"cause,omitempty"`
	Unavailable string `json:"unavailable,omitempty"`
	// FailOpen says why endpoints are used that ought not to be, or is empty.
	FailOpen string `json:"fail_open,omitempty"`
	// Fallback tells that the fallback instances are used.
	Fallback bool `json:"fallback,omitempty"`
	// Ejected is how many endpoints are out by their breakers, of MaxEjected that may be.
	Ejected    int64 `json:"ejected"`
	MaxEjected int64 `json:"max_ejected"`

	// Connections are those to all endpoints, idle ones included, and Pending those of
	// them that are being made.
	Connections int64 `json:"connections"`
	Pending     int64 `json:"pending"`
	// Adaptive is the learned limit; nil if there is none.
	Adaptive *limiter.Status `json:"adaptive,omitempty"`
	// Refused is how many leases the limits of the service have refused in the last ten seconds.
	Refused uint64 `json:"refused"`

	Budget BudgetStatus `json:"budget"`
	// Endpoints are by ID, then the fallback instances, then the retired that have leases.
	Endpoints []EndpointStatus `json:"endpoints"`
	History   []Decision       `json:"history"` // oldest first
}

// A SourceStatus is what the source has said.
type SourceStatus struct {
	// Known tells that it has answered at least once, and Unknown that its last answer
	// was that it does not know the service.
	Known   bool `json:"known"`
	Unknown bool `json:"unknown"`
	// Stored tells that it has not answered since the start, and the set is that on disk, as
	// it was at LastSuccess.
	Stored bool `json:"stored,omitempty"`
	// Problems are what it has left out of the set, and why.
	Problems []string `json:"problems,omitempty"`
	// LastSuccess is when it last answered, and AgeSeconds how long ago that is.
	LastSuccess time.Time `json:"last_success,omitzero"`
	AgeSeconds  float64   `json:"age_seconds"`
	// LastError is the text of the last error, also when it has answered since; Failing
	// tells that it has not.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Failing     bool      `json:"failing"`
	// Index is the registry's version of the set.
	Index uint64 `json:"index"`
	// Updates counts the sets that differed from the one before, and Errors the lookups that
	// failed. What came faster than it could be taken in counts once.
	Updates uint64 `json:"updates"`
	Errors  uint64 `json:"errors"`
}

// An EndpointStatus is an endpoint as it stands.
type EndpointStatus struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	Zone     string `json:"zone,omitempty"`
	Weight   int    `json:"weight"`
	InFlight int64  `json:"in_flight"`
	State    State  `json:"state"`
	Why      string `json:"why"`
	// Verdict says in a sentence what that means for its traffic now.
	Verdict string `json:"verdict"`
	// Sound tells that it takes its share of the traffic, and there is nothing to be said of it.
	Sound bool `json:"sound"`
	// Used tells that requests may be sent to it now, other than to probe it.
	Used    bool      `json:"used"`
	Since   time.Time `json:"since"` // when State last changed
	Breaker string    `json:"breaker"`
	// LatencySeconds is the moving average; Measured is false while it is a guess.
	LatencySeconds float64 `json:"latency_seconds"`
	Measured       bool    `json:"measured"`
	// LastSeconds is the average as the last answer left it, without the decay since; 0
	// while it is a guess.
	LastSeconds float64 `json:"last_latency_seconds"`
	// Attempts and Failures are those of the breaker's window, and Share is how much of
	// the service's attempts in it they are, from 0 to 1.
	Attempts uint64  `json:"window_attempts"`
	Failures uint64  `json:"window_failures"`
	Share    float64 `json:"share"`
	// FailureShare is what the picker goes by: the share of failures among the latest
	// attempts, forgotten within seconds.
	FailureShare float64 `json:"failure_share"`
	// Ramp is the share of its traffic that a slow start gives it, 1 without one.
	Ramp          float64     `json:"ramp"`
	PausedSeconds float64     `json:"paused_seconds,omitempty"` // that it has asked to be left alone
	ReadyAt       time.Time   `json:"ready_at,omitzero"`        // when its ejection is over
	Connections   int64       `json:"connections"`
	Counters      Counters    `json:"counters"`
	Errors        []ErrorNote `json:"errors"`  // newest first
	History       []Decision  `json:"history"` // oldest first

	temper temper
}

// Status returns the present state. It does not block, and what it returns is the
// caller's.
func (s *Service) Status() Status {
	snap := s.snapshot.Load()
	status := Status{
		Service:    s.options.Name,
		Source:     s.source.Load().status(s.clock.now()),
		Total:      len(snap.Endpoints),
		Usable:     len(snap.Usable),
		FailOpen:   snap.FailOpen,
		Fallback:   snap.Fallback,
		Ejected:    s.slots.taken.Load(),
		MaxEjected: s.slots.limit.Load(),
		Budget:     s.budget.Status(),
		Endpoints:  make([]EndpointStatus, 0, len(snap.Endpoints)),
		History:    append([]Decision{}, s.history.list()...),
	}
	if u, ok := snap.Cause.(*Unavailable); ok {
		status.Cause, status.Unavailable = u.Cause, u.Error()
	}
	status.Connections, status.Pending = s.connections.open.Load(), s.connections.pending.Load()
	if s.gate != nil {
		status.Refused = s.gate.refused.Sum(s.clock.elapsed())
	}
	if s.options.Adaptive != nil {
		adaptive := s.options.Adaptive.Status()
		status.Adaptive = &adaptive
	}
	now := s.clock.now()
	usable := snap.Usable
	for _, list := range [][]*Endpoint{snap.Endpoints, s.spares, s.goneWithLeases()} {
		for _, e := range list {
			one := e.status()
			// Both lists are in the same order.
			if len(usable) > 0 && usable[0] == e {
				one.Used, usable = true, usable[1:]
			}
			status.Endpoints = append(status.Endpoints, one)
		}
	}
	status.explain(now)
	return status
}

func (st *sourceState) status(now time.Time) SourceStatus {
	status := SourceStatus{
		Known:       st.known,
		Unknown:     st.unknown,
		LastSuccess: st.lastSuccess,
		LastError:   st.errorText,
		LastErrorAt: st.lastError,
		Failing:     st.failing,
		Stored:      st.stored,
		Problems:    st.problems,
		Index:       st.index,
		Updates:     st.updates,
		Errors:      st.errors,
	}
	if st.known {
		status.AgeSeconds = now.Sub(st.lastSuccess).Seconds()
	}
	return status
}

func (e *Endpoint) status() EndpointStatus {
	stand, moment := e.standing.Load(), e.service.clock.moment()
	ns, measured := e.latency.read(moment)
	pause, ramp := e.hold.read(moment, e.service.options.SlowStart)
	c := e.counts()
	return EndpointStatus{
		ID:             e.id,
		Address:        e.address,
		Zone:           e.Zone(),
		Weight:         e.Weight(),
		InFlight:       e.InFlight(),
		State:          stand.state,
		Why:            stand.why,
		Since:          stand.since,
		Breaker:        e.breaker.State().String(),
		LatencySeconds: ns / float64(time.Second),
		Measured:       measured,
		LastSeconds:    e.lastMeasured().Seconds(),
		Attempts:       c.attempts,
		Failures:       c.failures,
		FailureShare:   e.failing.read(moment),
		Ramp:           ramp,
		PausedSeconds:  pause.Seconds(),
		ReadyAt:        e.breaker.ReadyAt(),
		Connections:    e.Connections(),
		Counters:       e.Counters(),
		Errors:         e.errors.list(),
		History:        append([]Decision{}, e.history.list()...),
		temper:         temper(e.temper.Load()),
	}
}
