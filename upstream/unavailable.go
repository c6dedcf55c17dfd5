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

// of returns the error of this cause for one service. detail, if not empty, is what the
// source said last.
func (u *Unavailable) of(service, detail string) *Unavailable {
	text := "service " + service + ": " + u.text
	if detail != "" {
		text += ": " + detail
	}
	return &Unavailable{Cause: u.Cause, text: text}
}
