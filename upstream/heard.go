package upstream

import "time"

// Answered tells whether the endpoint has answered anybody within the last d, on any thread. An
// error is an answer; a connection that was refused, a reset and a timeout are none.
func (e *Endpoint) Answered(d time.Duration) bool {
	at := Moment(e.heard.Load())
	return at != 0 && e.service.clock.moment().since(at) <= float64(momentOf(d))
}

// hears takes in that the endpoint has answered. While answers come fast it only looks: a Moment
// lasts for many of them.
func (e *Endpoint) hears(now Moment) {
	now = max(now, 1) // 0 is never
	if Moment(e.heard.Load()) != now {
		e.heard.Store(uint32(now))
	}
}

// Others tells of the endpoints besides e whether one of them has answered anybody within the
// last d, and whether one of them has requests in flight. It looks at a few of many, and is
// for rare questions.
func (s *Service) Others(e *Endpoint, d time.Duration) (answered, waiting bool) {
	usable := s.snapshot.Load().Usable
	start := 0
	if len(usable) > maxCompared {
		start = int(s.clock.random() % uint64(len(usable)))
	}
	for i := range min(len(usable), maxCompared) {
		other := usable[(start+i)%len(usable)]
		if other == e {
			continue
		}
		answered = answered || other.Answered(d)
		waiting = waiting || other.InFlight() > 0
	}
	return answered, waiting
}
