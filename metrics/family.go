package metrics

import (
	"maps"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// apart is as much as two shards are kept from each other: a cache line has 64 bytes, and
// processors fetch them in pairs.
const apart = 128

// family keeps the handles of one kind. The lock is taken when the configuration changes
// and when somebody scrapes, never to count.
type family[K comparable, H any] struct {
	mu      sync.Mutex
	handles map[K]H // guarded by mu
}

// handle returns the handle of key, and has it made when there is none.
func (f *family[K, H]) handle(key K, fresh func() H) H {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, ok := f.handles[key]; ok {
		return h
	}
	if f.handles == nil {
		f.handles = map[K]H{}
	}
	h := fresh()
	f.handles[key] = h
	return h
}

func (f *family[K, H]) forget(gone func(K) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.handles, func(k K, _ H) bool { return gone(k) })
}

// all is what a scrape walks over, without holding the lock meanwhile.
func (f *family[K, H]) all() map[K]H {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.handles)
}

// desc describes a series; help says what is counted and in what unit.
func desc(subsystem, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
}

// describe sends descs on, for the Describe of a collector.
func describe(ch chan<- *prometheus.Desc, descs ...*prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

// counter and gauge send one value. MustNewConstMetric panics for a wrong number of labels,
// which every test would see, and for labels that are not UTF-8, which label sees to.
func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// label makes a label's value out of a text that came from outside.
func label(s string) string { return strings.ToValidUTF8(s, "�") }

// truth is 1 or 0.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// difference is how many have begun and not ended. Were ends counted twice it would be
// below zero, which is easier to see in a graph than 2^64.
func difference(begun, ended uint64) float64 { return float64(int64(begun - ended)) }
