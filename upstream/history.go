package upstream

import (
	"sync/atomic"
	"time"
)

// How many decisions are kept.
const (
	endpointHistory = 16
	serviceHistory  = 64
)

// A Decision is something that was decided about an endpoint or a service.
type Decision struct {
	At time.Time `json:"at"`
	// Endpoint is the ID of the endpoint, in the history of a service.
	Endpoint string `json:"endpoint,omitempty"`
	// What is a word or two: "ejected", "down", "recovered", …
	What string `json:"what"`
	Why  string `json:"why"`
}

// A history is the last few decisions. One goroutine adds, any may read: each addition
// publishes a new slice, for decisions are rare and must not make the readers wait.
type history struct{ decisions atomic.Pointer[[]Decision] }

func (h *history) add(limit int, d Decision) {
	old := h.list()
	if len(old) >= limit {
		old = old[len(old)-limit+1:]
	}
	decisions := make([]Decision, 0, len(old)+1)
	decisions = append(append(decisions, old...), d)
	h.decisions.Store(&decisions)
}

// list returns the decisions, oldest first. They must not be changed.
func (h *history) list() []Decision {
	if p := h.decisions.Load(); p != nil {
		return *p
	}
	return nil
}

// note keeps a decision about an endpoint.
func (e *Endpoint) note(at time.Time, what, why string) {
	e.history.add(endpointHistory, Decision{At: at, What: what, Why: why})
}

// note keeps a decision about the service, or about an endpoint that is no longer listed.
func (s *Service) note(at time.Time, endpoint, what, why string) {
	s.history.add(serviceHistory, Decision{At: at, Endpoint: endpoint, What: what, Why: why})
}
