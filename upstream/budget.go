package upstream

import (
	"math"
	"sync/atomic"
	"time"

	"sidecar/internal/window"
)

const defaultWindow = 10 * time.Second

// A Budget keeps retries from turning into a storm: when everything fails, they may add no
// more than a fixed share to the load. It is the balance of Finagle's RetryBudget, with the
// deposits and withdrawals of the last Window counted apart:
//
//	withdrawals < Ratio × deposits + MinPerSecond × Window
//
// The window moves in tenths. Its methods may be called from any number of goroutines;
// they take no lock, do not allocate and do not block.
type Budget struct {
	ratio   float64
	reserve float64
	clock   clock

	deposits    window.Counter
	withdrawals window.Counter
	refused     atomic.Uint64
}

// NewBudget returns a Budget with nothing deposited yet.
func NewBudget(o BudgetOptions) *Budget { return newBudget(o, clock{}) }

func newBudget(o BudgetOptions, c clock) *Budget {
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	ratio := o.Ratio
	if math.IsNaN(ratio) || ratio < 0 {
		ratio = 0
	}
	b := &Budget{
		ratio:   ratio,
		clock:   c,
		reserve: float64(max(o.MinPerSecond, 0)) * o.Window.Seconds(),
	}
	b.deposits.Init(o.Window)
	b.withdrawals.Init(o.Window)
	return b
}

// Deposit counts a request. It is called once for each, not again for its retries.
func (b *Budget) Deposit() { b.DepositAt(b.clock.elapsed()) }

// DepositAt is Deposit for who knows the time already, as Service.Elapsed tells it.
func (b *Budget) DepositAt(at time.Duration) { b.deposits.Add(at) }

// Withdraw asks for one retry, and counts it if it is allowed. Of several at once, some may
// be refused that one after the other would have been allowed, but never the reverse.
func (b *Budget) Withdraw() bool {
	now := b.clock.elapsed()
	// Counted first and taken back if it was too much: two that look at the same time
	// must not both take the last one.
	b.withdrawals.Add(now)
	allowed := b.ratio*float64(b.deposits.Sum(now)) + b.reserve
	// The small margin is for ratios that are not exact in binary: 0.2 × 5 is one retry.
	if float64(b.withdrawals.Sum(now)) <= allowed+1e-9 {
		return true
	}
	b.withdrawals.Sub(now)
	b.refused.Add(1)
	return false
}

// Refund takes back a Withdraw of just now, whose retry is not made after all.
func (b *Budget) Refund() { b.withdrawals.Sub(b.clock.elapsed()) }

// BudgetStatus is a Budget at one moment.
type BudgetStatus struct {
	Ratio    float64 `json:"ratio"`
	Requests uint64  `json:"requests"` // in the window
	Retries  uint64  `json:"retries"`  // in the window
	Left     float64 `json:"left"`     // retries that would be allowed now
	Refused  uint64  `json:"refused"`  // since the start
}

// Status returns the present state.
func (b *Budget) Status() BudgetStatus {
	now := b.clock.elapsed()
	s := BudgetStatus{
		Ratio:    b.ratio,
		Requests: b.deposits.Sum(now),
		Retries:  b.withdrawals.Sum(now),
		Refused:  b.refused.Load(),
	}
	s.Left = max(b.ratio*float64(s.Requests)+b.reserve-float64(s.Retries), 0)
	return s
}
