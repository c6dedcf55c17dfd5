package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/time/rate"

	"sidecar/discovery"
)

const (
	// pauseFirst doubles up to pauseMost while etcd answers with errors. It is up to soonMost while
	// nothing is known, since somebody is waiting then, and while no member can be reached, which
	// costs nobody anything: updates have to arrive within 5 s of etcd's return, and making the
	// connection may take half of that.
	pauseFirst, pauseMost, soonMost = 250 * time.Millisecond, 2 * time.Second, time.Second

	// burst looks may follow each other at once, then one per every; likewise reports of changes,
	// of which all that come in between are in the next one.
	burst, every = 4, 500 * time.Millisecond

	// progressEvery is how often a watch is asked how far it has come. When nothing has been heard
	// of it for silentMost, so for 2 s after a question, it is dead: the member hangs, or packets are
	// dropped.
	progressEvery, silentMost = 2 * time.Second, 3500 * time.Millisecond
)

type source struct {
	client  *Client
	prefix  string        // ends with a slash; empty: a mistake
	refresh chan struct{} // holds one
}

// Refresh makes Watch look again soon.
func (s *source) Refresh() {
	select {
	case s.refresh <- struct{}{}:
	default:
	}
}

func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	w := &watch{
		client:  s.client,
		prefix:  s.prefix,
		refresh: s.refresh,
		deliver: report,
		looks:   rate.NewLimiter(rate.Every(every), burst),
		reports: rate.NewLimiter(rate.Every(every), burst),
		backoff: discovery.Backoff{First: pauseFirst, Most: soonMost},
	}
	if s.prefix == "" {
		report(discovery.Update{Err: errors.New("etcd: no prefix to watch; set the prefix of the service's keys"), At: time.Now()})
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		pause := w.round(ctx)
		discovery.Sleep(ctx, pause, s.refresh)
	}
}

// A watch is one run of Watch. Its fields belong to that goroutine.
type watch struct {
	client         *Client
	prefix         string
	refresh        <-chan struct{}
	deliver        func(discovery.Update)
	looks, reports *rate.Limiter
	backoff        discovery.Backoff

	entries  *entries         // as of the last answer; nil: there was none
	revision int64            // of etcd, at that time
	seen     bool             // there was a key at least once
	last     discovery.Update // what entries come to; At is when they were last true
}

// round does one look, then follows for as long as that goes well. It returns how long to pause.
func (w *watch) round(ctx context.Context) time.Duration {
	if !discovery.Sleep(ctx, w.looks.Reserve().Delay(), nil) {
		return 0
	}
	select {
	case <-w.refresh: // this look is what was asked for
	default:
	}
	err := w.look(ctx)
	if err == nil {
		err = w.follow(ctx)
	} else if ctx.Err() == nil {
		return w.failed(err)
	}
	if ctx.Err() != nil || lookAgain(err) {
		return 0 // the look says whether something is wrong
	}
	return w.failed(err)
}

// failed reports an error and returns how long to pause.
func (w *watch) failed(err error) time.Duration {
	w.backoff.Most = pauseMost
	if w.entries == nil || isType[*unansweredError](err) {
		w.backoff.Most = soonMost
	}
	w.deliver(discovery.Update{Err: w.client.explain(w.prefix, err), At: time.Now()})
	return w.backoff.Next()
}

// look takes in and reports what there is now.
func (w *watch) look(ctx context.Context) error {
	resp, err := w.client.get(ctx, w.prefix, false)
	if err == nil {
		e, err := w.read(resp)
		if err == nil {
			w.take(e, resp.Header.GetRevision())
		}
		return err
	}
	if !quorumLost(err) {
		return err
	}
	// Without a leader nothing changes, and each member knows what there was, more or less.
	if resp, staleErr := w.client.get(ctx, w.prefix, true); staleErr == nil {
		w.lookStale(resp)
	}
	return err
}

// lookStale takes in an answer that may be old, if it is certain to be of use: it says more
// than what is known, and has not lost what was known.
func (w *watch) lookStale(resp *clientv3.GetResponse) {
	e, err := w.read(resp)
	if err != nil {
		return
	}
	instances, _ := e.set()
	switch revision := resp.Header.GetRevision(); {
	case len(instances) == 0, len(instances) < len(w.last.Instances)/2:
		// Proves nothing: it is what a member that was away for long has to say.
	case w.entries != nil && revision <= w.revision:
	default:
		w.take(e, revision)
	}
}

func (w *watch) read(resp *clientv3.GetResponse) (*entries, error) {
	e := newEntries(w.prefix)
	for _, kv := range resp.Kvs {
		if err := e.put(kv); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// take makes entries those that are known, and reports them.
func (w *watch) take(e *entries, revision int64) {
	w.entries, w.revision = e, revision
	w.report()
}

// report tells of the entries as of now.
func (w *watch) report() {
	w.seen = w.seen || len(w.entries.keys) > 0
	u := discovery.Update{Unknown: !w.seen}
	u.Instances, u.Problems = w.entries.set()
	if len(u.Instances) == 0 && len(u.Problems) > 0 {
		// Mistakes of whoever writes the keys, and no reason to drop what worked.
		shown := u.Problems[:min(len(u.Problems), 3)]
		u.Err = w.client.explain(w.prefix, fmt.Errorf("no key has a usable value: %s", strings.Join(shown, "; ")))
	}
	w.last = u
	w.confirm()
}

// confirm tells that what was reported last is still so.
func (w *watch) confirm() {
	w.last.Index, w.last.At = uint64(w.revision), time.Now()
	w.deliver(w.last)
}

// follow reports each change after the last look, until the watch ends, whose error says why.
func (w *watch) follow(ctx context.Context) error {
	s, err := w.client.open(ctx, w.prefix, w.revision)
	if err != nil {
		return err
	}
	defer s.close()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	due := time.NewTimer(time.Hour) // for the report of changes, while there are some
	defer due.Stop()
	heard, changed := time.Now(), false
	for {
		select {
		case m, ok := <-s.messages:
			if !ok {
				return s.err
			}
			heard = time.Now()
			if err := w.apply(m); err != nil {
				return err
			}
			if len(m.GetEvents()) > 0 && !changed {
				changed = true
				due.Reset(w.reports.Reserve().Delay())
			} else if !changed {
				w.confirm()
			}
		case <-due.C:
			if changed {
				changed = false
				w.report()
			}
		case <-ticker.C:
			if time.Since(heard) >= silentMost {
				return errSilent
			}
			s.askProgress()
		case <-w.refresh:
			return errAsked
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply takes in one message of the watch.
func (w *watch) apply(m *pb.WatchResponse) error {
	if m.GetCanceled() {
		return canceled(m)
	}
	if m.GetCreated() {
		w.backoff.Reset() // etcd does both, look and follow
	}
	revision := m.GetHeader().GetRevision()
	if len(m.GetEvents()) == 0 && !m.GetCreated() && revision < w.revision {
		// It waits for a revision that is yet to come: this member lags behind the one that was
		// asked before, or etcd was restored from a snapshot.
		return errRewound
	}
	for _, event := range m.GetEvents() {
		if event.GetType() == mvccpb.Event_DELETE {
			w.entries.delete(event.GetKv())
		} else if err := w.entries.put(event.GetKv()); err != nil {
			return err
		}
	}
	w.revision = max(w.revision, revision)
	return nil
}

// lookAgain tells whether a watch has ended for a reason that the next look finds out about.
func lookAgain(err error) bool {
	for _, is := range []error{errSilent, errRewound, errCompacted, errAsked, errTooMuch, io.EOF, rpctypes.ErrStopped} {
		if errors.Is(rpctypes.Error(err), is) {
			return true
		}
	}
	return isType[*unansweredError](err) || quorumLost(err) || tokenRefused(err)
}

// explain says what failed and what to do about it. The cause stays in the chain.
func (c *Client) explain(prefix string, err error) error {
	known := rpctypes.Error(err)
	_, bare := known.(rpctypes.EtcdError) //nolint:errorlint // a wrapped one says all there is to say
	who := "the sidecar"
	if c.login.user != "" {
		who = fmt.Sprintf("user %q", c.login.user)
	}
	switch {
	case quorumLost(err):
		err = fmt.Errorf("etcd has no leader: %w; restore a quorum of its members", known)
	case errors.Is(known, rpctypes.ErrPermissionDenied):
		err = fmt.Errorf("etcd hides it from %s: %w; grant a role that reads the prefix", who, known)
	case errors.Is(known, rpctypes.ErrUserEmpty):
		err = fmt.Errorf("etcd wants a login: %w; set etcd.username and etcd.password_file", known)
	case bare:
		err = fmt.Errorf("etcd answers: %w; see its log", known)
	}
	return fmt.Errorf("etcd: watch %s: %w", prefix, err)
}
