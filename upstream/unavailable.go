package upstream

// Unavailable is why Acquire returned no lease. The errors of one cause are all equal to
// its sentinel in the sense of errors.Is; their texts name the service and say more.
type Unavailable struct {
	// Cause is a short word for programs: "no-instances", "over-limit", …
	Cause string
	text  string
	made  *Unavailable // the sentinel that it was made of; nil for a sentinel
}

// The sentinels.
var (
	// ErrUnknownYet: the source has not answered yet.
	ErrUnknownYet = &Unavailable{Cause: "not-discovered", text: "its instances are not known yet"}
	// ErrUnknownService: the source answered that it does not know the service.
	ErrUnknownService = &Unavailable{Cause: "unknown-service", text: "the registry does not know it"}
	// ErrNoInstances: the service is known and has no instances.
	ErrNoInstances = &Unavailable{Cause: "no-instances", text: "it has no instances"}
	// ErrNoneHealthy is reserved for services that do not fail open when all their
	// endpoints are down. Today all do, and it is not returned.
	ErrNoneHealthy = &Unavailable{Cause: "none-healthy", text: "all its instances are down"}
	// ErrServiceFull: the service has as many leases as it may have.
	ErrServiceFull = &Unavailable{Cause: "over-limit", text: "as many requests are in flight as limit.max_in_flight allows"}
	// ErrConnections: there are as many connections as there may be, to the service or to
	// each endpoint that could be tried.
	ErrConnections = &Unavailable{Cause: "over-limit", text: "as many connections are open as limit.max_connections allows"}
	// ErrPending: as many connections are being made as may be at once.
	ErrPending = &Unavailable{Cause: "over-limit", text: "as many requests wait for a connection as limit.max_pending allows"}
	// ErrShed: more would be in flight than the service has lately been able to answer.
	ErrShed = &Unavailable{Cause: "shed", text: "it is overloaded: more requests are in flight than it answers without delay (limit.adaptive)"}
	// ErrOverLimit: each endpoint that could be tried has as many leases as it may have.
	ErrOverLimit = &Unavailable{Cause: "over-limit", text: "each instance that may be tried has reached its limit of requests in flight"}
	// ErrAllAvoided: all that are usable are among those to avoid.
	ErrAllAvoided = &Unavailable{Cause: "no-other-endpoint", text: "there is no other instance to try"}
	// ErrEjected: each endpoint that could be tried was ejected a moment ago.
	ErrEjected = &Unavailable{Cause: "all-ejected", text: "each instance that may be tried is ejected by its circuit breaker"}
)

// Error says which service is unavailable and why.
func (u *Unavailable) Error() string { return u.text }

// Is tells whether target is an Unavailable of the same cause.
func (u *Unavailable) Is(target error) bool {
	t, ok := target.(*Unavailable)
	return ok && t.Cause == u.Cause
}

// ErrEndpointConnections and ErrEndpointPending are ErrConnections and ErrPending for the
// limits of one endpoint.
var (
	ErrEndpointConnections = &Unavailable{Cause: "over-limit", text: "as many connections to the instance are open as breaker.max_connections allows"}
	ErrEndpointPending     = &Unavailable{Cause: "over-limit", text: "as many requests wait for a connection to the instance as breaker.max_pending allows"}
)

// Of tells whether u is the sentinel, or one service's error of that very sentinel: where several
// limits share a cause, which of them it is.
func (u *Unavailable) Of(sentinel *Unavailable) bool { return u == sentinel || u.made == sentinel }

// refusals are the errors of one service that the data path returns.
type refusals struct {
	allAvoided, overLimit, ejected       *Unavailable
	connections, pending                 *Unavailable
	endpointConnections, endpointPending *Unavailable
}

func refusalsOf(service string) refusals {
	return refusals{
		allAvoided: ErrAllAvoided.of(service, ""), overLimit: ErrOverLimit.of(service, ""), ejected: ErrEjected.of(service, ""),
		connections: ErrConnections.of(service, ""), pending: ErrPending.of(service, ""),
		endpointConnections: ErrEndpointConnections.of(service, ""), endpointPending: ErrEndpointPending.of(service, ""),
	}
}

// of returns the error of this cause for one service. detail, if not empty, is what the
// source said last.
func (u *Unavailable) of(service, detail string) *Unavailable {
	text := "service " + service + ": " + u.text
	if detail != "" {
		text += ": " + detail
	}
	return &Unavailable{Cause: u.Cause, text: text, made: u}
}
