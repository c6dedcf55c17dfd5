package tap

import (
	"sync/atomic"
	"time"

	"sidecar/accesslog"
)

// A Watch is one who watches a service.
type Watch struct {
	point    *Point
	options  Options
	began    time.Time
	interval int64 // between two records, in ns
	records  chan *Record
	done     chan struct{}

	next    atomic.Int64  // when the rate has room again, in ns since began, if everything came evenly
	skipped atomic.Uint64 // what would have been shown since the last record
	missed  atomic.Uint64 // of these, since the start, what the reader was too slow for
}

// Records are the requests that the Watch wants. The channel is never closed: see Done.
func (w *Watch) Records() <-chan *Record { return w.records }

// Done is closed when there is nothing more to come, by Close or because the service has gone.
func (w *Watch) Done() <-chan struct{} { return w.done }

// Missed is how many records the reader was too slow for.
func (w *Watch) Missed() uint64 { return w.missed.Load() }

// Close ends the Watch. It may be called more than once.
func (w *Watch) Close() { w.point.remove(w) }

// pass takes a request, if it is wanted and there is room.
func (w *Watch) pass(line *accesslog.Record, heads Heads) {
	if !w.options.wants(line) {
		return
	}
	if !w.due(int64(time.Since(w.began))) {
		w.skipped.Add(1)
		return
	}
	r := newRecord(line, heads, w.options.Headers)
	r.Skipped = w.skipped.Swap(0)
	select {
	case w.records <- r:
	default:
		w.missed.Add(1)
		w.skipped.Add(r.Skipped + 1)
	}
}

// due tells whether the rate has room now, and takes it. This is the generic cell rate algorithm
// (ITU-T I.371): next moves on by one interval for each record, and may be a second ahead at the
// most, less the interval itself.
func (w *Watch) due(now int64) bool {
	const contended = 8 // by other loops; whoever loses so often is one of very many
	for range contended {
		next := w.next.Load()
		if next-now > int64(time.Second)-w.interval {
			return false
		}
		if w.next.CompareAndSwap(next, max(next, now)+w.interval) {
			return true
		}
	}
	return false
}
