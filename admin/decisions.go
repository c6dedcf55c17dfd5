package admin

import (
	"slices"
	"time"

	"sidecar/upstream"
)

// A told decision is one of a service, or several of one kind that came together.
type told struct {
	Service string `json:"service"`
	upstream.Decision
	Times int `json:"times"` // how often it was decided, 1 or more
	// Others is how many further services it is about.
	Others int `json:"others,omitempty"`
}

const (
	// maxTold is how many decisions of all services the page is told.
	maxTold = 100
	// together is how close decisions have to be to be told as one, and roughly those that compare
	// endpoints: they come all the time where there are many, and must not drive out the others.
	together = 2 * time.Second
	roughly  = time.Minute
)

// latest are the last decisions about all services and their endpoints, newest first. Alike ones that
// came together are told once: a service with thousands of instances is discovered in a moment.
func latest(services []Service) []told {
	var all []told
	for i := range services {
		decisions := alike(services[i].Service, merged(&services[i].Status))
		all = append(all, decisions[max(0, len(decisions)-maxTold):]...)
	}
	slices.SortStableFunc(all, func(a, b told) int { return b.At.Compare(a.At) })
	all = folded(all)
	return all[:min(len(all), maxTold)]
}

// folded makes one of the discoveries of many services that came together, as after a start.
func folded(all []told) []told {
	short := all[:0]
	for _, t := range all {
		if n := len(short); n > 0 && t.What == "discovered" {
			last := &short[n-1]
			if last.What == t.What && last.Why == t.Why && last.At.Sub(t.At) <= together {
				last.Times += t.Times
				last.Others++
				continue
			}
		}
		short = append(short, t)
	}
	return short
}

// alike makes one of decisions that came together and say the same of several endpoints. What their
// checks come to is left out: it is no decision.
func alike(service string, decisions []upstream.Decision) (all []told) {
	for i := range decisions {
		d := &decisions[i]
		if d.What == "checked" {
			continue
		}
		if same := lastAlike(all, d); same != nil {
			same.Times++
			continue
		}
		all = append(all, told{Service: service, Decision: *d, Times: 1})
	}
	return all
}

// lastAlike is what a decision can be told together with, or nil.
func lastAlike(all []told, d *upstream.Decision) *told {
	compared := comparison(d.What)
	limit := together
	if compared {
		limit = roughly
	}
	for i := len(all) - 1; i >= 0 && d.At.Sub(all[i].At) <= limit; i-- {
		if t := &all[i]; t.What == d.What && t.Endpoint != "" && d.Endpoint != "" && (t.Why == d.Why || compared) {
			return t
		}
	}
	return nil
}

// comparison tells whether a decision is about how an endpoint compares with the others. Their reasons
// differ in numbers only, and where there are many endpoints there are many of them.
func comparison(what string) bool { return what == "slow" || what == "even" || what == "failing" }
