package upstream

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sidecar/breaker"
)

// slots is how many endpoints of a service may be ejected at once. Breakers take a slot on
// the data path, before they open, and so it is atomics.
type slots struct {
	limit atomic.Int64
	taken atomic.Int64
}

// resize sets the limit for a set of total endpoints: the share of it, at least one, and
// never all of them.
func (s *slots) resize(total int, share float64) {
	limit := 0
	if share > 0 {
		// The margin is for shares that are not exact in binary: 0.29 of 100 is 29.
		limit = max(1, int(math.Floor(min(share, 1)*float64(total)+1e-9)))
	}
	s.limit.Store(int64(max(min(limit, total-1), 0)))
}

func (s *slots) take() bool {
	for {
		n := s.taken.Load()
		if n >= s.limit.Load() {
			return false
		}
		if s.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// counts are the attempts of a window.
type counts struct{ attempts, failures uint64 }

func (c counts) share() float64 {
	if c.attempts == 0 {
		return 0
	}
	return float64(c.failures) / float64(c.attempts)
}

func (e *Endpoint) counts() counts {
	attempts, failures := e.breaker.Counts(e.service.clock.elapsed())
	return counts{attempts, failures}
}

// mayTrip is asked by the endpoint's breaker before it opens, under gobreaker's lock.
func (e *Endpoint) mayTrip(why breaker.Reason) bool {
	if e.retired.Load() || e.drained.Load() || e.spare {
		return false
	}
	c := e.counts()
	// A rate is judged beside that of the others. Where all answer one request in three
	// with an error, it is the requests, and with fewer endpoints it would not get better.
	if why == breaker.ByRate && !e.standsOut(c) {
		e.ejectionsRefused.Add(1)
		return false
	}
	if !e.service.slots.take() {
		e.ejectionsRefused.Add(1)
		return false
	}
	e.tripped = c
	e.ejecting.Store(true)
	// retire sets retired and then gives the slot back. If it came in between, one of us
	// sees the other. To drain is the same.
	if e.retired.Load() || e.drained.Load() {
		e.giveSlotBack()
		return false
	}
	return true
}

const (
	// rateMargin is how much worse than twice the others' share of failures an endpoint
	// has to be.
	rateMargin = 0.05
	// maxCompared is how many others an endpoint is compared with.
	maxCompared = 16
	// leastCompared is how many attempts make an endpoint fit for it.
	leastCompared = 3
	// enoughCompared is how many they have to have had together to be judged by.
	enoughCompared = 20
	// commonFailure is the share of failures from which on the others are said to fail too.
	commonFailure = 0.5
)

// standsOut tells whether the endpoint fails more often than twice as often as the others, by
// more than chance makes of that: two standard deviations of a share from so many attempts.
// While the others have had a few attempts only, nobody can say. Where they have had next to none,
// as where keys lead all traffic to one endpoint, its rate stands for itself.
func (e *Endpoint) standsOut(c counts) bool {
	typical, attempts := e.typicalShare()
	if attempts > 0 && attempts < enoughCompared {
		return false
	}
	chance := 2 * math.Sqrt(typical*(1-typical)/float64(max(c.attempts, 1)))
	return c.share() >= 2*typical+chance+rateMargin
}

// typicalShare is the lower median of the shares of failures of up to maxCompared others,
// from a random one on, and how many attempts they have had together.
func (e *Endpoint) typicalShare() (share float64, attempts uint64) {
	s := e.service
	snap := s.snapshot.Load()
	others := snap.Usable
	if snap.Fallback {
		others = snap.Endpoints // the fallback instances say nothing about them
	}
	var shares [maxCompared]float64
	n, start := 0, 0
	if len(others) > maxCompared {
		start = int(s.clock.random() % uint64(len(others)))
	}
	for i := range min(len(others), maxCompared) {
		other := others[(start+i)%len(others)]
		if other == e {
			continue
		}
		if c := other.counts(); c.attempts >= leastCompared {
			shares[n] = c.share()
			attempts += c.attempts
			n++
		}
	}
	if n == 0 {
		return 0, 0
	}
	slices.Sort(shares[:n])
	return shares[(n-1)/2], attempts
}

// mayDouble is asked by the endpoint's breaker before it stays open for longer than the last
// time. When the others fail as well, the endpoint is not the reason, and it must not be
// missing when whatever is the reason is over.
func (e *Endpoint) mayDouble() bool {
	typical, _ := e.typicalShare()
	return typical < commonFailure
}

// giveSlotBack gives back the slot that the endpoint holds, if any.
func (e *Endpoint) giveSlotBack() {
	if e.ejecting.Swap(false) {
		e.service.slots.taken.Add(-1)
	}
}

// onTrip is told of each change of the endpoint's breaker, mostly under gobreaker's lock.
func (e *Endpoint) onTrip(from, to breaker.State) {
	s := e.service
	if to == breaker.Closed {
		e.giveSlotBack()
		if s.options.SlowStart > 0 {
			e.hold.startRamp(s.clock.moment())
		}
	}
	t := &trip{endpoint: e, from: from, to: to, at: s.clock.now(), readyAt: e.breaker.ReadyAt(), last: e.errors.last()}
	if to != breaker.HalfOpen {
		if by := e.cleared.Swap(byProbe); to == breaker.Closed {
			t.cleared = by
		}
	}
	if from == breaker.Closed {
		t.reason, t.counts = e.breaker.Reason(), e.tripped
		e.ejections[t.reason].Add(1)
	}
	s.trips.push(t)
}

// The closers: who has closed a breaker that was open.
const (
	byProbe uint32 = iota
	byCheck
	byOperator
)

// A trip is one change of a breaker's state, or a pause that the endpoint has asked for.
type trip struct {
	next     *trip
	endpoint *Endpoint
	from, to breaker.State
	at       time.Time
	readyAt  time.Time
	last     string         // the failure that led to it
	reason   breaker.Reason // when it opened from closed
	counts   counts
	cleared  uint32        // a closer: who has closed it
	paused   time.Duration // not 0: this is a pause
	status   int           // that asked for it
}

// A tripLog carries trips from the data path to the service's goroutine without a lock.
type tripLog struct {
	newest atomic.Pointer[trip]
	poke   func()
}

func (l *tripLog) push(t *trip) {
	for {
		t.next = l.newest.Load()
		if l.newest.CompareAndSwap(t.next, t) {
			break
		}
	}
	l.poke()
}

// take empties the log and returns its trips, linked from the oldest on.
func (l *tripLog) take() *trip {
	var oldest *trip
	for t := l.newest.Swap(nil); t != nil; {
		next := t.next
		t.next = oldest
		oldest, t = t, next
	}
	return oldest
}

// applyTrip keeps and logs what a breaker has decided.
func (s *Service) applyTrip(t *trip) {
	e := t.endpoint
	if e.retired.Load() {
		return
	}
	if t.paused > 0 {
		s.verdict(e, zap.InfoLevel, Decision{At: t.at, What: "paused", Until: t.at.Add(t.paused),
			Why: fmt.Sprintf("it answered with status %d and asked to be left alone for %v", t.status, t.paused.Round(time.Millisecond))})
		return
	}
	if e.drained.Load() {
		if e.breakerWhy = ""; t.to != breaker.Closed {
			e.release() // it failed in the moment in which it was drained
		}
		return
	}
	if t.to == breaker.Closed {
		e.pardon()
	}
	open := t.readyAt.Sub(t.at).Round(time.Millisecond)
	switch {
	case t.to == breaker.HalfOpen:
		e.note(Decision{At: t.at, What: "probing", Why: "its ejection is over, one request at a time is tried"})
	case t.to == breaker.Closed && t.cleared == byOperator:
		e.breakerWhy = "the operator has ended its ejection"
		s.verdict(e, zap.WarnLevel, Decision{At: t.at, What: "unejected", Why: e.breakerWhy})
	case t.to == breaker.Closed && t.cleared == byCheck:
		e.breakerWhy = "its health check passes again, which ends its ejection"
		s.verdict(e, zap.InfoLevel, Decision{At: t.at, What: "recovered", Why: e.breakerWhy})
	case t.to == breaker.Closed:
		e.breakerWhy = "a request that probed it succeeded"
		s.verdict(e, zap.InfoLevel, Decision{At: t.at, What: "recovered", Why: e.breakerWhy})
	case t.from != breaker.Closed:
		e.breakerWhy = fmt.Sprintf("the request that probed it failed: %s; out for %v", t.last, open)
		s.verdict(e, zap.WarnLevel, Decision{At: t.at, What: "ejected again", Why: e.breakerWhy, Until: t.readyAt, LastError: t.last})
	default:
		e.breakerWhy = t.why() + fmt.Sprintf("; out for %v", open)
		s.verdict(e, zap.WarnLevel, Decision{At: t.at, What: "ejected", Why: e.breakerWhy, Until: t.readyAt,
			Attempts: t.counts.attempts, Failures: t.counts.failures, LastError: t.last})
	}
}

// why says what made a closed breaker open.
func (t *trip) why() string {
	options := &t.endpoint.service.options.Breaker
	if t.reason == breaker.ByRate {
		return fmt.Sprintf("%d of its last %d attempts failed, the last: %s", t.counts.failures, t.counts.attempts, t.last)
	}
	return fmt.Sprintf("%d failures in a row, the last: %s", options.ConsecutiveFailures, t.last)
}

// verdict keeps and logs a change of verdict about an endpoint.
func (s *Service) verdict(e *Endpoint, level zapcore.Level, d Decision) {
	if ns, measured := e.latency.read(s.clock.moment()); measured {
		d.LatencySeconds = ns / float64(time.Second)
	}
	e.note(d)
	s.log.Log(level, "endpoint "+d.What, endpointFields(e, d.Why)...)
}

func endpointFields(e *Endpoint, why string) []zap.Field {
	return []zap.Field{
		zap.String("endpoint", e.id),
		zap.String("address", e.address),
		zap.String("why", why),
	}
}
