package daemon

import "context"

// A unit runs something on a goroutine of its own, from startOnce to stop. One goroutine at a time uses it.
type unit struct {
	run    func(context.Context)
	cancel context.CancelFunc // nil before startOnce
	ended  chan struct{}
}

func newUnit(run func(context.Context)) *unit { return &unit{run: run} }

// started tells whether startOnce was called. A nil unit counts as started.
func (u *unit) started() bool { return u == nil || u.cancel != nil }

// startOnce starts it, unless it was started before.
func (u *unit) startOnce() {
	if u.started() {
		return
	}
	var ctx context.Context
	ctx, u.cancel = context.WithCancel(context.Background())
	u.ended = make(chan struct{})
	go func() {
		defer close(u.ended)
		u.run(ctx)
	}()
}

// end has it end; stop waits for that too. Neither does anything to what has not been started, or
// is nil.
func (u *unit) end() {
	if u != nil && u.cancel != nil {
		u.cancel()
	}
}

func (u *unit) stop() {
	if u != nil && u.cancel != nil {
		u.cancel()
		<-u.ended
	}
}
