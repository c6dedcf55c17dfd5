package upstream

// Unavailable is why Acquire returned no lease. The errors of one cause are all equal to
// its sentinel in the sense of errors.Is; their texts name the service and say more.
type Unavailable struct {
	// Cause is a short word for programs: "no-instances", "over-limit", …
	Cause string
	text  string
}

// The sentinels.
var (
	// ErrUnknownYet: the source has not answered yet.
	ErrUnknownYet = &Unavailable{"not-discovered", "its instances are not known yet"}
	// ErrUnknownService: the source answered that it does not know the service.
	ErrUnknownService = &Unavailable{"unknown-service", "the registry does not know it"}
	// ErrNoInstances: the service is known and has no instances.
	ErrNoInstances = &Unavailable{"no-instances", "it has no instances"}
	// ErrNoneHealthy is reserved for services that do not fail open when all their
	// endpoints are down. Today all do, and it is not returned.
	ErrNoneHealthy = &Unavailable{"none-healthy", "all its instances are down"}
	// ErrServiceFull: the service has as many leases as it may have.
	ErrServiceFull = &Unavailable{"over-limit", "as many requests are in flight as limit.max_in_flight allows"}
	// ErrConnections: there are as many connections as there may be, to the service or to
	// each endpoint that could be tried.
	ErrConnections = &Unavailable{"over-limit", "as many connections are open as limit.max_connections allows"}
	// ErrPending: as many connections are being made as may be at once.
	ErrPending = &Unavailable{"over-limit", "as many requests wait for a connection as limit.max_pending allows"}
	// ErrShed: more would be in flight than the service has lately been able to answer.
	ErrShed = &Unavailable{"shed", "it is overloaded: more requests are in flight than it answers without delay (limit.adaptive)"}
	// ErrOverLimit: each endpoint that could be tried has as many leases as it may have.
	ErrOverLimit = &Unavailable{"over-limit", "each instance that may be tried has reached its limit of requests in flight"}
	// ErrAllAvoided: all that are usable are among those to avoid.
	ErrAllAvoided = &Unavailable{"no-other-endpoint", "there is no other instance to try"}
	// ErrEjected: each endpoint that could be tried was ejected a moment ago.
	ErrEjected = &Unavailable{"all-ejected", "each instance that may be tried is ejected by its circuit breaker"}
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
	ErrEndpointConnections = &Unavailable{"over-limit", "as many connections to the instance are open as breaker.max_connections allows"}
	ErrEndpointPending     = &Unavailable{"over-limit", "as many requests wait for a connection to the instance as breaker.max_pending allows"}
)

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
	return &Unavailable{Cause: u.Cause, text: text}
}
