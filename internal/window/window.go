// Package window counts the events of the last so many seconds without a lock.
//
// A Counter is Slots words. Each holds the count of one slice of time, a tenth of the
// window, and the number of that slice; the first event of a later slice that meets the
// word empties it. So the window moves in tenths: it covers its whole span when a slice
// ends, and nine tenths of it when one begins.
//
// Time is handed in, since callers have read it anyway: as a time.Duration since an origin
// that the caller chooses once for each Counter.
package window

import (
	"sync/atomic"
	"time"
)

const (
	// Slots is how many slices a window has.
	Slots = 10

	// A word holds a slice's count in the lower half and its number in the upper one. More
	// than four billion events in a slice would spill over: a window of ten seconds would
	// need as many in a second.
	stampBits = 32
	countMask = 1<<stampBits - 1

	// late is how many slices an event may come after its time and be known as late. A
	// slot that seems to be further ahead is an old one, and its number has wrapped.
	late = 1 << 10
)

// A Counter counts events over a sliding window. Init makes the zero Counter ready; after
// that its methods may be called from any number of goroutines. They take no lock, do not
// allocate and do not block. It must not be copied.
//
// The threads' readings of the time may differ by a slice: what one has counted in the next
// slice already is in the Sum of another that is still in this one. An event that comes a
// whole window after its time is not counted.
type Counter struct {
	slice time.Duration
	slots [Slots]atomic.Uint64
}

// Init sets the span of the window, at least Slots nanoseconds. It is called once, before
// anything else.
func (c *Counter) Init(span time.Duration) {
	c.slice = max(span/Slots, 1)
}

// Add counts one event. A time before the origin is taken as the origin, here and in the
// other methods.
func (c *Counter) Add(at time.Duration) {
	slice := c.number(at)
	slot := &c.slots[slice%Slots]
	for {
		old := slot.Load()
		ahead := int32(stamp(old) - uint32(slice))
		if ahead == 0 {
			// If the slot has moved on since Load, the event counts for a later slice.
			slot.Add(1)
			return
		}
		if 0 < ahead && ahead < late {
			return
		}
		if slot.CompareAndSwap(old, slice<<stampBits|1) {
			return
		}
	}
}

// Sub takes one event back that was added with the same time, unless it has left the
// window already.
func (c *Counter) Sub(at time.Duration) {
	slice := c.number(at)
	slot := &c.slots[slice%Slots]
	for {
		old := slot.Load()
		if stamp(old) != uint32(slice) || old&countMask == 0 {
			return
		}
		if slot.CompareAndSwap(old, old-1) {
			return
		}
	}
}

// Sum returns how many events the window that ends at the given time has.
func (c *Counter) Sum(at time.Duration) uint64 {
	slice := uint32(c.number(at))
	var total uint64
	for i := range c.slots {
		word := c.slots[i].Load()
		if age := int32(slice - stamp(word)); -1 <= age && age < Slots {
			total += word & countMask
		}
	}
	return total
}

// number returns the number of the slice that at is in.
func (c *Counter) number(at time.Duration) uint64 { return uint64(max(at, 0)) / uint64(c.slice) }

func stamp(word uint64) uint32 { return uint32(word >> stampBits) }
