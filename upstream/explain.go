package upstream

import (
	"fmt"
	"strings"
	"time"
)

// little is the part of its fair share below which an endpoint is said to get little.
const little = 0.5

// A comparative is what a sentence about one endpoint has to know of the others.
type comparative struct {
	attempts uint64        // of all endpoints
	weights  int           // of the usable ones
	median   time.Duration // latency of the usable ones as last measured, 0 if fewer than two were
}

// explain fills in what compares endpoints, and the sentences.
func (s *Status) explain(now time.Time) {
	var all comparative
	var latencies []time.Duration
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		all.attempts += e.Attempts
		if e.State != StateUsable {
			continue
		}
		all.weights += e.Weight
		if e.Measured {
			latencies = append(latencies, seconds(e.LastSeconds))
		}
	}
	if len(latencies) > 1 {
		all.median = lowerMedian(latencies)
	}
	taking := 0
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if all.attempts > 0 {
			e.Share = float64(e.Attempts) / float64(all.attempts)
		}
		var sound bool
		e.Verdict, sound = e.verdict(s, now, all)
		if e.Sound = sound; sound {
			taking++
		}
	}
	s.Verdict = s.verdict(taking)
}

// verdict says how the service stands; taking is how many endpoints take their share.
func (s *Status) verdict(taking int) string {
	switch {
	case s.Unavailable != "":
		return "unavailable: " + s.Unavailable
	case s.Fallback:
		return fmt.Sprintf("fails open: %s; none of %d endpoints, %d fallback instances", s.FailOpen, s.Total, s.Usable)
	case s.FailOpen != "":
		return fmt.Sprintf("fails open: %s; requests go to %d of %d endpoints", s.FailOpen, s.Usable, s.Total)
	}
	text := fmt.Sprintf("%d of %d endpoints take their share of the traffic", taking, s.Total)
	if s.Ejected > 0 {
		text += fmt.Sprintf("; %d ejected, %d may be", s.Ejected, s.MaxEjected)
	}
	if drained := s.drained(); drained > 0 {
		text += fmt.Sprintf("; %d drained by the operator", drained)
	}
	if s.Budget.Left < 1 && s.Budget.Retries > 0 {
		text += fmt.Sprintf("; the retry budget is used up (%d retries for %d requests lately)", s.Budget.Retries, s.Budget.Requests)
	}
	switch a := s.Adaptive; {
	case s.Refused > 0 && a != nil:
		text += fmt.Sprintf("; overloaded: %d requests were refused in the last 10s, the learned limit is %d in flight", s.Refused, a.Limit)
	case s.Refused > 0:
		text += fmt.Sprintf("; overloaded: %d requests were refused in the last 10s by limit.max_in_flight", s.Refused)
	}
	return text
}

// drained is how many endpoints the operator has taken out.
func (s *Status) drained() (n int) {
	for i := range s.Endpoints {
		if s.Endpoints[i].State == StateDrained {
			n++
		}
	}
	return n
}

// verdict says what the endpoint's state means for its traffic, and whether it is one of
// the source's that takes its share of it.
func (e *EndpointStatus) verdict(s *Status, now time.Time, all comparative) (text string, sound bool) {
	switch e.State {
	case StateEjected:
		text = fmt.Sprintf("ejected for another %v: %s", shown(max(e.ReadyAt.Sub(now), 0)), e.Why)
	case StateProbing:
		text = "being probed by one request at a time: " + e.Why
		if e.PausedSeconds > 0 {
			text = fmt.Sprintf("to be probed in %v, for until then it has asked to be left alone: %s", shownSeconds(e.PausedSeconds), e.Why)
		}
	case StateDown:
		text = "down: " + e.Why
	case StateDrained:
		text = fmt.Sprintf("drained by the operator; %d leases run on", e.InFlight)
	case StateRetired:
		return fmt.Sprintf("has left the service (%s); %d leases run on", e.Why, e.InFlight), false
	case StateSpare:
		if s.Fallback {
			return "a fallback instance, in use", false
		}
		return "a fallback instance, not in use", false
	default:
		if more := e.reservations(all); len(more) > 0 {
			return strings.Join(more, "; "), false
		}
		return "takes its share of the traffic", true
	}
	if e.Used {
		text += " (used all the same, for the service fails open)"
	}
	return text, false
}

// reservations are the reasons why a usable endpoint gets less than its share, or ought to.
func (e *EndpointStatus) reservations(all comparative) (reasons []string) {
	if e.PausedSeconds > 0 {
		reasons = append(reasons, fmt.Sprintf("left alone for another %v, as it has asked by Retry-After", shownSeconds(e.PausedSeconds)))
	}
	if fails := e.failing(); fails != "" {
		reasons = append(reasons, e.lead(all)+fails)
	}
	if latency := seconds(e.LastSeconds); lags(latency, all.median, e.temper == slow) {
		reasons = append(reasons, fmt.Sprintf("%sit is slow: it answers in %v, half of the endpoints in %v or less",
			e.lead(all), shown(latency), shown(all.median)))
	}
	if e.Ramp < 1 {
		reasons = append(reasons, fmt.Sprintf("begins slowly, with %.0f %% of its share by now", 100*e.Ramp))
	}
	return reasons
}

// lead says how much of the traffic the endpoint gets, if that is little.
func (e *EndpointStatus) lead(all comparative) string {
	if all.attempts == 0 || all.weights == 0 || e.Share >= little*float64(e.Weight)/float64(all.weights) {
		return ""
	}
	return fmt.Sprintf("gets %.1f %% of the traffic, for ", 100*e.Share)
}

// failing says how the endpoint fails, or is empty.
func (e *EndpointStatus) failing() string {
	lately := counts{e.Attempts, e.Failures}
	fails := lately.attempts >= leastCompared && lately.share() >= failingFrom
	if !fails && e.FailureShare < failingFrom && e.temper != failing {
		return ""
	}
	text := "it fails: "
	if lately.failures > 0 {
		text += fmt.Sprintf("%d of its last %d attempts", e.Failures, e.Attempts)
	} else {
		text += "it did so when it was last tried"
	}
	if len(e.Errors) > 0 {
		text += ", the last: " + e.Errors[0].What
	}
	if fails && e.Counters.EjectionsRefused > 0 {
		text += " (it is not ejected: too many are already, or the others fail as much)"
	}
	return text
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func shownSeconds(s float64) time.Duration { return shown(seconds(s)) }
