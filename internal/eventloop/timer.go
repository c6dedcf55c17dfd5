package eventloop

import (
	"math/bits"
	"time"
)

// The wheel has wheelLevels levels of 64 slots; a slot of level n spans 64^n ticks. With
// a tick of a millisecond seven levels reach beyond a hundred years.
const (
	tick        = int64(time.Millisecond)
	levelBits   = 6
	levelSlots  = 1 << levelBits
	levelMask   = levelSlots - 1
	wheelLevels = 7
	maxTick     = 1<<(levelBits*wheelLevels) - 1
)

// An expirer is told on the loop that the time it asked for has come.
type expirer interface {
	expired()
}

// A timer is a place in a wheel, embedded in what it wakes. The zero timer is stopped.
type timer struct {
	next, prev *timer
	owner      expirer
	when       int64 // loop time in nanoseconds at which to fire
	level      uint8
	slot       uint8
}

func (t *timer) active() bool { return t.next != nil }

// A wheel is a hierarchical timing wheel (Varghese and Lauck, SOSP 1987). A timer sits on
// the level of the highest base-64 digit in which its tick differs from the present one,
// so that the next timer to fire is always in the lowest set slot of the lowest level in
// use. Setting and stopping are O(1), and moving a timer to a later time is one store: the
// timer is put right when its old time comes.
type wheel struct {
	elapsed  int64 // the tick up to which everything has fired
	count    int
	occupied [wheelLevels]uint64
	slots    [wheelLevels][levelSlots]timer // list heads; next == nil is empty
}

// set makes t fire at when (loop time in nanoseconds).
func (w *wheel) set(t *timer, when int64) {
	if t.active() {
		if when >= t.when {
			t.when = when
			return
		}
		w.stop(t)
	}
	t.when = when
	w.insert(t)
}

func (w *wheel) stop(t *timer) {
	if !t.active() {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	head := &w.slots[t.level][t.slot]
	if head.next == head {
		head.next, head.prev = nil, nil
		w.occupied[t.level] &^= 1 << t.slot
	}
	t.next, t.prev = nil, nil
	w.count--
}

func (w *wheel) insert(t *timer) {
	at := min(max(ceilTick(t.when), w.elapsed+1), maxTick)
	level := (bits.Len64(uint64(at^w.elapsed)) - 1) / levelBits
	slot := (at >> (level * levelBits)) & levelMask
	head := &w.slots[level][slot]
	if head.next == nil {
		head.next, head.prev = head, head
		w.occupied[level] |= 1 << slot
	}
	t.level, t.slot = uint8(level), uint8(slot)
	t.prev, t.next = head.prev, head
	head.prev.next = t
	head.prev = t
	w.count++
}

// ceilTick is the first tick that is not before when, be that as late as it may.
func ceilTick(when int64) int64 {
	at := when / tick
	if when > at*tick {
		at++
	}
	return at
}

// next returns the tick at which the earliest slot is due, and where that slot is.
func (w *wheel) next() (at int64, level, slot int, ok bool) {
	for level, set := range w.occupied {
		if set == 0 {
			continue
		}
		slot := bits.TrailingZeros64(set)
		shift := level * levelBits
		at := w.elapsed>>(shift+levelBits)<<(shift+levelBits) | int64(slot)<<shift
		return at, level, slot, true
	}
	return 0, 0, 0, false
}

// until returns how long after now the earliest timer may fire, or -1 if there is none.
func (w *wheel) until(now int64) time.Duration {
	at, _, _, ok := w.next()
	if !ok {
		return -1
	}
	return time.Duration(max(at*tick-now, 0))
}

// advance fires what is due at now, one timer at a time, so that a timer's owner may set
// and stop any timer, its own included.
func (w *wheel) advance(now int64) {
	present := now / tick
	for {
		at, level, slot, ok := w.next()
		if !ok || at > present {
			w.elapsed = max(w.elapsed, present)
			return
		}
		w.elapsed = at
		w.expire(&w.slots[level][slot], now)
	}
}

// expire empties a slot whose time has come. What is not due yet, because its slot spans
// many ticks or because it was moved to a later time, goes to another slot: elapsed stands
// at the slot's own start, so it cannot be this one again.
func (w *wheel) expire(head *timer, now int64) {
	for head.next != nil {
		t := head.next
		w.stop(t)
		if t.when <= now {
			t.owner.expired()
		} else {
			w.insert(t)
		}
	}
}
