package upstream

import (
	"sync/atomic"
	"time"

	"sidecar/discovery"
)

const (
	// askFirst is the least time between two lookups that failed connections ask for. While
	// lookups change nothing it doubles up to askMost: what refuses has not been taken out of the
	// registry, and every sidecar of a fleet sees it at the same time.
	askFirst, askMost = time.Second, 30 * time.Second
	// askCalm is how long there is nothing to ask for until askFirst counts again.
	askCalm = time.Minute
)

// asking has the source look again when connections to endpoints fail, since its set may be
// out of date: a watch can hang without a sign (linkerd/linkerd2 issue 15271). The data path
// sets doubt, all else is the service's goroutine's.
type asking struct {
	source discovery.Refresher // nil if it cannot be asked
	doubt  atomic.Bool

	last  time.Time     // when it was asked
	pause time.Duration // until it may be asked again
}

// doubts takes in that a connection has failed. It takes no lock and does not allocate.
func (s *Service) doubts() {
	if s.asking.source != nil && !s.asking.doubt.Load() && s.asking.doubt.CompareAndSwap(false, true) {
		s.inbox.poke()
	}
}

// ask asks the source if there is doubt and it is time, and returns when it will be, or the zero time.
func (a *asking) ask(now time.Time) time.Time {
	if !a.doubt.Load() {
		return time.Time{}
	}
	if next := a.last.Add(max(a.pause, askFirst)); !a.last.IsZero() && now.Before(next) {
		return next
	}
	if now.Sub(a.last) > askCalm {
		a.calm()
	}
	a.doubt.Store(false)
	a.last, a.pause = now, min(max(2*a.pause, askFirst), askMost)
	a.source.Refresh()
	return time.Time{}
}

// calm takes in that there is nothing to doubt for now: the set has changed.
func (a *asking) calm() { a.pause = 0 }
