package upstream

import (
	"sync/atomic"
	"time"
)

const (
	// maxPause is the longest time that an endpoint can ask to be left alone, by
	// Retry-After.
	maxPause = time.Minute
	// leastRamp is the share that an endpoint gets at the beginning of its slow start.
	leastRamp = 0.1
)

// A hold keeps traffic from an endpoint for a while, without putting it out: it has asked
// for a pause, or it is to begin slowly. It is one word, which is 0 for nearly all endpoints
// at nearly all times: above, the Moment at which the slow start began, below, the Moment at
// which the pause ends.
type hold struct{ word atomic.Uint64 }

func packHold(ramp, pause Moment) uint64 { return uint64(ramp)<<32 | uint64(pause) }

func unpackHold(word uint64) (ramp, pause Moment) { return Moment(word >> 32), Moment(uint32(word)) }

// startRamp begins the slow start.
func (h *hold) startRamp(now Moment) {
	now = max(now, 1) // 0 is none
	for {
		old := h.word.Load()
		_, pause := unpackHold(old)
		if h.word.CompareAndSwap(old, packHold(now, pause)) {
			return
		}
	}
}

// pause has the endpoint left alone for d, unless it is already for longer. It tells
// whether that is new.
func (h *hold) pause(now Moment, d time.Duration) bool {
	until := max(now+momentOf(min(d, maxPause)), 1)
	for {
		old := h.word.Load()
		ramp, pause := unpackHold(old)
		left := pauseLeft(pause, now)
		if left > until.since(now) {
			return false
		}
		if h.word.CompareAndSwap(old, packHold(ramp, until)) {
			return left == 0
		}
	}
}

// pauseLeft returns how many ticks a pause still lasts, 0 if it is over. One that seems to
// last for longer than there are pauses has been over for long.
func pauseLeft(until, now Moment) float64 {
	if until == 0 {
		return 0
	}
	if left := until.since(now); left <= float64(momentOf(maxPause))+1 {
		return left
	}
	return 0
}

// read says how long the pause still lasts, and which share of its traffic the endpoint
// gets otherwise, from leastRamp to 1. What is over is cleared.
func (h *hold) read(now Moment, ramping time.Duration) (pause time.Duration, share float64) {
	old := h.word.Load()
	if old == 0 {
		return 0, 1
	}
	ramp, until := unpackHold(old)
	share = 1.0
	if left := pauseLeft(until, now); left > 0 {
		pause = time.Duration(left) << tickBits
	} else {
		until = 0
	}
	if ramp != 0 {
		length := float64(momentOf(ramping))
		if since := now.since(ramp); since < length {
			share = max(since/length, leastRamp)
		} else {
			ramp = 0
		}
	}
	if next := packHold(ramp, until); next != old {
		h.word.CompareAndSwap(old, next) // if another thread was first, it knows better
	}
	return pause, share
}
