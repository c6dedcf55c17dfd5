package consul

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"sidecar/discovery"
)

const (
	// unknownMost is the longest time between two lookups while nothing is known yet: there is no
	// last set to serve, so somebody is waiting.
	unknownMost = time.Second
	// pauseFirst doubles up to pauseMost while lookups fail after one has succeeded. The most is
	// small, because updates have to arrive within 5 s of the registry's return, of which an
	// attempt to connect may take 2 s, and can be, because each host asks its own agent.
	pauseFirst, pauseMost = 250 * time.Millisecond, 2 * time.Second
	// limitedMost is the most after 429 and 503, by which the agent asks for fewer queries.
	limitedMost = 15 * time.Second

	// successBurst queries may follow each other at once, then one per successEvery: a service
	// that changes all the time costs two queries per second, each with all changes since the
	// last. The burst lets the handful of changes of one deployment step (registered, passing,
	// the old one gone) through without delay.
	successBurst, successEvery = 4, 500 * time.Millisecond

	// refreshEvery is the shortest time between two lookups that Refresh asks for, each of which
	// comes up to refreshJitter late: where an instance has gone, many hosts notice at one moment.
	refreshEvery, refreshJitter = time.Second, 100 * time.Millisecond

	// briefly is how long the query of the patrol's scout waits, and that of a watch of another
	// datacenter, which is its own scout; and the first one after a look at a server, which brings
	// the index of the agent's own view.
	briefly = 3 * time.Second

	// ledFor is how long the leader is asked once a server was found to lag, and the shortest time
	// between two attempts to do so.
	ledFor = time.Minute
)

// Source returns the Source of what q asks for, which is a discovery.Refresher as well. Each
// lookup that fails is reported with why and with what to do about it, and logged nowhere.
func (c *Client) Source(q Query) discovery.Source {
	return &source{client: c, query: q, bell: newBell()}
}

type source struct {
	client *Client
	query  Query
	bell   *bell
}

// Refresh implements discovery.Refresher: the query that waits is given up for one that is
// answered at once and not from the agent's cache, one per second at the most.
func (s *source) Refresh() { s.bell.ring(refreshed) }

func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	c := s.client
	w := &watch{
		client:  c,
		query:   &s.query,
		bell:    s.bell,
		report:  report,
		limit:   rate.NewLimiter(rate.Every(successEvery), successBurst),
		backoff: discovery.Backoff{First: pauseFirst},
		memory:  memory{seed: maphash.MakeSeed()},
		streams: s.query.Near == "" && s.query.Filter == "", // else each answer is a server's
	}
	if err := s.query.check(); err != nil {
		report(discovery.Update{Err: c.explain(w.asked(), complete{err}), At: time.Now()})
		<-ctx.Done()
		return
	}
	c.turns.join()
	defer c.turns.leave()
	w.member = &member{
		renewed: func() { s.bell.ring(renewed) },
		dead:    func() { s.bell.ring(dead) },
		rewound: func() { s.bell.ring(refreshed) },
	}
	defer c.patrol.join(w.member)()
	for w.prepare(ctx) {
		w.step(ctx)
	}
}

// A watch is one run of Watch. Its fields belong to that goroutine.
type watch struct {
	client *Client
	query  *Query
	bell   *bell
	member *member
	report func(discovery.Update)
	limit  *rate.Limiter

	index   uint64               // what the next query waits for a change of; 0: it does not wait
	told    uint64               // what a server told last as its index
	viewed  bool                 // index is that of the agent's view rather than a server's
	streams bool                 // the agent answers what waits from such a view, as far as is known
	learned bool                 // that is known
	scout   bool                 // the patrol's
	fresh   bool                 // the next query is not to be answered from the agent's cache
	led     bool                 // the leader is asked, since the server that would answer lags
	ledAt   time.Time            // when it was last asked for that reason
	highest uint64               // index of this history of the registry
	last    []discovery.Instance // the set that was reported last
	known   bool                 // a set was reported: last and unknown mean something
	unknown bool                 // it was reported that nobody knows the service
	seen    bool                 // the service was in the catalog at least once

	memory  memory // of the answer that decoded is made of
	decoded answer // without what is not in the answer's body

	backoff     discovery.Backoff
	refreshedAt time.Time // when the last lookup that Refresh has asked for began
}

// prepare takes in what the bell was rung for. It tells whether the watch goes on.
func (w *watch) prepare(ctx context.Context) bool {
	refresh, renew := w.bell.take()
	if refresh {
		due := time.Until(w.refreshedAt.Add(refreshEvery))
		if !discovery.Sleep(ctx, max(due, 0)+rand.N(refreshJitter), nil) {
			return false
		}
		_, again := w.bell.take() // those who rang meanwhile want the same lookup
		renew = renew || again
		w.refreshedAt = time.Now()
		w.fresh = true
	}
	if w.led && time.Since(w.ledAt) >= ledFor {
		w.led, w.index = false, 0 // perhaps the server has caught up: a look at it tells
	}
	if refresh || renew {
		w.index = 0
	}
	return ctx.Err() == nil
}

// step makes one query when it is its turn, reports what it brings, and pauses.
func (w *watch) step(ctx context.Context) {
	if w.index == 0 {
		done := w.client.outage.pass(ctx, w.fail)
		if done == nil {
			return
		}
		defer done() // after the pause: the next one tries then
	}
	asking, answered := w.bell.begin(ctx, w.index > 0)
	a, err := w.inTurn(asking)
	cause := context.Cause(asking)
	answered()
	why, interrupted := errors.AsType[interruption](cause)
	switch {
	case ctx.Err() != nil: // err is but its echo
	case err == nil:
		w.succeeded(a)
		discovery.Sleep(ctx, w.pause(), w.bell.wake)
	case interrupted && why == dead:
		w.failed(ctx, silentError{noAnswerError{probeTime}})
	case interrupted: // asked again at once; prepare knows how
	default:
		w.failed(ctx, err)
	}
}

// inTurn asks when it is this watch's turn.
func (w *watch) inTurn(ctx context.Context) (answer, error) {
	t := &turn{kind: urgent, yield: func() { w.bell.ring(yielded) }}
	past := false
	if w.index > 0 {
		t.kind, t.longest = patient, w.client.wait
		alone := w.query.Datacenter != "" && w.learned // the scout knows nothing of other datacenters' views
		past = w.streams && (w.scout || alone || w.client.patrol.shuns())
		if w.scout || w.streams && (alone || !w.viewed && !past) {
			t.longest = min(briefly, w.client.wait)
		}
	}
	if err := w.client.turns.begin(ctx, t); err != nil {
		return answer{}, err
	}
	defer w.client.turns.end(t)
	return w.ask(ctx, look{index: w.index, wait: t.wait, fresh: w.fresh, past: past, led: w.led})
}

// succeeded reports an answer and sets the index for the next query.
func (w *watch) succeeded(a answer) {
	w.client.outage.end()
	w.backoff.Reset()
	w.fresh = false
	if w.query.Prepared == "" {
		w.proceed(a)
	}
	if a.current || a.index > w.highest {
		w.highest = a.index // also when it is lower: another history has begun
	}
	w.known, w.unknown, w.last = true, a.unknown, a.instances
	w.report(discovery.Update{
		Instances: a.instances, Unknown: a.unknown, Index: a.index,
		States: a.states, Problems: discovery.Few(a.problems), At: time.Now(),
	})
}

// proceed sets the index for the next query.
func (w *watch) proceed(a answer) {
	if !a.viewed {
		if a.index < w.told && w.scout {
			w.client.patrol.rewound(w.member)
		}
		w.told = a.index
		w.client.patrol.answered(w.member)
	}
	switch {
	case a.early:
		// A server that is put back to an older state answers what waits at once, with the index
		// it had. A query for that index would wait for a newer one than there is.
		w.index = 0
	case a.viewed && !w.viewed:
		w.index = max(a.index, 1) // a server counts otherwise: of a missing service it tells the catalog's index
	default:
		w.index = nextIndex(w.index, a.index)
	}
	if a.lags && !w.known {
		w.index = 0 // there is something to go on with, and time to ask the leader
	}
	w.viewed = a.viewed
	index := max(w.index, w.told)
	if !w.streams || w.query.Datacenter != "" {
		index = 0
	}
	w.scout = w.client.patrol.saw(w.member, index)
}

// pause is how long to wait after an answer before the next query.
func (w *watch) pause() time.Duration {
	pause := w.limit.Reserve().Delay()
	if w.query.Prepared != "" {
		poll := w.query.poll()
		pause = max(pause, poll-poll/10+rand.N(poll/5))
	}
	return pause
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

// failed reports why a lookup failed and pauses before the next one, which will not wait for
// a change: what is true now is wanted.
func (w *watch) failed(ctx context.Context, err error) {
	w.index, w.led = 0, false
	code := statusOf(err)
	// With 503 it is the agent that asks for fewer queries. No answer at all is what servers that
	// hang, or whose packets are dropped, look like.
	if w.scout && (code/100 == 5 && code != http.StatusServiceUnavailable || isType[noAnswerError](err)) {
		w.client.patrol.lose()
	}
	w.scout = w.client.patrol.saw(w.member, 0) // it finds out nothing for others
	wake := w.bell.wake
	w.backoff.Most = pauseMost
	switch code {
	case 403:
		w.client.token.refused()
	case 429, 503:
		w.backoff.Most = limitedMost
		wake = nil // nobody's wish is a reason to ask sooner than the agent allows
	}
	if w.client.outage.is(err) {
		w.client.outage.begin(err)
	} else {
		w.client.outage.end() // it was this watch's own failure
	}
	pause := w.backoff.Next()
	if !w.known && w.backoff.Most != limitedMost {
		pause = unknownMost/2 + rand.N(unknownMost/2)
	}
	w.fail(err)
	discovery.Sleep(ctx, pause, wake)
}

// fail reports why there is no answer.
func (w *watch) fail(err error) {
	w.report(discovery.Update{Err: w.client.explain(w.asked(), err), At: time.Now()})
}

// asked is what errors of this watch are about.
func (w *watch) asked() asked { return asked{what: w.query.what(), datacenter: w.query.Datacenter} }
