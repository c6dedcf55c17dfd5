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
	// failureDecay is the least time constant by which the share is forgotten when there are
	// no outcomes, so that an endpoint that has been avoided is tried again within seconds.
	// One that always fails gets a request every second or so, one that is well again has
	// its share of the traffic within ten. Where outcomes are rarer than that, nothing would
	// be learned from them: then it is failureGaps times the gap before the failure, up to
	// failureKeep. For an endpoint that goes on failing whenever it is tried, that makes the
	// tries rarer each time.
	failureDecay = 3500 * time.Millisecond
	failureKeep  = 20 * time.Second
	failureGaps  = 3
	// A failure stands for one more each time that the gap before it doubles from
	// failureSparse on, and each time that it took twice as long as an answer does, up to
	// failureHeavy together: one in fifty answers a second says little, one after seconds of
	// nothing, or one that cost a second, says much.
	failureSparse = 100 * time.Millisecond
	failureHeavy  = 6
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
// failureMost: an average by outcome, that is also forgotten with time. It is one word, and 0
// for an endpoint that has not failed lately, which then costs the data path one load: the
// share in 65535ths, the time constant in tenths of a second, both in 16 bits, and below them
// the Moment of the last outcome.
type failureShare struct{ word atomic.Uint64 }

const (
	shareUnit = math.MaxUint16
	decayUnit = 100 * time.Millisecond
)

func packFailure(share float64, decay time.Duration, at Moment) uint64 {
	return uint64(math.Round(share*shareUnit))<<48 | uint64(decay/decayUnit)<<32 | uint64(at)
}

func unpackFailure(word uint64) (share float64, decay time.Duration, at Moment) {
	return float64(word>>48) / shareUnit, time.Duration(word>>32&math.MaxUint16) * decayUnit, Moment(uint32(word))
}

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
	share, decay, at := unpackFailure(word)
	return share * math.Exp(-now.since(at)*(1<<tickBits)/float64(decay))
}

// succeed takes in one success.
func (f *failureShare) succeed(now Moment) {
	for {
		old := f.word.Load()
		if old == 0 {
			return
		}
		next := uint64(0)
		if share := (1 - successStep) * failureAt(old, now); share >= failureGone {
			next = packFailure(share, failureDecay, now)
		}
		if f.word.CompareAndSwap(old, next) {
			return
		}
	}
}

// fail takes in a failure that stands for weight of them and came after a gap without
// outcomes.
func (f *failureShare) fail(now Moment, gap time.Duration, weight int) {
	decay := min(max(failureGaps*gap, failureDecay), failureKeep)
	for {
		old := f.word.Load()
		share := 0.0
		if old != 0 {
			share = failureAt(old, now)
		}
		for range weight {
			share = min(share+(failureStep+failureMore*share)*(1-share), failureMost)
		}
		if f.word.CompareAndSwap(old, packFailure(share, decay, now)) {
			return
		}
	}
}

// fail takes in a failure of the endpoint that took so long; 0 if that is not known.
func (e *Endpoint) fail(now Moment, took time.Duration) {
	cost, at := unpack(e.latency.word.Load())
	gap := time.Duration(now.since(at)) << tickBits
	if word := e.failing.word.Load(); word != 0 {
		_, _, last := unpackFailure(word)
		gap = min(gap, time.Duration(now.since(last))<<tickBits)
	} else if cost < 0 {
		gap = failureSparse // its first outcome
	}
	// One that is avoided has long gaps too; what counts is how often it would be asked.
	gap = min(gap, time.Duration(e.service.fairGap.Load()))
	weight := 1 + doublings(float64(gap)/float64(failureSparse)) + doublings(float64(took)/math.Abs(float64(cost)))
	e.failing.fail(now, gap, min(weight, failureHeavy))
	e.latency.touch(now)
}

// doublings is how often 1 has to be doubled to come to ratio, without fractions.
func doublings(ratio float64) int {
	if ratio < 2 {
		return 0
	}
	return int(math.Log2(ratio))
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
