package breaker

import (
	"sync"
	"sync/atomic"
	"time"

	"sidecar/internal/window"
)

// A period is one stay of the breaker in closed, or in open and then half-open.
type period struct {
	// state is Closed for good, or Open and later HalfOpen.
	state atomic.Uint32
	// failures mirrors gobreaker's count of consecutive failures in a closed period, if
	// there is a number of them that opens the breaker. It is written under gobreaker's
	// lock.
	failures atomic.Uint32

	// window is the closed period's own; an open period goes on with the one before it.
	window *tally

	// report tells gobreaker an outcome of this period; gobreaker drops what it is told
	// after the period has ended. It binds that to its generation, not to a request. So
	// in a closed period it is one function for all attempts, made by the first failure.
	// In an open one it is the last probe's; there is none before OnChange has been told
	// that the breaker is half-open.
	report atomic.Pointer[func(error)]
	once   sync.Once

	// taken is set while the probe's slot is taken, and for good once a probe decided.
	taken atomic.Bool
	// reset is set when the period is to be ended by whoever holds the slot.
	reset atomic.Bool

	since time.Time
	// readyAt is when an open period lets its first probe through.
	readyAt time.Time
}

// tell reports an outcome of the period to gobreaker, if there is anything to report on.
func (p *period) tell(err error) {
	if report := p.report.Load(); report != nil {
		(*report)(err)
	}
}

// A tally is what a window remembers of attempts.
type tally struct {
	successes window.Counter
	failures  window.Counter
}

func (t *tally) init(span time.Duration) {
	t.successes.Init(span)
	t.failures.Init(span)
}

func (t *tally) counts(at time.Duration) (attempts, failures uint64) {
	failures = t.failures.Sum(at)
	return t.successes.Sum(at) + failures, failures
}
