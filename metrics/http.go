package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// An HTTP counts the requests of a service.
type HTTP struct {
	shards []HTTPShard
}

func newHTTP(loops int) *HTTP { return &HTTP{make([]HTTPShard, loops)} }

// Shard returns the counters of an event loop. Any index is good: who is not on a loop uses
// 0. Ask once and keep it.
func (h *HTTP) Shard(loop int) *HTTPShard { return &h.shards[uint(loop)%uint(len(h.shards))] }

// An HTTPShard is what one loop has counted for a service. Its fields and methods may be
// used by any goroutine; only when each loop keeps to its own shard is it also cheap.
//
// "In" is what clients sent, "out" what was sent to them; both with headers and framing, as
// on the wire above TLS.
type HTTPShard struct {
	Started  atomic.Uint64 // requests whose header has arrived; Finish is called once for each
	BytesIn  atomic.Uint64
	BytesOut atomic.Uint64

	Opened atomic.Uint64 // connections to endpoints that were made
	Closed atomic.Uint64 // of those, how many have ended; counted after Opened
	Reused atomic.Uint64 // attempts that found a connection in the pool
	Idle   atomic.Int64  // connections in the pool; Add as they come and go, or Store now and then

	Tunnels      atomic.Uint64 // connections that were upgraded to another protocol
	TunnelsEnded atomic.Uint64 // of those, how many have ended; counted after Tunnels

	BudgetDenied atomic.Uint64 // retries that the retry budget did not allow

	Hedges       atomic.Uint64 // second copies of a request that were sent while the first was waited for
	HedgesWon    atomic.Uint64 // of those, how many were answered first; counted after Hedges
	HedgesDenied atomic.Uint64 // second copies that their budget did not allow

	FallbackAnswers atomic.Uint64 // requests answered with the fixed response of the key fallback

	Clients, Endpoints HTTP2 // connections of HTTP/2 with either

	FirstByte Histogram // from the request's header to the first byte of the answer

	duration Histogram
	finished [len(classes)]atomic.Uint64
	errors   [causeCount]atomic.Uint64
	retries  [retryCount]atomic.Uint64
	grpc     [grpcCodes]atomic.Uint64

	_ [apart]byte
}

// classes are the values of the label code; the index is the status divided by 100. A
// request that ended without an answer (its client had gone) has no status.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Finish counts the end of a request: the status its client was answered with, 0 if with
// none, and the time from its header to the last byte of the answer.
func (s *HTTPShard) Finish(status int, took time.Duration) {
	class := uint(status) / 100
	if class >= uint(len(classes)) {
		class = 0
	}
	s.duration.Observe(took)
	s.finished[class].Add(1)
}

// Error counts an answer that was the sidecar's own, or an answer that broke off, by its cause.
func (s *HTTPShard) Error(c Cause) {
	if c >= causeCount {
		c = CauseOther
	}
	s.errors[c].Add(1)
}

// Retry counts a request that is sent once more.
func (s *HTTPShard) Retry(r RetryReason) {
	if r >= retryCount {
		r = RetryOther
	}
	s.retries[r].Add(1)
}

type httpFamily struct {
	family[string, *HTTP]
	requests, inFlight, errors, retries, denied *prometheus.Desc
	hedges, hedgesWon, hedgesDenied, fallback   *prometheus.Desc
	duration, firstByte                         *prometheus.Desc
	bytesIn, bytesOut                           *prometheus.Desc
	opened, reused, open, idle                  *prometheus.Desc
	tunnels, tunnelsOpen, grpc                  *prometheus.Desc
	http2                                       http2Descs
}

func newHTTPFamily() *httpFamily {
	const sub = "http"
	return &httpFamily{
		requests:     desc(sub, "requests_total", "Requests that have ended, by the class of the status the client saw; none: it had gone before an answer.", "service", "code"),
		inFlight:     desc(sub, "requests_in_flight", "Requests that have begun and not ended.", "service"),
		errors:       desc(sub, "errors_total", "Answers that the sidecar made itself or had to break off, by cause (the header Sidecar-Error).", "service", "cause"),
		retries:      desc(sub, "retries_total", "Requests sent once more, by what went wrong before.", "service", "reason"),
		denied:       desc(sub, "retries_denied_total", "Retries that the retry budget did not allow.", "service"),
		hedges:       desc(sub, "hedges_total", "Second copies of a request that were sent while the first was waited for.", "service"),
		hedgesWon:    desc(sub, "hedges_won_total", "Second copies that were answered before the first.", "service"),
		hedgesDenied: desc(sub, "hedges_denied_total", "Second copies that their budget did not allow.", "service"),
		fallback:     desc(sub, "fallback_answers_total", "Requests answered with the fixed response that is configured for when nothing is usable.", "service"),
		duration:     desc(sub, "request_duration_seconds", "From the request's header to the last byte of the answer.", "service"),
		firstByte:    desc(sub, "time_to_first_byte_seconds", "From the request's header to the first byte of the endpoint's answer.", "service"),
		bytesIn:      desc(sub, "received_bytes_total", "Bytes received from clients.", "service"),
		bytesOut:     desc(sub, "sent_bytes_total", "Bytes sent to clients.", "service"),
		opened:       desc(sub, "upstream_connections_opened_total", "Connections made to endpoints.", "service"),
		reused:       desc(sub, "upstream_connections_reused_total", "Attempts that found a connection in the pool.", "service"),
		open:         desc(sub, "upstream_connections_open", "Connections to endpoints that are open.", "service"),
		tunnels:      desc(sub, "tunnels_total", "Connections that were upgraded to another protocol, such as WebSocket.", "service"),
		tunnelsOpen:  desc(sub, "tunnels_open", "Upgraded connections that are open.", "service"),
		grpc:         desc("grpc", "responses_total", "Responses to calls of gRPC, those that were tried again included, by their grpc-status; missing: the stream ended without one.", "service", "code"),
		http2:        newHTTP2Descs(),
		idle:         desc(sub, "upstream_connections_idle", "Connections to endpoints that wait in the pool.", "service"),
	}
}

// Describe is prometheus.Collector's.
func (f *httpFamily) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, f.requests, f.inFlight, f.errors, f.retries, f.denied,
		f.hedges, f.hedgesWon, f.hedgesDenied, f.fallback, f.duration, f.firstByte,
		f.bytesIn, f.bytesOut, f.opened, f.reused, f.open, f.idle, f.tunnels, f.tunnelsOpen, f.grpc)
	f.http2.describe(ch)
}

// Collect is prometheus.Collector's.
func (f *httpFamily) Collect(ch chan<- prometheus.Metric) {
	for name, h := range f.all() {
		t := h.total()
		service := label(name)
		var ended uint64
		for i, n := range t.finished {
			ended += n
			counter(ch, f.requests, n, service, classes[i])
		}
		gauge(ch, f.inFlight, difference(t.started, ended), service)
		for c, n := range t.errors {
			counter(ch, f.errors, n, service, Cause(c).String())
		}
		for r, n := range t.retries {
			counter(ch, f.retries, n, service, RetryReason(r).String())
		}
		counter(ch, f.denied, t.denied, service)
		counter(ch, f.hedges, t.hedges, service)
		counter(ch, f.hedgesWon, t.hedgesWon, service)
		counter(ch, f.hedgesDenied, t.hedgesDenied, service)
		counter(ch, f.fallback, t.fallback, service)
		ch <- t.duration.metric(f.duration, latencyBuckets, latencyBound, service)
		ch <- t.firstByte.metric(f.firstByte, latencyBuckets, latencyBound, service)
		counter(ch, f.bytesIn, t.bytesIn, service)
		counter(ch, f.bytesOut, t.bytesOut, service)
		counter(ch, f.opened, t.opened, service)
		counter(ch, f.reused, t.reused, service)
		gauge(ch, f.open, difference(t.opened, t.closed), service)
		gauge(ch, f.idle, float64(t.idle), service)
		counter(ch, f.tunnels, t.tunnels, service)
		gauge(ch, f.tunnelsOpen, difference(t.tunnels, t.tunnelsEnded), service)
		for c, n := range t.grpc {
			if n > 0 {
				counter(ch, f.grpc, n, service, GRPCCode(c).String())
			}
		}
		f.http2.collect(ch, service, &t.http2)
	}
}

// httpTotal is the sum of all shards, taken for one scrape.
type httpTotal struct {
	started, bytesIn, bytesOut      uint64
	opened, closed, reused, denied  uint64
	hedges, hedgesWon, hedgesDenied uint64
	fallback                        uint64
	tunnels, tunnelsEnded           uint64
	idle                            int64
	finished                        [len(classes)]uint64
	errors                          [causeCount]uint64
	retries                         [retryCount]uint64
	grpc                            [grpcCodes]uint64
	duration, firstByte             distribution
	http2                           [sides]http2Total
}

// total adds the shards up.
func (h *HTTP) total() *httpTotal {
	t := &httpTotal{}
	// All ends are read before all beginnings: every end that is seen has its beginning
	// seen too, and the difference is never negative.
	for i := range h.shards {
		s := &h.shards[i]
		t.closed += s.Closed.Load()
		t.hedgesWon += s.HedgesWon.Load()
		t.tunnelsEnded += s.TunnelsEnded.Load()
		for c := range s.finished {
			t.finished[c] += s.finished[c].Load()
		}
	}
	for i := range h.shards {
		s := &h.shards[i]
		t.started += s.Started.Load()
		t.opened += s.Opened.Load()
		t.tunnels += s.Tunnels.Load()
		t.reused += s.Reused.Load()
		t.idle += s.Idle.Load()
		t.bytesIn += s.BytesIn.Load()
		t.bytesOut += s.BytesOut.Load()
		t.denied += s.BudgetDenied.Load()
		t.hedges += s.Hedges.Load()
		t.hedgesDenied += s.HedgesDenied.Load()
		t.fallback += s.FallbackAnswers.Load()
		for c := range s.errors {
			t.errors[c] += s.errors[c].Load()
		}
		for r := range s.retries {
			t.retries[r] += s.retries[r].Load()
		}
		for c := range s.grpc {
			t.grpc[c] += s.grpc[c].Load()
		}
		t.http2[sideClient].add(&s.Clients)
		t.http2[sideEndpoint].add(&s.Endpoints)
		t.duration.add(s.duration.buckets[:], &s.duration.sum)
		t.firstByte.add(s.FirstByte.buckets[:], &s.FirstByte.sum)
	}
	return t
}
