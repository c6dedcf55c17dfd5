package lastgood

import (
	"cmp"
	"math"
	"slices"
	"time"

	"sidecar/discovery"
)

// confirmEvery is how old a file may be before a set that is only confirmed is written again.
const confirmEvery = 10 * time.Minute

// An entry is what the Store knows of one service. Its fields are guarded by Store.mu.
type entry struct {
	service     string
	fingerprint string
	set         Set  // the newest that was handed over, or the kept one
	known       bool // set is one
	watchers    int  // Watch calls that are running

	dirty   bool      // set is to be written
	since   time.Time // when it became so: who waits longest comes first
	due     time.Time // not before; set after failures
	saved   time.Time // when it was written last, by whichever process
	backoff discovery.Backoff
}

// A job is one set on its way to the disk.
type job struct {
	entry       *entry
	service     string
	fingerprint string
	set         Set

	path      string // where it belongs
	size      int64  // in bytes
	temporary file   // nil before it is made and after it was renamed
	err       error  // of the step that failed
}

// begin makes the entry of a service whose Watch begins.
func (s *Store) begin(service, fingerprint string, kept Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entryOf(service)
	e.watchers++
	if !e.known && !kept.Saved.IsZero() {
		e.known, e.fingerprint, e.set, e.saved = true, fingerprint, kept, kept.Saved
	}
}

func (s *Store) entryOf(service string) *entry {
	e := s.services[service]
	if e == nil {
		e = &entry{service: service, backoff: discovery.Backoff{First: 2 * time.Second, Most: time.Minute}}
		s.services[service] = e
	}
	return e
}

// end forgets the service if nobody else watches it and nothing of it waits.
func (s *Store) end(service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.services[service]
	e.watchers--
	s.forget(e)
}

func (s *Store) forget(e *entry) {
	if e.watchers == 0 && !e.dirty && s.services[e.service] == e {
		delete(s.services, e.service)
	}
}

// put hands a good set over for writing. It does not block on the disk.
func (s *Store) put(service, fingerprint string, u discovery.Update) {
	now := time.Now()
	set := Set{Instances: u.Instances, Unknown: u.Unknown, Confirmed: u.At, Index: u.Index}
	if set.Confirmed.IsZero() {
		set.Confirmed = now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entryOf(service)
	changed := !e.known || e.fingerprint != fingerprint || e.set.Unknown != set.Unknown || !discovery.Equal(e.set.Instances, set.Instances)
	e.known, e.fingerprint, e.set = true, fingerprint, set
	age := now.Sub(e.saved)
	// An age below zero tells of a clock that was set back.
	if e.dirty || !changed && age < confirmEvery && age >= 0 {
		return
	}
	e.dirty, e.since = true, now
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns the jobs that are due, who waits longest first and at most so many, and counts
// them as done until finish says otherwise. When there are none it returns how long there will
// be none, unless somebody wakes.
func (s *Store) take(now time.Time, most int) ([]*job, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*entry
	next := confirmEvery
	for _, e := range s.services {
		switch wait := e.due.Sub(now); {
		case !e.dirty:
		case wait <= 0:
			due = append(due, e)
		default:
			next = min(next, wait)
		}
	}
	slices.SortFunc(due, func(a, b *entry) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.service, b.service)) })
	due = due[:min(len(due), most)]
	jobs := make([]*job, len(due))
	for i, e := range due {
		e.dirty, e.saved, e.set.Saved = false, now, now
		jobs[i] = &job{entry: e, service: e.service, fingerprint: e.fingerprint, set: e.set}
	}
	return jobs, next
}

// takeAll returns the jobs of all that waits, due or not.
func (s *Store) takeAll() []*job {
	s.mu.Lock()
	for _, e := range s.services {
		e.due = time.Time{}
	}
	s.mu.Unlock()
	jobs, _ := s.take(time.Now(), math.MaxInt)
	return jobs
}
