package upstream

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// successStep is how far a success moves the share of failures towards 0. A failure
	// moves it towards 1 by failureStep and this much more of the share there is already:
	// a single one is no reason to avoid an endpoint, one after others is.
	successStep = 0.2
	failureStep = 0.05
	failureMore = 1.0
	// failureDecay is the time constant by which the share is forgotten when there are no
	// outcomes, so that an endpoint that has been avoided is tried again within seconds.
	// One that always fails gets a request every second or so, one that is well again has
	// its share of the traffic within ten.
	failureDecay = 3500 * time.Millisecond
	// failureMost keeps the price of failing finite, and below it the shares of endpoints
	// that all fail equal.
	failureMost = 0.95
	// failureLeast is what counts as none to whoever reads the share, and failureGone to
	// what is remembered. An endpoint that has never answered is as good as new then.
	failureLeast = 0.08
	failureGone  = 0.01
	// dearest is the highest price of failing. It must be above what the others cost, which
	// is their latency for each request in flight; beyond it all are equal.
	dearest = time.Minute
)

// A failureShare is how much of an endpoint's traffic fails at present, from 0 to
// failureMost: an average by outcome, that is also forgotten with time. It is one word, the
// share as a float32 above and the Moment of the last outcome below, and 0 for an endpoint
// that has not failed lately, which then costs the data path one load.
type failureShare struct{ word atomic.Uint64 }

// forget forgets all failures.
func (f *failureShare) forget() { f.word.Store(0) }

func (f *failureShare) read(now Moment) float64 {
	word := f.word.Load()
	if word == 0 {
		return 0
	}
	if share := failureAt(word, now); share >= failureLeast {
		return share
	}
	return 0
}

func failureAt(word uint64, now Moment) float64 {
	share, at := unpack(word)
	const ticks = float64(failureDecay) / (1 << tickBits)
	return float64(share) * math.Exp(-now.since(at)/ticks)
}

// observe takes in one outcome.
func (f *failureShare) observe(now Moment, failed bool) {
	for {
		old := f.word.Load()
		if old == 0 && !failed {
			return
		}
		share := failureAt(old, now)
		if failed {
			share = min(share+(failureStep+failureMore*share)*(1-share), failureMost)
		} else {
			share -= successStep * share
		}
		next := pack(float32(share), now)
		if share < failureGone {
			next = 0
		}
		if f.word.CompareAndSwap(old, next) {
			return
		}
	}
}

// price is the latency that an endpoint looks like which answers in ns when it answers, and
// fails this share of the time. Whoever meets a failure has to go again, elsewhere: with a
// share f, 1/(1-f) attempts make one answer. The fourth power makes that a strong opinion
// where failing is the rule, and none where it is the exception: a share of 0.1 counts half
// as much again, 1 in 2 sixteen times. Because failures come fast, the latency of the few
// answers may have decayed to nothing; so some of FirstGuess is added in proportion.
func price(ns, share float64) float64 {
	g := 1 / (1 - share)
	g *= g
	return min((ns+share*share*float64(FirstGuess))*g*g, max(ns, float64(dearest)))
}
