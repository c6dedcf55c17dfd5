package consul

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sidecar/discovery"
)

const (
	// unknownMost is the longest time between two lookups while nothing is known yet: there is no
	// last set to serve, so somebody is waiting.
	unknownMost = time.Second
	// pauseFirst doubles up to pauseMost while lookups fail after one has succeeded. The most is
	// small, because updates have to arrive within 5 s of the registry's return, and can be,
	// because each host asks its own agent.
	pauseFirst, pauseMost = 250 * time.Millisecond, 4 * time.Second
	// limitedMost is the most after 429 and 503, by which the agent asks for fewer queries.
	limitedMost = 15 * time.Second

	// successBurst queries may follow each other at once, then one per successEvery: a service
	// that changes all the time costs two queries per second, each with all changes since the
	// last. The burst lets the handful of changes of one deployment step (registered, passing,
	// the old one gone) through without delay.
	successBurst, successEvery = 4, 500 * time.Millisecond
)

// Source returns the Source of what q asks for. Each lookup that fails is reported with why
// and with what to do about it, and logged nowhere.
//
// After an error the set is reported again with the first lookup that succeeds, changed or
// not, so that whoever keeps the error knows that it is over.
func (c *Client) Source(q Query) discovery.Source { return &source{c, q} }

type source struct {
	client *Client
	query  Query
}

func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	s.client.watches.Add(1)
	defer s.client.watches.Add(-1)
	w := &watch{
		client: s.client,
		query:  s.query,
		report: report,
		limit:  rate.NewLimiter(rate.Every(successEvery), successBurst),
	}
	if name := s.query.Service; name == "" || strings.ContainsAny(name, "/?#%") {
		// It would be another path of the API; asking again helps nobody.
		err := complete{fmt.Errorf("%q is no service's name; correct it", name)}
		report(discovery.Update{Err: s.client.explain(name, err), At: time.Now()})
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		a, err := w.ask(ctx)
		if ctx.Err() != nil {
			return // err is but its echo
		}
		if err != nil {
			sleep(ctx, w.failed(err))
			continue
		}
		w.succeeded(a)
		sleep(ctx, w.limit.Reserve().Delay())
	}
}

// A watch is one run of Watch. Its fields belong to that goroutine.
type watch struct {
	client *Client
	query  Query
	report func(discovery.Update)
	limit  *rate.Limiter

	index    uint64               // what the next query waits for a change of; 0: it does not wait
	last     []discovery.Instance // the set that was reported last
	known    bool                 // a set was reported: last and unknown mean something
	unknown  bool                 // it was reported that nobody knows the service
	seen     bool                 // the service was in the catalog at least once
	failures int                  // lookups that have failed in a row
	unusable string               // the instances that were logged as unusable
}

// succeeded reports what is new in an answer and sets the index for the next query.
func (w *watch) succeeded(a answer) {
	w.index = nextIndex(w.index, a.index)
	if unusable := strings.Join(a.unusable, "; "); unusable != w.unusable {
		w.unusable = unusable
		if unusable != "" {
			w.client.log.Warn("consul: healthy instances are left out",
				zap.String("service", w.query.Service), zap.String("why", unusable))
		}
	}
	// A return is no proof of a change: the wait ran out, or something else on the node or in the
	// service changed.
	if w.known && w.failures == 0 && a.unknown == w.unknown && discovery.Equal(a.instances, w.last) {
		return
	}
	w.failures = 0
	w.known, w.unknown, w.last = true, a.unknown, a.instances
	w.report(discovery.Update{Instances: a.instances, Unknown: a.unknown, Index: a.index, At: time.Now()})
}

// nextIndex is what the query after one for last waits for, when that returned got. An index
// that went backwards is of another history (a restored snapshot, a server that lags): waiting
// for it could take forever, so the next query does not wait. And 0 would not wait at all, so
// that a registry that returns it were asked in a busy loop.
func nextIndex(last, got uint64) uint64 {
	if got < last {
		return 0
	}
	return max(got, 1)
}

// failed reports why a lookup failed and returns how long to pause before the next one, which
// will not wait for a change: what is true now is wanted.
func (w *watch) failed(err error) time.Duration {
	w.index = 0
	pause, limited := unknownMost, false
	if code := statusOf(err); code == 403 {
		w.client.token.refused()
	} else if code == 429 || code == 503 {
		limited = true
	}
	if w.known {
		most := pauseMost
		if limited {
			most = limitedMost
		}
		pause = min(pauseFirst<<min(w.failures, 10), most)
	}
	w.failures++
	w.report(discovery.Update{Err: w.client.explain(w.query.Service, err), At: time.Now()})
	// Half of it is left to chance, so that many watches do not come back at one moment.
	return pause/2 + rand.N(pause/2)
}

// sleep returns after d, or as soon as ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
