package upstream

import "time"

// Answered tells whether the endpoint has answered anybody within the last d, on any thread.
func (e *Endpoint) Answered(d time.Duration) bool {
	cost, at := unpack(e.latency.word.Load())
	now := e.service.clock.moment()
	return cost >= 0 && now.since(at) <= float64(momentOf(d))
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
