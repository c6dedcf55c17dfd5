// Package file reads the instances of a service from a file, and again whenever it changes.
//
// The end of its name says what it is: .json or .toml. It holds the instances of one service:
//
//	["10.0.0.1:8080", "10.0.0.2:8080 weight=2 zone=b", {"address": "10.0.0.3:8080"}]   JSON
//	instances = ["10.0.0.1:8080", "10.0.0.2:8080 weight=2 zone=b"]                     TOML
//
// or of several by name; who is not among them is unknown:
//
//	{"orders": ["10.0.0.1:8080"], "stock": []}
//
//	[[orders]]
//	address = "10.0.0.1:8080"
//
// (A table whose only key is "instances" is of the first kind in both.) An instance is a string
// as discovery.ParseInstance takes it, or a table:
//
//	address   "host:port", "[ip6]:port" or "unix:/path"; "host" if there is a port
//	port      1 to 65535
//	id        by default the address with its port
//	weight    1 to 65535, by default 1
//	zone      where it runs
//	meta      a table of whatever else is known of it
//
// or a group as Prometheus reads it from files: {"targets": ["10.0.0.1:8080"], "labels": {…}}, whose
// labels become the meta of each, and zone and weight if they are named so.
//
// What cannot be used of it is a problem (discovery.Update.Problems), and the rest stands. A
// file that cannot be used as a whole is an error, after which the last set stands: while it is
// being written it is often so. An empty file is such one.
//
// Changes are noticed at once through inotify, however they are made: written in place, renamed
// over, deleted and made anew, or by the swap of the link ..data, as Kubernetes does. Where there
// are no events (NFS, the folder does not exist yet or is replaced, the system has no more watches
// to give, a link leads to a file elsewhere) a look every 2 s finds them.
package file

import (
	"context"
	"path/filepath"
	"time"

	"golang.org/x/time/rate"

	"sidecar/discovery"
)

const (
	// statEvery is how often the file is looked at without an event.
	statEvery = 2 * time.Second
	// aliveEvery is how often the last answer is reported again while the file does not change.
	aliveEvery = 10 * time.Second
	// settleFor is how long the file is left alone after an event, since a writer makes several;
	// settleMost is the most that a writer who does not end can delay it.
	settleFor, settleMost = 50 * time.Millisecond, 500 * time.Millisecond

	// lookBurst readings may follow each other at once, then one per lookEvery.
	lookBurst, lookEvery = 4, 500 * time.Millisecond
)

// Options say which file is read and for whom.
type Options struct {
	// Path is the file. It need not exist yet.
	Path string
	// Service is whose instances are taken when the file has those of several.
	Service string
	// Poll does without inotify: changes are noticed by the look every 2 s only. Each Source that
	// is watched otherwise takes an inotify instance, of which Linux grants a user 128 by default
	// (fs.inotify.max_user_instances), other programs of that user included: set it for all but
	// the first few dozen Sources of a process. When none is left a Source polls by itself.
	Poll bool

	statEvery time.Duration // tests; 0: statEvery
	reader    reader        // tests; nil: readFile
}

// New returns a Source of the instances in a file. It reads nothing yet: a file that is
// missing or wrong is an error of every lookup, until it is mended.
func New(o Options) discovery.Source {
	if o.statEvery == 0 {
		o.statEvery = statEvery
	}
	if o.reader == nil {
		o.reader = readFile
	}
	return &source{Options: o, refresh: make(chan struct{}, 1)}
}

type source struct {
	Options
	refresh chan struct{} // capacity 1: somebody wants it read again
}

// Refresh implements discovery.Refresher: the file is read again at once.
func (s *source) Refresh() {
	select {
	case s.refresh <- struct{}{}:
	default:
	}
}

// Watch implements discovery.Source.
func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	w := &watch{
		source: s,
		report: report,
		limit:  rate.NewLimiter(rate.Every(lookEvery), lookBurst),
		folder: folder{path: filepath.Dir(s.Path), off: s.Poll},
	}
	defer w.folder.leave()
	for ctx.Err() == nil {
		// Before the file is read, so that no change falls between.
		w.folder.follow()
		w.look(ctx)
		w.wait(ctx)
	}
}

// A watch is one run of Watch. Its fields belong to that goroutine.
type watch struct {
	*source
	report func(discovery.Update)
	limit  *rate.Limiter
	folder folder

	seen   state            // of the file that was read last
	young  bool             // it had changed so shortly before that seen may not tell
	linked bool             // it was reached through a symbolic link in the folder
	last   discovery.Update // what was reported last
}

// look reads the file and reports what is in it.
func (w *watch) look(ctx context.Context) {
	if !discovery.Sleep(ctx, w.limit.Reserve().Delay(), nil) {
		return
	}
	u := w.read(ctx)
	if ctx.Err() != nil {
		return
	}
	w.tell(u)
}

func (w *watch) tell(u discovery.Update) {
	u.At = time.Now()
	w.last = u
	w.report(u)
}

// wait returns when the file is to be read again.
func (w *watch) wait(ctx context.Context) {
	tick := time.NewTicker(w.statEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.refresh:
			return
		case e := <-w.folder.events():
			// Another name may be the link through which ours leads elsewhere now, as ..data is.
			if w.folder.concerns(e, w.Path) || w.linked && w.changed() {
				w.settle(ctx)
				return
			}
		case err := <-w.folder.errors():
			w.folder.failed(err)
			w.settle(ctx)
			return
		case <-tick.C:
			w.folder.follow()
			if w.changed() {
				w.settle(ctx)
				return
			}
			if time.Since(w.last.At) >= aliveEvery {
				w.tell(w.last)
			}
		}
	}
}

// settle waits until nothing more happens to the file.
func (w *watch) settle(ctx context.Context) {
	most := time.Now().Add(settleMost)
	timer := time.NewTimer(settleFor)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case e := <-w.folder.events():
			if w.folder.concerns(e, w.Path) {
				timer.Reset(min(settleFor, time.Until(most)))
			}
		}
	}
}

// changed tells whether the file may have changed since it was read.
func (w *watch) changed() bool {
	now, err := stateOf(w.Path)
	return w.young && err == nil || now != w.seen
}
