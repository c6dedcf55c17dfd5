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
	// Until is when it ends by itself, if that is known.
	Until time.Time `json:"until,omitzero"`
	// Attempts and Failures are those of the window that the decision is about.
	Attempts uint64 `json:"attempts,omitempty"`
	Failures uint64 `json:"failures,omitempty"`
	// LatencySeconds is the endpoint's moving average at that time.
	LatencySeconds float64 `json:"latency_seconds,omitempty"`
	LastError      string  `json:"last_error,omitempty"`
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
func (e *Endpoint) note(d Decision) { e.history.add(endpointHistory, d) }

// note keeps a decision about the service, or about an endpoint that is no longer listed.
func (s *Service) note(at time.Time, endpoint, what, why string) {
	s.history.add(serviceHistory, Decision{At: at, Endpoint: endpoint, What: what, Why: why})
}
