package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"sidecar/discovery"
)

const (
	// After successEvery a service may be looked at again, but for a burst of looks.
	successEvery = 500 * time.Millisecond
	successBurst = 4
	// settle is how long a look waits after a notification: changes come in groups.
	settle = 50 * time.Millisecond

	pauseFirst = 250 * time.Millisecond
	// pauseMost is short, since the library lets a second go by of its own after dials have failed,
	// and a dial may take two.
	pauseMost = time.Second
)

// A Query says which instances are wanted.
type Query struct {
	// Key is that of a set or a hash. When it ends in ":", "/" or "*" it is a prefix (without the
	// "*") of the keys of strings.
	Key string
	// Poll is how often it is looked at when no notification comes. Zero means DefaultPoll.
	Poll time.Duration
}

// Source returns a Source of the instances that q asks for. It is a discovery.Refresher.
//
// A key that was not there since Watch began is an unknown service; one that was there and has
// gone is known to be empty. So is everything after a server without persistence has been
// restarted: that is an answer, and whoever shall not believe it stands behind a guard.
//
// Watch ends with its context, or within two seconds when it is waiting for an answer then.
func (c *Client) Source(q Query) discovery.Source {
	if q.Poll <= 0 {
		q.Poll = DefaultPoll
	}
	return &source{client: c, query: q, wake: make(chan struct{}, 1)}
}

type source struct {
	client *Client
	query  Query
	wake   chan struct{} // holds one call: something may have changed
}

// Refresh has the service looked at again.
func (s *source) Refresh() { poke(s.wake) }

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	if prefix, _ := prefixOf(s.query.Key); strings.Trim(prefix, ":/") == "" {
		// As a prefix it would be all that there is in the database.
		err := fmt.Errorf("redis: watch %q: that names no service; write a key such as services:orders", s.query.Key)
		report(discovery.Update{Err: err, At: time.Now()})
		<-ctx.Done()
		return
	}
	leave := s.client.notices.join(s.client.channel(s.query.Key), s.wake)
	defer leave()
	w := &watch{source: s, report: report, clock: clock{time.Now()}, backoff: discovery.Backoff{First: pauseFirst, Most: pauseMost}}
	limit := rate.NewLimiter(rate.Every(min(successEvery, s.query.Poll)), successBurst)
	for ctx.Err() == nil {
		if !discovery.Sleep(ctx, limit.Reserve().Delay(), nil) {
			return
		}
		pause := w.look(ctx)
		if discovery.Sleep(ctx, pause, s.wake) {
			discovery.Sleep(ctx, settle, nil)
		}
	}
}

// A watch is one run of Watch. Its fields belong to that goroutine.
type watch struct {
	*source
	report  func(discovery.Update)
	backoff discovery.Backoff
	clock   clock
	seen    bool // the key was there at least once
}

// look makes one lookup, reports its outcome, and returns how long to pause before the next.
func (w *watch) look(ctx context.Context) time.Duration {
	select { // what comes from here on may tell of a change that this look does not see
	case <-w.wake:
	default:
	}
	entries, known, err := w.client.look(ctx, w.query.Key)
	if ctx.Err() != nil {
		return 0 // err is but its echo
	}
	now := time.Now()
	w.seen = w.seen || known
	r := read(entries, w.clock.at(now))
	if err == nil && len(r.instances) == 0 && len(r.problems) > 0 {
		err = unusableError{r.problems}
	}
	if err != nil {
		w.report(discovery.Update{Err: w.client.explain(w.query.Key, err), Problems: discovery.Few(r.problems), At: now})
		return w.backoff.Next()
	}
	w.backoff.Reset()
	w.report(discovery.Update{Instances: r.instances, Unknown: !w.seen, States: r.states, Problems: discovery.Few(r.problems), At: now})

	// Within a tenth of it, so that services and sidecars do not all ask at one moment.
	pause := w.query.Poll - w.query.Poll/10 + rand.N(w.query.Poll/5+1)
	if !r.expiry.IsZero() {
		pause = min(pause, max(r.expiry.Sub(w.clock.at(now)), 0))
	}
	return pause
}

// unusableError is a key that has entries, none of which can be used.
type unusableError struct{ problems []string }

func (e unusableError) Error() string {
	const most = 3
	text := strings.Join(e.problems[:min(len(e.problems), most)], "; ")
	if n := len(e.problems) - most; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return "no instance is usable: " + text
}
