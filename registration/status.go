package registration

import "time"

// A Status is how an announcement stands. It is a plain value.
type Status struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Registry string `json:"registry"` // its kind, such as "consul"
	// Registered tells whether the registry knows the announcement, as far as its answers say,
	// and Since since when that is so or not so.
	Registered bool      `json:"registered"`
	Since      time.Time `json:"since"`
	// LastSuccess is when a call last succeeded.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// Failing tells that the last call has failed. LastError is why a call last failed, and
	// LastFailure when; both stay when calls succeed again.
	Failing     bool      `json:"failing"`
	LastError   string    `json:"last_error,omitempty"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	// Passing and Why are the health that was set last, which the registry has heard of unless
	// Failing.
	Passing bool   `json:"passing"`
	Why     string `json:"why,omitempty"`
	// Leaving tells that Leave was called, LeavingWhy with which words.
	Leaving    bool   `json:"leaving"`
	LeavingWhy string `json:"leaving_why,omitempty"`
	// Registrations and Renewals count calls that have succeeded.
	Registrations uint64 `json:"registrations"`
	Renewals      uint64 `json:"renewals"`
}

// Status returns how the announcement stands now.
func (r *Registrar) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Passing, s.Why = r.health.Passing, r.health.Why
	s.Leaving, s.LeavingWhy = r.leaving, r.why
	return s
}

// note changes the status.
func (r *Registrar) note(change func(*Status)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
}

// outcome notes how a call has ended.
func (r *Registrar) outcome(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	r.status.Failing = err != nil
	if err == nil {
		r.status.LastSuccess = time.Now()
		return
	}
	r.status.LastError, r.status.LastFailure = err.Error(), time.Now()
}

func (s *Status) present(at time.Time) {
	if !s.Registered {
		s.Registered, s.Since = true, at
	}
}

func (s *Status) absent() {
	if s.Registered {
		s.Registered, s.Since = false, time.Now()
	}
}
