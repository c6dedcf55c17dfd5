package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A SourceSample is the state of one of a service's sources at the moment of a scrape.
type SourceSample struct {
	Service string
	Source  string // its kind: consul, static, dns, …

	Known       bool           // it has reported a set
	Failing     bool           // the last lookup failed
	LastSuccess time.Time      // zero: never
	LastError   time.Time      // zero: never
	Age         time.Duration  // since LastSuccess
	Index       uint64         // the registry's version of the set
	Answers     uint64         // lookups that succeeded
	Updates     uint64         // of them, those that changed the set
	Errors      uint64         // failed lookups
	Instances   int            // in the last set
	Problems    int            // entries left out of it
	States      map[string]int // what the registry knows, by state
}

type sourceFamily struct {
	each                                                  atomic.Pointer[func(func(SourceSample))]
	known, failing, lastSuccess, lastError, age, index    *prometheus.Desc
	answers, updates, errors, instances, problems, states *prometheus.Desc
}

func newSourceFamily() *sourceFamily {
	const sub = "source"
	by := []string{"service", "source"}
	return &sourceFamily{
		known:       desc(sub, "known", "1 once the source has reported a set of instances.", by...),
		failing:     desc(sub, "failing", "1 while lookups fail; the last set stands.", by...),
		lastSuccess: desc(sub, "last_success_timestamp_seconds", "When the source last answered.", by...),
		lastError:   desc(sub, "last_error_timestamp_seconds", "When a lookup last failed.", by...),
		age:         desc(sub, "age_seconds", "How long ago the source last answered. A watch of Consul answers once a minute at least.", by...),
		index:       desc(sub, "index", "The registry's version of the last set.", by...),
		answers:     desc(sub, "answers_total", "Lookups that succeeded, whether they changed something or not.", by...),
		updates:     desc(sub, "updates_total", "Sets of instances that differed from the one before.", by...),
		errors:      desc(sub, "errors_total", "Lookups that failed.", by...),
		instances:   desc(sub, "instances", "Instances in the last set.", by...),
		problems:    desc(sub, "problems", "Entries that were left out of the last set because they cannot be used; /status names them.", by...),
		states:      desc(sub, "registered", "What the registry knows of the service, by its state there.", append(by, "state")...),
	}
}

// Describe is prometheus.Collector's.
func (f *sourceFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.known, f.failing, f.lastSuccess, f.lastError, f.age, f.index,
		f.answers, f.updates, f.errors, f.instances, f.problems, f.states)
}

// Collect is prometheus.Collector's.
func (f *sourceFamily) Collect(ch chan<- prometheus.Metric) {
	type key struct{ service, source string }
	all := map[key]SourceSample{} // of two of one name the last word counts
	gather(&f.each, func(s SourceSample) { all[key{label(s.Service), label(s.Source)}] = s })
	for k, s := range all {
		by := []string{k.service, k.source}
		gauge(ch, f.known, truth(s.Known), by...)
		gauge(ch, f.failing, truth(s.Failing), by...)
		if !s.LastSuccess.IsZero() {
			gauge(ch, f.lastSuccess, seconds(s.LastSuccess), by...)
			gauge(ch, f.age, s.Age.Seconds(), by...)
		}
		if !s.LastError.IsZero() {
			gauge(ch, f.lastError, seconds(s.LastError), by...)
		}
		gauge(ch, f.index, float64(s.Index), by...)
		counter(ch, f.answers, s.Answers, by...)
		counter(ch, f.updates, s.Updates, by...)
		counter(ch, f.errors, s.Errors, by...)
		gauge(ch, f.instances, float64(s.Instances), by...)
		gauge(ch, f.problems, float64(s.Problems), by...)
		states := map[string]int{} // two names may become one label
		for state, n := range s.States {
			states[label(state)] += n
		}
		for state, n := range states {
			gauge(ch, f.states, float64(n), append(by, state)...)
		}
	}
}
