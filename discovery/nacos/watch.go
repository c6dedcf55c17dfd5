package nacos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"sidecar/discovery"
)

const (
	// The server's own proposal is kept to these bounds.
	pollLeast = time.Second
	pollMost  = 10 * time.Second
	// defaultPoll is used where the server proposes nothing: that of Nacos' switches.
	defaultPoll = 3 * time.Second

	// After successEvery a service may be looked at again, but for a burst of looks.
	successEvery = 500 * time.Millisecond
	successBurst = 4

	pauseFirst = 250 * time.Millisecond
	pauseMost  = time.Second
)

// A Query says which instances are wanted.
type Query struct {
	Service string
	// Group is that of the service. Empty means DEFAULT_GROUP.
	Group string
	// Clusters are those of whose instances one may be taken; empty means any.
	Clusters []string
	// Namespace is the ID of the service's namespace. Empty means that of the Options.
	Namespace string
	// Poll is how often the list is asked for. Zero leaves it to the server, which proposes 3 s
	// to 10 s; it is asked every 1 s to 10 s then.
	Poll time.Duration
}

// Source returns a Source of the instances that q asks for. It is a discovery.Refresher.
// Update.States counts the instances by "healthy", "unhealthy", "disabled" and "weight 0".
func (c *Client) Source(q Query) discovery.Source {
	q.Group = cmp.Or(q.Group, "DEFAULT_GROUP")
	q.Namespace = cmp.Or(q.Namespace, c.options.Namespace)
	return &source{client: c, query: q, wake: make(chan struct{}, 1)}
}

type source struct {
	client *Client
	query  Query
	wake   chan struct{} // holds one call of Refresh
}

// Refresh has the list asked for again.
func (s *source) Refresh() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	if name := s.query.Service; strings.TrimSpace(name) == "" || strings.Contains(name, "@@") {
		err := fmt.Errorf("nacos: watch %q: that is no service's name; correct it, and name a group apart from it", name)
		report(discovery.Update{Err: err, At: time.Now()})
		<-ctx.Done()
		return
	}
	w := &watch{source: s, report: report, backoff: discovery.Backoff{First: pauseFirst, Most: pauseMost}}
	every := successEvery
	if s.query.Poll > 0 {
		every = min(every, s.query.Poll)
	}
	limit := rate.NewLimiter(rate.Every(every), successBurst)
	for discovery.Sleep(ctx, limit.Reserve().Delay(), nil) {
		discovery.Sleep(ctx, w.look(ctx), s.wake)
	}
}

// A watch is one run of Watch. Its fields belong to that goroutine.
type watch struct {
	*source
	report  func(discovery.Update)
	backoff discovery.Backoff
	seen    bool // an instance was listed at least once
}

// look makes one lookup, reports its outcome, and returns how long to pause before the next.
func (w *watch) look(ctx context.Context) time.Duration {
	select { // it is fresh enough for whoever has asked for it until now
	case <-w.wake:
	default:
	}
	l, found, err := w.client.list(ctx, w.query)
	if ctx.Err() != nil {
		return 0 // err is but its echo
	}
	now := time.Now()
	w.seen = w.seen || found && len(*l.Hosts) > 0
	set, states, problems := l.instances()
	if err == nil && len(set) == 0 && len(problems) > 0 {
		err = unusableError{problems}
	}
	if err != nil {
		w.report(discovery.Update{Err: w.client.explain(w.query, err), Problems: discovery.Few(problems), At: now})
		return w.backoff.Next()
	}
	w.backoff.Reset()
	w.report(discovery.Update{Instances: set, Unknown: !w.seen, States: states, Problems: discovery.Few(problems), At: now})

	poll := cmp.Or(w.query.Poll, l.poll())
	// Within a tenth of it, so that services and sidecars do not all ask at one moment.
	return poll - poll/10 + rand.N(poll/5+1)
}

// unusableError is a list of which no instance can be used.
type unusableError struct{ problems []string }

func (e unusableError) Error() string {
	const most = 3
	text := strings.Join(e.problems[:min(len(e.problems), most)], "; ")
	if n := len(e.problems) - most; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return "no instance is usable: " + text
}
