package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// linger is how long a source that is not needed any more goes on to be watched: what has
// failed once is likely to fail again soon.
const linger = time.Minute

// Merge returns a Source of all that several sources report together. Of instances with one
// address the first source's counts. Its first set waits until each has answered or failed.
//
// While at least one source works it reports sets; what a failing one has said last still stands
// in them. It reports an error when all fail. The Record of each source has to log which do.
func Merge(sources ...Source) Source { return &combined{sources: sources} }

// Prefer returns a Source that goes by the first of several sources, and adds what the next ones
// report only while those before have fewer than least instances together, which is 1 or more.
// A source is watched from when it is needed until a minute after. What a failing source has said
// last still stands; one that has failed from the start has no instances.
func Prefer(least int, sources ...Source) Source {
	return &combined{sources: sources, least: max(least, 1)}
}

type combined struct {
	sources []Source
	least   int // 0: all are used

	mu      sync.Mutex
	ctx     context.Context
	report  func(Update)
	parts   []part
	ended   []chan struct{} // closed when the last Watch of each source has returned; nil: there was none
	running sync.WaitGroup
}

// A part is what one of the sources has said.
type part struct {
	cancel context.CancelFunc // nil while it is not watched
	idle   *time.Timer        // ends it; nil while it is needed
	set    *Update            // its last set
	err    error              // since then
}

// settled tells that it has answered or failed.
func (p *part) settled() bool { return p.set != nil || p.err != nil }

// Refresh is Refresher's.
func (c *combined) Refresh() {
	c.mu.Lock()
	var watched []Source
	for i := range c.parts {
		if c.parts[i].cancel != nil {
			watched = append(watched, c.sources[i])
		}
	}
	c.mu.Unlock()
	// Not under the lock: one of them may be a combination too, which reports to this one under
	// its own.
	for _, s := range watched {
		Refresh(s)
	}
}

// Watch is Source's.
func (c *combined) Watch(ctx context.Context, report func(Update)) {
	c.mu.Lock()
	c.ctx, c.report = ctx, report
	c.parts, c.ended = make([]part, len(c.sources)), make([]chan struct{}, len(c.sources))
	c.decide(time.Time{})
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	for i := range c.parts {
		c.stop(&c.parts[i])
	}
	c.mu.Unlock()
	c.running.Wait()
}

// take takes in what a source has said, unless it has been stopped meanwhile.
func (c *combined) take(ctx context.Context, i int, u Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	p := &c.parts[i]
	if u.Err != nil {
		p.err = u.Err
	} else {
		p.set, p.err = &u, nil
	}
	at := u.At
	if at.IsZero() {
		at = time.Now()
	}
	c.decide(at)
}

// decide sees to it that what is needed is watched, and reports what that has come to.
func (c *combined) decide(at time.Time) {
	if c.ctx.Err() != nil {
		return
	}
	used, pending := 0, false
	total := 0
	for i := range c.sources {
		p := &c.parts[i]
		c.start(i)
		used++
		if !p.settled() {
			pending = true
			if c.least > 0 {
				break // until it is known whether the next one is needed
			}
		}
		if p.set != nil {
			total += len(p.set.Instances)
		}
		if c.least > 0 && total >= c.least {
			break
		}
	}
	for i := used; i < len(c.parts); i++ {
		c.retire(i)
	}
	if pending && (c.least == 0 || total == 0) || at.IsZero() {
		return
	}
	c.report(c.sum(c.parts[:used], at))
}

// sum is what the parts say together.
func (c *combined) sum(parts []part, at time.Time) Update {
	u := Update{At: at, Unknown: true, Stored: true}
	for i := range parts {
		set := parts[i].set
		u.Partial = u.Partial || (set == nil || set.Partial) && (c.least == 0 || i == 0)
	}
	var failed []error
	var problems []string
	addresses, ids := make(map[string]bool), make(map[string]bool)
	working := false
	for i := range parts {
		p := &parts[i]
		if p.err != nil {
			failed = append(failed, p.err)
		}
		if p.set == nil {
			continue
		}
		working = working || p.err == nil
		u.Unknown, u.Stored = u.Unknown && p.set.Unknown, u.Stored && p.set.Stored
		u.Index = max(u.Index, p.set.Index)
		problems = append(problems, p.set.Problems...)
		for state, n := range p.set.States {
			if u.States == nil {
				u.States = make(map[string]int)
			}
			u.States[state] += n
		}
		for _, in := range p.set.Instances {
			switch {
			case addresses[in.Address]:
			case ids[in.ID]:
				problems = append(problems, fmt.Sprintf("%s at %s: an earlier source has another instance of this ID; rename one", in.ID, in.Address))
			default:
				addresses[in.Address], ids[in.ID] = true, true
				u.Instances = append(u.Instances, in)
			}
		}
	}
	if !working && len(failed) > 0 {
		return Update{Err: toldError{errors.Join(failed...)}, At: at}
	}
	slices.Sort(problems)
	u.Instances, u.Problems = Canonical(u.Instances), problems
	return u
}

// start watches a source that is not watched yet.
func (c *combined) start(i int) {
	p := &c.parts[i]
	if p.idle != nil {
		p.idle.Stop()
		p.idle = nil
	}
	if p.cancel != nil {
		return
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(c.ctx)
	before, done := c.ended[i], make(chan struct{})
	c.ended[i] = done
	c.running.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		c.sources[i].Watch(ctx, func(u Update) { c.take(ctx, i, u) })
	})
}

// retire lets a source that is not needed run on for a while.
func (c *combined) retire(i int) {
	p := &c.parts[i]
	if p.cancel == nil || p.idle != nil {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(linger, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if p.idle == timer {
			c.stop(p)
		}
	})
	p.idle = timer
}

// stop ends a source and forgets what it has said.
func (c *combined) stop(p *part) {
	if p.idle != nil {
		p.idle.Stop()
	}
	if p.cancel != nil {
		p.cancel()
	}
	*p = part{}
}

// toldError is what has been logged already, by the Records of the sources that it comes from.
type toldError struct{ error }

func (e toldError) Error() string { return strings.ReplaceAll(e.error.Error(), "\n", "; ") }
func (e toldError) Unwrap() error { return e.error }

// Told tells of an Update's error that it has been logged, source by source: who takes it in
// need not say it again.
func Told(err error) bool {
	_, told := errors.AsType[toldError](err)
	return told
}
