package discovery

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A Status is what one source has said so far, as a plain value for people and JSON.
type Status struct {
	// Kind is what the source is (consul, dns, …), and Subject what it is asked for.
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"`
	// Watching is false while nobody needs the source, such as one that stands behind another.
	Watching bool `json:"watching"`
	// Known tells that it has answered at least once, and Unknown that its last answer was
	// that it does not know the service.
	Known   bool `json:"known"`
	Unknown bool `json:"unknown,omitempty"`
	// Failing tells that it has not answered since the last error.
	Failing     bool      `json:"failing"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	AgeSeconds  float64   `json:"age_seconds"` // since LastSuccess
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// Index is the registry's version of the set.
	Index uint64 `json:"index,omitempty"`
	// Answers counts lookups that succeeded, Updates those of them that changed something, and
	// Errors those that failed.
	Answers uint64 `json:"answers"`
	Updates uint64 `json:"updates"`
	Errors  uint64 `json:"errors"`
	// Instances is how many the last answer had, States how many the registry knows by state,
	// and Problems what was left out of it and why.
	Instances int            `json:"instances"`
	States    map[string]int `json:"states,omitempty"`
	Problems  []string       `json:"problems,omitempty"`
}

// A Record passes on what a source reports and keeps account of it.
type Record struct {
	source Source
	log    *zap.Logger
	errors bool // whether failures are logged here

	mu     sync.Mutex
	status Status
	last   []Instance
}

// NewRecord returns a Record of a source. With logErrors it logs when the source begins to fail
// and when that has ended; a service with one source logs that itself. The log may be nil.
func NewRecord(kind, subject string, s Source, log *zap.Logger, logErrors bool) *Record {
	if log == nil {
		log = zap.NewNop()
	}
	return &Record{
		source: s, log: log.With(zap.String("source", kind)), errors: logErrors,
		status: Status{Kind: kind, Subject: subject},
	}
}

// Watch is Source's.
func (r *Record) Watch(ctx context.Context, report func(Update)) {
	r.watching(true)
	defer r.watching(false)
	r.source.Watch(ctx, func(u Update) {
		r.note(u)
		report(u)
	})
}

// Refresh is Refresher's.
func (r *Record) Refresh() { Refresh(r.source) }

// Status is the present account; it may be called from any goroutine.
func (r *Record) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.States, s.Problems = maps.Clone(s.States), slices.Clone(s.Problems)
	if !s.LastSuccess.IsZero() {
		s.AgeSeconds = time.Since(s.LastSuccess).Seconds()
	}
	return s
}

func (r *Record) watching(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Watching = yes
	r.status.Failing = r.status.Failing && yes // nobody is failed by what is not asked
}

func (r *Record) note(u Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	at := u.At
	if at.IsZero() {
		at = time.Now()
	}
	if u.Err != nil {
		if !s.Failing && r.errors {
			r.log.Warn("one of the service's sources fails, its last set stands", zap.Error(u.Err))
		}
		s.Errors++
		s.Failing, s.LastError, s.LastErrorAt = true, u.Err.Error(), at
		return
	}
	if s.Failing && r.errors {
		r.log.Info("one of the service's sources answers again", zap.String("after", s.LastError))
	}
	s.Answers++
	if !s.Known || s.Unknown != u.Unknown || !Equal(r.last, u.Instances) {
		s.Updates++
	}
	r.last = u.Instances
	s.Known, s.Unknown, s.Failing, s.LastSuccess = true, u.Unknown, false, at
	s.Index, s.Instances, s.States, s.Problems = u.Index, len(u.Instances), u.States, u.Problems
}
