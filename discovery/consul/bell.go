package consul

import (
	"context"
	"sync"
)

// An interruption is why a query is given up before it has been answered.
type interruption string

func (i interruption) Error() string { return string(i) }

const (
	refreshed interruption = "a fresh look is wanted"
	renewed   interruption = "the token has changed"
	dead      interruption = "the agent answers nothing"
	yielded   interruption = "others wait for their turn"
)

// A bell is how others reach a watch that waits: for the agent, for its turn or for the end of
// a pause. It is for concurrent use, and rung at any time.
type bell struct {
	wake chan struct{} // has something as soon as a pause is to end

	mu      sync.Mutex
	cancel  context.CancelCauseFunc // of the query that is under way; nil: none
	waits   bool                    // that query waits for a change
	refresh bool                    // rung since the last take
	renew   bool                    // likewise
}

func newBell() *bell { return &bell{wake: make(chan struct{}, 1)} }

// ring gives up the query that is under way if why is a reason to: a fresh look and another's
// turn are no reason to give up one that is answered at once.
func (b *bell) ring(why interruption) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh = b.refresh || why == refreshed
	b.renew = b.renew || why == renewed
	if b.cancel != nil && (b.waits || why == renewed || why == dead) {
		b.cancel(why)
	}
	if why == refreshed || why == renewed {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// take returns what it was rung for since it was last called.
func (b *bell) take() (refresh, renew bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	refresh, renew = b.refresh, b.renew
	b.refresh, b.renew = false, false
	select {
	case <-b.wake:
	default:
	}
	return refresh, renew
}

// begin tells that a query is under way, and whether it waits for a change. It returns the
// query's context, whose cause is an interruption when the bell is rung, and what to call at
// the query's end.
func (b *bell) begin(ctx context.Context, waits bool) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancel, b.waits = cancel, waits
	switch { // rung after the last take
	case b.renew:
		cancel(renewed)
	case b.refresh && waits:
		cancel(refreshed)
	}
	return ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.cancel = nil
		cancel(nil)
	}
}
