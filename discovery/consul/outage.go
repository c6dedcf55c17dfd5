package consul

import (
	"context"
	"errors"
	"net"
	"sync"
)

// An outage is a time in which the agent cannot be reached, which is the same for all watches:
// one of them tries, the others wait for its success. A thousand services cost as little then
// as one, and go on together when the agent is back.
type outage struct {
	trial chan struct{} // holds something while somebody tries

	mu    sync.Mutex
	cause error         // why it has begun; nil: there is none
	over  chan struct{} // closed when it is over; nil: there is none
}

// is tells whether a failure is one of all watches: no connection, or no answer to anything.
func (o *outage) is(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" || isType[silentError](err)
}

// begin tells that the agent cannot be reached.
func (o *outage) begin(cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cause = cause; o.over == nil {
		o.over = make(chan struct{})
	}
}

// end tells that the agent can be reached, whatever it says.
func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over != nil {
		close(o.over)
		o.over, o.cause = nil, nil
	}
}

// pass returns as soon as there is no outage, or it is the caller's to try. It calls waits with
// the cause before it waits for that. What it returns is called when the caller has tried and
// the next one may; it is nil when ctx has ended.
func (o *outage) pass(ctx context.Context, waits func(cause error)) (done func()) {
	for told := false; ; told = true {
		o.mu.Lock()
		over, cause := o.over, o.cause
		o.mu.Unlock()
		if over == nil {
			return func() {}
		}
		select {
		case o.trial <- struct{}{}:
			return func() { <-o.trial }
		default:
		}
		if !told {
			waits(cause)
		}
		select {
		case o.trial <- struct{}{}:
			return func() { <-o.trial }
		case <-over:
		case <-ctx.Done():
			return nil
		}
	}
}
