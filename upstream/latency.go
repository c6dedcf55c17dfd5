package upstream

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// FirstGuess is the latency of an endpoint that has not been measured yet.
	FirstGuess = 30 * time.Millisecond
	// decay is the time constant of the moving average.
	decay = 10 * time.Second
)

// A Moment is a reading of the clock that latencies are kept on. A picker takes one for
// all the endpoints it compares. It counts ticks of 2^18 ns (about 0.26 ms) and wraps after
// 13 days.
type Moment uint32

const (
	tickBits = 18
	// decayTicks is decay in ticks.
	decayTicks = float64(decay) / (1 << tickBits)
	// recent is how far apart, in ticks, two threads' readings may be out of order (17 s).
	// A larger step back is a long time forward.
	recent = 1 << 16
)

// epoch is where Moments and windows count from; it is never changed. It lies far back,
// because windows know no time before it, and in a bubble of testing/synctest it is the year
// 2000. (Add keeps the monotonic reading.)
var epoch = time.Now().Add(-40 * 365 * 24 * time.Hour)

func momentOf(d time.Duration) Moment { return Moment(uint64(d) >> tickBits) }

// since returns the ticks from earlier to m, 0 if they are out of order.
func (m Moment) since(earlier Moment) float64 {
	ticks := uint32(m - earlier)
	if ticks > math.MaxUint32-recent {
		return 0
	}
	return float64(ticks)
}

// weight returns exp(-ticks/decayTicks). While traffic flows, ticks is small and the series
// is exact to less than 1e-6, at a fraction of the time.
func weight(ticks float64) float64 {
	x := ticks * (1 / decayTicks)
	if x < 1./64 {
		return 1 - x + x*x/2
	}
	return math.Exp(-x)
}

// A peakEWMA is an exponentially weighted moving average over irregular samples that jumps
// up to each sample above it, after Finagle's PeakEwma. With t the time since the last
// sample that counted and w = exp(-t/decay),
//
//	sample > cost:  cost = sample
//	otherwise:      cost = cost·w + sample·(1-w)
//	reading:        cost·w, so that an endpoint that gets no traffic becomes worth a try
//
// It is one word, changed by compare-and-swap: the cost in nanoseconds as a float32 in the
// upper half, the Moment of the last sample in the lower half. A negative cost is a guess:
// it does not decay, and the first sample replaces it.
type peakEWMA struct{ word atomic.Uint64 }

func pack(cost float32, at Moment) uint64 {
	return uint64(math.Float32bits(cost))<<32 | uint64(at)
}

func unpack(word uint64) (cost float32, at Moment) {
	return math.Float32frombits(uint32(word >> 32)), Moment(uint32(word))
}

// forget forgets all samples and goes back to the first guess.
func (p *peakEWMA) forget() { p.word.Store(pack(-float32(FirstGuess), 0)) }

// set makes d the only sample.
func (p *peakEWMA) set(now Moment, d time.Duration) { p.word.Store(pack(float32(d), now)) }

// touch has the average begin to decay anew, without a sample. An endpoint that was tried and
// did not answer is not to look faster for the time that has passed.
func (p *peakEWMA) touch(now Moment) {
	old := p.word.Load()
	if cost, at := unpack(old); cost >= 0 && now.since(at) > 0 {
		p.word.CompareAndSwap(old, pack(cost, now)) // a sample that came first says more
	}
}

// observe adds a sample.
func (p *peakEWMA) observe(now Moment, d time.Duration) {
	sample := float32(d)
	for {
		old := p.word.Load()
		cost, at := unpack(old)
		next := sample
		if cost >= 0 && sample <= cost {
			ticks := now.since(at)
			if ticks == 0 {
				return // weighs nothing
			}
			w := float32(weight(ticks))
			next = cost*w + sample*(1-w)
		}
		if p.word.CompareAndSwap(old, pack(next, now)) {
			return
		}
	}
}

// read returns the average in nanoseconds, and whether it has been measured.
func (p *peakEWMA) read(now Moment) (ns float64, measured bool) {
	cost, at := unpack(p.word.Load())
	if cost < 0 {
		return float64(-cost), false
	}
	if ticks := now.since(at); ticks > 0 {
		return float64(cost) * weight(ticks), true
	}
	return float64(cost), true
}
