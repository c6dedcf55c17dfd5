package registration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// DefaultCallTimeout is how long a call may take. An agent on the same host answers in
	// milliseconds, and one that has lost its leader is not worth a longer wait.
	DefaultCallTimeout = 3 * time.Second
	// tellEvery is the least time between two calls for the sake of a changed health, so that a
	// health that flaps does not become the registry's burden.
	tellEvery = 500 * time.Millisecond
)

// Options say what is announced, and where.
type Options struct {
	Announcement Announcement
	// Registry is the Registrar's alone.
	Registry Registry
	// Kind names the registry in status and log, such as "consul".
	Kind string
	// Log is told of changes, once each. Nil: nobody.
	Log *zap.Logger
	// CallTimeout bounds each call of the registry. Zero means DefaultCallTimeout.
	CallTimeout time.Duration
}

// A Registrar keeps one announcement alive. Its methods may be called from any goroutine, also
// before Run and after it.
type Registrar struct {
	announcement Announcement
	registry     Registry
	log          *zap.Logger
	timeout      time.Duration

	wake  chan struct{} // holds one signal: health or leaving has changed
	told  chan struct{} // closed when the registry knows that the instance leaves
	ended chan struct{} // closed when Run has returned

	mu      sync.Mutex // guards what follows; nobody holds it while calling anything
	health  Health
	judged  bool // SetHealth was called
	leaving bool
	kept    bool   // Run ends without taking the announcement back
	why     string // it leaves
	status  Status
	err     error // of the last call, or nil
}

// New returns a Registrar, which does nothing before Run. Until SetHealth is called nothing is
// announced: what a former life of the process has announced stands for as long as its TTL, and
// a restart does not take a healthy service out until it has been checked.
func New(o Options) *Registrar {
	r := &Registrar{
		announcement: o.Announcement,
		registry:     o.Registry,
		log:          o.Log,
		timeout:      o.CallTimeout,
		wake:         make(chan struct{}, 1),
		told:         make(chan struct{}),
		ended:        make(chan struct{}),
		health:       Health{Why: "its health is not known yet"},
		status:       Status{Name: o.Announcement.Name, ID: o.Announcement.ID, Registry: o.Kind, Since: time.Now()},
	}
	if r.timeout <= 0 {
		r.timeout = DefaultCallTimeout
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	r.log = r.log.With(zap.String("registry", o.Kind), zap.String("name", o.Announcement.Name), zap.String("id", o.Announcement.ID))
	return r
}

// SetHealth tells what the local service's health has come to. The registry is told of a change
// at once, but not more than twice per second: then what was set last. It does not block.
func (r *Registrar) SetHealth(h Health) {
	r.mu.Lock()
	changed := r.health != h || !r.judged
	r.health, r.judged = h, true
	r.mu.Unlock()
	if changed {
		r.poke()
	}
}

// Leave tells the registry that the instance takes no more traffic, and why, and returns nil as
// soon as the registry knows. From then on it is neither renewed nor made again, only taken back,
// at the latest by its TTL. Calling it again waits for the same.
//
// While the registry does not answer it is asked again. The error, when ctx ends before, holds
// ctx's cause and the registry's last error; Run goes on trying all the same. When Run has ended
// the outcome is that of taking the announcement back.
func (r *Registrar) Leave(ctx context.Context, why string) error {
	r.mu.Lock()
	if !r.leaving {
		r.leaving, r.why = true, why
	}
	r.mu.Unlock()
	r.poke()

	var cause error
	select {
	case <-r.told:
		return nil
	case <-r.ended:
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	select {
	case <-r.told: // at the same moment
		return nil
	default:
	}
	r.mu.Lock()
	last := r.err
	r.mu.Unlock()
	switch {
	case cause == nil && last == nil:
		return nil
	case cause == nil:
		cause = last
	case last != nil:
		cause = fmt.Errorf("%w; the last try: %w", cause, last)
	}
	return fmt.Errorf("registration: leave %q: %w", r.announcement.ID, cause)
}

// Keep has Run end without taking the announcement back, because another Registrar goes on with it.
func (r *Registrar) Keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = true
}

func (r *Registrar) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // a signal that nobody has taken yet stands for this one too
	}
}

// Run announces the service and keeps the announcement alive until ctx ends; then it takes the
// announcement back. A call that is under way is not cut when ctx ends: the registry might carry
// it out after what follows. So Run returns at most two times CallTimeout after ctx has ended. It
// is called once.
func (r *Registrar) Run(ctx context.Context) {
	defer close(r.ended)
	l := life{Registrar: r, ctx: context.WithoutCancel(ctx)}
	for ctx.Err() == nil {
		call, at := l.next()
		if call != nil && !time.Now().Before(at) {
			call()
			continue
		}
		l.rest(ctx, call != nil, at)
	}
	r.mu.Lock()
	kept := r.kept
	r.mu.Unlock()
	if !kept {
		l.takeBack()
	}
}

// A life is one run of a Registrar. Its fields belong to that goroutine.
type life struct {
	*Registrar
	ctx context.Context // of calls, which add a deadline

	announced bool      // the registry knows the announcement, as far as we know
	ever      bool      // it did at some time
	renewed   bool      // and has heard of it again since it was told all
	heard     Health    // what the registry was told last
	goes      bool      // Leave was called, and the pause after failures forgotten for its sake
	left      bool      // the registry knows that it leaves
	called    time.Time // when the last call began
	renewAt   time.Time // when the next renewal is due
	tellAt    time.Time // before which a changed health waits
	retryAt   time.Time // before which nothing is called, because something has failed
	pause     backoff
	failing   complaint
	forgets   complaint
	quiet     bool // the next registration is no news
}

// next is the call that has to be made, and when; nil: none, until something changes.
func (l *life) next() (call func(), at time.Time) {
	health, judged, leaving := l.wanted()
	switch {
	case l.left:
		return nil, time.Time{}
	case leaving && !l.goes:
		// What has failed before was another call.
		l.goes, l.retryAt = true, time.Time{}
		return l.leave, l.retryAt
	case leaving:
		return l.leave, l.retryAt
	case !judged:
		return nil, time.Time{}
	case !l.announced:
		return func() { l.register(health) }, l.retryAt
	}
	at = l.renewAt
	if health != l.heard && l.tellAt.Before(at) {
		at = l.tellAt
	}
	if at.Before(l.retryAt) {
		at = l.retryAt
	}
	return func() { l.renew(health) }, at
}

func (l *life) wanted() (h Health, judged, leaving bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health, l.judged, l.leaving
}

// rest waits until at, if that is due at all, or until something has changed.
func (l *life) rest(ctx context.Context, due bool, at time.Time) {
	var alarm <-chan time.Time
	if due {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-alarm:
	case <-l.wake:
	case <-l.registry.Lost():
		if l.left || l.goes {
			return // whatever was lost is not made again
		}
		// Also in the midst of a pause: what has changed may be the cure.
		l.quiet = false
		l.forget(max(0, tellEvery-time.Since(l.called)))
	case <-ctx.Done():
	}
}

// forget takes note that the registry has to be told all again, after a pause.
func (l *life) forget(pause time.Duration) {
	l.announced, l.retryAt = false, time.Now().Add(pause)
	l.note(func(s *Status) { s.absent() })
}

func (l *life) register(h Health) {
	err := l.call(func(ctx context.Context) error { return l.registry.Register(ctx, l.announcement, h) })
	if err != nil {
		l.failed(err)
		return
	}
	l.answered()
	switch {
	case !l.ever:
		l.log.Info("registration: announced", zap.Bool("passing", h.Passing))
	case !l.quiet:
		l.log.Info("registration: announced again", zap.Bool("passing", h.Passing))
	}
	l.announced, l.ever, l.renewed, l.heard = true, true, false, h
	l.renewAt = l.called.Add(renewalAfter(l.announcement.TTL))
	l.note(func(s *Status) {
		s.Registrations++
		s.present(l.called)
	})
}

func (l *life) renew(h Health) {
	err := l.call(func(ctx context.Context) error { return l.registry.Renew(ctx, l.announcement, h) })
	if errors.Is(err, ErrForgotten) {
		l.quiet = !l.forgets.isNews(err, time.Now())
		if !l.quiet {
			l.log.Warn("registration: it has to be announced again", zap.Error(err))
		}
		// At once, unless the registry forgets as soon as it is told.
		pause := time.Duration(0)
		if !l.renewed {
			pause = l.pause.next()
		}
		l.forget(pause)
		return
	}
	if h != l.heard {
		l.tellAt = l.called.Add(tellEvery)
	}
	if err != nil {
		l.failed(err)
		return
	}
	l.answered()
	l.pause.reset()
	l.forgets.overAfter(forgotAgain, time.Now())
	l.renewed, l.heard = true, h
	l.renewAt = l.called.Add(renewalAfter(l.announcement.TTL))
	l.note(func(s *Status) { s.Renewals++ })
}

func (l *life) leave() {
	why := l.reason()
	err := l.call(func(ctx context.Context) error { return l.registry.Leave(ctx, l.announcement, why) })
	if err != nil {
		l.failed(err)
		return
	}
	l.answered()
	l.left = true
	close(l.told)
	l.log.Info("registration: leaving", zap.String("why", why))
}

func (l *life) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// takeBack ends the announcement, also one that may have been made before Run. It tries twice,
// within one CallTimeout: the connection that was idle since the last call may be one that the
// registry has closed in the meantime.
func (l *life) takeBack() {
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	err := l.registry.Deregister(ctx, l.announcement)
	if err != nil && ctx.Err() == nil {
		err = l.registry.Deregister(ctx, l.announcement)
	}
	l.outcome(err)
	switch {
	case err == nil && l.ever:
		l.note(func(s *Status) { s.absent() })
		l.log.Info("registration: taken back")
	case l.ever:
		l.log.Warn("registration: it could not be taken back and ends with its TTL", zap.Error(err))
	}
}

// call makes one call, within its time.
func (l *life) call(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	l.called = time.Now()
	err := f(ctx)
	l.outcome(err)
	return err
}

// failed sets the pause after a call that has failed.
func (l *life) failed(err error) {
	l.retryAt = time.Now().Add(l.pause.next())
	if l.failing.isNews(err, time.Now()) {
		l.log.Warn("registration: the registry does not take it; trying on", zap.Error(err))
	}
}

// answered forgets the failures before a call that has succeeded.
func (l *life) answered() {
	l.retryAt = time.Time{}
	if l.failing.over() {
		l.log.Info("registration: the registry answers again")
	}
}
