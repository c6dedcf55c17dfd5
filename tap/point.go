package tap

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sidecar/accesslog"
)

const (
	// mostWatches is how many may watch one service at once.
	mostWatches = 4
	// waiting is how many records may wait for who watches.
	waiting = 256
)

// Errors of Point.Watch.
var (
	ErrCrowded = errors.New("as many watch this service already as may; end one of them")
	ErrClosed  = errors.New("the service is going away")
)

// A Point is where the requests of one service can be watched. The zero value is ready; of a nil one
// nobody can watch anything. Its methods may be called concurrently.
type Point struct {
	watches atomic.Pointer[[]*Watch] // nil: nobody watches

	mu     sync.Mutex // of Watch and Close, which no request waits for
	closed bool
}

// Watched tells whether requests are to be offered to Pass. It is one load.
func (p *Point) Watched() bool { return p != nil && p.watches.Load() != nil }

// Headers tells whether somebody wants to see header fields.
func (p *Point) Headers() bool {
	if p == nil {
		return false
	}
	all := p.watches.Load()
	return all != nil && slices.ContainsFunc(*all, func(w *Watch) bool { return w.options.Headers != HeadersNone })
}

// Pass offers a request that has ended to who watches. What is in line and heads belongs to the
// caller again when it returns. A head is lines such as "Name: value\n". It does not block.
func (p *Point) Pass(line *accesslog.Record, heads Heads) {
	if p == nil {
		return
	}
	all := p.watches.Load()
	if all == nil {
		return
	}
	for _, w := range *all {
		w.pass(line, heads)
	}
}

// Heads are the header fields of a request and of its answer; empty: they were not taken down.
type Heads struct{ Request, Response []byte }

// Watch begins to watch. Who gets a Watch closes it.
func (p *Point) Watch(o Options) (*Watch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	var all []*Watch
	if old := p.watches.Load(); old != nil {
		all = *old
	}
	if len(all) >= mostWatches {
		return nil, ErrCrowded
	}
	w := &Watch{
		point: p, options: o.bounded(), began: time.Now(),
		records: make(chan *Record, waiting), done: make(chan struct{}),
	}
	w.interval = int64(time.Second) / int64(w.options.Rate)
	all = append(slices.Clone(all), w)
	p.watches.Store(&all)
	return w, nil
}

// Close ends all watching, for good: the service is no more.
func (p *Point) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if all := p.watches.Swap(nil); all != nil {
		for _, w := range *all {
			close(w.done)
		}
	}
}

// remove ends one Watch. That it has been ended already is no mistake.
func (p *Point) remove(w *Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.watches.Load()
	if all == nil || !slices.Contains(*all, w) {
		return
	}
	close(w.done)
	rest := slices.DeleteFunc(slices.Clone(*all), func(o *Watch) bool { return o == w })
	if len(rest) == 0 {
		p.watches.Store(nil)
		return
	}
	p.watches.Store(&rest)
}
