package dns

import (
	"context"
	"time"

	"sidecar/discovery"
)

const (
	// pace is the least from the beginning of a lookup to that of the next, whatever the TTLs say
	// and however often a refresh is asked for.
	pace = time.Second
	// failedFirst doubles up to failedMost while lookups fail, from the beginning of one to that of
	// the next. The most is small, because updates have to arrive within 5 s of a server's return.
	failedFirst, failedMost = time.Second, 2 * time.Second
	// partlyFirst doubles up to partlyMost while only some questions are not answered. There are
	// servers that never answer for AAAA, and what holds is served meanwhile.
	partlyFirst, partlyMost = time.Second, 30 * time.Second
)

var _ discovery.Refresher = (*source)(nil)

type source struct {
	resolver *Resolver
	query    Query
	refresh  chan struct{}
}

// Refresh asks for a lookup of everything, past what is remembered. The caches of the servers
// are theirs.
func (s *source) Refresh() {
	select {
	case s.refresh <- struct{}{}:
	default: // one is asked for already
	}
}

func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	if err := s.query.check(); err != nil {
		// Asking helps nobody.
		report(discovery.Update{Err: s.query.explain(err), At: time.Now()})
		<-ctx.Done()
		return
	}
	failed := discovery.Backoff{First: failedFirst, Most: failedMost}
	partly := discovery.Backoff{First: partlyFirst, Most: partlyMost}
	known, fresh, first, at := make(memory), true, true, time.Time{}
	select {
	case <-s.refresh: // the first lookup is one
	default:
	}
	for ctx.Err() == nil {
		began := time.Now()
		settings, hosts := s.resolver.current()
		l := &lookup{resolver: s.resolver, settings: settings, query: s.query, known: known, fresh: fresh, first: first, at: at}
		update := l.run(ctx, hosts)
		if ctx.Err() != nil {
			return // what failed are but its echoes
		}
		known, at = l.remember(update.Err != nil), l.at
		first = l.first && update.Err != nil

		var next time.Time
		switch {
		case update.Err != nil:
			next = began.Add(failed.Next())
		case l.failed:
			failed.Reset()
			next = time.Now().Add(partly.Next())
			if soon := l.next(time.Now()); soon.Before(next) {
				next = soon
			}
		default:
			failed.Reset()
			partly.Reset()
			next = l.next(time.Now())
		}
		report(update)
		refresh := s.wait(ctx, began.Add(pace), next)
		fresh = refresh || fresh && update.Err != nil
	}
}

// wait returns at next, or when a refresh is asked for, but not before earliest. It tells
// whether that was so.
func (s *source) wait(ctx context.Context, earliest, next time.Time) (refresh bool) {
	if !discovery.Sleep(ctx, time.Until(earliest), nil) {
		return false
	}
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case <-s.refresh:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
