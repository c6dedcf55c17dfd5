package upstream

import "time"

// A Status is what a service knows and has decided, as plain values for people and JSON.
type Status struct {
	Service string       `json:"service"`
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
	// Ejected is how many endpoints are out by their breakers, of MaxEjected that may be.
	Ejected    int64 `json:"ejected"`
	MaxEjected int64 `json:"max_ejected"`

	Budget    BudgetStatus     `json:"budget"`
	Endpoints []EndpointStatus `json:"endpoints"` // by ID, then the retired that have leases
	History   []Decision       `json:"history"`   // oldest first
}

// A SourceStatus is what the source has said.
type SourceStatus struct {
	// Known tells that it has answered at least once, and Unknown that its last answer
	// was that it does not know the service.
	Known   bool `json:"known"`
	Unknown bool `json:"unknown"`
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
	// Updates and Errors count what it has reported. Sets that came faster than they
	// could be taken in count once.
	Updates uint64 `json:"updates"`
	Errors  uint64 `json:"errors"`
}

// An EndpointStatus is an endpoint as it stands.
type EndpointStatus struct {
	ID       string    `json:"id"`
	Address  string    `json:"address"`
	Zone     string    `json:"zone,omitempty"`
	Weight   int       `json:"weight"`
	InFlight int64     `json:"in_flight"`
	State    State     `json:"state"`
	Why      string    `json:"why"`
	Since    time.Time `json:"since"` // when State last changed
	Breaker  string    `json:"breaker"`
	// LatencySeconds is the moving average; Measured is false while it is a guess.
	LatencySeconds float64    `json:"latency_seconds"`
	Measured       bool       `json:"measured"`
	Counters       Counters   `json:"counters"`
	History        []Decision `json:"history"` // oldest first
}

// Status returns the present state. It does not block, and what it returns is the
// caller's.
func (s *Service) Status() Status {
	snap := s.snapshot.Load()
	status := Status{
		Service:    s.options.Name,
		Source:     s.source.Load().status(),
		Total:      len(snap.Endpoints),
		Usable:     len(snap.Usable),
		FailOpen:   snap.FailOpen,
		Ejected:    s.slots.taken.Load(),
		MaxEjected: s.slots.limit.Load(),
		Budget:     s.budget.Status(),
		Endpoints:  make([]EndpointStatus, 0, len(snap.Endpoints)),
		History:    append([]Decision{}, s.history.list()...),
	}
	if u, ok := snap.Cause.(*Unavailable); ok {
		status.Cause, status.Unavailable = u.Cause, u.Error()
	}
	now := Now()
	for _, e := range snap.Endpoints {
		status.Endpoints = append(status.Endpoints, e.status(now))
	}
	for _, e := range s.goneWithLeases() {
		status.Endpoints = append(status.Endpoints, e.status(now))
	}
	return status
}

func (st *sourceState) status() SourceStatus {
	status := SourceStatus{
		Known:       st.known,
		Unknown:     st.unknown,
		LastSuccess: st.lastSuccess,
		LastError:   st.errorText,
		LastErrorAt: st.lastError,
		Failing:     st.failing,
		Index:       st.index,
		Updates:     st.updates,
		Errors:      st.errors,
	}
	if st.known {
		status.AgeSeconds = time.Since(st.lastSuccess).Seconds()
	}
	return status
}

func (e *Endpoint) status(now Moment) EndpointStatus {
	stand := e.standing.Load()
	ns, measured := e.latency.read(now)
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
		Counters:       e.Counters(),
		History:        append([]Decision{}, e.history.list()...),
	}
}
