package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A TCP counts the sessions of a service.
type TCP struct {
	shards []TCPShard
}

func newTCP(loops int) *TCP { return &TCP{make([]TCPShard, loops)} }

// Shard returns the counters of an event loop. Any index is good: who is not on a loop uses
// 0. Ask once and keep it.
func (t *TCP) Shard(loop int) *TCPShard { return &t.shards[uint(loop)%uint(len(t.shards))] }

// A TCPShard is what one loop has counted for a service. Its fields and methods may be used
// by any goroutine; only when each loop keeps to its own shard is it also cheap.
//
// "In" is what clients sent, "out" what was sent to them; both are counted as the bytes
// move, not at the end of a session.
type TCPShard struct {
	Started  atomic.Uint64 // sessions that have begun; Finish is called once for each
	BytesIn  atomic.Uint64
	BytesOut atomic.Uint64

	// Connect is how long it took to connect to the endpoint, for attempts that succeeded.
	Connect Histogram

	finished atomic.Uint64
	duration SessionHistogram
	failed   [causeCount]atomic.Uint64

	_ [apart]byte
}

// Finish counts the end of a session, and how long it lasted.
func (s *TCPShard) Finish(lasted time.Duration) {
	s.duration.Observe(lasted)
	s.finished.Add(1)
}

// Fail counts the cause for which a session could not be served, or was cut. Finish is
// called for it all the same.
func (s *TCPShard) Fail(c Cause) {
	if c >= causeCount {
		c = CauseOther
	}
	s.failed[c].Add(1)
}

type tcpFamily struct {
	family[string, *TCP]
	sessions, active, failed, duration, connect, bytesIn, bytesOut *prometheus.Desc
}

func newTCPFamily() *tcpFamily {
	const sub = "tcp"
	return &tcpFamily{
		sessions: desc(sub, "sessions_total", "Sessions that have begun.", "service"),
		active:   desc(sub, "sessions_active", "Sessions that have begun and not ended.", "service"),
		failed:   desc(sub, "sessions_failed_total", "Sessions that could not be served or were cut, by cause.", "service", "cause"),
		duration: desc(sub, "session_duration_seconds", "How long sessions lasted, counted at their end.", "service"),
		connect:  desc(sub, "connect_duration_seconds", "Time to connect to an endpoint, when it succeeded.", "service"),
		bytesIn:  desc(sub, "received_bytes_total", "Bytes received from clients, live.", "service"),
		bytesOut: desc(sub, "sent_bytes_total", "Bytes sent to clients, live.", "service"),
	}
}

// Describe is prometheus.Collector's.
func (f *tcpFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.sessions, f.active, f.failed, f.duration, f.connect, f.bytesIn, f.bytesOut)
}

// Collect is prometheus.Collector's.
func (f *tcpFamily) Collect(ch chan<- prometheus.Metric) {
	for name, t := range f.all() {
		var finished, started, bytesIn, bytesOut uint64
		var failed [causeCount]uint64
		var duration, connect distribution
		// Ends before beginnings, as in HTTP.total.
		for i := range t.shards {
			finished += t.shards[i].finished.Load()
		}
		for i := range t.shards {
			s := &t.shards[i]
			started += s.Started.Load()
			bytesIn += s.BytesIn.Load()
			bytesOut += s.BytesOut.Load()
			for c := range s.failed {
				failed[c] += s.failed[c].Load()
			}
			duration.add(s.duration.buckets[:], &s.duration.sum)
			connect.add(s.Connect.buckets[:], &s.Connect.sum)
		}
		service := label(name)
		counter(ch, f.sessions, started, service)
		gauge(ch, f.active, difference(started, finished), service)
		for c, n := range failed {
			counter(ch, f.failed, n, service, Cause(c).String())
		}
		ch <- duration.metric(f.duration, sessionBuckets, sessionBound, service)
		ch <- connect.metric(f.connect, latencyBuckets, latencyBound, service)
		counter(ch, f.bytesIn, bytesIn, service)
		counter(ch, f.bytesOut, bytesOut, service)
	}
}
