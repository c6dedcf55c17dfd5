package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrHeld is in the error by which a Guard reports that it does not believe a loss yet. It comes
// once for each loss.
var ErrHeld = errors.New("instances are gone at once; this is looked up again before it is believed")

// GuardOptions say what a Guard does not believe at once.
type GuardOptions struct {
	// Share, from 0 to 1, is how much of the set may be lost at once and be believed.
	Share float64
	// After is how long a larger loss has to last. Then the source looks again, and what it
	// says is believed.
	After time.Duration
	// Last is the set that was believed before, such as that of the time before a restart. It may
	// be nil.
	Last []Instance
	// Refuses tells whether nobody accepts connections at an address. It blocks for no longer than
	// ctx allows, and is called by several goroutines at once. Nil means Refused.
	Refuses func(ctx context.Context, address string) bool
}

const (
	// maxAsked is how many of the lost are asked whether they are gone, all at once.
	maxAsked = 16
	// askFor is how long one may take to refuse.
	askFor = time.Second
)

// Guard returns a Source that passes on what s reports, but for the sudden loss of most
// instances: registries that restart, restore a snapshot or lose their agents show that, and
// instances that work are worth more than a second of delay. Such a loss is believed when a
// fresh lookup after a while confirms it; or at once if most of the lost refuse connections.
// Until then it is reported as a failed lookup, and the last set stands.
func Guard(s Source, o GuardOptions) Source {
	if o.Refuses == nil {
		o.Refuses = Refused
	}
	return &guard{source: s, options: o, believed: o.Last}
}

type guard struct {
	source  Source
	options GuardOptions

	mu       sync.Mutex
	report   func(Update)
	believed []Instance
	held     *Update // a loss that is not believed yet
	lookedAt bool    // the source was told to look again since
	endHold  context.CancelFunc
	holds    sync.WaitGroup
}

// Refresh is Refresher's.
func (g *guard) Refresh() { Refresh(g.source) }

// Watch is Source's.
func (g *guard) Watch(ctx context.Context, report func(Update)) {
	g.mu.Lock()
	g.report = report
	g.mu.Unlock()
	defer g.holds.Wait()
	g.source.Watch(ctx, func(u Update) { g.take(ctx, u) })
	g.mu.Lock()
	defer g.mu.Unlock()
	g.release()
}

// take decides about one report of the source.
func (g *guard) take(ctx context.Context, u Update) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case u.Err != nil || u.Partial: // neither proves a loss
		g.report(u)
	case !g.loses(u.Instances) || g.held != nil && g.lookedAt:
		g.believe(u)
	case g.held != nil:
		g.held = &u
	default:
		g.hold(ctx, u)
	}
}

// loses tells whether a set lacks too much of what was believed. It goes by numbers: where as
// many have come as have gone, the registry knows what it says.
func (g *guard) loses(set []Instance) bool {
	return float64(len(g.believed)-len(set)) > g.options.Share*float64(len(g.believed))
}

func (g *guard) believe(u Update) {
	g.release()
	g.believed = u.Instances
	g.report(u)
}

// release ends what hold has begun.
func (g *guard) release() {
	if g.held != nil {
		g.held = nil
		g.endHold()
	}
}

// hold keeps a loss back, has the source look again, and asks those that are lost.
func (g *guard) hold(ctx context.Context, u Update) {
	lost := missing(g.believed, u.Instances)
	g.held, g.lookedAt = &u, false
	ctx, g.endHold = context.WithCancel(ctx)
	g.report(Update{Err: fmt.Errorf("%d of %d %w", len(g.believed)-len(u.Instances), len(g.believed), ErrHeld), Index: u.Index, At: u.At})
	g.holds.Go(func() {
		if Sleep(ctx, g.options.After, nil) {
			g.lookAgain(ctx)
		}
	})
	g.holds.Go(func() {
		if g.gone(ctx, lost) {
			g.settle(ctx)
		}
	})
}

// lookAgain asks for the lookup that decides. A source that cannot be asked has said it all.
func (g *guard) lookAgain(ctx context.Context) {
	r, ok := g.source.(Refresher)
	if !ok {
		g.settle(ctx)
		return
	}
	g.mu.Lock()
	if ctx.Err() == nil {
		g.lookedAt = true
	}
	g.mu.Unlock()
	r.Refresh()
}

// settle believes what is held.
func (g *guard) settle(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() == nil && g.held != nil {
		g.believe(*g.held)
	}
}

// gone tells whether most of the lost refuse connections. Of many it asks a few.
func (g *guard) gone(ctx context.Context, lost []Instance) bool {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	asked := min(len(lost), maxAsked)
	answers := make(chan bool, asked)
	for i := range asked {
		address := lost[i*len(lost)/asked].Address
		go func() { answers <- g.options.Refuses(ctx, address) }()
	}
	refused := 0
	for range asked {
		if <-answers {
			refused++
		}
	}
	return 2*refused > asked
}

// missing are those of a canonical set that another does not have.
func missing(set, from []Instance) []Instance {
	has := make(map[string]bool, len(from))
	for _, in := range from {
		has[in.ID] = true
	}
	var gone []Instance
	for _, in := range set {
		if !has[in.ID] {
			gone = append(gone, in)
		}
	}
	return gone
}

// Refused tells whether a connection to an instance's address is refused, or has no way to it,
// before ctx ends. It sends nothing.
func Refused(ctx context.Context, address string) bool {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err == nil {
		_ = c.Close()
		return false
	}
	for _, no := range []error{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENOENT} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
