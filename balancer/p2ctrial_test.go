package balancer

import (
	"fmt"
	"testing"
	"time"
)

// What P2C does over time, beside what it does with one pick.

// conditions runs f with three equal endpoints, for different loads and seeds.
func conditions(t *testing.T, f func(t *testing.T, tr *trial, rate float64)) {
	t.Helper()
	for _, takes := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond} {
		for _, rate := range []float64{50, 300, 2000} {
			for seed := range uint64(3) {
				t.Run(fmt.Sprintf("%v/%v per second/seed %d", takes, rate, seed), func(t *testing.T) {
					s := server{takes: takes}
					tr := newTrial(t, seed, P2C(), instances(1, 1, 1), s, s, s)
					f(t, tr, rate)
					tr.end()
				})
			}
		}
	}
}

const fair = 1. / 3

func TestP2CLeavesTheOneThatFailsAtOnce(t *testing.T) {
	conditions(t, func(t *testing.T, tr *trial, rate float64) {
		tr.servers[1].fails = 1
		if share := tr.send(10000, rate)[1]; share >= .02 {
			t.Errorf("from the start it gets %.4f of all requests", share)
		}
	})
	conditions(t, func(t *testing.T, tr *trial, rate float64) {
		tr.send(1000, rate)
		tr.servers[1].fails = 1
		if share := tr.send(10000, rate)[1]; share >= .02 {
			t.Errorf("when it begins to fail it gets %.4f of all requests", share)
		}
	})
}

func TestP2CLeavesTheOneThatIsTwentyTimesSlower(t *testing.T) {
	conditions(t, func(t *testing.T, tr *trial, rate float64) {
		tr.servers[1].takes *= 20
		if share := tr.send(10000, rate)[1]; share >= .1 {
			t.Errorf("it gets %.4f of all requests", share)
		}
	})
}

func TestP2CForgivesAFailureNowAndThen(t *testing.T) {
	conditions(t, func(t *testing.T, tr *trial, rate float64) {
		tr.servers[1].fails = .01
		if share := tr.send(10000, rate)[1]; share < .8*fair {
			t.Errorf("it gets %.4f of all requests", share)
		}
	})
}

func TestP2CSendsLittleToTheOneThatFailsHalfTheTimeAndComesBack(t *testing.T) {
	for _, fails := range []float64{.5, 1} {
		conditions(t, func(t *testing.T, tr *trial, rate float64) {
			tr.servers[1].fails = fails
			if share := tr.send(10000, rate)[1]; share >= .15 {
				t.Errorf("while it fails it gets %.4f of all requests", share)
			}
			tr.servers[1].fails = 0
			tr.sendFor(10*time.Second, rate)
			if share := tr.send(1000, rate)[1]; share < .8*fair {
				t.Errorf("10 s after it is well again it gets %.4f of all requests", share)
			}
		})
	}
}

// Where all fail there is nothing to choose.
func TestP2CSharesEvenlyWhatAllFail(t *testing.T) {
	conditions(t, func(t *testing.T, tr *trial, rate float64) {
		for _, s := range tr.servers {
			s.fails = 1
		}
		for i, share := range tr.send(10000, rate) {
			if share < fair-.05 || share > fair+.05 {
				t.Errorf("endpoint %d gets %.4f of all requests", i, share)
			}
		}
	})
}

func TestP2CSharesByWeightOverTime(t *testing.T) {
	for seed := range uint64(3) {
		s := server{takes: 10 * time.Millisecond}
		tr := newTrial(t, seed, P2C(), instances(1, 2, 3), s, s, s)
		shares := tr.send(20000, 2000)
		for i, want := range []float64{1. / 6, 2. / 6, 3. / 6} {
			if d := shares[i] - want; d < -.05 || d > .05 {
				t.Errorf("seed %d: shares %.3f", seed, shares)
				break
			}
		}
		tr.end()
	}
}
