package upstream

import (
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// compareEvery is how often the endpoints of a service are compared, while it has traffic, and
// restEvery how often it is looked whether there is any.
const (
	compareEvery = time.Second
	restEvery    = 2 * time.Second
)

const (
	// An endpoint is slow from slowFrom times the median latency on, and by slowMargin at
	// least, until it is below slowUntil times.
	slowFrom, slowUntil = 5., 2.5
	slowMargin          = 2 * time.Millisecond
	// It is failing from this share of failures on, until it is below the other.
	failingFrom, failingUntil = 0.2, 0.05
)

// A temper is how an endpoint compares with the others. It changes nothing by itself: the
// picker has seen to the traffic already. It is there for people.
type temper uint8

const (
	even temper = iota
	slow
	failing
)

// A comparison is when endpoints are compared next, and after how many outcomes they were.
type comparison struct {
	next     time.Time
	last     time.Time // … and when there were outcomes last
	outcomes uint64
}

// decided is how many outcomes there were that say something about the endpoint.
func (e *Endpoint) decided() (n uint64) {
	for o := range Canceled {
		n += e.outcomes[o].Load()
	}
	return n
}

// compare notes which endpoints have become slow or failing, or no longer are, and returns
// when it wants to be called again.
func (s *Service) compare(now time.Time) time.Time {
	usable := s.snapshot.Load().Usable
	if len(usable) == 0 {
		return time.Time{}
	}
	if s.compared.next.After(now) {
		return s.compared.next
	}
	s.compared.next = now.Add(restEvery)
	var outcomes uint64
	for _, e := range usable {
		outcomes += e.decided()
	}
	if outcomes != s.compared.outcomes {
		// Fewer than before is another set of endpoints.
		if outcomes > s.compared.outcomes {
			s.measureGap(now.Sub(s.compared.last), outcomes-s.compared.outcomes, len(usable))
		}
		s.compared.last = now
		s.compared.outcomes, s.compared.next = outcomes, now.Add(compareEvery)
		median := medianLatency(usable)
		for _, e := range usable {
			s.applyTemper(e, now, median)
		}
	}
	return s.compared.next
}

// measureGap takes in that so many outcomes have come in a time from so many endpoints: how long
// each would wait for its turn if all got the same.
func (s *Service) measureGap(in time.Duration, outcomes uint64, endpoints int) {
	if in <= 0 || in > time.Minute {
		return
	}
	gap := int64(in) / int64(outcomes) * int64(endpoints)
	if was := s.fairGap.Load(); was > 0 {
		gap = (was + gap) / 2
	}
	s.fairGap.Store(gap)
}

// medianLatency is the lower median of what the endpoints were last measured to take, 0 if
// none was.
func medianLatency(endpoints []*Endpoint) time.Duration {
	var all []time.Duration
	for _, e := range endpoints {
		if d := e.lastMeasured(); d > 0 {
			all = append(all, d)
		}
	}
	return lowerMedian(all)
}

// lowerMedian sorts all, and returns the zero value if there is nothing.
func lowerMedian(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

// lastMeasured is the latency as the last answer left it. That it has decayed since, because
// nobody goes there, does not mean that the endpoint is better. It is 0 without an answer.
func (e *Endpoint) lastMeasured() time.Duration {
	cost, _ := unpack(e.latency.word.Load())
	return time.Duration(max(cost, 0))
}

// lags tells whether latency stands out from the median; was is whether it did before.
func lags(latency, median time.Duration, was bool) bool {
	times := slowFrom
	if was {
		times = slowUntil
	}
	return median > 0 && float64(latency) >= times*float64(median) && latency >= median+slowMargin
}

// pardon ends the verdict that e fails, because it has been seen to work: what said so is a
// verdict of its own.
func (e *Endpoint) pardon() { e.temper.CompareAndSwap(uint32(failing), uint32(even)) }

// applyTemper compares one endpoint, if there is anything new about it: time alone makes it
// neither better nor worse.
func (s *Service) applyTemper(e *Endpoint, now time.Time, median time.Duration) {
	decided := e.decided()
	if decided == e.compared {
		return
	}
	e.compared = decided
	was, is := temper(e.temper.Load()), even
	c, latency := e.counts(), e.lastMeasured()
	fails := failingFrom
	if was == failing {
		fails = failingUntil
	}
	switch {
	case c.attempts < leastCompared && was == failing:
		return // too little to say that it has got over it
	case c.attempts >= leastCompared && c.share() >= fails:
		is = failing
	case lags(latency, median, was == slow):
		is = slow
	}
	if is == was {
		return
	}
	e.temper.Store(uint32(is))
	switch is {
	case failing:
		last := e.errors.last()
		s.verdict(e, zap.WarnLevel, Decision{At: now, What: "failing", Attempts: c.attempts, Failures: c.failures, LastError: last,
			Why: fmt.Sprintf("%d of its last %d attempts failed, the last: %s", c.failures, c.attempts, last)})
	case slow:
		s.verdict(e, zap.InfoLevel, Decision{At: now, What: "slow",
			Why: fmt.Sprintf("it answers in %v, half of the endpoints in %v or less", shown(latency), shown(median))})
	default:
		why := "it answers like the others again"
		if latency > 0 {
			why += fmt.Sprintf(", in %v", shown(latency))
		}
		s.verdict(e, zap.InfoLevel, Decision{At: now, What: "even", Why: why})
	}
}

// shown rounds a duration to three digits, for people.
func shown(d time.Duration) time.Duration {
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
}
