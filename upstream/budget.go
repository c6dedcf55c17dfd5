package upstream

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	defaultWindow = 10 * time.Second
	budgetSlots   = 10
	// A slot's word holds its count in the lower bits and, above them, the number of the
	// slice of time that the count is of.
	countBits = 40
	countMask = 1<<countBits - 1
	stampMask = 1<<(64-countBits) - 1
)

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
	slice   time.Duration // a tenth of the window

	deposits    [budgetSlots]atomic.Uint64
	withdrawals [budgetSlots]atomic.Uint64
	refused     atomic.Uint64
}

// NewBudget returns a Budget with nothing deposited yet.
func NewBudget(o BudgetOptions) *Budget {
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	ratio := o.Ratio
	if math.IsNaN(ratio) || ratio < 0 {
		ratio = 0
	}
	return &Budget{
		ratio:   ratio,
		reserve: float64(max(o.MinPerSecond, 0)) * o.Window.Seconds(),
		slice:   max(o.Window/budgetSlots, 1),
	}
}

// Deposit counts a request. It is called once for each, not again for its retries.
func (b *Budget) Deposit() {
	now := b.now()
	count(&b.deposits[now%budgetSlots], now)
}

// Withdraw asks for one retry, and counts it if it is allowed. Of several at once, some may
// be refused that one after the other would have been allowed, but never the reverse.
func (b *Budget) Withdraw() bool {
	now := b.now()
	slot := &b.withdrawals[now%budgetSlots]
	// Counted first and taken back if it was too much: two that look at the same time
	// must not both take the last one.
	count(slot, now)
	allowed := b.ratio*float64(sum(&b.deposits, now)) + b.reserve
	// The small margin is for ratios that are not exact in binary: 0.2 × 5 is one retry.
	if float64(sum(&b.withdrawals, now)) <= allowed+1e-9 {
		return true
	}
	uncount(slot, now)
	b.refused.Add(1)
	return false
}

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
	now := b.now()
	s := BudgetStatus{
		Ratio:    b.ratio,
		Requests: sum(&b.deposits, now),
		Retries:  sum(&b.withdrawals, now),
		Refused:  b.refused.Load(),
	}
	s.Left = max(b.ratio*float64(s.Requests)+b.reserve-float64(s.Retries), 0)
	return s
}

// now returns the number of the present slice of time.
func (b *Budget) now() uint64 { return uint64(time.Since(epoch) / b.slice) }

// stamp is the slice's number as far as it fits above the count.
func stamp(slice uint64) uint64 { return slice & stampMask }

// count adds one to the slot, which is first emptied if it is of an earlier slice.
func count(slot *atomic.Uint64, slice uint64) {
	for {
		old := slot.Load()
		if old>>countBits == stamp(slice) {
			slot.Add(1)
			return
		}
		if slot.CompareAndSwap(old, stamp(slice)<<countBits|1) {
			return
		}
	}
}

// uncount takes one back, unless the slot has moved on to a later slice.
func uncount(slot *atomic.Uint64, slice uint64) {
	for {
		old := slot.Load()
		if old>>countBits != stamp(slice) || old&countMask == 0 {
			return
		}
		if slot.CompareAndSwap(old, old-1) {
			return
		}
	}
}

// sum adds up the slots of the window that ends with slice now.
func sum(slots *[budgetSlots]atomic.Uint64, now uint64) uint64 {
	var total uint64
	for i := range slots {
		word := slots[i].Load()
		if age := (now - word>>countBits) & stampMask; age < budgetSlots {
			total += word & countMask
		}
	}
	return total
}
