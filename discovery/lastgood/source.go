package lastgood

import (
	"context"
	"sync"
	"time"

	"sidecar/discovery"
)

// patience is how long a source may take for its first report before the kept set is served: a
// sidecar has to serve within 1 s of its start.
const patience = 500 * time.Millisecond

// Source returns a Source that forwards what inner reports and has its good sets written by Run,
// without waiting for it.
//
// When inner's first report is an error, or nothing comes within 500 ms, it reports kept, if
// kept is a set that Load has returned, with Stored set and At when it was last confirmed; an
// error is reported after it. Any good set that comes later takes its place, an empty one too. Only
// what inner reports without Err and Stored is written. A Refresh is passed on to inner.
//
// Service and fingerprint are those that Load was given.
func (s *Store) Source(service, fingerprint string, kept Set, inner discovery.Source) discovery.Source {
	return &source{store: s, service: service, fingerprint: fingerprint, kept: kept, inner: inner}
}

type source struct {
	store       *Store
	service     string
	fingerprint string
	kept        Set
	inner       discovery.Source
}

// Refresh implements discovery.Refresher.
func (s *source) Refresh() { discovery.Refresh(s.inner) }

// Watch implements discovery.Source.
func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	s.store.begin(s.service, s.fingerprint, s.kept)
	defer s.store.end(s.service)
	w := &watch{source: s, report: report, silent: true}
	waiting, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		if discovery.Sleep(waiting, patience, nil) {
			w.serveKept()
		}
	})
	s.inner.Watch(ctx, w.forward)
	stop()
	wait.Wait()
}

// A watch is one run of Watch.
type watch struct {
	*source

	mu     sync.Mutex // one report at a time: inner's or that of the goroutine which waits for it
	report func(discovery.Update)
	silent bool // guarded by mu; nothing was reported yet
}

// forward passes on what inner reports.
func (w *watch) forward(u discovery.Update) {
	w.mu.Lock()
	if u.Err != nil || u.Partial {
		w.serveKeptLocked()
	}
	w.silent = false
	// What was true of all sources is worth more than what some of them say now.
	if !u.Partial || len(w.kept.Instances) == 0 {
		w.report(u)
	}
	w.mu.Unlock()
	if u.Err == nil && !u.Stored && !u.Partial {
		w.store.put(w.service, w.fingerprint, u)
	}
}

func (w *watch) serveKept() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serveKeptLocked()
}

// serveKeptLocked reports the kept set if there is one and nothing was reported before.
func (w *watch) serveKeptLocked() {
	if !w.silent || w.kept.Saved.IsZero() {
		return
	}
	w.silent = false
	w.report(discovery.Update{
		Instances: w.kept.Instances, Unknown: w.kept.Unknown, Problems: w.kept.Problems,
		Index: w.kept.Index, Stored: true, At: w.kept.Confirmed,
	})
}
