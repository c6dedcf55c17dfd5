package upstream

import "slices"

// A Snapshot is the set of endpoints as the data path sees it. It is immutable; what may
// change about an endpoint is in the Endpoint.
type Snapshot struct {
	// Endpoints is the source's last set, with those that it has dropped and that serve on, sorted
	// by ID.
	Endpoints []*Endpoint
	// Usable is those that requests may be sent to, sorted by ID. Endpoints that wait for
	// a probe are not among them.
	Usable []*Endpoint
	// Picker chooses among Usable; nil if there is none.
	Picker Picker
	// Cause is an *Unavailable that says why nothing is usable, or nil.
	Cause error
	// FailOpen says why endpoints are used that ought not to be, or is empty.
	FailOpen string
	// Fallback tells that Usable are the fallback instances, which are not among Endpoints.
	Fallback bool

	// due is those whose ejection is over: they wait for a probe, or for its outcome.
	due []*Endpoint
	// force has Acquire pass over the breakers of Usable.
	force bool
}

// same tells whether snap and other would make no difference to anyone.
func (snap *Snapshot) same(other *Snapshot) bool {
	return snap.FailOpen == other.FailOpen &&
		snap.force == other.force &&
		causeText(snap) == causeText(other) &&
		slices.Equal(snap.Usable, other.Usable) &&
		slices.Equal(snap.due, other.due) &&
		slices.Equal(snap.Endpoints, other.Endpoints)
}

func causeText(snap *Snapshot) string {
	if snap.Cause == nil {
		return ""
	}
	return snap.Cause.Error()
}
