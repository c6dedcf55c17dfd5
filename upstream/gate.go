package upstream

import (
	"sync/atomic"
	"time"

	"sidecar/internal/window"
	"sidecar/limiter"
)

// A gate counts the leases of a whole service, where something depends on them.
type gate struct {
	inFlight atomic.Int64
	limit    int64             // 0: none
	adaptive *limiter.Gradient // nil: none
	full     *Unavailable      // when limit is reached
	shed     *Unavailable      // when adaptive refuses
	refused  window.Counter    // leases that were refused lately
}

// newGate returns nil if nobody wants to know.
func newGate(o *Options) *gate {
	if o.Limits.InFlight <= 0 && o.Adaptive == nil && !o.CountInFlight {
		return nil
	}
	g := &gate{
		limit:    int64(max(o.Limits.InFlight, 0)),
		adaptive: o.Adaptive,
		full:     ErrServiceFull.of(o.Name, ""),
		shed:     ErrShed.of(o.Name, ""),
	}
	g.refused.Init(refusedWindow)
	return g
}

// refusedWindow is how far back refusals count as lately.
const refusedWindow = 10 * time.Second

// enter counts one lease in, or says why not.
func (g *gate) enter() *Unavailable {
	// Counted first, so that the limit holds however many threads come at once.
	if n := g.inFlight.Add(1); g.limit > 0 && n > g.limit {
		g.inFlight.Add(-1)
		return g.full
	}
	if g.adaptive != nil && !g.adaptive.Allow() {
		g.inFlight.Add(-1)
		return g.shed
	}
	return nil
}

// leave counts one lease out. latency is 0 if it says nothing, and negative if what became
// of the attempt is itself a sign of overload.
func (g *gate) leave(at, latency time.Duration) {
	g.inFlight.Add(-1)
	switch {
	case g.adaptive == nil:
	case latency < 0:
		g.adaptive.Drop(at)
	default:
		g.adaptive.Done(at, latency, latency > 0)
	}
}
